"""The scores of a transferability table that class moments cannot give: they see the rows again, or in pairs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv.analyses.transferability_result import FUNCTION
from featdiv.analyses.transferability_table import DEFINITIONS, Table
from featdiv.errors import BudgetExceeded, InputError, NotEnoughData, ZeroNormError
from featdiv.metrics.labelled.inputs import speaking_for
from featdiv.metrics.labelled.rows import LabelledRows
from featdiv.metrics.transferability import gbc, h_score, lda, leep, nce, nleep, parc
from featdiv.metrics.transferability.labelled_blocks import labelled_blocks
from featdiv.metrics.transferability.regression import LinearMoments
from featdiv.metrics.transferability.source_probabilities import SourceProbabilities
from featdiv.probes.knn_vote import TEMPERATURE, Rule, tally
from featdiv.probes.proportion import of_groups, of_rows, wilson
from featdiv.probes.ridge_evaluation import LeaveOneOut as RidgeJudge
from featdiv.probes.ridge_path import RidgePath
from featdiv.stats import ClassMoments
from featdiv.stats.neighbours import Neighbours

if TYPE_CHECKING:
    from featdiv.analyses.transferability_run import Options
    from featdiv.io import Embeddings

_READ_ONCE = "it takes a second reading of the rows, and an iterable is read once"
_OF_SECOND_READING = ("h_score", "lda", "ridge", "gbc")


class SecondReading:
    """What one more reading of the rows feeds: the shrinkage of the H-score, and leave-one-out judges."""

    def __init__(self, table: Table, classes: ClassMoments, options: Options) -> None:
        self._table = table
        self._classes = classes
        self._options = options

    def run(self, source: Embeddings) -> int:
        """Fills in the scores; returns how often the rows were read."""
        wanted = [name for name in _OF_SECOND_READING if name in self._table.names and not self._has(name)]
        if not wanted:
            return 0
        if source.one_pass:
            for name in wanted:
                self._table.undefined(name, _READ_ONCE)
            return 0
        judges = self._judges(wanted, source.groups)
        if not judges:
            return 0
        with speaking_for(FUNCTION):
            for rows, codes, at in labelled_blocks(
                source,
                self._classes.classes,
                function=FUNCTION,
                normalize=self._classes.normalize,
                ignore=self._options.ignore,
            ):
                for judge in judges.values():
                    judge.add(rows, codes, at)
        for name, judge in judges.items():
            with self._table.scoring(name):
                self._take(name, judge)
        return 1

    def _has(self, name: str) -> bool:
        return name in self._table.scores or name in self._table.reasons

    def _judges(self, wanted: list[str], groups: Any) -> dict[str, Any]:
        classes = self._classes
        judges: dict[str, Any] = {}
        for name in wanted:
            with self._table.scoring(name):
                if name == "h_score":
                    judges[name] = h_score.Shrinkage(classes)
                elif name == "gbc":
                    judges[name] = gbc.Variances(classes)
                elif name == "lda":
                    judges[name] = lda.LeaveOneOut(lda.core(classes), groups)
                else:
                    path = RidgePath.of(LinearMoments.of_classes(classes))
                    self._strength = int(path.generalised_cross_validation().argmin())
                    self._lambda = float(path.lambdas[self._strength])
                    judges[name] = RidgeJudge(path, classes.classes, self._strength, groups)
        return judges

    def _take(self, name: str, judge: Any) -> None:
        found, table, asked = judge.result(), self._table, self._options.interval is not None
        if name == "h_score":
            table.score(name, h_score.core(self._classes, DEFINITIONS[name], found), shrinkage=found)
        elif name == "gbc":
            table.score(name, gbc.from_variances(self._classes, found, DEFINITIONS[name]))
            table.notes += gbc.remark(found)
        elif name == "lda":
            table.score(name, found.log_likelihood, alone=found.alone)
            table.interval("lda", found.interval(d=self._classes.d) if asked else None)
            alike = found.alike
            accuracy = wilson(found.correct, found.rows) if alike is None else of_groups(*alike.seen())
            table.score("lda_accuracy", found.correct / found.rows)
            table.interval("lda_accuracy", accuracy if asked else None)
        else:
            table.score(name, found.correct(0) / found.n, penalty=self._lambda, chosen_by="gcv")
            table.interval(name, found.interval(0) if asked else None)


def add_neighbours(table: Table, source: Embeddings, classes: ClassMoments, options: Options) -> int:
    """Fills in the kNN accuracy; returns how often the rows were read."""
    if "knn" not in table.names:
        return 0
    if source.one_pass:
        table.undefined("knn", _READ_ONCE)
        return 0
    rows = LabelledRows.of(source, function=FUNCTION, ignore=options.ignore)
    kept = np.flatnonzero(rows.codes >= 0)
    asked, passes = np.arange(len(rows.codes)), 0
    found = options.neighbours
    with table.scoring("knn"):
        if found is not None:
            _check(found, rows, options)
        else:
            gallery: Any = source if not rows.dropped else source.take(kept)
            codes = rows.codes[kept]
            asked, passes = np.arange(len(codes)), 1
            try:
                found, asked = _search(gallery, source, codes, options)
            except ZeroNormError as error:
                raise NotEnoughData(f"a zero row has no cosine ({error.count} of them)") from None
            rows = dataclasses.replace(rows, codes=codes)
        rule = Rule(k=options.k, vote="exp", temperature=TEMPERATURE)
        (outcome,) = tally(found, rows.codes, rows.codes[asked], [rule])
        whole = len(asked) == len(rows.codes)
        table.score(
            "knn",
            outcome.correct() / len(asked),
            k=options.k,
            queries=len(asked),
            sample=not whole,
            backend=found.backend,
        )
        groups = None if source.groups is None else source.groups[kept][asked]
        table.interval("knn", of_rows(outcome.rank == 0, groups) if options.interval is not None else None)
        if not whole:
            table.notes.append(
                f"knn: a sample of {len(asked)} of the {len(rows.codes)} rows was asked, drawn with seed "
                f"{options.seed}; all rows vote"
            )
    return passes


def _search(
    gallery: Any, source: Embeddings, codes: np.ndarray[Any, np.dtype[np.int64]], options: Options
) -> tuple[Neighbours, np.ndarray[Any, np.dtype[np.int64]]]:
    n = len(codes)
    if options.k >= n:
        raise NotEnoughData(f"{options.k} neighbours of each row need at least {options.k + 1} rows; got {n}")
    if options.knn_queries is None or options.knn_queries >= n:
        return Neighbours.of(gallery, k=options.k, memory=options.memory), np.arange(n)
    asked = np.sort(np.random.default_rng(options.seed).choice(n, options.knn_queries, replace=False))
    queries = gallery[asked] if gallery is not source else source.take(asked)
    found = Neighbours.of(gallery, queries, k=options.k + 1, memory=options.memory)
    return _without_self(found, asked), asked


def _without_self(found: Neighbours, own: np.ndarray[Any, np.dtype[np.int64]]) -> Neighbours:
    """Returns k of k + 1 neighbours: without the row itself, wherever it stands, or else without the last."""
    hit = found.indices == own[:, None]
    hit[:, -1] |= ~hit.any(axis=1)
    shape = (found.n, found.k - 1)
    return dataclasses.replace(
        found, indices=found.indices[~hit].reshape(shape), values=found.values[~hit].reshape(shape)
    )


def _check(found: Neighbours, rows: LabelledRows, options: Options) -> None:
    n = len(rows.codes)
    if not found.leave_one_out or found.n_gallery != n or found.k < options.k or rows.dropped:
        raise InputError(
            f"{FUNCTION}: neighbours: expected the leave-one-out neighbours of the {n} rows, {options.k} or more of "
            f"each, no row ignored; got {found.k} neighbours in a gallery of {found.n_gallery}"
        )


def add_pairs(table: Table, source: Embeddings, classes: ClassMoments, options: Options) -> int:
    """Fills in the scores that take all rows at once, or a sample in pairs; returns how often the rows were read."""
    wanted = [name for name in ("nleep", "parc") if name in table.names]
    read = 0
    for name in wanted:
        if source.one_pass:
            table.undefined(name, _READ_ONCE)
            continue
        with table.scoring(name):
            read += 1
            if name == "parc":
                found = parc.parc(source, normalize=options.normalize, ignore=options.ignore, seed=options.seed)
                table.score(name, float(found), **found.details)
            else:
                read -= not _add_nleep(table, source, classes, options)
    return read


def _add_nleep(table: Table, source: Embeddings, classes: ClassMoments, options: Options) -> bool:
    """Fills in NLEEP from the class moments and one more reading; returns whether the rows were read."""
    try:
        value, details = nleep.core(source, classes, seed=options.seed, ignore=options.ignore, memory=options.memory)
    except BudgetExceeded as error:
        table.undefined("nleep", str(error).removeprefix("nleep: "))
        return False
    table.score("nleep", value, **details)
    return True


def add_probabilities(table: Table, source_probs: Any, labels: Any, *, ignore: int | str | None) -> None:
    """Fills in LEEP and NCE.

    Raises:
        InputError: if the probabilities are none, or do not fit the labels.
    """
    cores = {"leep": leep.core, "nce": nce.core}
    wanted = [name for name in cores if name in table.names]
    if source_probs is None or labels is None:
        for name in wanted:
            table.undefined(name, "it needs source_probs=, the probabilities of a source model's classes")
        return
    found = SourceProbabilities.of(source_probs, labels, function=FUNCTION, ignore=ignore)
    for name in wanted:
        table.score(name, cores[name](found) + 0.0, source_classes=found.theta.shape[1])
