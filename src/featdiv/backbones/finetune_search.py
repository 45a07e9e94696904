"""The search over the grid: successive halving, each rung a whole schedule, judged on the validation images only."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from featdiv.backbones.finetune_judge import Judge
from featdiv.backbones.finetune_result import Trial
from featdiv.backbones.finetune_setting import Setting
from featdiv.backbones.finetune_store import Outcome, Run
from featdiv.backbones.finetune_train import train
from featdiv.errors import NotEnoughData

FEWEST_STEPS = 10
"""Steps of a rung at least, where the whole schedule has as many."""

DEFAULT_LR = {
    ("sgd", "full"): (0.001, 0.01, 0.1),
    ("sgd", "frozen"): (0.01, 0.1, 1.0),
    ("sgd", "scratch"): (0.003, 0.03, 0.3),
    ("adamw", "full"): (0.00003, 0.0003, 0.003),
    ("adamw", "frozen"): (0.001, 0.01, 0.1),
    ("adamw", "scratch"): (0.0003, 0.001, 0.003),
}
"""Optimiser and mode to the learning rates that are tried where none are given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rung:
    """A round of the halving.

    Attributes:
        points: how many grid points take part.
        steps: of the schedule of each.
    """

    points: int
    steps: int


def rungs(points: int, steps: int, halving: int | None) -> tuple[Rung, ...]:
    """Returns the rounds: of g points, rung i of s = ceil(log_h g) trains ceil(g / h^i) for steps / h^(s - i) steps.

    A rung has 10 steps at least, where ``steps`` allows it; one that would be no longer than that before is left out.

    Source:
        Jamieson & Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization".

    Example:
        >>> from featdiv.backbones.finetune_search import rungs
        >>> [(rung.points, rung.steps) for rung in rungs(9, 900, 3)]
        [(9, 100), (3, 300), (1, 900)]
    """
    if halving is None or points == 1:
        return (Rung(points=points, steps=steps),)
    last = 0
    while halving**last < points:
        last += 1
    least = min(steps, FEWEST_STEPS)
    planned: list[Rung] = []
    for i in range(last + 1):
        rung = Rung(points=math.ceil(points / halving**i), steps=max(least, steps // halving ** (last - i)))
        if not planned or rung.steps > planned[-1].steps:
            planned.append(rung)
    return tuple(planned)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What the search found.

    Attributes:
        run: the chosen point's, at full length.
        outcome: what became of it.
        trials: every run.
    """

    run: Run
    outcome: Outcome
    trials: tuple[Trial, ...]


def search(
    setting: Setting,
    judge: Judge,
    *,
    lr: Sequence[float],
    weight_decay: Sequence[float],
    steps: int,
    halving: int | None,
    metric: str,
    seed: int,
    keep: bool,
) -> Found:
    """Runs the search.

    A point whose run diverges is out. Where all of a rung do, those that came next in the rung before take their place.

    Raises:
        NotEnoughData: if every run at full length diverged.
    """
    candidates = list(itertools.product(lr, weight_decay))
    planned = rungs(len(candidates), steps, halving)
    trials: list[Trial] = []
    runs: dict[tuple[float, float], tuple[Run, Outcome]] = {}
    for number, rung in enumerate(planned):
        length = steps if number == len(planned) - 1 else rung.steps
        runs = {}
        survived = 0
        for place, (rate, decay) in enumerate(candidates):
            if place >= rung.points and survived:
                break
            run = Run(lr=rate, weight_decay=decay, steps=length, seed=seed, images="train", rung=number, stage="search")
            outcome = train(setting, run, judge, keep=keep and length == steps)
            trials.append(trial(setting, run, outcome, metric))
            runs[rate, decay] = run, outcome
            survived += not outcome.diverged
        candidates = sorted(
            (point for point in runs if not runs[point][1].diverged), key=lambda point: _rank(runs[point][1], metric)
        )
        if not candidates:
            reasons = "; ".join(f"lr {t.lr:g}: {t.diverged}" for t in trials[-3:])
            raise NotEnoughData(
                f"{setting.function}: lr: all {len(runs)} runs of {length} steps diverged ({reasons}). Pass smaller "
                "learning rates, and make sure that weights and images are finite"
            )
    run, outcome = runs[candidates[0]]
    return Found(run=run, outcome=outcome, trials=tuple(trials))


def _rank(outcome: Outcome, metric: str) -> tuple[float, float]:
    assert outcome.judgement is not None
    return -outcome.judgement.value(metric), outcome.judgement.loss


def trial(setting: Setting, run: Run, outcome: Outcome, metric: str) -> Trial:
    """Returns the line of a run in the table of the result."""
    judgement = outcome.judgement
    return Trial(
        stage=run.stage,
        rung=run.rung,
        lr=run.lr,
        weight_decay=run.weight_decay,
        coefficient=setting.coefficient(run.lr, run.weight_decay),
        seed=run.seed,
        steps=run.steps,
        value=None if judgement is None else judgement.value(metric),
        loss=None if judgement is None else judgement.loss,
        diverged=outcome.diverged,
        seconds=outcome.seconds,
        images_at_once=outcome.images_at_once,
    )
