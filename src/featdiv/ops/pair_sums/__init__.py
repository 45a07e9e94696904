"""The pair_sums op: reductions over all pairs of rows that never store the n x n matrix.

Over the unordered pairs i < j of one set, or over all pairs (i, j) of two sets, it gives

    exp_sums[t]  = sum exp(-t |x_i - y_j|^2)        for several t at once,
    distance_sum = sum |x_i - y_j|,
    histogram    of the cosine x_i . y_j / (|x_i| |y_j|), or of the distance |x_i - y_j|,
    close        number of pairs with cosine >= threshold, or distance <= threshold, and the first of them,
    nearest      the pair with the largest cosine, or the smallest distance.

Bounds, with u = 2^-24 (float32) or 2^-53 (float64) and c = 44 + d/32: a squared distance is off by at most
c u (|x|^2 + |y|^2), a cosine by c u, and so a term exp(-t |x - y|^2) of rows of unit length by 2 c t u, relative;
the errors of many pairs are of either sign and largely cancel in the sum. Where rows are not normalised, |x| and |y|
are measured from a mean of the rows: in float32, one row a thousand times as far from it as the others leaves little
of their exponentials. A pair whose value lies within its bound of a histogram edge or of the threshold is computed
again in float64 from the rows themselves, so that counts are those of float64 arithmetic. So is a pair whose squared
distance is below 2^-10 (|x|^2 + |y|^2) before its distance is added, so that near copies do not add the rounding of a
difference. Only the choice of the nearest pair among pairs closer than the bound is arbitrary.

With ``precision="mixed"`` and nothing but exponentials wanted, a backend may round the rows, less a mean, to 16-bit
integers times a unit of each row, at random: floor(z / unit + u) with u uniform in [0, 1), a function of the numbers of
row and feature. Rounded entries then have the right expectation whatever the rows are and independent errors, which
cancel in sums over pairs: of rows of norm up to r, n of them, the standard deviation of the logarithm of a sum is at
most 6.2e-5 t r^2 / sqrt(n), about what rows in two opposite points of one axis have; features of networks have some
hundredth of it. That is where many pairs share the sum: where one makes most of it, as two copies at a large t may,
nothing cancels, and it is 6.2e-5 t r^2. Where t r^2 passes 128, rows are not rounded. Nothing in it depends on the
number of threads.

From 16,384 rows of one set on, where t r^2 is at most 8, rows may be tapered as well: turned into the principal
components of a sample, of which the small ones are rounded to bytes. They are where the sample predicts that this
leaves a standard deviation of 2.5e-7 at most; the bias that it predicts is taken off the sums (`tapered`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, RowError
from featdiv.io.progress import Progress, check_progress
from featdiv.ops._arrays import takes_arrays
from featdiv.ops._dispatch import PRECISIONS, Request, choose, load
from featdiv.ops.scatter import describe_rows

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

__all__ = ["BlockSums", "PairSums", "PairTask", "pair_sums"]

MEASURES = ("cosine", "distance")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairTask:
    """What is wanted of the pairs; see `pair_sums` for the meaning of each field.

    Attributes:
        rates: values of t.
        distances: whether to add up the distances.
        measure: ``"cosine"``, ``"distance"``, or None where nothing is wanted of it.
        edges: (bins + 1,) equally spaced histogram edges, or None.
        threshold: of close pairs, or None.
        examples: how many close pairs to list.
        normalize: ``"l2"`` or None.
        precision: ``"float32"`` or ``"float64"``.
        may_round: whether rows may be rounded to integers.
        progress: called with (pairs done, pairs in all), or None.
    """

    rates: tuple[float, ...]
    distances: bool
    measure: str | None
    edges: npt.NDArray[np.float64] | None
    threshold: float | None
    examples: int
    normalize: str | None
    precision: str
    may_round: bool = False
    progress: Progress | None = None

    @property
    def bins(self) -> int:
        """Number of bins; 0 for no histogram."""
        return 0 if self.edges is None else len(self.edges) - 1

    def closeness(self, value: Any) -> Any:
        """Returns the measure turned so that larger is closer."""
        return -value if self.measure == "distance" else value


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BlockSums:
    """Sums and counts by pairs of blocks of rows, zero where the first block comes after the second.

    Attributes:
        exp_sums: (g, g, rates) float64.
        distance_sums: (g, g) float64, or None.
        histogram: (g, g, bins) int64, or None.
        pairs: (g, g) int64 numbers of pairs.
    """

    exp_sums: npt.NDArray[np.float64]
    distance_sums: npt.NDArray[np.float64] | None
    histogram: npt.NDArray[np.int64] | None
    pairs: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSums:
    """What the op returns, on the host.

    Attributes:
        pairs: number of pairs: n (n - 1) / 2 within one set, n m across two.
        exp_sums: float64, one for each rate.
        distance_sum: sum of the distances, or None.
        edges: (bins + 1,) float64 histogram edges, or None.
        histogram: (bins,) int64, or None. A bin holds its lower edge, the last one also its upper.
        below: pairs below the first edge.
        above: pairs above the last edge.
        close: pairs at least as close as the threshold, or None.
        close_pairs: (k, 2) int64 the first of them, by left row and then right row.
        nearest: (left row, right row, value in float64) of the nearest pair, or None without a measure or pairs.
        backend: the backend that did it.
        precision: ``"float64"``, ``"float32"``, or ``"mixed"`` where rows were rounded to integers.
        by_block: the same sums and counts by pairs of blocks, or None.
    """

    pairs: int
    exp_sums: npt.NDArray[np.float64]
    distance_sum: float | None = None
    edges: npt.NDArray[np.float64] | None = None
    histogram: npt.NDArray[np.int64] | None = None
    below: int = 0
    above: int = 0
    close: int | None = None
    close_pairs: npt.NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.int64))
    nearest: tuple[int, int, float] | None = None
    backend: str = ""
    precision: str = ""
    by_block: BlockSums | None = None


@takes_arrays
def pair_sums(
    x: Rows,
    other: Rows | None = None,
    *,
    rates: Sequence[float] = (2.0,),
    distances: bool = False,
    measure: str | None = None,
    bins: int = 0,
    limits: tuple[float, float] | None = None,
    threshold: float | None = None,
    examples: int = 0,
    normalize: str | None = "l2",
    blocks: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None,
    precision: str = "float32",
    backend: str = "auto",
    progress: Progress | None = None,
) -> PairSums:
    """Returns the reductions over all pairs of rows.

    Args:
        x: (n, d) NumPy, torch or CuPy array on any device, of any float or integer type, of any strides.
        other: (m, d) rows of a second set, of the same type and on the same device; None for pairs within ``x``.
        rates: values of t in exp(-t |x - y|^2), all positive and finite; may be empty.
        distances: whether to add up the distances |x - y|.
        measure: ``"cosine"`` or ``"distance"`` for histogram, close pairs and nearest pair; None for none of them.
        bins: number of histogram bins; 0 for no histogram.
        limits: first and last histogram edge; default (-1, 1) for cosines, (0, 2) for distances of unit rows.
        threshold: cosine from which, or distance up to which, a pair is close; None to count none.
        examples: how many close pairs to list, the first by row numbers.
        normalize: ``"l2"`` divides each row by its Euclidean norm first; None takes rows as they are.
        blocks: (n,) numbers 0 ... g - 1 of the blocks that rows of one set belong to, none of them empty, to have the
            sums and the histogram by pairs of blocks as well; None for none. Costs little where rows of a block follow
            one another and the backend is native, else one call for each pair of blocks.
        precision: ``"float32"`` or ``"float64"`` products, or ``"mixed"``: float32, or faster ones of rows rounded to
            integers where ``rates`` alone are asked for (see the bounds in this module's description).
        backend: backend name or ``"auto"``.
        progress: called with (pairs done, pairs in all) now and then, and once at the end.

    Raises:
        InputError: if an argument has the wrong shape, type, range or combination, or squared norms overflow.
        NonFiniteError: if a row holds NaN or infinity; ``count`` and ``first_row`` count within ``x`` (or ``other``,
            where ``x`` is good).
        ZeroNormError: with ``normalize="l2"``, if a row has norm zero; likewise.
        BackendUnavailable: if no backend can run this.

    Complexity:
        n^2 d / 2 multiply-adds (n m d across two sets). The native backend reads rows where they lie, a memory map
        among them, and keeps a few numbers a row and at most 64 MB of packed rows (more beyond 40,000 features); rows
        that are no plain rows (transposed, of another byte order) are copied first. torch keeps blocks of rows and a
        few numbers a row.

    Source:
        The first sum is that of the uniformity loss (Wang & Isola 2020).

    Example:
        >>> import numpy as np
        >>> square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> sums = pair_sums(square, rates=[1.0], measure="cosine", bins=2, threshold=-1.0, examples=1)
        >>> sums.pairs, round(float(sums.exp_sums[0]), 6)  # 4 exp(-2) + 2 exp(-4)
        (6, 0.577972)
        >>> sums.histogram.tolist(), sums.close, sums.close_pairs.tolist()
        ([2, 4], 6, [[0, 1]])
    """
    check_progress(progress, function="pair_sums", told="pairs done, pairs in all")
    task = _checked_task(rates, distances, measure, bins, limits, threshold, examples, normalize, precision)
    task = dataclasses.replace(task, progress=progress)
    device, dtype = _checked_rows(x, other)
    n, d = (int(size) for size in x.shape)
    pairs = n * (n - 1) // 2 if other is None else n * int(other.shape[0])
    request = Request(op="pair_sums", device=device, dtype=dtype, n=n, d=d, precision=precision)
    name = choose(request, backend)
    module = load("pair_sums", name)
    result: PairSums
    if blocks is None:
        result = module.pair_sums(x, other, task)
    else:
        numbers, count = _checked_blocks(blocks, n, other)
        if hasattr(module, "pair_sums_by_block") and bool((np.diff(numbers) >= 0).all()):
            edges = np.searchsorted(numbers, np.arange(count + 1))
            result = module.pair_sums_by_block(x, edges.astype(np.int64), task)
        else:
            from featdiv.ops.pair_sums import by_block

            members = [np.flatnonzero(numbers == block) for block in range(count)]
            result = by_block.pair_sums(module.pair_sums, x, members, task)
    if progress is not None:
        progress(pairs, pairs)
    precision = result.precision or task.precision
    return dataclasses.replace(result, pairs=pairs, edges=task.edges, backend=name, precision=precision)


def _checked_rows(x: Rows, other: Rows | None) -> tuple[str, str]:
    for name, rows in (("x", x), ("other", other)):
        if rows is not None and (rows.ndim != 2 or rows.shape[1] < 1):
            raise InputError(f"pair_sums: {name}: expected shape (n, d) with d >= 1; got {tuple(rows.shape)}")
    kind = describe_rows(x)
    if other is not None and (describe_rows(other) != kind or other.shape[1] != x.shape[1]):
        device, dtype = describe_rows(other)
        raise InputError(
            f"pair_sums: other: expected {kind[1]} rows of {x.shape[1]} features on {kind[0]!r}, like x; "
            f"got {dtype} rows of {other.shape[1]} features on {device!r}"
        )
    return kind


def _checked_blocks(blocks: Any, n: int, other: Rows | None) -> tuple[npt.NDArray[np.int64], int]:
    if other is not None:
        raise InputError("pair_sums: blocks: expected None for pairs across two sets")
    numbers = np.asarray(blocks)
    if numbers.shape != (n,) or not n or numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= n:
        raise InputError(
            f"pair_sums: blocks: expected one block number, 0 or more, for each of the {n} rows of x; "
            f"got shape {numbers.shape} of {numbers.dtype}"
        )
    numbers = numbers.astype(np.int64)
    sizes = np.bincount(numbers)
    if not sizes.all():
        raise InputError(f"pair_sums: blocks: expected numbers without a gap; no row is of block {int(sizes.argmin())}")
    return numbers, len(sizes)


def _checked_task(
    rates: Sequence[float],
    distances: bool,
    measure: str | None,
    bins: int,
    limits: tuple[float, float] | None,
    threshold: float | None,
    examples: int,
    normalize: str | None,
    precision: str,
) -> PairTask:
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise InputError(f"pair_sums: rates: expected positive finite numbers; got {list(rates)}")
    if measure not in (None, *MEASURES):
        raise InputError(f"pair_sums: measure: expected None, 'cosine' or 'distance'; got {measure!r}")
    if normalize not in (None, "l2"):
        raise InputError(f"pair_sums: normalize: expected None or 'l2'; got {normalize!r}")
    if measure == "cosine" and normalize is None:
        raise InputError("pair_sums: measure='cosine' needs normalize='l2', which divides rows by their norms")
    if measure is None and (bins or threshold is not None):
        raise InputError("pair_sums: bins and threshold need measure='cosine' or 'distance'")
    if precision not in PRECISIONS:
        raise InputError(f"pair_sums: precision: expected one of {', '.join(PRECISIONS)}; got {precision!r}")
    if bins < 0 or bins > 1 << 20 or examples < 0:
        raise InputError(f"pair_sums: expected 0 <= bins <= {1 << 20} and examples >= 0; got {bins}, {examples}")
    edges: npt.NDArray[np.float64] | None = None
    if bins:
        if limits is None and measure == "distance" and normalize is None:
            raise InputError("pair_sums: limits: distances of rows of any length have no natural limits; give them")
        low, high = limits or ((-1.0, 1.0) if measure == "cosine" else (0.0, 2.0))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"pair_sums: limits: expected finite low < high; got {limits}")
        edges = low + np.arange(bins + 1, dtype=np.float64) * ((high - low) / bins)
        edges[-1] = high
    return PairTask(
        rates=tuple(float(rate) for rate in rates),
        distances=distances,
        measure=measure,
        edges=edges,
        threshold=None if threshold is None else float(threshold),
        examples=examples if threshold is not None else 0,
        normalize=normalize,
        # The product of an infinite rate and the distance of two copies is no number.
        precision="float64" if precision == "float64" or max(rates, default=0.0) > 1e38 else "float32",
        may_round=precision not in ("float64", "float32") and measure is None and not distances,
    )


def out_of_range() -> InputError:
    """Returns the error of rows whose squared norms float64 cannot hold."""
    return InputError(
        "pair_sums: expected entries whose squares float64 can hold, between 1e-135 and 1e147; "
        "multiply all rows by a constant"
    )


def of_set(error: RowError, other: Rows | None, *, in_other: bool) -> RowError:
    """Returns the error with a message that names the set that it is about."""
    name = "other" if in_other and other is not None else "x"
    return type(error)(f"pair_sums: {name}: {error}", count=error.count, first_row=error.first_row)
