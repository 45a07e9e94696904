"""Fine-tuning some of the ranked models: all, the first three, or as many runs as it takes to tell the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.backbones.finetune import finetune
from featdiv.errors import InputError
from featdiv.studies.ranking.candidates import FUNCTION, Candidate
from featdiv.studies.ranking.crossvalidation import Judgement
from featdiv.studies.ranking.failures import reason
from featdiv.studies.ranking.measure import Measured, Plan
from featdiv.studies.ranking.store import Store
from featdiv.studies.selection import select

Wanted = str | int
PASSED = ("checkpoint", "pretrained", "transform", "device", "workers", "autocast", "compile", "channels_last")
"""Arguments of an extraction that fine-tuning has as well."""
OURS = ("val", "test", "seed", "out", "progress", "checkpoint", "pretrained")
"""Arguments of `featdiv.finetune` that a ranking sets itself."""
ARGUMENTS = tuple(name for name in finetune.__kwdefaults__ or {} if name not in OURS)
"""The others."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FineTuned:
    """What fine-tuning found.

    Attributes:
        correct: model to (seeds, t) whether each held-out image was right.
        failed: model to the reason why it has no result.
        runs: how many were made.
        decided: whether they ended because one model was told from all others.
    """

    correct: Mapping[str, npt.NDArray[np.bool_]]
    failed: Mapping[str, str]
    runs: int
    decided: bool

    def means(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Returns (models, t) shares of the seeds for which each image was right."""
        return np.stack([self.correct[name].mean(axis=0) for name in names])


def check(wanted: Any, arguments: Mapping[str, Any]) -> None:
    """Refuses what is neither a rule nor a budget, and arguments that a ranking sets itself.

    Raises:
        InputError: naming the argument.
    """
    whole = isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool) and int(wanted) >= 2
    if wanted not in ("top3", "all") and not whole:
        raise InputError(f"{FUNCTION}: finetune: expected 'top3', 'all', or a budget of 2 runs or more; got {wanted!r}")
    unknown = [name for name in arguments if name not in ARGUMENTS]
    if unknown:
        raise InputError(f"{FUNCTION}: finetuning: no argument {unknown[0]!r}; expected some of {', '.join(ARGUMENTS)}")


def arguments_of(candidate: Candidate, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `featdiv.finetune` for a model: those given, and what it shares with its extraction."""
    return {**{name: value for name, value in candidate.arguments.items() if name in PASSED}, **arguments}


def most_runs(wanted: Wanted | None, models: int) -> int:
    """Returns how many runs there would be at most."""
    return {None: 0, "all": models, "top3": min(3, models)}[wanted] if wanted in (None, "all", "top3") else int(wanted)


def run(
    every: Mapping[str, Candidate],
    ranked: Sequence[Measured],
    contenders: Sequence[str],
    plan: Plan,
    store: Store,
    *,
    wanted: Wanted,
    arguments: Mapping[str, Any],
    folder: Path | None,
    draws: int,
    tick: Any,
) -> FineTuned:
    """Fine-tunes on all folds but the first of the first repeat, and judges on that one.

    ``"all"`` and ``"top3"`` make one run for each model. A budget is spent in rounds, one run of another seed for each
    model that is undecided: first those that the probe cannot tell from its best (two at least), then those that the
    runs so far cannot.

    Args:
        every: name to model.
        ranked: what was measured, the best first.
        contenders: those that the probe cannot tell from its best.
        plan: images and folds.
        store: where finished runs are kept.
        wanted: ``"all"``, ``"top3"``, or the largest number of runs.
        arguments: of `featdiv.finetune`.
        folder: for the runs' own checkpoints; None to keep none.
        draws: resamples of the test that tells models apart.
        tick: called with (what is done, runs done).
    """
    names = [one.name for one in ranked]
    facts = {one.name: one.facts for one in ranked}
    correct: dict[str, list[npt.NDArray[np.bool_]]] = {}
    failed: dict[str, str] = {}
    runs, seed, decided = 0, plan.seed, False
    if isinstance(wanted, str):
        pool, budget = (names if wanted == "all" else names[:3]), len(names)
    else:
        pool, budget = [name for name in names if name in contenders or name in names[:2]], int(wanted)
    rounds = 1 if isinstance(wanted, str) else budget
    # A round trains each undecided model once more, with the next seed.
    for _ in range(rounds):
        for name in list(pool):
            if runs == budget:
                break
            tick(f"fine-tuning {name}, seed {seed}", runs)
            runs += 1
            try:
                found = _one(every[name], plan, store, facts[name], seed=seed, arguments=arguments, folder=folder)
                correct.setdefault(name, []).append(found.correct[0])
            except Exception as error:
                # A network runs code of its own, which may raise anything; that must not cost the other models.
                failed[name] = reason(error)
                pool = [other for other in pool if other != name]
        tried = [name for name in pool if name in correct]
        if runs == budget or len(tried) < 2:
            break
        table = np.stack([np.mean(correct[name], axis=0) for name in tried])
        pool = [tried[i] for i in select(table, draws=draws, seed=plan.seed).contenders]
        decided = len(pool) == 1
        if decided:
            break
        seed += 1
    whole = {name: np.stack(parts) for name, parts in correct.items()}
    reasons = {name: reason for name, reason in failed.items() if name not in whole}
    return FineTuned(correct=whole, failed=reasons, runs=runs, decided=decided)


def _one(
    candidate: Candidate,
    plan: Plan,
    store: Store,
    facts: Mapping[str, Any],
    *,
    seed: int,
    arguments: Mapping[str, Any],
    folder: Path | None,
) -> Judgement:
    held = plan.folds[0] == 0

    def compute() -> dict[str, Any]:
        found = finetune(
            candidate.model,
            plan.data.subset(~held),
            test=plan.data.subset(held),
            seed=seed,
            out=folder,
            **arguments_of(candidate, arguments),
        )
        # One network was trained: its row is the only one.
        right = found.predictions[:1] == found.test_labels[None]
        return Judgement(correct=right, chosen=(found.lr,)).to_dict()

    settings = {**facts, "folds": plan.division(), "finetune": {key: repr(value) for key, value in arguments.items()}}
    return Judgement.from_dict(store.step(candidate.name, f"finetune seed {seed}", settings, compute))
