"""Alignment: how near two views of the same input lie to each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featdiv import __version__
from featdiv.errors import InputError, RowError
from featdiv.metrics.geometric.rows import opened
from featdiv.ops.scatter import reference
from featdiv.results import Provenance, Score
from featdiv.stats import arguments, resampling
from featdiv.stats.resampling import Float64Array

CHUNK_ROWS = 8192
LEAST_SLAB = 64
MOST_SLABS = 20


def core(x: Float64Array, other: Float64Array, *, a: float = 2.0) -> float:
    """Returns the mean of |u_i - v_i|^a of unit rows in memory."""
    left, right = (reference.transformed(rows, normalize="l2") for rows in (x, other))
    return float(_powers(left, right, a).mean())


def _powers(left: Float64Array, right: Float64Array, a: float) -> Float64Array:
    """Returns |left_i - right_i|^a; overwrites ``left``."""
    left -= right
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", left, left)) ** a)


def alignment(x: Any, other: Any, *, a: float = 2.0, normalize: str | None = "l2") -> Score:
    """Alignment: the mean of |u_i - v_i|^a over positive pairs, u = x/|x| and v = y/|y|.

    Row i of ``other`` is another view of what row i of ``x`` shows: another augmentation, the caption of an image.

    Args:
        x: rows (array, path, source).
        other: as many rows of the same width.
        a: power of the distance, 2 as published.
        normalize: ``"l2"`` as published; None takes rows as they are.

    Returns:
        A `Score` between 0 and 2^a (without ``normalize``: not bounded), with a 95 % jackknife interval where there
        are rows enough.

    Raises:
        ZeroNormError: if a row to be normalised is zero.
        InputError: if the two have not the same shape, or an argument is out of range.

    Complexity:
        O(n d), in one pass over both.

    Source:
        Wang & Isola 2020, equation 1.

    Example:
        >>> import featdiv, numpy as np
        >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 1.0], [0.0, 5.0]])
        >>> round(float(featdiv.alignment(x, y)), 6)  # squared distances 2 and 0
        1.0
    """
    a = arguments.number("alignment", "a", a, "a positive finite power", lambda power: 0.0 < power < math.inf)
    arguments.one_of("alignment", "normalize", normalize, (None, "l2"))
    with opened(x, function="alignment") as left, opened(other, function="alignment", argument="other") as right:
        if left.d != right.d or (left.n is not None and right.n is not None and left.n != right.n):
            raise InputError(
                f"alignment: other: expected {left.n} rows of {left.d} features, like x; got {right.n} of {right.d}"
            )
        parts = []
        others = right.chunks(CHUNK_ROWS)
        for chunk in left.chunks(CHUNK_ROWS):
            beside = next(others, None)
            if beside is None or beside.rows.shape[0] != chunk.rows.shape[0]:
                raise InputError("alignment: other: expected as many rows as x, in chunks of the same size")
            left_rows = _rows(chunk.rows, chunk.start, "x", normalize)
            parts.append(_powers(left_rows, _rows(beside.rows, chunk.start, "other", normalize), a))
        if next(others, None) is not None:
            raise InputError("alignment: other: expected as many rows as x; got more")
        values = np.concatenate(parts)
        provenance = Provenance(
            function="featdiv.alignment",
            version=__version__,
            arguments={"a": a, "normalize": normalize, "other": right.description},
            method="positive pairs",
            precision="float64",
            dtype=left.dtype,
            n=len(values),
            d=left.d,
            source=left.description,
            fingerprint=left.fingerprint,
            extraction=left.extraction,
            passes=1,
        )
    return Score(
        name="alignment",
        scores={"alignment": float(values.mean())},
        intervals=_interval(values),
        provenance=provenance,
    )


def _rows(rows: Any, start: int, argument: str, normalize: str | None) -> Float64Array:
    """Returns rows of a chunk in float64; errors name the argument and the row of the source."""
    try:
        return reference.transformed(rows, normalize=normalize)
    except RowError as error:
        first = start + error.first_row
        message = f"alignment: {argument}: {error}, counted from row {start}: row {first} of the source"
        raise type(error)(message, count=error.count, first_row=first) from None


def _interval(values: Float64Array) -> dict[str, Any]:
    n = len(values)
    count = min(MOST_SLABS, n // LEAST_SLAB)
    if count < resampling.LEAST_GROUPS:
        return {}
    slabs = np.array_split(values, count)
    shares = np.array([len(slab) for slab in slabs]) / n
    without = np.array([(values.sum() - slab.sum()) / (n - len(slab)) for slab in slabs])
    theta = float(values.mean())
    _, error = resampling.jackknife(theta, without, shares)
    found = resampling.symmetric(theta, error, groups=count, method="jackknife", estimand="population")
    return {"alignment": found}
