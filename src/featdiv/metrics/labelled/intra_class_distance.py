"""Intra-class distance: how far apart two rows of the same class are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__, io
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.geometric import pairs
from featdiv.metrics.labelled.inputs import dropped_note, opened, resolve_classes
from featdiv.metrics.labelled.rows import BLOCK_ROWS, ClassRows, Float64Array, LabelledRows
from featdiv.ops.pair_sums import pair_sums
from featdiv.results import Interval, Provenance, Score
from featdiv.stats import ClassMoments, arguments, class_parts, resampling

DEFINITIONS = ("euclidean", "squared")
BLOCKS = 10
"""Blocks of rows for the bootstrap; fewer than elsewhere, because a large class takes a call for each pair of them."""

LEAST_BLOCK_ROWS = 128
"""Rows below which a block of the bootstrap is too small."""

SLAB_ROWS = 16 * BLOCK_ROWS
"""Rows of a class whose pairs with as many others are added up in one go."""

WANTED: dict[str, Any] = {"rates": (), "distances": True, "normalize": None}


def core(x: Float64Array, labels: npt.ArrayLike) -> float:
    """Returns the mean over classes of the mean Euclidean distance of their pairs, of rows in memory."""
    rows = LabelledRows.of(io.open(x, labels=labels), function="intra_class_distance", normalize="l2")
    return _mean(_distances(rows, precision="float64", backend="auto").by_class, rows.counts)


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
    several = n > 1.0
    return np.where(several, 2.0 * spread * n / np.where(several, n - 1.0, 1.0), np.nan)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Distances:
    """Sums of distances of pairs by class, and by pairs of blocks where an interval is wanted.

    Attributes:
        by_class: (c,) mean distance within each class, NaN where it has no pair.
        sums: (g, g, c) sums over pairs of a row of one block and a row of another, zero below the diagonal.
        pairs: (g, g, c) numbers of those pairs.
        backend: of the sums.
    """

    by_class: Float64Array
    sums: Float64Array
    pairs: Float64Array
    backend: str

    def interval(self, seed: int) -> Interval:
        """Returns the block bootstrap interval of the mean over classes."""

        def mean_of_classes(sums: Float64Array, pairs: Float64Array) -> Float64Array:
            with_pairs = pairs > 0.0
            means = np.where(with_pairs, sums / np.where(with_pairs, pairs, 1.0), 0.0)
            return np.asarray(means.sum(axis=1) / with_pairs.sum(axis=1))

        return resampling.of_pairs(self.sums, self.pairs, mean_of_classes, seed=seed)


def _distances(
    rows: LabelledRows, *, precision: str, backend: str, block_of: npt.NDArray[np.int64] | None = None
) -> _Distances:
    """Returns the distances within each class, block against block where rows are dealt to blocks."""
    g = 1 if block_of is None else int(block_of.max()) + 1
    sums, counts = np.zeros((g, g, len(rows.classes))), np.zeros((g, g, len(rows.classes)))
    used = ""
    for k, part in rows.each_class():
        # Rows about a common point near them keep the digits of small distances when they are rounded to float32.
        centre = part.block(0).mean(axis=0)
        numbers = np.zeros(part.n, dtype=np.int64) if block_of is None else block_of[part.index]
        sizes = np.bincount(numbers, minlength=g).astype(np.float64)
        counts[:, :, k] = np.triu(np.multiply.outer(sizes, sizes), 1) + np.diag(sizes * (sizes - 1.0) / 2.0)
        if 1 < part.n <= SLAB_ROWS:
            sums[:, :, k], used = _by_block(part, numbers, g, centre, precision=precision, backend=backend)
            continue
        parts = [part] if block_of is None else [part.some(numbers == block) for block in range(g)]
        for a, b in np.argwhere(counts[:, :, k]).tolist():
            left, right = parts[a], None if a == b else parts[b]
            sums[a, b, k], used = _pair_distances(left, right, centre, precision=precision, backend=backend)
    total, count = sums.sum(axis=(0, 1)), counts.sum(axis=(0, 1))
    by_class = np.where(count > 0.0, total / np.maximum(count, 1.0), np.nan)
    return _Distances(by_class=by_class, sums=sums, pairs=counts, backend=used)


def _by_block(
    part: ClassRows, numbers: npt.NDArray[np.int64], g: int, centre: Float64Array, *, precision: str, backend: str
) -> tuple[Float64Array, str]:
    """Returns ((g, g) sums of distances by pairs of blocks, backend) of a class that is small enough for one call."""
    rows = np.concatenate([_centred(part, start, centre, precision) for start in part.starts()])
    order = np.argsort(numbers, kind="stable")
    present, blocks = np.unique(numbers[order], return_inverse=True)
    found = pair_sums(rows[order], blocks=blocks.reshape(-1), precision=precision, backend=backend, **WANTED)
    assert found.by_block is not None
    assert found.by_block.distance_sums is not None
    sums = np.zeros((g, g))
    sums[np.ix_(present, present)] = found.by_block.distance_sums
    return sums, found.backend


def _centred(part: ClassRows, start: int, centre: Float64Array, precision: str) -> npt.NDArray[Any]:
    """Returns the block of rows that begins at ``start``, less a common point, in the type of the products."""
    return (part.block(start) - centre).astype(np.float64 if precision == "float64" else np.float32)


def _pair_distances(
    left: ClassRows, right: ClassRows | None, centre: Float64Array, *, precision: str, backend: str
) -> tuple[float, str]:
    """Returns the sum of distances of pairs, within ``left`` or across, a slab of rows against another at a time."""

    def slab(part: ClassRows, first: int) -> npt.NDArray[Any]:
        starts = [start for start in part.starts() if first <= start < first + SLAB_ROWS]
        return np.concatenate([_centred(part, start, centre, precision) for start in starts])

    total, used = 0.0, ""
    for first in range(0, left.n, SLAB_ROWS):
        some = slab(left, first)
        others: list[int | None] = [None, *range(first + SLAB_ROWS, left.n, SLAB_ROWS)]
        if right is not None:
            others = list(range(0, right.n, SLAB_ROWS))
        for other in others:
            against = None if other is None else slab(left if right is None else right, other)
            found = pair_sums(some, against, precision=precision, backend=backend, **WANTED)
            total += found.distance_sum or 0.0
            used = found.backend
    return total, used


def _blocks(source: io.Embeddings, *, n: int, interval: str | None, ignore: Any) -> tuple[Any, str]:
    """Returns ((n,) block of each row or None, why there are no blocks).

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    if interval is None:
        return None, ""
    if source.groups is not None:
        groups = len(np.unique(source.groups))
        count = min(BLOCKS, groups)
        reason = f"a bootstrap needs at least {resampling.LEAST_GROUPS} groups; got {groups}"
    else:
        count = min(BLOCKS, n // LEAST_BLOCK_ROWS)
        reason = f"a block bootstrap needs at least {resampling.LEAST_GROUPS * LEAST_BLOCK_ROWS} rows; got {n}"
    if count >= resampling.LEAST_GROUPS:
        return class_parts.part_of_rows(source, count, ignore=ignore), ""
    if interval == "bootstrap":
        raise InputError(f"intra_class_distance: interval: 'bootstrap' cannot be had here: {reason}")
    return None, reason


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
    interval: str | None = None,
    groups: Any = None,
    seed: int = 0,
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
        interval: None for no interval; ``"auto"`` for a 95 % interval where there are rows enough; or, to get an error
            that says why where there are not, its method: ``"bootstrap"`` for ``"euclidean"`` (of ten blocks of rows,
            with a share of every class in each) and ``"jackknife"`` for ``"squared"``. For rows only.
        groups: (n,) group ids (video, patient, document): resampling keeps groups whole; for rows only.
        seed: of the bootstrap.

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
    arguments.one_of("intra_class_distance", "definition", definition, DEFINITIONS)
    arguments.check_seed("intra_class_distance", seed)
    given = {
        "ignore": ignore,
        "precision": precision,
        "backend": backend,
        "interval": interval,
        "groups": groups,
    }
    if definition == "squared":
        return _from_moments(x, labels, **given)
    return _from_rows(x, labels, seed=seed, **given)


def _from_moments(x: Any, labels: Any, **given: Any) -> Score:
    """Returns the score by the definition ``"squared"``; arguments as `intra_class_distance`."""
    resolved = resolve_classes(x, labels, function="intra_class_distance", unit_rows=True, **given)
    return resolved.score(
        lambda classes, definition: squared(classes),
        definition="squared",
        details=lambda classes, definition: _details(_squared_by_class(classes), classes.classes),
        notes=_note(_squared_by_class(resolved.statistic)),
    )


def _from_rows(
    x: Any,
    labels: Any,
    *,
    ignore: int | str | None,
    precision: str,
    backend: str,
    interval: str | None,
    groups: Any,
    seed: int,
) -> Score:
    """Returns the score by the definition ``"euclidean"``; arguments as `intra_class_distance`."""
    pairs.check_interval("intra_class_distance", interval)
    if isinstance(x, ClassMoments):
        raise InputError(
            "intra_class_distance: x: mean Euclidean distances need the rows; got ClassMoments, which no longer hold "
            "them. Pass the rows, or use definition='squared'."
        )
    with opened(x, labels, function="intra_class_distance", groups=groups) as source:
        rows = LabelledRows.of(source, function="intra_class_distance", ignore=ignore, normalize="l2")
        block_of, reason = _blocks(source, n=int(rows.counts.sum()), interval=interval, ignore=ignore)
        found = _distances(rows, precision=precision, backend=backend, block_of=block_of)
        try:
            value = _mean(found.by_class, rows.counts)
        except NotEnoughData as error:
            raise NotEnoughData(f"intra_class_distance: {error}") from None
        return Score(
            name="intra_class_distance",
            scores={"intra_class_distance": value},
            intervals={} if block_of is None else {"intra_class_distance": found.interval(seed)},
            details=_details(found.by_class, rows.classes),
            provenance=Provenance(
                function="featdiv.intra_class_distance",
                version=__version__,
                definition="euclidean",
                arguments={"normalize": "l2", "classes": len(rows.classes), "interval": interval},
                method="all pairs",
                precision=precision,
                backends={"pair_sums": found.backend} if found.backend else {},
                dtype=source.dtype,
                n=int(rows.counts.sum()),
                d=source.d,
                source=source.description,
                fingerprint=source.fingerprint,
                extraction=source.extraction,
                passes=1,
                seed=None if block_of is None else seed,
                notes=(
                    *dropped_note(rows.dropped),
                    *_note(found.by_class),
                    *((f"no interval: {reason}",) if reason else ()),
                ),
            ),
        )
