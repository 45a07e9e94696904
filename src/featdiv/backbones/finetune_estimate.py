"""What a fine-tuning would take: a few steps timed, nothing written."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from featdiv.backbones.cache import free_bytes
from featdiv.backbones.finetune import finetune as _finetune
from featdiv.backbones.finetune import resolved
from featdiv.backbones.finetune_arguments import FUNCTION, check_grid
from featdiv.backbones.finetune_data import Draws, training_batches
from featdiv.backbones.finetune_job import Job
from featdiv.backbones.finetune_search import rungs
from featdiv.backbones.finetune_store import Run
from featdiv.backbones.finetune_train import Training
from featdiv.errors import InputError

EVALUATIONS = 10
"""Evaluations in a run where ``eval_every`` is left open."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuneEstimate:
    """What a fine-tuning would take.

    Attributes:
        runs: training runs, those of the search and the final ones.
        steps: of all runs together.
        train: images of the search, ``val`` to choose on, ``test`` to judge on.
        val: see ``train``.
        test: see ``train``.
        classes: number of classes.
        seconds_per_step: measured, decoding included.
        seconds_per_evaluation: of the validation images, measured.
        seconds: of everything.
        bytes: of the weights and the one checkpoint that would be kept; 0 without ``out``.
        free: bytes that are free where they would go, or None.
        batch_size: images a step.
        workers: processes that decode.
        device: where it would run.
        timed: steps that were timed.
    """

    runs: int
    steps: int
    train: int
    val: int
    test: int
    classes: int
    seconds_per_step: float
    seconds_per_evaluation: float
    seconds: float
    bytes: int
    free: int | None
    batch_size: int
    workers: int
    device: str
    timed: int


def estimate(model: Any, data: Any, *, timed: int = 4, **arguments: Any) -> FineTuneEstimate:
    """Times a few steps and returns what `featdiv.finetune` with the same arguments would take.

    The first step is not timed. What an earlier call has left in ``out`` is not taken into account.

    Args:
        model: as in `featdiv.finetune`.
        data: as in `featdiv.finetune`.
        timed: steps to time.
        **arguments: the others of `featdiv.finetune`.

    Raises:
        InputError: for an argument that `featdiv.finetune` does not have, and as there.
    """
    defaults = _finetune.__kwdefaults__ or {}
    unknown = [name for name in arguments if name not in defaults]
    if unknown:
        raise InputError(f"{FUNCTION}: no argument {unknown[0]!r}; expected {', '.join(defaults)}")
    asked = {**defaults, **arguments}
    given, _ = resolved(asked)
    job = Job(model, data, {**given, "out": None}, report=None)
    grid = job.grid
    run = Run(
        lr=grid.lr[0],
        weight_decay=grid.weight_decay[0],
        steps=timed + 1,
        seed=grid.seeds[0],
        images="train",
        rung=0,
        stage="search",
    )
    judge = job.judge("val")
    training = Training(job.setting, run, judge)
    per_step = _time_steps(job, training, timed)
    started = time.perf_counter()
    judge(training.network)
    per_evaluation = time.perf_counter() - started
    grids = [job.grid]
    if given["baseline"]:
        # A protocol may have another grid, and more steps, for random weights.
        grids.append(check_grid(resolved({**asked, "mode": "scratch"})[0]))
    searched = [rung for grid in grids for rung in rungs(grid.points, grid.steps, grid.halving)]
    steps = sum(rung.points * rung.steps for rung in searched) + sum(job.final_runs * grid.steps for grid in grids)
    evaluations = sum(
        rung.points * (EVALUATIONS if job.recipe.eval_every is None else 1 + rung.steps // job.recipe.eval_every)
        for rung in searched
    )
    tests = len(job.division.test or ()) / max(1, len(job.division.val)) * len(grid.seeds)
    weights = sum(value.numel() * value.element_size() for value in training.network.state_dict().values())
    out = given["out"]
    # A checkpoint holds the weights, what the optimiser keeps of each, and their average.
    copies = len(grid.seeds) + 1 + (2 if job.recipe.optimizer == "adamw" else 1) + (job.recipe.ema is not None)
    return FineTuneEstimate(
        runs=sum(rung.points for rung in searched) + len(grids) * job.final_runs,
        steps=steps,
        train=len(job.division.train),
        val=len(job.division.val),
        test=len(job.division.test or ()),
        classes=len(job.division.classes),
        seconds_per_step=per_step,
        seconds_per_evaluation=per_evaluation,
        seconds=steps * per_step + (evaluations + len(grids) * tests) * per_evaluation,
        bytes=0 if out is None else len(grids) * copies * weights,
        free=None if out is None else free_bytes(out),
        batch_size=training.batch_size,
        workers=job.workers,
        device=job.device,
        timed=timed,
    )


def _time_steps(job: Job, training: Training, timed: int) -> float:
    import torch

    def waited() -> float:
        if job.device.startswith("cuda"):
            torch.cuda.synchronize(job.device)
        return time.perf_counter()

    draws = Draws(job.division.train, job.views.train, job.grid.seeds[0], FUNCTION)
    batches = training_batches(
        draws, range(timed + 1), batch_size=training.batch_size, workers=job.workers, device=job.device
    )
    started = time.perf_counter()
    training.set_mode()
    with torch.random.fork_rng(devices=[]):
        for step, (x, y) in enumerate(batches):
            training.take_step(x, y)
            if step == 0:
                started = waited()
    return (waited() - started) / timed
