"""One step of training: forward, loss, gradients, optimiser; in parts where a batch does not fit the memory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from featdiv.backbones.finetune_setting import Setting
from featdiv.backbones.forward import out_of_memory, precision
from featdiv.errors import BudgetExceeded, FeatdivError, InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


class Stepper:
    """Takes the steps of one run.

    A batch that does not fit the memory of the device goes through the network in parts, whose gradients are added up
    with the weight of their images: the step is that of the whole batch, up to rounding. Batch normalisation sees the
    parts alone, and what is drawn (dropout, stochastic depth) is drawn for each. Its running statistics forget as much
    in a step as they would of one batch: with p parts their momentum m becomes 1 - (1 - m)^(1/p).

    Args:
        setting: what the runs of the call share.
        network: on its device.
        optimizer: of its parameters.
        ema: the average of its weights that is kept, or None.
    """

    def __init__(self, setting: Setting, network: nn.Module, optimizer: torch.optim.Optimizer, ema: Any) -> None:
        import torch

        self.setting, self.network, self.optimizer, self.ema = setting, network, optimizer, ema
        recipe, device = setting.recipe, setting.device
        self.scaler = torch.amp.GradScaler(enabled=recipe.autocast == "float16" and device.startswith("cuda"))
        self.forward: Any = network
        if recipe.compile:
            # Each run has a network of its own, and torch compiles the same code a few times only before it gives up.
            torch.compiler.reset()
            backend = recipe.compile if isinstance(recipe.compile, str) else "inductor"
            self.forward = torch.compile(network, backend=backend)

    def __call__(self, x: torch.Tensor, y: torch.Tensor, step: int) -> torch.Tensor:
        """Takes a step on a batch and returns its loss, on the device.

        Raises:
            BudgetExceeded: if memory does not suffice for one image, or for the state of the optimiser.
            InputError: if the network refuses the batch.
        """
        import torch

        device = self.setting.device
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        if self.setting.recipe.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        restore = self._snapshot()
        attempts = 0

        def gradients(size: int) -> torch.Tensor:
            nonlocal attempts
            self.optimizer.zero_grad(set_to_none=True)
            if attempts:
                restore()
            attempts += 1
            return self._gradients(x, y, math.ceil(len(x) / size))

        loss = self.setting.room.run(len(x), x.shape[1:], gradients)
        try:
            self.scaler.step(self.optimizer)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise BudgetExceeded(
                f"{self.setting.function}: optimizer: what {self.setting.recipe.optimizer!r} keeps of each weight does "
                f"not fit the memory of {device}; take optimizer='sgd', mode='frozen', or another device"
            ) from None
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.network, step=step)
        return loss

    def _gradients(self, x: torch.Tensor, y: torch.Tensor, parts: int) -> torch.Tensor:
        """Adds up the gradients of ``parts`` parts of nearly equal size, and returns the loss of all."""
        import torch

        total = torch.zeros((), device=x.device)
        with self._momentum_of(parts):
            for images, labels in zip(x.tensor_split(parts), y.tensor_split(parts), strict=True):
                try:
                    with precision(self.setting.recipe.autocast, self.setting.device):
                        logits = self.forward(images)
                    loss = self.setting.loss(logits.float(), labels) * (len(images) / len(x))
                    self.scaler.scale(loss).backward()
                except (RuntimeError, ValueError) as error:
                    if out_of_memory(error) or isinstance(error, FeatdivError):
                        raise
                    raise self._explained(error, tuple(images.shape)) from error
                total += loss.detach()
        return total

    def _snapshot(self) -> Any:
        """Returns what puts back the state that a failed attempt has changed: running statistics and generators."""
        import torch

        cuda = self.setting.device.startswith("cuda")
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        host = torch.get_rng_state()
        device = torch.cuda.get_rng_state(self.setting.device) if cuda else None

        def restore() -> None:
            for buffer, before in buffers:
                buffer.copy_(before)
            torch.set_rng_state(host)
            if device is not None:
                torch.cuda.set_rng_state(device, self.setting.device)

        return restore

    @contextlib.contextmanager
    def _momentum_of(self, parts: int) -> Iterator[None]:
        from torch import nn

        kind = nn.modules.batchnorm._BatchNorm
        norms = [part for part in self.network.modules() if isinstance(part, kind)] if parts > 1 else []
        before = [part.momentum for part in norms]
        for part in norms:
            if part.momentum is not None:
                part.momentum = 1.0 - (1.0 - part.momentum) ** (1.0 / parts)
        try:
            yield
        finally:
            for part, momentum in zip(norms, before, strict=True):
                part.momentum = momentum

    def _explained(self, error: Exception, shape: tuple[int, ...]) -> Exception:
        text = " ".join(str(error).split())[:300]
        name, function = self.setting.start.model.name, self.setting.function
        if "more than 1 value per channel" in text:
            return InputError(
                f"{function}: batch_size: {name} normalises over the batch, and {shape[0]} image of this size leaves "
                "one value a channel; take larger batches or larger images (transform=)"
            )
        return InputError(f"{function}: transform: {name} refuses a batch of shape {shape}: {text}")
