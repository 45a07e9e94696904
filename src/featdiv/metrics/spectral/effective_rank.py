"""Effective rank: the exponential of the entropy of the singular values."""

from __future__ import annotations

import math
from typing import Any

from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.entropy import entropy
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


def core(eig: Eigenvalues) -> float:
    """Returns exp H(sigma / sum(sigma)) of the eigenvalues given."""
    return math.exp(entropy(eig.singular_shares()))


def effective_rank(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Effective rank: exp H(p), p_i = sigma_i / sum(sigma), H(p) = -sum p ln p.

    The number of dimensions that the features would fill evenly, weighted by singular values (standard
    deviations). 1 for features on a line, d for isotropic ones.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only. A run in float32 is repeated in float64
            where too much of the spectrum lies below its noise floor.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 1 and min(n, d), in dimensions.

    Raises:
        NotEnoughData: if the features are constant, or there is one row.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`, O(d) from a `Spectrum`.

    Source:
        Roy & Vetterli 2007, section 2.

    Example:
        >>> import featdiv, numpy as np
        >>> cross = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(float(featdiv.effective_rank(cross)), 6)
        2.0
    """
    resolved = resolve_eigenvalues(
        x,
        function="effective_rank",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core)
