"""Stable rank, also known as NESum: the trace over the largest eigenvalue."""

from __future__ import annotations

import math
from typing import Any

from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score


def core(eig: Eigenvalues) -> float:
    """Returns sum(lambda) / lambda_1; the leading eigenvalue and the trace are enough."""
    return max(1.0, eig.total / float(eig.values[0]))


def jackknife_problem(eig: Eigenvalues) -> str | None:
    """Returns why a jackknife interval of the largest eigenvalue would mislead, or None if it does not.

    The largest of several nearly equal eigenvalues is not a smooth function of the rows: its sampling error
    has a bias that leaving out groups does not reveal. Nearly equal means here: within three standard errors,
    3 lambda_1 sqrt(2/n), of a Gaussian sample.
    """
    if eig.values.size < 2:
        return None
    gap = float(eig.values[0] - eig.values[1])
    if gap > 3.0 * math.sqrt(2.0 / eig.n) * float(eig.values[0]):
        return None
    return "the two largest eigenvalues lie within sampling error of each other, where the jackknife fails"


def stable_rank(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Stable rank: sum(lambda) / lambda_1, the squared Frobenius norm over the squared spectral norm.

    On centred features it is the number that He & Ozay 2022 call NESum, the sum of eigenvalues normalised by
    the first; `nesum` is its other name.

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
        A `Score` between 1 and min(n, d), in dimensions.

    Raises:
        NotEnoughData: if the features are constant, or there is one row.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Rudelson & Vershynin 2007; He & Ozay 2022.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances in ratio 4 to 1
        >>> round(float(featdiv.stable_rank(x)), 6)
        1.25
    """
    return _score(
        x,
        "stable_rank",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )


def nesum(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """NESum: sum(lambda_i / lambda_1), the name of He & Ozay 2022 for `stable_rank` of centred features.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None, ``"auto"`` or ``"jackknife"``, as in `stable_rank`; for rows only.
        groups: (n,) group ids: the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 1 and min(n, d), in dimensions.

    Raises:
        NotEnoughData: if the features are constant, or there is one row.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        He & Ozay 2022.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances in ratio 4 to 1
        >>> round(float(featdiv.nesum(x)), 6)
        1.25
    """
    return _score(
        x,
        "nesum",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )


def _score(x: Any, function: str, **options: Any) -> Score:
    return resolve_eigenvalues(x, function=function, **options).score(core)
