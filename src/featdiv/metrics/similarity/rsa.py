"""Representational similarity analysis: the correlation of the distances between rows in two representations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.similarity.rows import resolve_rows
from featdiv.results import Score
from featdiv.stats import arguments, ranks
from featdiv.stats.moments import Float64Array

DEFINITIONS = ("spearman", "pearson")
DISTANCES = ("correlation", "cosine", "euclidean")
LEAST_ROWS = 3


def prepare(
    rows: npt.NDArray[Any], *, name: str, distance: str = "correlation", definition: str = "spearman"
) -> Float64Array:
    """Returns the distances over pairs i < j (their ranks, for Spearman), centred and scaled to unit length.

    Raises:
        NotEnoughData: if there are fewer than three rows, a row has no direction, or all distances are equal.
    """
    if len(rows) < LEAST_ROWS:
        raise NotEnoughData(f"two rows have one distance, and a correlation needs more; got {len(rows)} rows")
    z = np.asarray(rows, dtype=np.float64)
    upper = np.triu_indices(len(z), 1)
    rounding = ranks.of_products(z.shape[1])
    if distance == "euclidean":
        z = z - z.mean(axis=0)
        squares = np.einsum("ij,ij->i", z, z)
        # Squares have the same ranks as distances, and rounding near zero is not enlarged by the root.
        values = np.maximum((squares[:, None] + squares - 2.0 * (z @ z.T))[upper], 0.0)
        rounding *= 2.0 * float(squares.max())
        if definition == "pearson":
            values = np.sqrt(values)
    else:
        unit = _unit(z, name=name, distance=distance)
        values = 1.0 - (unit @ unit.T)[upper]
    largest = float(values.max())
    if definition == "spearman":
        values = ranks.tied_ranks(values, rounding)
        largest = float(len(values))
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    if not length > 1e-12 * largest * math.sqrt(len(values)):
        raise NotEnoughData(f"the rows of {name} are all equally far from one another")
    scaled: Float64Array = values / length
    return scaled


def _unit(z: Float64Array, *, name: str, distance: str) -> Float64Array:
    """Returns rows of length one, about their own means for the distance of correlations."""
    largest = np.abs(z).max(axis=1)
    z = z / np.where(largest > 0.0, largest, 1.0)[:, None]
    what = "a norm that is not zero"
    if distance == "correlation":
        what, z = "features that are not all equal", z - z.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(z, axis=1)
    # What rounding leaves of a row of equal entries, about their mean, has no direction.
    flat = lengths <= 1e-12
    if flat.any():
        raise NotEnoughData(
            f"distance={distance!r} needs rows with {what}; row {int(flat.argmax())} of those taken from {name} has not"
        )
    return np.asarray(z / lengths[:, None])


def core(x: Float64Array, other: Float64Array) -> float:
    """Returns the correlation of two prepared sets of distances; see `rsa`."""
    return min(1.0, max(-1.0, float(x @ other)))


def rsa(
    x: Any,
    other: Any = None,
    *,
    definition: str = "spearman",
    distance: str = "correlation",
    sample: int = 2000,
    normalize: str | None = None,
    seed: int = 0,
) -> Score:
    """RSA: the rank correlation over pairs i < j of the distances dist(x_i, x_j) and dist(y_i, y_j).

    Args:
        x: rows (array, path, source).
        other: the same rows in another representation.
        definition: ``"spearman"``, or ``"pearson"`` for the correlation of the distances themselves.
        distance: ``"correlation"`` (1 - the correlation of two rows over their features), ``"cosine"`` (1 - their
            cosine) or ``"euclidean"``.
        sample: most rows to take: distances are quadratic. The result says how many were.
        normalize: ``"l2"`` to divide each row by its norm first.
        seed: which rows are taken.

    Returns:
        A `Score` between -1 and 1. ``details`` hold the size of the sample and the distance.

    Raises:
        NotEnoughData: with fewer than three rows, or if a side's distances are all equal or not defined.
        InputError: if the two do not hold the same rows.

    Complexity:
        m^2 (d_x + d_y) for m rows sampled, and O(m^2 log m) for ranks.

    Source:
        Kriegeskorte, Mur & Bandettini 2008.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(50, 8))
        >>> round(float(featdiv.rsa(x, 3.0 * x[:, ::-1])), 6)
        1.0
    """
    arguments.one_of("rsa", "definition", definition, DEFINITIONS)
    arguments.one_of("rsa", "distance", distance, DISTANCES)
    arguments.check_seed("rsa", seed)
    sample = positive(sample, "rsa: sample")
    if sample < LEAST_ROWS:
        raise InputError(f"rsa: sample: expected at least {LEAST_ROWS} rows; got {sample}")
    rows = resolve_rows(x, other, function="rsa", normalize=normalize, sample=sample, seed=seed)
    taken = len(rows.rows["x"])
    return rows.score(
        prepare,
        core,
        definition=definition,
        parameters={"distance": distance, "sample": sample},
        details={"sample": taken, "pairs": taken * (taken - 1) // 2, "distance": distance},
        notes=sampling_note(rows.provenance.n, rows.sampled, seed),
    )


def sampling_note(n: int | None, sampled: int | None, seed: int) -> tuple[str, ...]:
    """Returns the remark that belongs to a number from a sample of the rows."""
    return () if sampled is None else (f"from a sample of {sampled} of {n} rows, seed {seed}",)
