"""Participation ratio of the eigenvalues."""

from __future__ import annotations

from typing import Any

from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


def core(eig: Eigenvalues) -> float:
    """Returns sum(lambda)^2 / sum(lambda^2) of the eigenvalues given."""
    shares = eig.shares()
    return 1.0 / float(shares @ shares)


def participation_ratio(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
) -> Score:
    """Participation ratio: sum(lambda)^2 / sum(lambda^2).

    The number of dimensions that the features would fill evenly, weighted by variance. It weighs the leading
    directions more than `effective_rank` does, and is at most that.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.

    Returns:
        A `Score` between 1 and min(n, d), in dimensions.

    Raises:
        NotEnoughData: if the features are constant, or there is one row.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Gao et al. 2017.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances in ratio 4 to 1
        >>> round(float(featdiv.participation_ratio(x)), 6)  # 25 / 17
        1.470588
    """
    resolved = resolve_eigenvalues(
        x,
        function="participation_ratio",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
    )
    return resolved.score(core)
