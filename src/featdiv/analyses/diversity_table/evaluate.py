"""Computes scores from the statistics that they share; one that is undefined spoils none of the others."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from featdiv import io
from featdiv.analyses.diversity_table.statistics import Shared
from featdiv.errors import NotEnoughData, RowError
from featdiv.metrics.entry import Metric
from featdiv.metrics.geometric import (
    intrinsic_dimension,
    near_duplicates,
    pair_histogram,
    pairs,
    sparsity,
    uniformity,
)
from featdiv.metrics.labelled import intra_class_distance, neural_collapse, rate_reduction, silhouette
from featdiv.metrics.labelled.inputs import provenance_of
from featdiv.metrics.spectral import dimension_usage
from featdiv.results import Interval, Result
from featdiv.stats import resampling

OF_PAIRS = ("uniformity", "pair_histogram", "near_duplicates")
RATE = 2.0

Core = Callable[[Any], float]


@dataclasses.dataclass(kw_only=True)
class Found:
    """Scores under construction.

    Attributes:
        values: score name to value.
        undefined: score name to the reason why there is none.
        intervals: score name to interval.
        why_not: score name to the reason why it has no interval.
        definitions: metric name to the definition that was used.
        parts: metric name to the result that has more to tell.
    """

    values: dict[str, float] = dataclasses.field(default_factory=dict)
    undefined: dict[str, str] = dataclasses.field(default_factory=dict)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    why_not: dict[str, str] = dataclasses.field(default_factory=dict)
    parts: dict[str, Result] = dataclasses.field(default_factory=dict)

    def add(self, name: str, core: Core, statistic: Any) -> None:
        """Computes one score."""
        try:
            self.values[name] = float(core(statistic))
        except NotEnoughData as error:
            self.undefined[name] = str(error)

    def take(self, metric: Metric, result: Result) -> None:
        """Takes over the scores of a result."""
        self.values.update(result.scores)
        self.undefined.update(result.undefined)
        self.intervals.update(result.intervals)
        self.parts[metric.name] = result


def evaluate(metrics: Iterable[Metric], shared: Shared) -> Found:
    """Returns every score of the metrics.

    Args:
        metrics: what is asked for.
        shared: the statistics.

    Raises:
        RowError: if a row holds NaN or infinity.
    """
    found = Found()
    metrics = tuple(metrics)
    one_pass_of_pairs = functools.cache(lambda: _pass_of_pairs(metrics, shared))
    for metric in metrics:
        try:
            if metric.name in OF_PAIRS:
                _of_pairs(metric, shared, found, one_pass_of_pairs())
            elif metric.name in OF_ROWS:
                found.take(metric, OF_ROWS[metric.name](shared))
            elif metric.name == "neural_collapse":
                _neural_collapse(shared, found)
            elif metric.needs.endswith("class moments"):
                _of_classes({metric.name: metric.load_core()}, metric, shared, found)
            else:
                _of_moments(metric, shared, found)
        except NotEnoughData as error:
            reason = str(error)
            found.undefined.update(dict.fromkeys(metric.scores, reason.removeprefix(f"{metric.name}: ")))
        except RowError as error:
            # Zero rows have no direction: scores that normalise rows are undefined, the others are not.
            if metric.needs in ZERO_ROWS_ALLOWED or not _is_zero_norm(error):
                raise
            found.undefined.update(dict.fromkeys(metric.scores, f"{_short(error)}"))
    return found


ZERO_ROWS_ALLOWED = ("eigenvalues", "uncentred eigenvalues", "moments", "class moments")


def _is_zero_norm(error: RowError) -> bool:
    from featdiv.errors import ZeroNormError

    return isinstance(error, ZeroNormError)


def _short(error: RowError) -> str:
    return f"{error.count} zero rows have no direction, the first is row {error.first_row}; leave them out"


def _of_moments(metric: Metric, shared: Shared, found: Found) -> None:
    normalize = "l2" if metric.needs.startswith("unit") else None
    cores = dimension_usage.CORES if metric.name == "dimension_usage" else {metric.name: metric.load_core()}
    statistic: Any
    if metric.needs.endswith("eigenvalues"):
        centred, uncentred = shared.eigen(normalize)
        kind, statistic = ("wanted", centred) if metric.needs == "eigenvalues" else ("uncentered", uncentred)
    else:
        kind, statistic = "moments", shared.moments(normalize).total
    for name, core in cores.items():
        found.add(name, core, statistic)
    reason = metric.no_jackknife(statistic)
    if reason is None:
        left_out = shared.left_out(normalize)
        if isinstance(left_out, str):
            reason = left_out
        else:
            halves = getattr(left_out.halves, kind) if left_out.halves else None
            values = {name: found.values[name] for name in cores if name in found.values}
            found.intervals |= resampling.intervals(
                values, cores, getattr(left_out, kind), halves, n=shared.n, d=shared.d
            )
    if reason is not None:
        found.why_not.update(dict.fromkeys(cores, reason))


def _of_classes(cores: Mapping[str, Core], metric: Metric, shared: Shared, found: Found) -> None:
    normalize = "l2" if metric.needs.startswith("unit") else None
    classes = shared.classes(normalize)
    for name, core in cores.items():
        found.add(name, core, classes)
    reason = metric.no_jackknife(classes)
    if reason is None:
        rests = shared.class_rests(normalize)
        reason = rests.reason
        if not reason:
            values = {name: found.values[name] for name in cores if name in found.values}
            found.intervals |= resampling.intervals(values, cores, rests.without, None, n=shared.n, d=shared.d)
    if reason:
        found.why_not.update(dict.fromkeys(cores, reason))


def _neural_collapse(shared: Shared, found: Found) -> None:
    from featdiv.metrics import catalogue

    _of_classes(neural_collapse.CORES, catalogue.get("neural_collapse"), shared, found)
    if shared.source is None:
        found.undefined["nc4"] = "it needs the rows, to find the nearest class mean of each"
    else:
        shared.passes.append("nearest class means")
        found.values["nc4"] = neural_collapse.nearest_centre(shared.source, shared.classes(None))


def _pass_of_pairs(metrics: Iterable[Metric], shared: Shared) -> pairs.Pairs:
    """Returns one pass over the pairs of rows that serves every score of pairs asked for."""
    names = {metric.name for metric in metrics}
    task: dict[str, Any] = {"rates": (RATE,) if "uniformity" in names else ()}
    if "pair_histogram" in names:
        task |= {"measure": "cosine", "bins": pair_histogram.BINS}
    if "near_duplicates" in names:
        task |= {"measure": "cosine", "threshold": near_duplicates.TAU, "examples": near_duplicates.LISTED}
    rows = shared.rows()
    shared.passes.append("all pairs of rows")
    interval = {"jackknife": "bootstrap"}.get(shared.options.interval or "", shared.options.interval)
    if names & set(OF_PAIRS) == {"near_duplicates"}:
        interval = None
    made = pairs.reduce(
        rows,
        interval=interval,
        precision=uniformity.precision_for(rows.n, RATE, "auto"),
        backend=shared.options.backend,
        seed=shared.options.seed,
        progress=shared.options.progress,
        **task,
    )
    shared.backends["pair_sums"] = made.total.backend
    return made


def _of_pairs(metric: Metric, shared: Shared, found: Found, made: pairs.Pairs) -> None:
    rows = shared.rows()
    if metric.name == "uniformity":
        found.take(metric, uniformity.of_pairs(rows, made, t=RATE))
    elif metric.name == "pair_histogram":
        found.take(metric, pair_histogram.of_pairs(rows, made, measure="cosine", precision="float32"))
    else:
        result = near_duplicates.of_pairs(rows, made, tau=near_duplicates.TAU, examples=10, precision="float32")
        found.take(metric, result)
    if made.no_interval:
        found.why_not.update(dict.fromkeys(metric.scores, made.no_interval))


def _sparsity(shared: Shared) -> Result:
    source = _rows_of(shared, "entries")
    interval = None if shared.options.interval is None else "auto"
    return sparsity.of_source(source, eps=sparsity.EPSILON, interval=interval)


def _intrinsic_dimension(shared: Shared) -> Result:
    rows = dataclasses.replace(shared.rows(), function="intrinsic_dimension")
    definition = intrinsic_dimension.DEFINITIONS[0]
    near = intrinsic_dimension.search(
        rows,
        intrinsic_dimension.wanted(definition, intrinsic_dimension.RANGE),
        memory=shared.options.memory,
        progress=shared.options.progress,
    )
    shared.passes.append("nearest neighbours")
    shared.backends["neighbours"] = near.backend
    interval = None if shared.options.interval is None else "auto"
    return intrinsic_dimension.scored(rows, near, definition=definition, interval=interval)


def _silhouette(shared: Shared) -> Result:
    return silhouette.silhouette(_rows_of(shared, "a sample of rows"))


def _rows_of(shared: Shared, what: str) -> io.Embeddings:
    """Returns the rows, about to be read for what is said; raises NotEnoughData where there are none."""
    if shared.source is None:
        raise NotEnoughData("it needs the rows, and x is a statistic, which no longer holds them")
    shared.passes.append(what)
    return shared.source


def _intra_class_distance(shared: Shared) -> Result:
    source = _rows_of(shared, "pairs of rows within classes")
    options = shared.options
    interval = None if options.interval is None else "auto"
    return intra_class_distance.intra_class_distance(
        source, interval=interval, backend=options.backend, seed=options.seed
    )


def _rate_reduction(shared: Shared) -> Result:
    classes, rests = shared.classes(None), shared.class_rests(None)
    source = _rows_of(shared, "second moments of each class")
    provenance = provenance_of(classes, function="rate_reduction", source=source)
    return rate_reduction.of_source(source, classes, rests, provenance, memory=shared.options.memory)


OF_ROWS: dict[str, Callable[[Shared], Result]] = {
    "sparsity": _sparsity,
    "intrinsic_dimension": _intrinsic_dimension,
    "intra_class_distance": _intra_class_distance,
    "rate_reduction": _rate_reduction,
    "silhouette": _silhouette,
}
"""Scores that read the rows themselves."""
