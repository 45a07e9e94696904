"""From what the runs of a call gave to its `FineTune`."""

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
CONVERGENCE = ("steps_to_90", "seconds_to_90")

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
    """Returns the result; ``finals`` are those that went through, at least one."""
    chosen = found.outcome.judgement
    assert chosen is not None
    division, grid = job.division, job.grid
    scores: dict[str, float] = {"lr": found.run.lr, "weight_decay": found.run.weight_decay}
    scores |= {f"val_{name}": chosen.value(name) for name in chosen.metrics}
    reason = "images have several classes, none of which is the right one"
    undefined = {f"{part}_{name}": reason for part in ("val", "test") for name in METRICS if name not in chosen.metrics}
    main = chosen.metrics[0]
    intervals: dict[str, Interval] = {}
    judgements = [final.outcome.judgement for final in finals if final.outcome.judgement is not None]
    if judgements:
        scores |= {f"test_{name}": float(np.mean([one.value(name) for one in judgements])) for name in chosen.metrics}
        m = len(job.division.test or ())
        if "test_accuracy" in scores:
            # Images, not seeds, are the sample: the mean over seeds is rounded to a number of them.
            intervals["test_accuracy"] = wilson(round(scores["test_accuracy"] * m), m)
        if len(judgements) > 1:
            scores[f"test_{main}_sd"] = float(np.std([one.value(main) for one in judgements], ddof=1))
    else:
        undefined |= dict.fromkeys((f"test_{name}" for name in METRICS), "there are no test images")
    if main == "accuracy":
        _add_convergence(found.outcome.curve, len(division.val), scores, undefined)
    else:
        undefined |= dict.fromkeys(CONVERGENCE, reason)
    scores["seconds"] = sum(one.seconds for one in trials)
    if scratch is not None and judgements:
        scores[f"scratch_test_{main}"] = scratch.read(f"test_{main}")
        scores["gain_over_scratch"] = scores[f"test_{main}"] - scratch.read(f"test_{main}")
    lost = sum(bool(one.diverged) for one in trials)
    remarks = [*job.model.notes, *notes]
    if lost:
        remarks.append(f"{lost} of {len(trials)} runs diverged and were given up")
    split = [one.images_at_once for one in trials if one.images_at_once is not None]
    if split:
        remarks.append(
            f"memory did not suffice for a batch: the gradients of {min(split)} images at once were added up in "
            f"{len(split)} of {len(trials)} runs; the steps are those of whole batches, but batch normalisation and "
            "dropout see the parts"
        )
    if job.recipe.batch_size > len(division.train):
        remarks.append(f"batches hold all {len(division.train)} training images, fewer than batch_size")
    network, _ = job.setting.start.make(finals[0].run.seed)
    state = finals[0].outcome.state
    assert state is not None
    network.load_state_dict(state)
    network.eval()
    shares = [one.per_class for one in judgements] or [chosen.per_class]
    return FineTune(
        scores=scores,
        undefined=undefined,
        intervals=intervals,
        mode=job.arguments["mode"],
        trials=trials,
        curve=found.outcome.curve,
        metric=grid.metric,
        classes=division.classes,
        per_class=_per_class(shares, division.classes),
        seeds=tuple(final.run.seed for final in finals),
        predictions=_predictions(judgements),
        test_labels=np.empty(0, dtype=np.int64) if division.test is None else division.test.labels,
        module=network,
        weights=tuple(str(final.weights) for final in finals if final.weights is not None),
        scratch=scratch,
        provenance=_provenance(job, tuple(remarks)),
    )


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
