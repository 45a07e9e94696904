"""Results side by side on rows that are hard for float32; no times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from suites.spectrum.reference import effective_rank, rankme, singular_values

Float64Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]

_ROWS, _QUICK_ROWS = 50_000, 4000
_SEED = 0

_HARD = {
    "gaussian": 256,
    "heavy_tailed": 256,
    "near_rank_one": 256,
    "relu": 256,
    "constant_magnitude": 256,
    "counts": 256,
    "power_law": 256,
    "low_rank": 512,
}
"""Case of `featdiv.testing` to features: eigenvalues i^-3 for ``power_law``, rank 128 of 512 for ``low_rank``."""

_OFFSET_FEATURES = 384
_OFFSET_SLOPE = 1.5
_MOVED_COLUMNS = [3, 70, 151, 380]


class _Truth:
    """Scatter and singular values in float64, the latter not by way of the scatter."""

    def __init__(self, x: Rows) -> None:
        wide = x.astype(np.float64)
        mean = wide.mean(axis=0)
        centered = wide - mean
        self.scatter = centered.T @ centered
        self.eigenvalues = singular_values(x, mean) ** 2 / (len(x) - 1)
        self.effective_rank = float(effective_rank(self.eigenvalues))
        self.rankme = rankme(singular_values(x, np.zeros(x.shape[1])) ** 2)


class _Found:
    """What a method found; None for what it does not give."""

    def __init__(
        self, *, eigenvalues: Float64Array, scatter: Float64Array, effective_rank: float, rankme: float | None
    ) -> None:
        self.eigenvalues = eigenvalues
        self.scatter = scatter
        self.effective_rank = effective_rank
        self.rankme = rankme


def _featdiv(x: Rows) -> _Found:
    import featdiv

    spectrum = featdiv.spectrum(x, interval=None)
    assert spectrum.moments is not None
    return _Found(
        eigenvalues=spectrum.eigenvalues,
        scatter=spectrum.moments.scatter,
        effective_rank=spectrum.effective_rank,
        rankme=spectrum.rankme,
    )


def _float32_product(x: Rows) -> _Found:
    """One X^T X in float32, the mean taken off it afterwards; everything after the product in float64."""
    n = len(x)
    gram = (x.T @ x).astype(np.float64)
    mean = x.mean(axis=0, dtype=np.float64)
    scatter = gram - n * np.outer(mean, mean)
    eigenvalues = np.maximum(np.linalg.eigvalsh(scatter)[::-1] / (n - 1), 0.0)
    return _Found(
        eigenvalues=eigenvalues,
        scatter=scatter,
        effective_rank=float(effective_rank(eigenvalues)),
        rankme=rankme(np.linalg.eigvalsh(gram)),
    )


def _sklearn(x: Rows, **options: Any) -> _Found:
    from sklearn.decomposition import PCA

    model = PCA(**options).fit(x)
    eigenvalues = model.explained_variance_.astype(np.float64)
    return _Found(
        eigenvalues=eigenvalues,
        scatter=model.get_covariance().astype(np.float64) * (len(x) - 1),
        effective_rank=float(effective_rank(eigenvalues)),
        rankme=None,
    )


def _sklearn_full(x: Rows) -> _Found:
    return _sklearn(x, svd_solver="full")


def _numpy_cov(x: Rows) -> _Found:
    covariance = np.cov(x, rowvar=False)
    eigenvalues = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)
    return _Found(
        eigenvalues=eigenvalues,
        scatter=covariance * (len(x) - 1),
        effective_rank=float(effective_rank(eigenvalues)),
        rankme=None,
    )


Method = Callable[[Rows], _Found]

_FEATDIV: dict[str, Method] = {"featdiv.spectrum": _featdiv}
_PEERS: dict[str, Method] = {"float32 X.T @ X": _float32_product, "sklearn PCA": _sklearn}
_CAREFUL: dict[str, Method] = {"sklearn PCA(svd_solver='full')": _sklearn_full, "eigvalsh(np.cov)": _numpy_cov}


def accuracy(quick: bool) -> list[dict[str, Any]]:
    """Errors of the scatter (Frobenius; entrywise over sqrt(S_ii S_jj)), of effective rank and of RankMe (relative)."""
    from featdiv.testing import cases

    rows = []
    for case, d in _HARD.items():
        x = cases.make(case, n=_QUICK_ROWS if quick else _ROWS, d=d, seed=_SEED).rows
        truth = _Truth(x)
        scale = np.sqrt(np.outer(truth.scatter.diagonal(), truth.scatter.diagonal()))
        scale[scale == 0.0] = 1.0
        for name, method in (_FEATDIV | _PEERS).items():
            found = method(x)
            difference = found.scatter - truth.scatter
            rows.append(
                {
                    "case": case.replace("_", " "),
                    "shape": f"{x.shape[0]:,} x {d}",
                    "method": name,
                    "scatter, Frobenius": float(np.linalg.norm(difference) / np.linalg.norm(truth.scatter)),
                    "scatter, entrywise": float((np.abs(difference) / scale).max()),
                    "effective rank": abs(found.effective_rank / truth.effective_rank - 1.0),
                    "RankMe": None if found.rankme is None else abs(found.rankme / truth.rankme - 1.0),
                }
            )
    return rows


def offset(quick: bool) -> list[dict[str, Any]]:
    """Effective rank, its relative error, and how much of the spectrum is lost."""
    rows = []
    for case, x in _moved(_QUICK_ROWS if quick else _ROWS):
        truth = _Truth(x)
        for name, method in (_FEATDIV | _PEERS | _CAREFUL).items():
            found = method(x)
            rows.append(
                {
                    "case": case,
                    "shape": f"{x.shape[0]:,} x {x.shape[1]}",
                    "method": name,
                    "effective rank": found.effective_rank,
                    "true": truth.effective_rank,
                    "relative error": abs(found.effective_rank / truth.effective_rank - 1.0),
                    "worst eigenvalue": float(
                        (np.abs(found.eigenvalues - truth.eigenvalues) / truth.eigenvalues).max()
                    ),
                    "eigenvalues clipped to 0": int((found.eigenvalues <= 0.0).sum()),
                }
            )
    return rows


def _moved(n: int) -> Iterator[tuple[str, Rows]]:
    """Yields float32 rows of standard deviations i^-0.75 in mixed directions, far from zero.

    The rounding of the rows themselves is part of them: the truth is that of the rows as stored.
    """
    from featdiv.testing import cases

    rows, _ = cases.power_law(np.random.default_rng(_SEED), n, _OFFSET_FEATURES, exponent=_OFFSET_SLOPE)
    spread = rows.std(axis=0)
    yield "not moved", rows.astype(np.float32)
    yield "all columns by 1e4 standard deviations", (rows + 1e4 * spread).astype(np.float32)
    rows[:, _MOVED_COLUMNS] += 1e6 * spread[_MOVED_COLUMNS]
    yield "four columns by 1e6 standard deviations", rows.astype(np.float32)
