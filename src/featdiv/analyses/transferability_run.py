"""`featdiv.transferability`: one call from features and labels to a table of scores."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv.analyses import transferability_jackknife as jackknife
from featdiv.analyses.transferability_result import FUNCTION, Transferability
from featdiv.analyses.transferability_rows import SecondReading, add_neighbours, add_pairs, add_probabilities
from featdiv.analyses.transferability_table import ALL, DEFAULT, DEFINITIONS, OF_MOMENTS, Table
from featdiv.errors import BudgetExceeded, InputError, NotEnoughData
from featdiv.io.caller import called_by
from featdiv.io.embeddings import positive
from featdiv.metrics.labelled.inputs import opened, provenance_of, read_classes, require_classes
from featdiv.metrics.transferability import gbc, h_score, logme, transrate
from featdiv.stats import ClassMoments, arguments, budget, class_parts, partition
from featdiv.stats.class_labels import as_labels
from featdiv.stats.neighbours import Neighbours

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of one call, checked."""

    names: tuple[str, ...]
    interval: str | None
    neighbours: Neighbours | None
    k: int
    knn_queries: int | None
    normalize: str | None
    ignore: int | str | None
    precision: str
    backend: str
    memory: int
    seed: int
    progress: Progress | None

    @property
    def per_class(self) -> bool:
        """Whether a score needs the scatter of each class."""
        return "transrate" in self.names or "gbc" in self.names


def transferability(
    x: Any,
    labels: Any = None,
    *,
    source_probs: Any = None,
    metrics: str | Sequence[str] = "default",
    interval: str | None = "auto",
    neighbours: Neighbours | None = None,
    k: int = 20,
    knn_queries: int | None = 5000,
    groups: Any = None,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Transferability:
    """Scores how well features should transfer to a labelled task, without training on it.

    One pass makes the class moments, from which LogME, TransRate and GBC come; one more reading serves the shrunk
    H-score and the leave-one-out accuracies of the ridge probe and of LDA together; one table of neighbours gives the
    kNN probe. A score that is undefined for the input is listed with the reason, and spoils no other.

    Args:
        x: rows (array, path, source, iterable), or `ClassMoments`. From moments, or an iterable, which is read once,
            the scores that need rows again are undefined.
        labels: one integer or string for each row; None where ``x`` carries them.
        source_probs: (n, z) probabilities of the classes that the model was trained on, for ``leep`` and ``nce``.
        metrics: ``"default"`` (logme, h_score, transrate, gbc, lda, ridge, knn), ``"all"`` (also leep, nce, nleep,
            parc), or names.
        interval: ``"auto"`` for 95 % intervals: Wilson's for accuracies; for the log-likelihood of LDA from its spread
            over rows, unless they come in groups; and for scores of moments a jackknife over parts of the rows, of
            the expected value at this n and d, where at least five parts fit the memory; ``"jackknife"`` for an error
            where they do not; None.
        neighbours: a leave-one-out table of these rows, found before; then all rows are asked.
        k: neighbours of the kNN probe, which weights them exp(cosine/0.07).
        knn_queries: size of the sample of rows to ask, drawn with ``seed``; all rows vote. None to ask all, in n^2 d
            operations.
        groups: (n,) group of each row (video, patient): the jackknife keeps groups whole.
        normalize: ``"l2"`` to divide each row by its norm first.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments.
        backend: backend of the second moments.
        memory: budget, in bytes or as text; None for a quarter of the RAM.
        seed: of samples and of the mixture of ``nleep``.
        progress: called with (rows done, rows in all or None) after every chunk of the first pass.

    Returns:
        A frozen `Transferability`, which shows by which definition each score was made. The H-score is
        ``"shrunk"``: the default of `featdiv.h_score` is the first published one, which tells nothing once features are
        as many as rows. TransRate is that of tllib, GBC the diagonal one, as when they are called alone.

    Raises:
        InputError: if an argument cannot be used, or labels are missing.
        NotEnoughData: if there is one class, or no score is defined.
        BudgetExceeded: if the class moments do not fit the budget.

    Complexity:
        O(n d^2) in two readings, O(c d^3) for TransRate in each of ten parts, and knn_queries n d for the neighbours.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(["cat", "dog", "eel"], 100)
        >>> x = rng.normal(size=(300, 8)) + 4.0 * np.repeat(np.eye(3, 8), 100, axis=0)
        >>> table = featdiv.transferability(x, labels)
        >>> list(table.scores)
        ['logme', 'h_score', 'transrate', 'gbc', 'lda', 'lda_accuracy', 'ridge', 'knn']
        >>> table["ridge"] > 0.95
        True
    """
    names = _names(metrics, source_probs)
    arguments.check(
        FUNCTION,
        normalize=normalize,
        precision=precision,
        backend=backend,
        seed=seed,
        progress=progress,
        ignore=ignore,
    )
    arguments.one_of(FUNCTION, "interval", interval, ("auto", "jackknife", None))
    k = positive(k, f"{FUNCTION}: k")
    if knn_queries is not None:
        knn_queries = positive(knn_queries, f"{FUNCTION}: knn_queries")
    if neighbours is not None and not isinstance(neighbours, Neighbours):
        raise InputError(f"{FUNCTION}: neighbours: expected Neighbours or None; got {type(neighbours).__name__}")
    options = Options(
        names=names,
        interval=interval,
        neighbours=neighbours,
        k=k,
        knn_queries=knn_queries,
        normalize=normalize,
        ignore=ignore,
        precision=precision,
        backend=backend,
        memory=budget.budget_bytes(memory, function=FUNCTION),
        seed=seed,
        progress=progress,
    )
    table = Table(names)
    if isinstance(x, ClassMoments):
        return _of_moments(x, table, options, annotated=any(value is not None for value in (labels, groups, ignore)))
    with opened(x, labels, function=FUNCTION) as source:
        if groups is not None:
            from featdiv import io

            with called_by(FUNCTION):
                source = io.open(source, groups=groups)
        classes, parts = _read(source, options, table)
        require_classes_of(classes)
        _score_moments(classes, parts, table, options)
        passes = 1 + SecondReading(table, classes, options).run(source)
        passes += add_neighbours(table, source, classes, options)
        passes += add_pairs(table, source, classes, options)
        if "leep" in names or "nce" in names:
            labels_seen = source.labels if labels is None else labels
            add_probabilities(table, source_probs, labels_seen, ignore=ignore)
        provenance = provenance_of(classes, function="transferability", source=source, precision=precision)
    return table.result(classes, dataclasses.replace(provenance, passes=passes), interval=interval, seed=seed)


def require_classes_of(classes: ClassMoments) -> None:
    """Raises NotEnoughData, in the name of the function, unless there are two classes."""
    try:
        require_classes(classes)
    except NotEnoughData as error:
        raise NotEnoughData(f"{FUNCTION}: {error}") from None


def _names(metrics: str | Sequence[str], source_probs: Any) -> tuple[str, ...]:
    if isinstance(metrics, str) and metrics in ("default", "all"):
        chosen = DEFAULT if metrics == "default" else ALL
        extra = ("leep", "nce") if metrics == "default" and source_probs is not None else ()
        return (*chosen, *extra)
    wanted: tuple[Any, ...] = tuple(metrics) if isinstance(metrics, (list, tuple, set)) else (metrics,)
    unknown = [name for name in wanted if not isinstance(name, str) or name not in ALL]
    if unknown or not wanted:
        got = repr(unknown[0]) if unknown else "none"
        raise InputError(f"{FUNCTION}: metrics: expected 'default', 'all', or some of {', '.join(ALL)}; got {got}")
    return tuple(dict.fromkeys(wanted))


def _of_moments(x: ClassMoments, table: Table, options: Options, *, annotated: bool) -> Transferability:
    if annotated:
        raise InputError(f"{FUNCTION}: labels, groups and ignore go with rows; x is ClassMoments, made with theirs")
    if options.normalize is not None and x.normalize != options.normalize:
        raise InputError(f"{FUNCTION}: normalize: expected None with ClassMoments of rows as they are")
    if options.interval == "jackknife":
        raise InputError(f"{FUNCTION}: interval: 'jackknife' needs rows; x is ClassMoments, which cannot be divided")
    require_classes_of(x)
    _score_moments(x, [], table, options)
    for name in options.names:
        if name not in table.scores and name not in table.reasons:
            table.undefined(name, "it needs the rows; x is ClassMoments")
    provenance = provenance_of(x, function="transferability")
    return table.result(x, provenance, interval=options.interval, seed=options.seed)


def _read(source: Embeddings, options: Options, table: Table) -> tuple[ClassMoments, list[ClassMoments]]:
    """Returns the class moments of all rows and, where intervals are to be had, of parts of them."""
    c = 1 if source.labels is None else len(np.unique(source.labels))
    per_class = options.per_class
    if per_class and jackknife.needed_bytes(source.d, c, parts=1, per_class=True) > options.memory:
        per_class = False
        table.notes.append("the scatters of the classes do not fit the memory budget: no TransRate, GBC from the rows")
    if source.labels is not None:
        source = source.replaced(labels=as_labels(source.labels, function=FUNCTION))
    parts, reason = _parts(source, c, options, per_class=per_class)
    if parts < partition.LEAST_PARTS:
        if options.interval == "jackknife":
            raise InputError(f"{FUNCTION}: interval: 'jackknife' cannot be had here: {reason}")
        if options.interval is not None and _of_moments_wanted(options):
            table.notes.append(f"no jackknife intervals: {reason}")
        try:
            classes = read_classes(
                source,
                function=FUNCTION,
                normalize=options.normalize,
                ignore=options.ignore,
                precision=options.precision,
                backend=options.backend,
                per_class=per_class,
                memory=options.memory,
            )
        except BudgetExceeded:
            if not per_class:
                raise
            raise BudgetExceeded(
                f"{FUNCTION}: memory: the scatters of the classes do not fit. Raise memory=, or ask for metrics other "
                "than transrate and gbc"
            ) from None
        return classes, []
    found = class_parts.read(
        source,
        function=FUNCTION,
        parts=parts,
        per_class=per_class,
        ignore=options.ignore,
        normalize=options.normalize,
        precision=options.precision,
        backend=options.backend,
        memory=options.memory,
        progress=options.progress,
    )
    if not found:
        raise NotEnoughData(f"{FUNCTION}: expected labelled rows; got none")
    classes = functools.reduce(ClassMoments.merge, found)
    return dataclasses.replace(classes, dropped=(source.n or classes.n) - classes.n), found


def _of_moments_wanted(options: Options) -> bool:
    return any(name in OF_MOMENTS for name in options.names)


def _parts(source: Embeddings, c: int, options: Options, *, per_class: bool) -> tuple[int, str]:
    """Returns in how many parts to read, and why not in enough."""
    if options.interval is None:
        return 1, "none were asked for"
    if not _of_moments_wanted(options):
        return 1, "no score is of moments alone"
    if source.one_pass or source.labels is None or source.n is None:
        return 1, "an iterable hands out labels with its rows, too late to deal every class to all parts"
    if source.groups is not None:
        groups = len(np.unique(source.groups))
        parts, reason = min(groups, jackknife.PARTS), partition.few_groups(groups)
    else:
        parts = min(source.n // jackknife.SLAB, jackknife.PARTS)
        reason = partition.few_rows(source.n)
    if parts >= partition.LEAST_PARTS:
        needed = jackknife.needed_bytes(source.d, c, parts=parts, per_class=per_class)
        if needed > options.memory:
            return 1, f"the moments of {parts} parts need {budget.size(needed)}, more than the memory budget"
        if class_parts.alone(source, parts, ignore=options.ignore):
            return 1, "leaving out a part of the rows would leave out a class"
    return parts, reason


def _score_moments(classes: ClassMoments, parts: list[ClassMoments], table: Table, options: Options) -> None:
    cores: dict[str, Callable[[ClassMoments], float]] = {"logme": logme.core}
    if classes.scatters is not None:
        cores["transrate"] = functools.partial(transrate.core, definition=DEFINITIONS["transrate"])
        cores["gbc"] = functools.partial(gbc.core, definition=DEFINITIONS["gbc"])
    cores = {name: core for name, core in cores.items() if name in options.names}
    for name, core in cores.items():
        with table.scoring(name):
            table.score(name, core(classes))
    if "gbc" in table.scores and classes.scatters is not None:
        table.notes += gbc.remark(np.einsum("kii->ki", classes.scatters))
    if "transrate" in options.names and classes.scatters is None:
        table.undefined("transrate", "the scatters of the classes do not fit the memory budget, or were not kept")
    cores = {name: core for name, core in cores.items() if name in table.scores}
    table.jackknife = functools.partial(_jackknife, classes, parts, cores) if parts else None


def _jackknife(
    classes: ClassMoments,
    parts: list[ClassMoments],
    cores: dict[str, Callable[[ClassMoments], float]],
    table: Table,
) -> None:
    """Fills in the intervals of the scores of moments; the H-score keeps the shrinkage of all rows."""
    if "h_score" in table.scores:
        shrinkage = table.details["h_score"]["shrinkage"]
        cores = cores | {"h_score": functools.partial(h_score.core, definition="shrunk", shrinkage=shrinkage)}
    if not cores:
        return
    found = jackknife.Jackknife.of(parts, classes, cores)
    for name in cores:
        interval = found.interval(name, table.scores[name], n=classes.n, d=classes.d)
        if interval is not None:
            table.intervals[name] = interval
