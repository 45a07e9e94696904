"""One training run: optimiser, schedule, evaluations, checkpoints from which it goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv._optional import require
from featdiv.backbones.finetune_data import Draws, training_batches
from featdiv.backbones.finetune_judge import Judge, Judgement
from featdiv.backbones.finetune_result import Point
from featdiv.backbones.finetune_setting import Setting
from featdiv.backbones.finetune_step import Stepper
from featdiv.backbones.finetune_store import Outcome, Run
from featdiv.backbones.torchvision_shim import prepare_torchvision

if TYPE_CHECKING:
    import torch

CHECKED_EVERY = 10
"""Steps between looks at the losses, each of which waits for the device."""

TOO_HIGH = 4.0
"""Multiple of the loss of guessing above which a run that is past its warm-up is given up."""


def train(setting: Setting, run: Run, judge: Judge | None, *, keep: bool) -> Outcome:
    """Trains, goes on, or reads what an earlier call left.

    Args:
        setting: what the runs of the call share.
        run: what to train.
        judge: the images to judge on: validation during and after a search run, test after a final one.
        keep: whether the weights are wanted.
    """
    found = setting.store.finished(run, keep)
    if found is not None:
        setting.steps_done(run.steps)
        # A call that goes on splits batches as the one before it did.
        setting.room.images = found.images_at_once or setting.room.images
        return found
    outcome = Training(setting, run, judge).finish(keep)
    setting.store.record(run, outcome)
    return outcome


class Training:
    """A run in progress."""

    def __init__(self, setting: Setting, run: Run, judge: Judge | None) -> None:
        import torch

        self.setting, self.run, self.judge = setting, run, judge
        recipe, device = setting.recipe, setting.device
        self.recipe = recipe
        self.pool = setting.pools[run.images]
        self.batch_size = min(recipe.batch_size, len(self.pool))
        self.network, self.heads = setting.start.make(run.seed)
        layout = torch.channels_last if recipe.channels_last else torch.preserve_format
        self.network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self._set_batch_norm()
        prepare_torchvision()
        optim = require("timm.optim", extra="vision", needed_by="fine-tuning")
        name = {"sgd": "sgd" if recipe.nesterov else "momentum", "adamw": "adamw"}[recipe.optimizer]
        options = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
        self.optimizer = optim.create_optimizer_v2(
            self.network,
            opt=name,
            lr=run.lr,
            weight_decay=setting.coefficient(run.lr, run.weight_decay),
            filter_bias_and_bn=not recipe.decay_biases,
            **options,
        )
        self.scheduler = self._schedule()
        self.ema: Any = None
        if recipe.ema is not None:
            timm_utils = require("timm.utils", extra="vision", needed_by="an average of weights")
            self.ema = timm_utils.ModelEmaV3(self.network, decay=recipe.ema, use_warmup=True)
        self.stepper = Stepper(setting, self.network, self.optimizer, self.ema)
        self.warm = math.ceil(recipe.warmup * run.steps)
        self.every = recipe.eval_every or max(1, run.steps // 10)
        self.step, self.seconds, self.diverged = 0, 0.0, ""
        self.curve: list[Point] = []
        self.losses: list[torch.Tensor] = []
        self.last: Judgement | None = None

    def _set_batch_norm(self) -> None:
        from torch import nn

        wanted = self.recipe.bn_momentum
        if wanted is None:
            return
        # The published rule counts what is kept, max(1 - 10/s, 0.9) with s steps an epoch; torch counts what is new.
        share = min(10.0 * self.batch_size / len(self.pool), 0.1) if wanted == "auto" else float(wanted)
        for part in self.network.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.momentum = share

    def _schedule(self) -> Any:
        if self.recipe.schedule == "constant" and not self.recipe.warmup:
            return None
        schedulers = require("timm.scheduler", extra="vision", needed_by="fine-tuning")
        warm = math.ceil(self.recipe.warmup * self.run.steps)
        options = {"warmup_t": warm, "warmup_lr_init": self.run.lr / (warm + 1) if warm else 0.0}
        if self.recipe.schedule == "constant":
            return schedulers.StepLRScheduler(self.optimizer, decay_t=self.run.steps + 1, t_in_epochs=False, **options)
        return schedulers.CosineLRScheduler(
            self.optimizer,
            t_initial=max(1, self.run.steps - warm),
            lr_min=0.0,
            warmup_prefix=True,
            t_in_epochs=False,
            **options,
        )

    def finish(self, keep: bool) -> Outcome:
        """Trains to the end, or until the run diverges."""
        import torch

        devices = [torch.device(self.setting.device)] if self.setting.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.run.seed)
            self._go_on()
            self._steps()
        judgement = None
        if not self.diverged and self.judge is not None:
            judgement = self.last or self.judge(self._judged())
            if not math.isfinite(judgement.loss):
                self.diverged = f"the logits are not finite after step {self.run.steps}"
                judgement = None
        state = None
        if keep and not self.diverged:
            state = {name: value.detach().cpu().clone() for name, value in self._judged().state_dict().items()}
        return Outcome(
            curve=tuple(self.curve),
            judgement=judgement,
            diverged=self.diverged,
            seconds=self.seconds,
            images_at_once=self.setting.room.images,
            state=state,
        )

    def _judged(self) -> Any:
        return self.network if self.ema is None else self.ema.module

    def _steps(self) -> None:
        run, setting = self.run, self.setting
        saved_every = setting.recipe.checkpoint_every or self.every
        batches = training_batches(
            Draws(self.pool, setting.views.train, run.seed, setting.function),
            range(self.step, run.steps),
            batch_size=self.batch_size,
            workers=setting.workers,
            device=setting.device,
        )
        self.set_mode()
        started = time.perf_counter()
        unchecked: list[torch.Tensor] = []
        for x, y in batches:
            loss = self.take_step(x, y)
            self.losses.append(loss)
            unchecked.append(loss)
            self.step += 1
            setting.steps_done(1)
            last = self.step == run.steps
            evaluates = run.stage == "search" and (self.step % self.every == 0 or last)
            saves = self.step % saved_every == 0 and not last
            # Whatever is saved has been checked, so that a run that goes on checks the same steps together.
            if self.step == 1 or self.step % CHECKED_EVERY == 0 or last or saves:
                self._check(unchecked)
                unchecked = []
            if not self.diverged and (evaluates or saves):
                self.seconds += time.perf_counter() - started
                if evaluates:
                    self._evaluate()
                if saves and not self.diverged:
                    self._save()
                self.set_mode()
                started = time.perf_counter()
            if self.diverged:
                setting.steps_done(run.steps - self.step)
                break
        self.seconds += time.perf_counter() - started

    def _save(self) -> None:
        import torch

        cuda = torch.cuda.get_rng_state(self.setting.device) if self.setting.device.startswith("cuda") else None
        content = {
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "images_at_once": self.setting.room.images,
            "losses": [float(loss) for loss in self.losses],
            "curve": [dataclasses.asdict(point) for point in self.curve],
            "rng": torch.get_rng_state(),
            "rng_cuda": cuda,
        }
        self.setting.store.save_checkpoint(self.run, content)

    def _go_on(self) -> None:
        """Takes up where a checkpoint stands, if there is one."""
        import torch

        content = self.setting.store.checkpoint(self.run)
        if content is None:
            return
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.ema is not None:
            self.ema.module.load_state_dict(content["ema"])
        self.stepper.scaler.load_state_dict(content["scaler"])
        self.step, self.seconds = int(content["step"]), float(content["seconds"])
        self.setting.room.images = content["images_at_once"] or self.setting.room.images
        self.losses = [torch.tensor(value, device=self.setting.device) for value in content["losses"]]
        self.curve = [Point(**point) for point in content["curve"]]
        torch.set_rng_state(content["rng"])
        if content["rng_cuda"] is not None:
            torch.cuda.set_rng_state(content["rng_cuda"], self.setting.device)
        self.setting.steps_done(self.step)

    def set_mode(self) -> None:
        """Puts the network, or with a frozen one the classifier alone, into training mode."""
        if self.setting.start.mode == "frozen":
            self.network.eval()
            for head in self.heads:
                head.train()
        else:
            self.network.train()

    def take_step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Takes a step on a batch and returns its loss, on the device."""
        if self.scheduler is not None:
            self.scheduler.step_update(self.step)
        return self.stepper(x, y, self.step)

    def _check(self, recent: list[torch.Tensor]) -> None:
        import torch

        values = torch.stack(recent).float().cpu().numpy().astype(np.float64)
        first = self.step - len(values) + 1
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            self.diverged = f"loss {values[bad[0]]} at step {first + int(bad[0])}"
        elif self.step > max(self.warm, CHECKED_EVERY) and len(values) > 1:
            guess = self.setting.guessing
            if values.mean() > TOO_HIGH * guess:
                self.diverged = (
                    f"loss {values.mean():.3g} in the steps up to {self.step}, {values.mean() / guess:.1f} times that "
                    "of guessing"
                )

    def _evaluate(self) -> None:
        import torch

        assert self.judge is not None
        train_loss = float(torch.stack(self.losses).double().mean())
        self.losses.clear()
        self.last = self.judge(self._judged())
        if not math.isfinite(self.last.loss):
            self.diverged = f"the logits on the validation images are not finite after step {self.step}"
            return
        self.curve.append(
            Point(
                step=self.step,
                seconds=self.seconds,
                lr=float(self.optimizer.param_groups[0]["lr"]),
                train_loss=train_loss,
                val_loss=self.last.loss,
                accuracy=self.last.accuracy,
                mean_per_class=self.last.mean_per_class,
                map=self.last.map,
            )
        )
