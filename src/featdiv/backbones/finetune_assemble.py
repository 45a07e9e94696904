"""Puts together the `FineTune` of a call from what its runs gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featdiv import __version__
from featdiv.backbones.finetune_arguments import FUNCTION
from featdiv.backbones.finetune_job import Job
from featdiv.backbones.finetune_judge import METRICS, Judgement
from featdiv.backbones.finetune_result import FineTune, Point, Trial
from featdiv.backbones.finetune_search import Found
from featdiv.backbones.finetune_store import Outcome, Run
from featdiv.probes.proportion import wilson
from featdiv.results import Interval, Provenance

SHARE_OF_ODDS = 0.9
"""Share of the best odds whose first crossing is when training has converged."""
CONVERGENCE = ("steps_to_90", "seconds_to_90")
SEVERAL_CLASSES = "images have several classes, none of which is the right one"

NOT_ARGUMENTS = ("val", "test", "transform", "augmentation", "progress", "out", "checkpoint", "workers")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Final:
    """A final network.

    Attributes:
        run: how it was trained.
        outcome: what became of it.
        weights: where its weights lie, or None.
    """

    run: Run
    outcome: Outcome
    weights: Path | None


def assemble(
    job: Job,
    found: Found,
    finals: Sequence[Final],
    trials: tuple[Trial, ...],
    scratch: FineTune | None,
    notes: tuple[str, ...],
) -> FineTune:
    """Returns the result.

    Args:
        job: what was asked for, checked and loaded.
        found: the run that the search chose.
        finals: the final networks that were trained to the end, one for each seed; at least one.
        trials: all runs, for the record.
        scratch: the result of training from random weights, to compare with; None where it was not asked for.
        notes: remarks of the search.
    """
    chosen = found.outcome.judgement
    assert chosen is not None
    division, main = job.division, chosen.metrics[0]
    scores: dict[str, float] = {"lr": found.run.lr, "weight_decay": found.run.weight_decay}
    scores |= {f"val_{name}": chosen.value(name) for name in chosen.metrics}
    undefined = {
        f"{part}_{name}": SEVERAL_CLASSES for part in ("val", "test") for name in METRICS if name not in chosen.metrics
    }
    intervals: dict[str, Interval] = {}
    judgements = [final.outcome.judgement for final in finals if final.outcome.judgement is not None]
    if judgements:
        scores |= _test_scores(judgements, chosen.metrics)
        if "test_accuracy" in scores:
            # Images, not seeds, are the sample: the mean over seeds is rounded to a number of them.
            m = len(division.test or ())
            intervals["test_accuracy"] = wilson(round(scores["test_accuracy"] * m), m)
    else:
        undefined |= dict.fromkeys((f"test_{name}" for name in METRICS), "there are no test images")
    if main == "accuracy":
        _add_convergence(found.outcome.curve, len(division.val), scores, undefined)
    else:
        undefined |= dict.fromkeys(CONVERGENCE, SEVERAL_CLASSES)
    scores["seconds"] = sum(one.seconds for one in trials)
    if scratch is not None and judgements:
        scores[f"scratch_test_{main}"] = scratch.read(f"test_{main}")
        scores["gain_over_scratch"] = scores[f"test_{main}"] - scratch.read(f"test_{main}")
    return FineTune(
        scores=scores,
        undefined=undefined,
        intervals=intervals,
        mode=job.arguments["mode"],
        trials=trials,
        curve=found.outcome.curve,
        metric=job.grid.metric,
        classes=division.classes,
        per_class=_per_class([one.per_class for one in judgements] or [chosen.per_class], division.classes),
        seeds=tuple(final.run.seed for final in finals),
        predictions=_predictions(judgements),
        test_labels=np.empty(0, dtype=np.int64) if division.test is None else division.test.labels,
        module=_network(job, finals[0]),
        weights=tuple(str(final.weights) for final in finals if final.weights is not None),
        scratch=scratch,
        provenance=_provenance(job, (*job.model.notes, *notes, *_remarks(job, trials))),
    )


def _test_scores(judgements: Sequence[Judgement], metrics: Sequence[str]) -> dict[str, float]:
    """Returns the means over seeds, and how far the first metric varies among several of them."""
    scores = {f"test_{name}": float(np.mean([one.value(name) for one in judgements])) for name in metrics}
    if len(judgements) > 1:
        scores[f"test_{metrics[0]}_sd"] = float(np.std([one.value(metrics[0]) for one in judgements], ddof=1))
    return scores


def _remarks(job: Job, trials: Sequence[Trial]) -> list[str]:
    """Returns what a reader of the numbers should know about the runs behind them."""
    remarks = []
    lost = sum(bool(one.diverged) for one in trials)
    if lost:
        remarks.append(f"{lost} of {len(trials)} runs diverged and were given up")
    split = [one.images_at_once for one in trials if one.images_at_once is not None]
    if split:
        remarks.append(
            f"memory did not suffice for a batch: the gradients of {min(split)} images at once were added up in "
            f"{len(split)} of {len(trials)} runs; the steps are those of whole batches, but batch normalisation and "
            "dropout see the parts"
        )
    if job.recipe.batch_size > len(job.division.train):
        remarks.append(f"batches hold all {len(job.division.train)} training images, fewer than batch_size")
    return remarks


def _network(job: Job, final: Final) -> Any:
    """Returns the network with the weights that training ended with, ready to predict."""
    network, _ = job.setting.start.make(final.run.seed)
    assert final.outcome.state is not None
    network.load_state_dict(final.outcome.state)
    network.eval()
    return network


def _add_convergence(curve: tuple[Point, ...], m: int, scores: dict[str, float], undefined: dict[str, str]) -> None:
    """Adds when the odds p / (1 - p) first were 90 % of the best; none and all right count as half an image less."""
    accuracy = np.array([point.accuracy for point in curve])
    if not len(curve) or accuracy.max() == 0.0:
        undefined |= dict.fromkeys(CONVERGENCE, "no validation image was ever classified correctly")
        return
    clipped = np.clip(accuracy, 0.5 / m, 1.0 - 0.5 / m)
    odds = clipped / (1.0 - clipped)
    first = curve[int(np.argmax(odds >= SHARE_OF_ODDS * odds.max()))]
    scores |= dict(zip(CONVERGENCE, (float(first.step), first.seconds), strict=True))


def _per_class(shares: list[Any], classes: tuple[str, ...]) -> dict[str, float]:
    mean = np.mean(shares, axis=0)
    return {name: float(value) for name, value in zip(classes, mean, strict=True) if not np.isnan(value)}


def _predictions(judgements: list[Judgement]) -> Any:
    if not judgements:
        return np.empty((0, 0), dtype=np.int64)
    return np.stack([one.predictions for one in judgements])


def _provenance(job: Job, notes: tuple[str, ...]) -> Provenance:
    arguments = {name: value for name, value in job.arguments.items() if name not in NOT_ARGUMENTS}
    arguments |= {"lr": job.grid.lr, "weight_decay": job.grid.weight_decay, "seed": job.grid.seeds}
    arguments |= {"metric": job.grid.metric}
    arguments |= {"views": job.views.text, "weights": job.model.weights, "chosen_on": job.division.chosen_on}
    return Provenance(
        function=FUNCTION,
        version=__version__,
        definition=job.arguments["protocol"],
        arguments={**arguments, "model": job.model.name, "device": job.device},
        method=job.recipe.optimizer,
        precision=job.recipe.autocast or "float32",
        n=len(job.division.both),
        seed=job.grid.seeds[0],
        source=job.division.both.description,
        fingerprint=job.division.both.fingerprint,
        notes=notes,
    )
