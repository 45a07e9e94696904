"""Seeded inputs with the traps of real features, and what is known about them.

Each generator returns float64 rows; `make` gives them an offset, repeats and an element type. The truth of a
case holds for the rows as generated: before the offset, which moves nothing but the mean, and up to the
rounding of the element type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Generator = Callable[[np.random.Generator, int, int], "tuple[Float64Array, dict[str, Any]]"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Rows, and what is known about them.

    Attributes:
        name: name of the generator.
        rows: (n, d) array, or a CPU tensor where NumPy lacks the type (bfloat16).
        truth: what holds exactly: ``eigenvalues`` of the covariance, ``rank`` of the centred rows,
            ``sum_of_squares`` of each column, ``population_covariance``.
    """

    name: str
    rows: Any
    truth: Mapping[str, Any]


def make(
    name: str,
    n: int = 1000,
    d: int = 32,
    *,
    seed: int = 0,
    dtype: str = "float32",
    offset: float = 0.0,
    columns: slice | list[int] | None = None,
    repeat: int = 1,
) -> Case:
    """Returns a case.

    Args:
        name: key of `GENERATORS`.
        n: rows; a multiple of ``repeat``.
        d: features.
        seed: seed of everything random.
        dtype: element type, NumPy's or ``"bfloat16"``; integer types round.
        offset: added to ``columns``, in standard deviations of each.
        columns: which columns are moved; None for all.
        repeat: how often every row occurs, one after the other.

    Example:
        >>> case = make("power_law", 100, 3, dtype="float64")
        >>> case.truth["eigenvalues"].round(4).tolist()
        [1.0, 0.125, 0.037]
        >>> np.linalg.eigvalsh(np.cov(case.rows.T))[::-1].round(4).tolist()
        [1.0, 0.125, 0.037]
    """
    random = np.random.default_rng(seed)
    rows, truth = GENERATORS[name](random, n // repeat, d)
    if repeat > 1:
        rows, truth = np.repeat(rows, repeat, axis=0), {key: truth[key] for key in ("rank",) if key in truth}
    if offset:
        moved = slice(None) if columns is None else columns
        spread = rows[:, moved].std(axis=0)
        rows[:, moved] += offset * np.where(spread > 0.0, spread, 1.0)
        truth.pop("sum_of_squares", None)
    return Case(name=name, rows=_cast(rows, dtype), truth=truth)


def _cast(rows: Float64Array, dtype: str) -> Any:
    if dtype == "bfloat16":
        import torch

        return torch.from_numpy(rows).to(torch.bfloat16)
    kind = np.dtype(dtype)
    return np.round(rows).astype(kind) if kind.kind in "iu" else rows.astype(kind)


def of_type(dtype: str, n: int, d: int, seed: int = 0) -> Any:
    """Returns (n, d) rows of any element type: normal, or uniform integers that fill the type up to 1e9.

    Args:
        dtype: NumPy element type, or ``"bfloat16"``, whose rows are a CPU tensor.
        n: number of rows.
        d: number of features.
        seed: seed.
    """
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return random.random((n, d)) < 0.5
    if dtype.startswith(("int", "uint")):
        top = min(10**9, np.iinfo(dtype).max)
        return random.integers(max(-top, np.iinfo(dtype).min), top, size=(n, d)).astype(dtype)
    return _cast(random.standard_normal((n, d)), dtype)


def gaussian(random: np.random.Generator, n: int, d: int) -> tuple[Float64Array, dict[str, Any]]:
    """Independent standard normal entries."""
    return random.normal(size=(n, d)), {"population_covariance": np.eye(d), "rank": min(n - 1, d)}


def heavy_tailed(random: np.random.Generator, n: int, d: int) -> tuple[Float64Array, dict[str, Any]]:
    """Entries of Student's t with three degrees of freedom: a few of them are most of every sum."""
    return random.standard_t(3, size=(n, d)), {
        "population_covariance": 3.0 * np.eye(d),
        "rank": min(n - 1, d),
    }


def near_rank_one(random: np.random.Generator, n: int, d: int) -> tuple[Float64Array, dict[str, Any]]:
    """One direction a thousand times as strong as all others: nearly every product is of the same size."""
    direction = random.normal(size=d)
    rows = np.outer(random.normal(size=n), direction) + 1e-3 * random.normal(size=(n, d))
    covariance = np.outer(direction, direction) + 1e-6 * np.eye(d)
    return rows, {"population_covariance": covariance, "rank": min(n - 1, d)}


def relu(random: np.random.Generator, n: int, d: int) -> tuple[Float64Array, dict[str, Any]]:
    """Sparse features: normal entries less half a standard deviation, negatives cut off."""
    return np.maximum(random.normal(size=(n, d)) - 0.5, 0.0), {}


def constant_magnitude(random: np.random.Generator, n: int, d: int) -> tuple[Float64Array, dict[str, Any]]:
    """Plus or minus the magnitude of the column: the rounding errors of squares all point one way."""
    magnitude = 1.0 + random.random(size=d)
    rows = random.choice([-1.0, 1.0], size=(n, d)) * magnitude
    return rows, {"sum_of_squares": n * magnitude**2, "population_covariance": np.diag(magnitude**2)}


def counts(random: np.random.Generator, n: int, d: int) -> tuple[Float64Array, dict[str, Any]]:
    """Poisson counts, of means between a twentieth and twenty."""
    means = np.geomspace(0.05, 20.0, d)
    return random.poisson(means, size=(n, d)).astype(np.float64), {"population_covariance": np.diag(means)}


def power_law(
    random: np.random.Generator, n: int, d: int, *, exponent: float = 3.0
) -> tuple[Float64Array, dict[str, Any]]:
    """Rows whose sample covariance has the eigenvalues i^-exponent, in a random basis; n > d."""
    eigenvalues = np.arange(1, d + 1, dtype=np.float64) ** -exponent
    return _with_eigenvalues(random, n, d, eigenvalues), {"eigenvalues": eigenvalues, "rank": d}


def low_rank(
    random: np.random.Generator, n: int, d: int, *, share: float = 0.25
) -> tuple[Float64Array, dict[str, Any]]:
    """Rows of a subspace of d/4 dimensions (128 of 512), of equal variance along each; n > d."""
    rank = max(1, int(d * share))
    eigenvalues = np.where(np.arange(d) < rank, 1.0, 0.0)
    return _with_eigenvalues(random, n, d, eigenvalues), {"eigenvalues": eigenvalues, "rank": rank}


def _with_eigenvalues(random: np.random.Generator, n: int, d: int, eigenvalues: Float64Array) -> Float64Array:
    used = int((eigenvalues > 0.0).sum())
    scores = random.normal(size=(n, used))
    # Orthonormal columns that are orthogonal to the ones have mean zero and exact covariance.
    scores, _ = np.linalg.qr(scores - scores.mean(axis=0))
    basis, _ = np.linalg.qr(random.normal(size=(d, d)))
    rows: Float64Array = (scores * np.sqrt(eigenvalues[:used] * (n - 1))) @ basis[:, :used].T
    return rows


GENERATORS: Mapping[str, Generator] = {
    "gaussian": gaussian,
    "heavy_tailed": heavy_tailed,
    "near_rank_one": near_rank_one,
    "relu": relu,
    "constant_magnitude": constant_magnitude,
    "counts": counts,
    "power_law": power_law,
    "low_rank": low_rank,
}
"""Name to generator."""


def labelled(
    n: int = 1000,
    d: int = 16,
    c: int = 5,
    *,
    seed: int = 0,
    within: float = 1.0,
    between: float = 3.0,
    offset: float = 0.0,
) -> tuple[Float64Array, npt.NDArray[np.int64]]:
    """Returns float64 rows and their labels: normal classes of unequal size about normal class means.

    Args:
        n: rows.
        d: features.
        c: classes; the smaller labels are the larger classes, and each has at least one row.
        seed: seed of everything random.
        within: standard deviation within classes; small for collapsed ones.
        between: standard deviation of the class means.
        offset: added to every entry.
    """
    random = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, c + 1)
    labels = np.concatenate([np.arange(c), random.choice(c, size=n - c, p=weights / weights.sum())])
    random.shuffle(labels)
    means = between * random.normal(size=(c, d)) + offset
    return means[labels] + within * random.normal(size=(n, d)), labels
