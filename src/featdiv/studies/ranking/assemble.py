"""From what was found out about each model to the ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featdiv import __version__
from featdiv.probes.proportion import wilson
from featdiv.results import Interval, Provenance
from featdiv.studies.agreement import LEAST_MODELS, rank_agreement
from featdiv.studies.ranking import words
from featdiv.studies.ranking.measure import Measured, Plan
from featdiv.studies.ranking.result import Ranking
from featdiv.studies.ranking.store import Step
from featdiv.studies.selection import select

FUNCTION = "featdiv.rank_models"
ESTIMAND = "accuracy on the population of the images, with training sets of this size"


def assemble(
    measured: Sequence[Measured],
    failed: Mapping[str, str],
    steps: Sequence[Step],
    plan: Plan,
    *,
    imagenet: Mapping[str, float] | None,
    draws: int,
    arguments: Mapping[str, Any],
) -> Ranking:
    """Returns the ranking.

    Args:
        measured: what was found out about each model.
        failed: model to the reason why it is missing.
        steps: what was done.
        plan: how.
        imagenet: model to its accuracy on ImageNet; None for no such column.
        draws: resamples.
        arguments: for the provenance.
    """
    criterion = plan.probes[0]
    # By name first, so that equals come in an order that does not depend on how models were listed.
    by_name = sorted(measured, key=lambda one: one.name)
    ranked = sorted(by_name, key=lambda one: -float(one.judgements[criterion].correct.mean()))
    n = len(plan.data)
    found = select(np.stack([one.judgements[criterion].correct for one in ranked]), draws=draws, seed=plan.seed)
    names = tuple(one.name for one in ranked)
    table = _table(ranked, plan, imagenet)
    columns = tuple(dict.fromkeys(column for row in table.values() for column in row))
    cells = {f"{name}: {column}": row.get(column) for name, row in table.items() for column in columns}
    intervals = _intervals(ranked, n)
    ends = {key: (interval.low, interval.high) for key, interval in intervals.items()}
    contenders = tuple(names[i] for i in found.contenders)
    regret = float(found.regret[0])
    p_best = tuple(float(p) for p in found.p_best)
    agreement, agreement_note = _agreement(table, columns, criterion, plan)
    undefined = {
        f"{one.name}: {column}": one.undefined.get(column, "not known for this model")
        for one in ranked
        for column in columns
        if table[one.name].get(column) is None
    }

    def matrix(end: int) -> tuple[tuple[float | None, ...], ...]:
        return tuple(tuple(ends.get(f"{name}: {column}", (None, None))[end] for column in columns) for name in names)

    return Ranking(
        scores={key: value for key, value in cells.items() if value is not None},
        undefined=undefined,
        intervals=intervals,
        models=names,
        columns=columns,
        values=tuple(tuple(table[name].get(column) for column in columns) for name in names),
        low=matrix(0),
        high=matrix(1),
        criterion=criterion,
        best=names[0],
        p_best=p_best,
        contenders=contenders,
        regret=regret,
        recommendation=words.recommendation(
            ranked=names,
            accuracy=dict(zip(names, map(float, found.accuracy), strict=True)),
            bounds={name: ends[f"{name}: {criterion}"] for name in names},
            p_best=dict(zip(names, p_best, strict=True)),
            contenders=contenders,
            regret=regret,
            criterion=criterion,
            n=n,
            failed=len(failed),
        ),
        agreement=agreement,
        failed=dict(failed),
        steps=tuple(steps),
        n=n,
        folds=int(plan.folds.max()) + 1,
        repeats=len(plan.folds),
        correct={
            probe: np.stack([one.judgements[probe].correct for one in ranked])
            for probe in plan.probes
            if all(probe in one.judgements for one in ranked)
        },
        parts={one.name: one.parts for one in ranked},
        provenance=Provenance(
            function=FUNCTION,
            version=__version__,
            arguments=arguments,
            method="paired resampling of images; random signs, largest statistic over rivals",
            n=n,
            seed=plan.seed,
            source=plan.data.description,
            fingerprint=plan.data.fingerprint,
            notes=(*_notes(ranked, plan), *agreement_note),
        ),
    )


def _table(
    ranked: Sequence[Measured], plan: Plan, imagenet: Mapping[str, float] | None
) -> dict[str, dict[str, float | None]]:
    """Returns model to column to value, the columns in the order in which they are shown."""
    table: dict[str, dict[str, float | None]] = {}
    for one in ranked:
        row: dict[str, float | None] = {probe: one.values.get(probe) for probe in plan.probes}
        if imagenet is not None:
            row["imagenet_top1"] = imagenet.get(one.name)
        row.update({name: value for name, value in one.values.items() if name not in row})
        table[one.name] = row
    return table


def _intervals(ranked: Sequence[Measured], n: int) -> dict[str, Interval]:
    found = {}
    for one in ranked:
        for probe, judgement in one.judgements.items():
            # Repeats judge the same images again: they make no more of them.
            right = round(float(judgement.correct.mean()) * n)
            found[f"{one.name}: {probe}"] = wilson(right, n, estimand=ESTIMAND)
        for part in one.parts:
            for score, interval in part["intervals"].items():
                if score in one.bounds:
                    found[f"{one.name}: {score}"] = Interval(**interval)
    return found


def _agreement(
    table: Mapping[str, Mapping[str, float | None]], columns: Sequence[str], criterion: str, plan: Plan
) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
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
    note = () if lines else (f"agreement of scores with the {criterion} probe needs {LEAST_MODELS} models",)
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
        for probe, judgement in one.judgements.items():
            notes += [f"{one.name}: {probe} probe: {note}" for note in judgement.notes]
    return notes
