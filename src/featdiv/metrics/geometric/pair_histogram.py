"""Pair histogram: the distribution of the cosine, or the distance, of two different rows."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.io.embeddings import positive
from featdiv.io.progress import Progress, check_progress
from featdiv.metrics.geometric import pairs
from featdiv.metrics.geometric.rows import Rows, read
from featdiv.results import Result
from featdiv.stats import arguments
from featdiv.stats.resampling import Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = ("cosine", "distance")
QUANTILES = {"pair_p05": 0.05, "pair_median": 0.5, "pair_p95": 0.95}
BINS = 400


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairHistogram(Result):
    """Result of `pair_histogram`.

    Attributes:
        measure: ``"cosine"`` or ``"distance"``.
        edges: (bins + 1,) float64.
        counts: (bins,) int64 pairs in each bin.
        below: pairs below the first edge.
        above: pairs above the last edge.
        nearest: (row, row, value) of the nearest pair.

    Example:
        >>> import featdiv, numpy as np
        >>> found = featdiv.pair_histogram(np.eye(3), bins=4)
        >>> found.edges.tolist(), found.counts.tolist()
        ([-1.0, -0.5, 0.0, 0.5, 1.0], [0, 0, 3, 0])
    """

    measure: str
    edges: Float64Array
    counts: npt.NDArray[np.int64]
    below: int
    above: int
    nearest: tuple[int, int, float]

    _array_fields = ("measure", "edges", "counts", "below", "above", "nearest")

    @property
    def density(self) -> Float64Array:
        """(bins,) share of all pairs over the width of the bin."""
        total = self.counts.sum() + self.below + self.above
        return np.asarray(self.counts / (total * np.diff(self.edges)))

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the histogram.

        Args:
            ax: axes to draw on; None for a new figure.

        Returns:
            The figure that was drawn on.
        """
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(6.4, 3.6), layout="constrained").subplots()
        ax.stairs(self.density, self.edges, fill=True, color="#1f4e79", alpha=0.8)
        ax.axvline(self.read("pair_median"), color="#c0392b", label=f"median {self.read('pair_median'):.3g}")
        held = np.flatnonzero(self.counts)
        if len(held):
            ax.set_xlim(self.edges[held[0]], self.edges[held[-1] + 1])
        ax.set_xlabel(f"{self.measure} of two rows")
        ax.set_ylabel("density")
        ax.legend(fontsize=8)
        figure = ax.get_figure(root=True)
        assert figure is not None
        return figure

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.6g}" for name, value in self.scores.items())
        return f"PairHistogram({self.measure}, {len(self.counts)} bins, {shown})"


def core(x: Float64Array) -> float:
    """Returns the median cosine of the pairs of rows in memory, to a share of a bin."""
    found = pairs.reduce(read(x, function="pair_histogram"), interval=None, **task())
    return _scores(found)["pair_median"]


def task(
    measure: str = "cosine",
    bins: int = BINS,
    limits: tuple[float, float] | None = None,
    normalize: str | None = "l2",
    precision: str = "float32",
    backend: str = "auto",
) -> dict[str, Any]:
    """Returns the arguments of the pair op."""
    return {
        "rates": (),
        "measure": measure,
        "bins": bins,
        "limits": limits,
        "normalize": normalize,
        "precision": precision,
        "backend": backend,
    }


def _cumulative(counts: Float64Array, below: float) -> Float64Array:
    return np.concatenate([[below], below + np.cumsum(counts)])


def _quantile(edges: Float64Array, cumulative: Float64Array, total: float, q: float) -> float:
    """Returns the value below which a share q of the pairs lies, linear within a bin."""
    return float(np.interp(q * total, cumulative, edges))


def _scores(found: pairs.Pairs) -> dict[str, float]:
    total = found.total
    assert total.edges is not None
    assert total.histogram is not None
    cumulative = _cumulative(total.histogram.astype(np.float64), total.below)
    return {name: _quantile(total.edges, cumulative, total.pairs, q) for name, q in QUANTILES.items()}


def _intervals(found: pairs.Pairs) -> dict[str, Any]:
    edges = found.total.edges
    if found.histogram is None or edges is None or found.total.below or found.total.above:
        return {}
    intervals = {}
    for name, q in QUANTILES.items():

        def score(sums: Float64Array, counts: Float64Array, q: float = q) -> Float64Array:
            return np.array(
                [
                    _quantile(edges, _cumulative(histogram, 0.0), total, q)
                    for histogram, total in zip(sums, counts, strict=True)
                ]
            )

        intervals[name] = found.interval(found.histogram, score)
    return {name: interval for name, interval in intervals.items() if interval is not None}


def of_pairs(rows: Rows, found: pairs.Pairs, *, measure: str, precision: str, **recorded: Any) -> PairHistogram:
    """Returns the result of a pass over pairs that made a histogram."""
    total = found.total
    assert total.edges is not None
    assert total.histogram is not None
    assert total.nearest is not None
    note = (f"no interval: {found.no_interval}",) if found.no_interval else ()
    return PairHistogram(
        scores=_scores(found),
        intervals=_intervals(found),
        measure=measure,
        edges=total.edges,
        counts=total.histogram,
        below=total.below,
        above=total.above,
        nearest=total.nearest,
        provenance=dataclasses.replace(
            rows.provenance,
            arguments={"measure": measure, "sample": rows.sampled, **recorded},
            method="all pairs" if rows.sampled is None else "all pairs of a sample",
            precision=precision,
            backends={"pair_sums": total.backend},
            notes=(*rows.provenance.notes, *note),
        ),
    )


def _check_limits(limits: Any) -> None:
    expected = "(first edge, last edge)"
    if not (isinstance(limits, (tuple, list)) and len(limits) == 2):
        raise InputError(f"pair_histogram: limits: expected {expected}; got {limits!r}")
    for edge in limits:
        arguments.number("pair_histogram", "limits", edge, f"{expected}, both finite", math.isfinite)


def pair_histogram(
    x: Any,
    *,
    measure: str = "cosine",
    bins: int = BINS,
    limits: tuple[float, float] | None = None,
    normalize: str | None = "l2",
    groups: Any = None,
    interval: str | None = None,
    sample: int | None = None,
    precision: str = "float32",
    backend: str = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> PairHistogram:
    """Pair histogram: how many of the n (n - 1)/2 pairs of rows have a cosine (or distance) in each bin.

    Exact for all pairs: those within rounding of an edge are computed again in float64. The quantiles are linear within
    a bin, so they are off by at most its width.

    Args:
        x: rows (array, path, source).
        measure: ``"cosine"`` or ``"distance"``.
        bins: number of bins of equal width.
        limits: first and last edge; default (-1, 1) for cosines, (0, 2) for distances of unit rows.
        normalize: ``"l2"``, or None for distances of rows as they are, which then need ``limits``.
        groups: (n,) group ids: the bootstrap draws whole groups.
        interval: None, ``"bootstrap"`` (95 % block bootstrap of the quantiles) or ``"auto"``.
        sample: how many rows to draw; None for all. The result then says "sample".
        precision: ``"float32"`` or ``"float64"`` products.
        backend: backend of the pair sums.
        memory: budget for the rows; None for a quarter of the RAM.
        seed: of the sample and of the bootstrap.
        progress: called with (rows done, rows in all) while rows are compared.

    Returns:
        A `PairHistogram`: edges, counts, the nearest pair, and the 5 %, 50 % and 95 % quantiles as scores.

    Raises:
        NotEnoughData: if there are fewer than two rows.
        ZeroNormError: if a row to be normalised is zero.
        InputError: if an argument is out of range.

    Complexity:
        n^2 d / 2 multiply-adds; memory O(n d).

    Source:
        Ethayarajh 2019, who reads anisotropy from the cosines of pairs.

    Example:
        >>> import featdiv, numpy as np
        >>> square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> featdiv.pair_histogram(square, bins=2).counts.tolist()  # two pairs at -1, four at 0
        [2, 4]
    """
    check_progress(progress, function="pair_histogram")
    arguments.one_of("pair_histogram", "measure", measure, MEASURES)
    arguments.one_of("pair_histogram", "normalize", normalize, (None, "l2"))
    pairs.check_interval("pair_histogram", interval)
    bins = positive(bins, "pair_histogram: bins")
    if normalize is None and (measure == "cosine" or limits is None):
        raise InputError(
            "pair_histogram: normalize: expected 'l2' for cosines, and limits= for distances of rows as they are; got "
            f"None with measure={measure!r}, limits={limits!r}"
        )
    if limits is not None:
        _check_limits(limits)
    rows = read(x, function="pair_histogram", groups=groups, sample=sample, seed=seed, memory=memory)
    found = pairs.reduce(
        rows,
        interval=interval,
        seed=seed,
        progress=progress,
        **task(measure, bins, limits, normalize, precision, backend),
    )
    return of_pairs(rows, found, measure=measure, precision=precision, bins=bins, normalize=normalize)
