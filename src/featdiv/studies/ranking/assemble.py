"""Puts together the ranking from what was found out about each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featdiv import __version__
from featdiv.probes.proportion import wilson
from featdiv.results import Interval, Provenance
from featdiv.studies.agreement import LEAST_MODELS, rank_agreement
from featdiv.studies.ranking import words
from featdiv.studies.ranking.finetuning import FineTuned
from featdiv.studies.ranking.measure import Measured, Plan
from featdiv.studies.ranking.relations import Relations
from featdiv.studies.ranking.result import Ranking
from featdiv.studies.ranking.store import Step
from featdiv.studies.selection import Selection, select

FUNCTION = "featdiv.rank_models"
ESTIMAND = "accuracy on the population of the images, with training sets of this size"


def by_probe(measured: Sequence[Measured], plan: Plan, *, draws: int) -> tuple[list[Measured], Selection]:
    """Returns the models ordered by the first probe, the best first, and what that probe says of them."""
    probe = plan.probes[0]
    # Sorted by name first, so that the order of equal models does not depend on how they were listed.
    named = sorted(measured, key=lambda one: one.name)
    ranked = sorted(named, key=lambda one: -float(one.judgements[probe].correct.mean()))
    return ranked, select(np.stack([one.judgements[probe].correct for one in ranked]), draws=draws, seed=plan.seed)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """The models in their order, and what the criterion says of them.

    Attributes:
        ranked: all of them, the best first; models that were not fine-tuned come after those that were.
        judged: names of those that the criterion judged, the best first.
        found: what the criterion says of those.
        criterion: the column that ranks.
        n: images that they were judged on.
    """

    ranked: Sequence[Measured]
    judged: Sequence[str]
    found: Selection
    criterion: str
    n: int

    @property
    def contenders(self) -> tuple[str, ...]:
        """Names of the models that cannot be told from the best."""
        return tuple(self.judged[i] for i in self.found.contenders)

    @property
    def regret(self) -> float:
        """What the pick is expected to lose against the best."""
        return float(self.found.regret[0])


def ordered(measured: Sequence[Measured], tuned: FineTuned | None, plan: Plan, *, draws: int) -> Order:
    """Returns the models ordered by fine-tuning where there was any, else by the first probe."""
    ranked, found = by_probe(measured, plan, draws=draws)
    if tuned is None or not tuned.correct:
        names = [one.name for one in ranked]
        return Order(ranked=ranked, judged=names, found=found, criterion=plan.probes[0], n=len(plan.data))
    chosen = [one for one in ranked if one.name in tuned.correct]
    chosen.sort(key=lambda one: -float(tuned.correct[one.name].mean()))
    judged = [one.name for one in chosen]
    found = select(tuned.means(judged), draws=draws, seed=plan.seed)
    everyone = [*chosen, *(one for one in ranked if one.name not in tuned.correct)]
    return Order(ranked=everyone, judged=judged, found=found, criterion="finetune", n=found.units)


def assemble(
    order: Order,
    failed: Mapping[str, str],
    steps: Sequence[Step],
    plan: Plan,
    *,
    imagenet: Mapping[str, float] | None,
    tuned: FineTuned | None,
    relations: Relations,
    notes: Sequence[str],
    arguments: Mapping[str, Any],
) -> Ranking:
    """Returns the ranking.

    Args:
        order: what was found out about each model, the best first.
        failed: model to the reason why it is missing.
        steps: the steps that were taken, or found in the store.
        plan: what was done for every model.
        imagenet: model to its accuracy on ImageNet; None for no such column.
        tuned: what fine-tuning found; None where none was asked for.
        relations: what was found by comparing models with one another.
        notes: further remarks.
        arguments: for the provenance.
    """
    ranked, criterion, judged = order.ranked, order.criterion, order.judged
    names = tuple(one.name for one in ranked)
    table = _table(ranked, plan, imagenet, tuned)
    columns = tuple(dict.fromkeys(column for row in table.values() for column in row))
    cells = {f"{name}: {column}": row.get(column) for name, row in table.items() for column in columns}
    intervals = _intervals(ranked, len(plan.data), tuned)
    ends = {key: (interval.low, interval.high) for key, interval in intervals.items()}
    agreement, agreement_note = _agreement(table, columns, criterion, plan)

    def matrix(end: int) -> tuple[tuple[float | None, ...], ...]:
        return tuple(tuple(ends.get(f"{name}: {column}", (None, None))[end] for column in columns) for name in names)

    return Ranking(
        scores={key: value for key, value in cells.items() if value is not None},
        undefined={
            f"{one.name}: {column}": _reason(one, column, tuned)
            for one in ranked
            for column in columns
            if table[one.name].get(column) is None
        },
        intervals=intervals,
        models=names,
        columns=columns,
        values=tuple(tuple(table[name].get(column) for column in columns) for name in names),
        low=matrix(0),
        high=matrix(1),
        criterion=criterion,
        best=names[0],
        p_best=(*map(float, order.found.p_best), *(0.0,) * (len(names) - len(judged))),
        contenders=order.contenders,
        regret=order.regret,
        recommendation=_recommendation(order, {name: ends[f"{name}: {criterion}"] for name in judged}, len(failed)),
        agreement=agreement,
        failed=dict(failed),
        steps=tuple(steps),
        n=len(plan.data),
        folds=int(plan.folds.max()) + 1,
        repeats=len(plan.folds),
        correct={
            probe: np.stack([one.judgements[probe].correct for one in ranked])
            for probe in plan.probes
            if all(probe in one.judgements for one in ranked)
        },
        curves=_curves(ranked, plan),
        parts={one.name: (*one.parts, *relations.missing.get(one.name, ())) for one in ranked},
        similarity=relations.similarity,
        provenance=Provenance(
            function=FUNCTION,
            version=__version__,
            arguments=arguments,
            method="paired resampling of images; random signs, largest statistic over rivals",
            n=len(plan.data),
            seed=plan.seed,
            source=plan.data.description,
            fingerprint=plan.data.fingerprint,
            notes=(*_notes(ranked, plan), *_tuning_notes(tuned, len(names)), *relations.notes, *notes, *agreement_note),
        ),
    )


def _recommendation(order: Order, bounds: Mapping[str, tuple[float, float]], failed: int) -> str:
    accuracy, p_best = (
        dict(zip(order.judged, map(float, values), strict=True))
        for values in (order.found.accuracy, order.found.p_best)
    )
    return words.recommendation(
        ranked=order.judged,
        accuracy=accuracy,
        bounds=bounds,
        p_best=p_best,
        contenders=order.contenders,
        regret=order.regret,
        criterion=order.criterion,
        n=order.n,
        failed=failed,
    )


def _curves(ranked: Sequence[Measured], plan: Plan) -> dict[str, dict[str, tuple[tuple[float, ...], ...]]]:
    """Returns probe to model to (setting, accuracy, low, high), the ends of Wilson's interval for so many images."""
    n = len(plan.data)
    found: dict[str, dict[str, tuple[tuple[float, ...], ...]]] = {probe: {} for probe in plan.probes}
    for one in ranked:
        for probe, judgement in one.judgements.items():
            ends = [wilson(round(share * n), n, estimand=ESTIMAND) for _, share in judgement.curve]
            points = zip(judgement.curve, ends, strict=True)
            if judgement.curve:
                found[probe][one.name] = tuple((*point, interval.low, interval.high) for point, interval in points)
    return {probe: lines for probe, lines in found.items() if lines}


def _reason(one: Measured, column: str, tuned: FineTuned | None) -> str:
    if column == "finetune" and tuned is not None:
        return tuned.failed.get(one.name, "not fine-tuned")
    return one.undefined.get(column, "not known for this model")


def _tuning_notes(tuned: FineTuned | None, models: int) -> list[str]:
    if tuned is None:
        return []
    end = "one model was then told from all others" if tuned.decided else "which was all that was asked for"
    notes = [f"fine-tuning: {tuned.runs} runs of {len(tuned.correct)} of {models} models; {end}"]
    if tuned.correct and len(tuned.correct) < models:
        notes.append("P(best) is among the models that were fine-tuned; it is 0 for the others")
    return notes


def _table(
    ranked: Sequence[Measured], plan: Plan, imagenet: Mapping[str, float] | None, tuned: FineTuned | None
) -> dict[str, dict[str, float | None]]:
    """Returns model to column to value, the columns in the order in which they are shown."""
    table: dict[str, dict[str, float | None]] = {}
    for one in ranked:
        row: dict[str, float | None] = {}
        if tuned is not None:
            right = tuned.correct.get(one.name)
            row["finetune"] = None if right is None else float(right.mean())
        row.update({probe: one.values.get(probe) for probe in plan.probes})
        if imagenet is not None:
            row["imagenet_top1"] = imagenet.get(one.name)
        row.update({name: value for name, value in one.values.items() if name not in row})
        table[one.name] = row
    return table


def _intervals(ranked: Sequence[Measured], n: int, tuned: FineTuned | None) -> dict[str, Interval]:
    found = {}
    for one in ranked:
        if tuned is not None and one.name in tuned.correct:
            right = tuned.correct[one.name]
            held = right.shape[1]
            found[f"{one.name}: finetune"] = wilson(round(float(right.mean()) * held), held, estimand=ESTIMAND)
        for probe, judgement in one.judgements.items():
            # Repeats judge the same images again, so they do not make the sample larger.
            share = round(float(judgement.correct.mean()) * n)
            found[f"{one.name}: {probe}"] = wilson(share, n, estimand=ESTIMAND)
        for part in one.parts:
            for score, interval in part["intervals"].items():
                if score in one.bounds:
                    found[f"{one.name}: {score}"] = Interval(**interval)
    return found


def _agreement(
    table: Mapping[str, Mapping[str, float | None]], columns: Sequence[str], criterion: str, plan: Plan
) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    table = {name: row for name, row in table.items() if row[criterion] is not None}
    truth = {name: row[criterion] for name, row in table.items()}
    lines = []
    for column in columns:
        values = {name: row.get(column) for name, row in table.items()}
        if column == criterion or sum(value is not None for value in values.values()) < LEAST_MODELS:
            continue
        found = rank_agreement(values, truth, k=(1,), draws=1000, seed=plan.seed)
        tau, interval = found.scores.get("weighted_kendall"), found.intervals.get("weighted_kendall")
        low, high = (interval.low, interval.high) if interval else (None, None)
        lines.append({"score": column, "against": criterion, "tau": tau, "low": low, "high": high})
    note = () if lines else (f"agreement of scores with {words.CRITERIA[criterion]} needs {LEAST_MODELS} models",)
    return tuple(lines), note


def _notes(ranked: Sequence[Measured], plan: Plan) -> list[str]:
    smallest = int(np.bincount(plan.labels).min())
    folds = int(plan.folds.max()) + 1
    notes = [
        "P(best), contenders and regret take the images as the sample; the training sets of the folds overlap and are "
        "not drawn anew"
    ]
    if smallest < folds:
        notes.append(f"the smallest class has {smallest} images, fewer than the {folds} folds: it is absent from some")
    if plan.data.skipped:
        notes.append(f"{len(plan.data.skipped)} images that cannot be read were left out")
    for one in ranked:
        notes += [f"{one.name}: {note}" for note in one.notes]
        for probe, judgement in one.judgements.items():
            notes += [f"{one.name}: {probe} probe: {note}" for note in judgement.notes]
    return notes
