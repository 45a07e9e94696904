"""Intra-class distance: how far apart two rows of the same class are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__, io
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import dropped_note, opened, resolve_classes
from featdiv.metrics.labelled.rows import BLOCK_ROWS, ClassRows, Float64Array, LabelledRows
from featdiv.ops.pair_sums import pair_sums
from featdiv.results import Provenance, Score
from featdiv.stats import ClassMoments

DEFINITIONS = ("euclidean", "squared")
SLAB_ROWS = 16 * BLOCK_ROWS
"""Rows of a class whose pairs with as many others are added up in one go."""


def core(x: Float64Array, labels: npt.ArrayLike) -> float:
    """Returns the mean over classes of the mean Euclidean distance of their pairs, of rows in memory."""
    rows = LabelledRows.of(io.open(x, labels=labels), function="intra_class_distance", normalize="l2")
    return _mean(_by_class(rows, precision="float64", backend="auto")[0], rows.counts)


def squared(classes: ClassMoments) -> float:
    """Returns the mean over classes of the mean squared distance of their pairs, from moments of unit rows."""
    return _mean(_squared_by_class(classes), classes.counts)


def _squared_by_class(classes: ClassMoments) -> Float64Array:
    n = classes.counts.astype(np.float64)
    if classes.scatters is None:
        spread = np.maximum(0.0, 1.0 - np.einsum("ij,ij->i", classes.means, classes.means))
    else:
        # The scatter keeps the digits that 1 - |mean|^2 loses where a class has collapsed.
        spread = np.trace(classes.scatters, axis1=1, axis2=2) / n
    pairs = n > 1.0
    return np.where(pairs, 2.0 * spread * n / np.where(pairs, n - 1.0, 1.0), np.nan)


def _by_class(rows: LabelledRows, *, precision: str, backend: str) -> tuple[Float64Array, str]:
    """Returns the mean distance within each class, NaN where it has no pair, and the backend of the sums."""
    distances = np.full(len(rows.classes), np.nan)
    used = ""
    for k, part in rows.each_class():
        if part.n > 1:
            total, used = _pair_distances(part, precision=precision, backend=backend)
            distances[k] = total / (0.5 * part.n * (part.n - 1))
    return distances, used


def _pair_distances(part: ClassRows, *, precision: str, backend: str) -> tuple[float, str]:
    """Returns the sum of distances over pairs i < j, a slab of rows against another at a time.

    Rows about a common point near them keep the digits of small distances when they are rounded to float32.
    """
    centre = part.block(0).mean(axis=0)
    dtype = np.float64 if precision == "float64" else np.float32

    def slab(first: int) -> npt.NDArray[Any]:
        blocks = [start for start in part.starts() if first <= start < first + SLAB_ROWS]
        return np.concatenate([(part.block(start) - centre).astype(dtype) for start in blocks])

    wanted: dict[str, Any] = {"rates": (), "distances": True, "normalize": None}
    total, used = 0.0, ""
    for first in range(0, part.n, SLAB_ROWS):
        left = slab(first)
        others = [None, *range(first + SLAB_ROWS, part.n, SLAB_ROWS)]
        for other in others:
            right = None if other is None else slab(other)
            found = pair_sums(left, right, precision=precision, backend=backend, **wanted)
            total += found.distance_sum or 0.0
            used = found.backend
    return total, used


def _mean(by_class: Float64Array, counts: npt.NDArray[np.int64]) -> float:
    if not (counts > 1).any():
        raise NotEnoughData(f"a pair needs 2 rows of a class; the largest of {len(counts)} classes has 1")
    return float(np.nanmean(by_class))


def _details(by_class: Float64Array, classes: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "per_class": {
            label: None if np.isnan(value) else float(value)
            for label, value in zip(classes.tolist(), by_class, strict=True)
        },
        "classes_of_one_row": int(np.isnan(by_class).sum()),
    }


def _note(by_class: Float64Array) -> tuple[str, ...]:
    alone = int(np.isnan(by_class).sum())
    return (f"{alone} classes of one row have no pair and are left out of the mean",) if alone else ()


def intra_class_distance(
    x: Any,
    labels: Any = None,
    *,
    definition: str = "euclidean",
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
) -> Score:
    """Intra-class distance: the mean distance of two rows of a class, then the mean over classes.

    Rows are divided by their norm first, so distances lie between 0 and 2. Every class has the same weight,
    whatever its size. All pairs count, none is sampled. Definitions:

    * ``"euclidean"``: |u_i - u_j|, from the rows.
    * ``"squared"``: |u_i - u_j|^2, whose mean over the pairs of class c is 2 (1 - |mu_c|^2) n_c/(n_c - 1),
      mu_c the mean of its unit rows: from moments, in one pass.

    Args:
        x: rows (array, path, source that can be read by index). For ``"squared"`` also an iterable of chunks,
            or `ClassMoments` of unit rows (``normalize="l2"``).
        labels: one integer or string for each row; None where ``x`` carries them.
        definition: one of the above.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: ``"float32"`` or ``"float64"``: arithmetic of the products. Near copies are always compared in
            float64.
        backend: backend of the second moments for ``"squared"``, else of the sums over pairs.

    Returns:
        A `Score` between 0 and 2 (``"squared"``: 4); ``details["per_class"]`` has the value of each class. A
        class of one row has no pair: it has the value None and is left out of the mean, and a note says so.

    Raises:
        NotEnoughData: if no class has two rows.
        ZeroNormError: if a row is zero.
        InputError: if labels are missing or cannot be used, or ``x`` cannot give what the definition needs.

    Complexity:
        ``"euclidean"``: sum of n_c^2 d / 2, in slabs of 32,768 rows of a class; memory 16 bytes for each entry of
        two slabs, whatever n. ``"squared"``: n d^2.

    Source:
        Kornblith et al. 2021, who average cosine distances; half of ``"squared"``.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [-1.0, 0.0]])  # distances sqrt(2) and 2
        >>> score = featdiv.intra_class_distance(x, ["a", "a", "b", "b"])
        >>> {label: round(value, 4) for label, value in score.details["per_class"].items()}
        {'a': 1.4142, 'b': 2.0}
    """
    if definition not in DEFINITIONS:
        raise InputError(
            f"intra_class_distance: definition: expected one of {', '.join(DEFINITIONS)}; got {definition!r}"
        )
    if definition == "squared":
        resolved = resolve_classes(
            x,
            labels,
            function="intra_class_distance",
            ignore=ignore,
            precision=precision,
            backend=backend,
            unit_rows=True,
        )
        return resolved.score(
            lambda classes, definition: squared(classes),
            definition=definition,
            details=lambda classes, definition: _details(_squared_by_class(classes), classes.classes),
            notes=_note(_squared_by_class(resolved.statistic)),
        )
    if isinstance(x, ClassMoments):
        raise InputError(
            "intra_class_distance: x: mean Euclidean distances need the rows; got ClassMoments, which no longer hold "
            "them. Pass the rows, or use definition='squared'."
        )
    with opened(x, labels, function="intra_class_distance") as source:
        rows = LabelledRows.of(source, function="intra_class_distance", ignore=ignore, normalize="l2")
        by_class, used = _by_class(rows, precision=precision, backend=backend)
        try:
            value = _mean(by_class, rows.counts)
        except NotEnoughData as error:
            raise NotEnoughData(f"intra_class_distance: {error}") from None
        return Score(
            name="intra_class_distance",
            scores={"intra_class_distance": value},
            details=_details(by_class, rows.classes),
            provenance=Provenance(
                function="featdiv.intra_class_distance",
                version=__version__,
                definition=definition,
                arguments={"normalize": "l2", "classes": len(rows.classes)},
                method="all pairs",
                precision=precision,
                backends={"pair_sums": used} if used else {},
                dtype=source.dtype,
                n=int(rows.counts.sum()),
                d=source.d,
                source=source.description,
                fingerprint=source.fingerprint,
                passes=1,
                notes=(*dropped_note(rows.dropped), *_note(by_class)),
            ),
        )
