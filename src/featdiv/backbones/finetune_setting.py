"""What the training runs of one call share: the recipe, the images, and where everything is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from featdiv.backbones.finetune_data import Views
from featdiv.backbones.finetune_division import Pool
from featdiv.backbones.finetune_network import Start
from featdiv.backbones.finetune_store import Store
from featdiv.backbones.forward import Room

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every run of a call is trained; the arguments of `featdiv.finetune`."""

    optimizer: str
    momentum: float
    nesterov: bool
    weight_decay_divided_by_lr: bool
    decay_biases: bool
    schedule: str
    warmup: float
    batch_size: int
    label_smoothing: float
    bn_momentum: float | str | None
    ema: float | None
    autocast: str | None
    channels_last: bool
    compile: bool | str
    eval_every: int | None
    checkpoint_every: int | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What the runs of a call share.

    Attributes:
        start: makes the network.
        recipe: how to train.
        views: transforms.
        pools: ``"train"`` and ``"both"`` to the images to learn from.
        store: where runs are kept.
        device: where to train.
        room: how many images fit its memory at once.
        workers: processes that decode.
        steps_done: called with the number of steps taken, or spared.
        function: public name for messages.
    """

    start: Start
    recipe: Recipe
    views: Views
    pools: Mapping[str, Pool]
    store: Store
    device: str
    room: Room
    workers: int
    steps_done: Callable[[int], None]
    function: str

    @property
    def guessing(self) -> float:
        """The loss of guessing: ln(classes), or ln 2 where each class is a question of its own."""
        return math.log(self.start.classes if self.pools["train"].labels.ndim == 1 else 2)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the mean cross-entropy of (b, c) logits: with (b,) classes, or of each class with (b, c) 0 and 1."""
        import torch

        smoothing = self.recipe.label_smoothing
        if targets.ndim == 1:
            return torch.nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        shares = targets.to(logits.dtype) * (1.0 - smoothing) + smoothing / 2.0
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, shares)

    def coefficient(self, lr: float, weight_decay: float) -> float:
        """Returns the weight decay that the optimiser gets."""
        return weight_decay / lr if self.recipe.weight_decay_divided_by_lr else weight_decay
