"""The network that a run starts from: weights as given or drawn anew, and a classifier for the classes at hand."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from featdiv.backbones.jobs import fit_to
from featdiv.backbones.layers import PENULTIMATE, Capture, classifier_of
from featdiv.backbones.models import Model, load_model
from featdiv.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


class Start:
    """What every run of a call starts from.

    Args:
        model: the network with its weights.
        name: by which `load_model` makes it, or None where it was given as a module.
        mode: ``"full"``, ``"frozen"`` or ``"scratch"``.
        classes: number of classes.
        input_size: of the images, where it is known.
        function: public name for messages.
    """

    def __init__(
        self, model: Model, name: str | None, mode: str, classes: int, input_size: tuple[int, ...] | None, function: str
    ) -> None:
        self.model = model
        self.name = name
        self.mode = mode
        self.classes = classes
        self.input_size = input_size
        self.function = function

    def make(self, seed: int) -> tuple[nn.Module, list[nn.Module]]:
        """Returns a network on the CPU, and the parts of it that are the classifier."""
        import torch

        model = self.model
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.mode == "scratch" and self.name is not None:
                model = load_model(self.name, pretrained=False, seed=seed)
                fit_to(model, self.input_size)
            module = copy.deepcopy(model.module).cpu()
            if self.mode == "scratch" and self.name is None:
                redraw(module, model.name, self.function)
            module, heads = _with_classifier(module, model, self.classes, self.function)
        if self.mode == "frozen":
            if not any(True for head in heads for _ in head.parameters()):
                raise InputError(f"{self.function}: mode: {model.name} has no classifier to train with mode='frozen'")
            module.requires_grad_(False)
        else:
            module.requires_grad_(True)
        for head in heads:
            head.requires_grad_(True)
        return module, heads


def redraw(module: nn.Module, name: str, function: str) -> None:
    """Draws all weights of a module anew, by ``reset_parameters`` of its parts.

    Raises:
        InputError: if some parameter belongs to a part that has no such method.
    """
    for path, part in module.named_modules():
        own = [parameter for parameter, _ in part.named_parameters(recurse=False)]
        reset: Any = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
        elif own:
            where = f"{path}.{own[0]}" if path else own[0]
            raise InputError(
                f"{function}: mode: {where} of {name} cannot be drawn anew (no reset_parameters); pass the name of the "
                "model, or a module with random weights and mode='full'"
            )


def _with_classifier(module: nn.Module, model: Model, classes: int, function: str) -> tuple[nn.Module, list[nn.Module]]:
    from torch import nn

    timm_like: Any = module
    if hasattr(module, "reset_classifier") and hasattr(module, "get_classifier"):
        timm_like.reset_classifier(classes)
        found = timm_like.get_classifier()
        return module, list(found) if isinstance(found, (tuple, list)) else [found]
    if model.kind == "transformers":
        wrapped = WithHead(module, model, classes, function)
        return wrapped, [wrapped.head]
    path = classifier_of(model, function)
    parent, _, last = path.rpartition(".")
    old: Any = module.get_submodule(path)
    head = nn.Linear(old.in_features, classes, dtype=old.weight.dtype)
    owner: Any = module.get_submodule(parent) if parent else module
    if isinstance(owner, nn.Sequential):
        owner[int(last)] = head
    else:
        setattr(owner, last, head)
    return module, [head]


def WithHead(module: nn.Module, model: Model, classes: int, function: str) -> Any:  # noqa: N802 - makes a module
    """Returns a transformers network whose pooled penultimate layer goes through a linear classifier."""
    from torch import nn

    inner = Model(module=module, name=model.name, kind=model.kind, weights=model.weights)
    config: Any = module.config
    vision = getattr(config, "vision_config", config)

    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = module
            self.head = nn.Linear(int(vision.hidden_size), classes)
            self._rows = Capture(inner, [PENULTIMATE], "auto", function)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self._rows(x)[0])
            return logits

    return Headed()
