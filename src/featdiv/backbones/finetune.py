"""`finetune`: a network trained on labelled images, its grid point chosen on validation, judged on test once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from featdiv import protocols
from featdiv.backbones.finetune_arguments import FUNCTION
from featdiv.backbones.finetune_assemble import Final, assemble
from featdiv.backbones.finetune_job import Job
from featdiv.backbones.finetune_judge import Judge
from featdiv.backbones.finetune_result import FineTune
from featdiv.backbones.finetune_search import Found, search, trial
from featdiv.backbones.finetune_train import train
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.progress import Progress, check_progress


def finetune(
    model: Any,
    data: Any,
    *,
    val: Any = None,
    test: Any = None,
    protocol: str | None = None,
    mode: str = "full",
    optimizer: str = "sgd",
    lr: float | Sequence[float] | None = None,
    weight_decay: float | Sequence[float] = (0.0, 1e-5, 1e-4),
    weight_decay_divided_by_lr: bool = True,
    decay_biases: bool = False,
    momentum: float = 0.9,
    nesterov: bool = True,
    steps: int = 1000,
    batch_size: int = 64,
    schedule: str = "cosine",
    warmup: float = 0.05,
    augmentation: Any = "crop-flip",
    label_smoothing: float = 0.0,
    bn_momentum: float | str | None = None,
    ema: float | None = None,
    halving: int | None = 3,
    refit: bool = True,
    holdout: float = 0.2,
    metric: str | None = None,
    baseline: bool = False,
    seed: int | Sequence[int] = 0,
    transform: Any = "model",
    checkpoint: str | os.PathLike[str] | None = None,
    pretrained: bool = True,
    autocast: str | None = None,
    channels_last: bool = False,
    compile: bool | str = False,
    eval_every: int | None = None,
    checkpoint_every: int | None = None,
    device: str | None = None,
    workers: int | str = "auto",
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> FineTune:
    """Fine-tunes a network: a grid searched on validation images, a fresh run on all of them, one look at test.

    Each point of ``lr`` x ``weight_decay`` is trained on the training images and judged on the validation images. With
    ``halving=h`` the points first get short schedules, the best one in h of them longer ones, and the last the whole
    length. The best point is then trained anew on training and validation images together, once for each seed, and
    judged on the test images. The classifier is new in every run. A run whose loss is not finite, or past the warm-up
    over ten steps more than four times that of guessing, ln(classes), is given up and recorded.

    With ``out``, runs are kept as they finish, and checkpoints while they go on: a call that is killed and made again
    goes on from there, and on the CPU gives the same numbers as one that was not. Order and augmentation depend on
    seed and step alone, not on the number of workers.

    Args:
        model: a timm name, a ``torch.nn.Module`` (which is copied), ``"hf:name"``, or what
            `featdiv.backbones.load_model` returned.
        data: `Images`, or whatever `featdiv.images` opens: the split ``train`` of it where it is divided, else all.
        val: images to choose on. Default: the split ``val`` of ``data``; else a share of every class of the training
            images.
        test: images to judge on. Default: the split ``test`` of ``data``; without one, the result has no test scores.
        protocol: a published recipe, ``"kornblith2019"`` or ``"ericsson2021"``, for the arguments that are left at
            their defaults; see `featdiv.protocols`. What is given otherwise, ``steps`` say, is recorded.
        mode: ``"full"``; ``"frozen"``: only the classifier learns, the rest stays in evaluation mode; ``"scratch"``:
            all weights are drawn anew.
        optimizer: ``"sgd"`` or ``"adamw"``, those of timm.
        lr: peak learning rates to try. Default: three for optimiser and mode; see `DEFAULT_LR`.
        weight_decay: values to try.
        weight_decay_divided_by_lr: the optimiser gets ``weight_decay / lr``, so that at the peak each step shrinks
            weights by the value itself, whatever the learning rate; False passes it as it is.
        decay_biases: decay biases and normalisation too.
        momentum: of SGD.
        nesterov: whether it is Nesterov's.
        steps: of a whole schedule.
        batch_size: images a step; all, where there are fewer. Where memory does not suffice for them, they go through
            the network in halves, quarters, …, and their gradients are added up; the result says so.
        schedule: ``"cosine"`` to zero, or ``"constant"``.
        warmup: share of the steps over which the learning rate rises linearly.
        augmentation: ``"none"``, ``"flip"``, ``"mild-crop"`` (at least two thirds of the image, never mirrored: for
            digits and text), ``"crop"``, ``"crop-flip"``, ``"randaugment"``, ``"strong"`` (with random erasing), or a
            callable from PIL image to tensor.
        label_smoothing: of the cross-entropy; with several classes an image, 0 and 1 become s/2 and 1 - s/2.
        bn_momentum: momentum of batch normalisation as torch counts it; ``"auto"``: min(10/s, 0.1) with s steps an
            epoch, which is Kornblith's max(1 - 10/s, 0.9); None leaves it.
        ema: decay of a moving average of the weights, with warm-up, that is judged instead of them.
        halving: one point in so many stays after each rung; None trains all at full length.
        refit: train the chosen point anew on training and validation images; False judges the network that learned
            from the training images (and trains it for further seeds).
        holdout: share of every class that is held out to choose on, where there are no validation images.
        metric: what to choose by: ``"accuracy"`` (the default), ``"mean_per_class"`` or ``"map"``; where images have
            several classes, ``"map"``, and the loss is the binary cross-entropy of each class.
        baseline: do the same from random weights, and compare.
        seed: of classifier, order, augmentation, dropout and the held-out images; several: a final network for each.
            The search uses the first.
        transform: how images are prepared for the evaluation, as in `featdiv.extract`; presets of augmentation take
            size, mean and std from it.
        checkpoint: file with the weights, for a model by name.
        pretrained: False for random weights.
        autocast: ``"bfloat16"`` or ``"float16"`` for mixed precision.
        channels_last: weights and images in that memory format; often faster for convolutions.
        compile: True for ``torch.compile`` of the steps, or the name of a backend of it.
        eval_every: steps between evaluations on the validation images. Default: a tenth of the run's steps.
        checkpoint_every: steps between checkpoints. Default: as ``eval_every``.
        device: where to train. Default: the GPU if there is one.
        workers: processes that decode; ``"auto"``: none beside a network on the CPU, else 16 at most.
        out: folder for runs and weights.
        progress: called with (steps done, steps in all).

    Returns:
        The scores, every run, the learning curve of the chosen point, the predictions, and the network.

    Raises:
        InputError: for an argument that cannot be used; images without labels; a single class; a class in ``val`` or
            ``test`` that the training images lack.
        NotEnoughData: if all runs diverged, or no image is left to choose on.
        BudgetExceeded: if a single image does not fit the memory of the device.
        FormatError: if a file in ``out`` is damaged.
        DiskFull: if there is no room in ``out``; finished runs and the last checkpoint are kept.
        SourceNotFound: if weights cannot be fetched.

    Source:
        Kornblith, Shlens & Le 2019, "Do better ImageNet models transfer better?", section 3; Chen et al. 2020, "A
        simple framework for contrastive learning", appendix B.8, for weight decay over learning rate.

    Example:
        >>> import featdiv
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> data = featdiv.images((digits.images[:90] * 15.9).astype("uint8"), labels=digits.target[:90] % 2)
        >>> small = {"input_size": (3, 32, 32), "crop_pct": 1.0}
        >>> found = featdiv.finetune(
        ...     "test_resnet", data, pretrained=False, transform=small, steps=4, batch_size=8, lr=0.01, weight_decay=0,
        ...     augmentation="none",
        ... )
        >>> found.mode, found.classes, [(run.stage, run.steps) for run in found.trials]
        ('full', ('0', '1'), [('search', 4), ('final', 4)])
        >>> found.undefined["test_accuracy"]
        'there are no test images'
    """
    given = {name: value for name, value in locals().items() if name not in ("model", "data")}
    return _finetune(model, data, given)


def resolved(given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the arguments with those of the protocol, and notes on where they depart from it."""
    if given["protocol"] is None:
        return dict(given), ()
    found = protocols.get(given["protocol"]).resolve("finetune", given, finetune.__kwdefaults__ or {})
    return dict(found.arguments), found.notes


def _finetune(model: Any, data: Any, given: Mapping[str, Any]) -> FineTune:
    arguments, notes = resolved(given)
    progress, baseline = arguments["progress"], arguments["baseline"]
    check_progress(progress, function=FUNCTION, told="steps done, steps in all")
    if baseline and arguments["mode"] == "scratch":
        raise InputError(f"{FUNCTION}: baseline: mode='scratch' is the baseline; leave baseline= out")
    job = Job(model, data, arguments, report=_part(progress, 0, 2 if baseline else 1))
    grid, division, setting = job.grid, job.division, job.setting
    setting.store.describe(job.facts)
    found = search(
        setting,
        job.judge("val"),
        lr=grid.lr,
        weight_decay=grid.weight_decay,
        steps=grid.steps,
        halving=grid.halving,
        metric=grid.metric,
        seed=grid.seeds[0],
        keep=not arguments["refit"],
    )
    test = None if division.test is None else job.judge("test")
    finals = [_final(job, found, seed, test) for seed in grid.seeds]
    trials = (*found.trials, *(trial(setting, final.run, final.outcome, grid.metric) for final in finals))
    went_through = [final for final in finals if not final.outcome.diverged]
    if not went_through:
        raise NotEnoughData(
            f"{FUNCTION}: lr: the final run at lr {found.run.lr:g} diverged ({finals[0].outcome.diverged}), though the "
            "one on the training images did not; pass smaller learning rates"
        )
    scratch = None
    if baseline:
        # Resolved anew: a protocol may have another grid, and more steps, for random weights.
        again = {**given, "mode": "scratch", "baseline": False, "progress": _part(progress, 1, 2)}
        scratch = _finetune(model, data, again)
    return assemble(job, found, went_through, trials, scratch, notes)


def _part(progress: Progress | None, part: int, parts: int) -> Progress | None:
    """Returns what reports one of several parts of equal length."""
    if progress is None:
        return None
    return lambda done, total: progress(part * (total or 0) + done, parts * (total or 0))


def _final(job: Job, found: Found, seed: int, judge: Judge | None) -> Final:
    """Trains a final network, or takes that of the search, and judges it on test."""
    refit = bool(job.arguments["refit"])
    images = "both" if refit else "train"
    chosen, store = found.run, job.setting.store
    run = dataclasses.replace(chosen, seed=seed, stage="final", images=images)
    if refit or seed != chosen.seed:
        return Final(run=run, outcome=train(job.setting, run, judge, keep=True), weights=store.weights_path(run))
    assert found.outcome.state is not None
    network, _ = job.setting.start.make(seed)
    network.load_state_dict(found.outcome.state)
    judgement = None if judge is None else judge(network.to(job.device))
    outcome = dataclasses.replace(found.outcome, curve=(), judgement=judgement, seconds=0.0)
    return Final(run=run, outcome=outcome, weights=store.weights_path(chosen))
