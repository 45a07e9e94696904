"""`featdiv.diversity`: one call from rows to a table of scores."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv import __version__, io
from featdiv.analyses.diversity_table import selection
from featdiv.analyses.diversity_table.evaluate import OF_PAIRS, Found, evaluate
from featdiv.analyses.diversity_table.result import Diversity, Line
from featdiv.analyses.diversity_table.selection import FUNCTION
from featdiv.analyses.diversity_table.statistics import Options, Shared
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.collected import collected
from featdiv.io.embeddings import positive
from featdiv.metrics.entry import Metric
from featdiv.metrics.geometric import uniformity
from featdiv.metrics.spectral import noise
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import is_spectrum
from featdiv.results import Interval, Provenance, outside
from featdiv.stats import ClassMoments, Moments, arguments, budget, class_labels, grouped

if TYPE_CHECKING:
    from featdiv.io.progress import Progress

INTERVALS = ("auto", "jackknife", None)


def diversity(
    x: Any,
    labels: Any = None,
    *,
    metrics: selection.Metrics = "default",
    groups: Any = None,
    ignore: int | str | None = None,
    interval: str | None = "auto",
    precision: str = "float32",
    backend: str = "auto",
    memory: int | float | str | None = None,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Diversity:
    """Returns a table of diversity scores: each with its interval, the value of noise, direction, definition, source.

    What scores share is computed once: the second moments of rows and of unit rows (with labels: of each class), one
    pass over all pairs of rows, one search for neighbours. ``provenance.arguments["passes"]`` lists the readings. A
    score that is undefined for the input has its reason in ``undefined`` and spoils none of the others.

    Args:
        x: rows (n, d): an array, a path, an `Embeddings`, an iterable of chunks; or `Moments` or `ClassMoments`, which
            leave the scores that need rows undefined.
        labels: one integer or string for each row; None where ``x`` carries them, or for none.
        metrics: ``"default"``: effective_rank, rankme, participation_ratio, alpha_req, isoscore, vendi, mean_cosine,
            redundancy, dimension_usage, sparsity, uniformity, intrinsic_dimension, and with labels
            intra_class_distance, class_separation, neural_collapse, rate_reduction. Or ``"all"``, a family
            (``"spectral"``, ``"geometric"``, ``"labelled"``), a metric, or a list of such names.
        groups: (n,) group ids (video, patient, document): resampling keeps groups whole.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        interval: ``"auto"`` (95 % intervals: jackknife for what comes from moments, where it costs less than a fifth
            of the pass or pairs of rows are compared as well, which costs more; block bootstrap for means over pairs),
            ``"jackknife"`` (the same at any cost, or an error that says why there are none), or None for no intervals.
        precision: arithmetic of the second moments; few rows are read in float64 in any case.
        backend: backend of the second moments and of the pair sums.
        memory: budget, in bytes or as text (``"2GB"``); None for a quarter of the RAM.
        sample: how many rows to draw for the scores that compare all pairs of rows (uniformity, pair_histogram,
            near_duplicates) or search neighbours (intrinsic_dimension); None for all rows. The others read all of them.
        seed: seed of every random choice.
        progress: called with (rows done, rows in all or None) while rows are read, and again while they are compared.

    Returns:
        A frozen `Diversity`: ``lines`` is the table, ``scores`` the numbers, ``parts`` what single metrics add.

    Raises:
        InputError: if a metric is unknown or needs labels, or rows or labels cannot be used.
        NonFiniteError: if a row holds NaN or infinity.
        NotEnoughData: if there are fewer than two rows.
        BudgetExceeded: if what the scores need does not fit the budget.

    Complexity:
        n d^2 for second moments; n^2 d where a score of pairs or neighbours is asked for, with n rows or those of the
        sample; memory O(n d + d^2).

    Example:
        >>> import featdiv
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> table = featdiv.diversity(digits.data, digits.target, metrics=["vendi", "class_separation"])
        >>> {name: round(value, 3) for name, value in table.scores.items()}
        {'vendi': 4.678, 'class_separation': 0.428}
    """
    arguments.check(FUNCTION, precision=precision, backend=backend, seed=seed, progress=progress, ignore=ignore)
    arguments.one_of(FUNCTION, "interval", interval, INTERVALS)
    options = Options(
        interval=interval,
        precision=precision,
        backend=backend,
        memory=budget.budget_bytes(memory, function=FUNCTION),
        sample=sample if sample is None else positive(sample, f"{FUNCTION}: sample"),
        seed=seed,
        progress=progress,
    )
    if is_spectrum(x):
        x = x.moments
    if isinstance(x, Eigenvalues) or x is None:
        raise InputError(f"{FUNCTION}: x: expected rows, Moments or ClassMoments; got {type(x).__name__}")
    if isinstance(x, (Moments, ClassMoments)):
        return _of_statistic(x, labels, groups, ignore, metrics, options)
    with grouped.opened(x, function=FUNCTION, **_given(labels=labels, groups=groups)) as opened:
        source = _prepared(opened, ignore, memory=options.memory)
        if source.n is None or source.n < 2:
            raise NotEnoughData(f"{FUNCTION}: x: expected at least 2 rows; got {source.n}")
        if sample is not None and not 2 <= sample <= source.n:
            raise InputError(f"{FUNCTION}: sample: expected 2 to n = {source.n} rows, or None for all; got {sample}")
        chosen = selection.chosen(metrics, labelled=source.labels is not None)
        of_classes = any(metric.family == "labelled" for metric in chosen)
        of_pairs = any(metric.name in (*OF_PAIRS, "intrinsic_dimension") for metric in chosen)
        shared = Shared(source, options, of_classes=of_classes, of_pairs=of_pairs)
        found = evaluate(chosen, shared)
        return _assembled(chosen, found, shared, metrics)


def _given(**annotations: Any) -> dict[str, Any]:
    return {name: value for name, value in annotations.items() if value is not None}


def _prepared(source: io.Embeddings, ignore: int | str | None, *, memory: int) -> io.Embeddings:
    """Returns rows that can be read several times, without those to be ignored."""
    if source.one_pass or source.n is None:
        source = collected(source, check=functools.partial(_require_room, memory=memory))
    if source.labels is None:
        if ignore is not None:
            raise InputError(f"{FUNCTION}: ignore: expected None without labels; got {ignore!r}")
        return source
    labels = class_labels.as_labels(source.labels, function=FUNCTION)
    if ignore is None:
        class_labels.refuse_missing(labels, function=FUNCTION)
        return source.replaced(labels=labels)
    kept = np.flatnonzero(labels != ignore)
    if len(kept) == len(labels):
        return source.replaced(labels=labels)
    if not len(kept):
        raise NotEnoughData(f"{FUNCTION}: labels: expected labelled rows; all {len(labels)} have the label ignored")
    taken = io.open(
        source.take(kept), labels=labels[kept], **_given(groups=None if source.groups is None else source.groups[kept])
    )
    return taken.replaced(description=f"{source.description} without {len(labels) - len(kept)} ignored rows")


def _require_room(held: int, *, memory: int) -> None:
    budget.require(
        held,
        memory,
        function=FUNCTION,
        what="the rows of a source that is read only once",
        advice="Raise memory=, or write them to a file first: featdiv.convert does.",
    )


def _of_statistic(
    x: Moments | ClassMoments, labels: Any, groups: Any, ignore: Any, metrics: selection.Metrics, options: Options
) -> Diversity:
    for name, value in (("labels", labels), ("groups", groups), ("ignore", ignore), ("sample", options.sample)):
        if value is not None:
            raise InputError(f"{FUNCTION}: {name}: expected None with {type(x).__name__}, which has forgotten the rows")
    if options.interval == "jackknife":
        raise InputError(f"{FUNCTION}: interval: 'jackknife' needs rows; x is {type(x).__name__}, one part")
    if x.n < 2:
        raise NotEnoughData(f"{FUNCTION}: x: expected at least 2 rows; got {x.n}")
    chosen = selection.chosen(metrics, labelled=isinstance(x, ClassMoments))
    shared = Shared.of_statistic(x, options)
    return _assembled(chosen, evaluate(chosen, shared), shared, metrics)


def _assembled(chosen: tuple[Metric, ...], found: Found, shared: Shared, metrics: selection.Metrics) -> Diversity:
    n, d = shared.n, shared.d
    order = [(metric, name) for metric in chosen for name in metric.scores]
    expected = noise.baselines([name for _, name in order], n, d) | {"uniformity": uniformity.noise(d)}
    lines = tuple(_line(metric, name, found, expected) for metric, name in order)
    scores = {line.name: line.value for line in lines if line.value is not None}
    intervals = {line.name: line.interval for line in lines if line.interval is not None}
    source = shared.source
    totals = [shared.moments(None)] if shared._given is not None else list(shared._made.values())
    return Diversity(
        scores=scores,
        undefined={line.name: line.undefined for line in lines if line.value is None},
        intervals=intervals,
        lines=lines,
        parts=found.parts,
        provenance=Provenance(
            function=FUNCTION,
            version=__version__,
            arguments={
                "metrics": metrics if isinstance(metrics, str) else list(metrics),
                "interval": shared.options.interval,
                "sample": shared.options.sample,
                "passes": list(shared.passes),
            },
            backends=dict(shared.backends),
            method="shared statistics",
            precision=shared.options.precision,
            error_bound=max((parts.total.error_bound for parts in totals), default=None),
            measured_error=max(
                (parts.total.measured_error for parts in totals if parts.total.measured_error is not None), default=None
            ),
            dtype=source.dtype if source is not None else totals[0].total.dtype or None,
            n=n,
            d=d,
            seed=shared.options.seed,
            source=source.description if source is not None else "a statistic",
            fingerprint=source.fingerprint if source is not None else None,
            extraction=source.extraction if source is not None else totals[0].total.extraction,
            passes=len(shared.passes),
            notes=tuple(dict.fromkeys(_notes(scores, intervals, found, shared))),
        ),
    )


def _notes(scores: dict[str, float], intervals: Mapping[str, Interval], found: Found, shared: Shared) -> Iterator[str]:
    """Yields the remarks on a table, those of the scores that it is made of last."""
    yield from shared.notes
    yield from noise.remarks(scores, shared.n, shared.d)
    yield from filter(None, [outside(scores, intervals)])
    without: dict[str, list[str]] = {}
    for name, reason in found.why_not.items():
        if shared.options.interval is not None and name in scores and name not in found.intervals:
            without.setdefault(reason, []).append(name)
    for reason, names in without.items():
        yield f"no interval for {', '.join(names)}: {reason}"
    drawn = shared.drawn()
    if drawn:
        compared = [name for name in (*OF_PAIRS, "intrinsic_dimension") if name in found.parts]
        yield f"{', '.join(compared)}: {drawn}; the other scores are of all {shared.n:,} rows"
    for name, part in found.parts.items():
        if name not in OF_PAIRS:
            yield from (f"{name}: {note}" for note in part.provenance.notes if note != drawn)


def _line(metric: Metric, name: str, found: Found, expected: dict[str, float]) -> Line:
    definition = metric.definitions[0]
    return Line(
        name=name,
        metric=metric.name,
        value=found.values.get(name),
        interval=found.intervals.get(name) if name in found.values else None,
        noise=expected.get(name),
        direction=metric.direction_of(name),
        definition=definition.name,
        source=metric.source_of(name).short,
        undefined=found.undefined.get(name, ""),
    )
