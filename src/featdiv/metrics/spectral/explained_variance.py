"""The share of the variance along each principal component."""

from __future__ import annotations

from typing import Any

from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.spectral.eigenvalues import Eigenvalues, Float64Array
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


def ratios(eig: Eigenvalues) -> Float64Array:
    """Returns lambda_i / sum(lambda) for the eigenvalues that were computed."""
    return eig.shares() if eig.complete else eig.values / eig.total


def core(eig: Eigenvalues, k: int = 1) -> float:
    """Returns (lambda_1 + ... + lambda_k) / sum(lambda)."""
    k = positive(k, "explained_variance: k")
    if k > eig.rank_limit:
        raise InputError(f"explained_variance: k: expected 1 to min(n, d) = {eig.rank_limit}; got {k}")
    if k > eig.values.size:
        raise NotEnoughData(f"k = {k}, and only the leading {eig.values.size} eigenvalues were computed")
    return min(1.0, float(ratios(eig)[:k].sum()))


def explained_variance(
    x: Any,
    k: int = 1,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Explained variance: (lambda_1 + ... + lambda_k) / sum(lambda), the share in the k leading components.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        k: how many components.
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between k/min(n, d) and 1; ``details["ratios"]`` lists the share of each of the k
        components.

    Raises:
        NotEnoughData: if the features are constant, there is one row, or fewer than k eigenvalues are known.
        InputError: if k is out of range, or ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Jolliffe 2002, section 6.1.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances in ratio 4 to 1
        >>> round(float(featdiv.explained_variance(x)), 6)
        0.8
    """
    k = positive(k, "explained_variance: k")
    resolved = resolve_eigenvalues(
        x,
        function="explained_variance",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core, details=lambda eig, k: {"ratios": ratios(eig)[:k].tolist()}, k=k)
