"""IsoScore: the participation ratio, rescaled to between 0 and 1."""

from __future__ import annotations

from typing import Any

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral import participation_ratio
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


def core(eig: Eigenvalues) -> float:
    """Returns (PR - 1) / (d - 1), PR the participation ratio."""
    if eig.d < 2:
        raise NotEnoughData("it divides by d - 1, and there is one feature")
    return max(0.0, participation_ratio.core(eig) - 1.0) / (eig.d - 1)


def isoscore(
    x: Any,
    *,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """IsoScore: (PR - 1) / (d - 1), PR the participation ratio of the centred features.

    The published algorithm rotates the rows to their principal axes, scales the vector of variances to the
    norm of the all-ones vector, takes its distance to that vector as a defect and maps the defect to between
    0 and 1. Written out, all of that is this formula. It is therefore no evidence beside the participation
    ratio.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 0 (all variance along one direction) and 1 (isotropic).

    Raises:
        NotEnoughData: if the features are constant, or there is one row or one feature.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Rudman et al. 2022, algorithm 1.

    Example:
        >>> import featdiv, numpy as np
        >>> cross = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(float(featdiv.isoscore(cross)), 6)
        1.0
    """
    resolved = resolve_eigenvalues(
        x,
        function="isoscore",
        center=True,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core)
