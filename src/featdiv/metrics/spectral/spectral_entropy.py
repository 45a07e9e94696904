"""Entropy of the eigenvalues."""

from __future__ import annotations

from typing import Any

from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.entropy import entropy
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


def core(eig: Eigenvalues) -> float:
    """Returns H(lambda / sum(lambda)) in nats."""
    return entropy(eig.shares())


def spectral_entropy(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Spectral entropy: H(p) = -sum p ln p with p_i = lambda_i / sum(lambda), in nats.

    The von Neumann entropy of the covariance divided by its trace. Unlike ln(effective_rank) it weighs
    directions by variance, not by standard deviation.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 0 and ln(min(n, d)), in nats.

    Raises:
        NotEnoughData: if the features are constant, or there is one row.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Alter, Brown & Botstein 2000, there divided by ln(min(n, d)).

    Example:
        >>> import featdiv, math, numpy as np
        >>> cross = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(float(featdiv.spectral_entropy(cross)) / math.log(2), 6)
        1.0
    """
    resolved = resolve_eigenvalues(
        x,
        function="spectral_entropy",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core)
