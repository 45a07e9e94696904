"""Which outputs of a network to keep, and how each becomes one row an image."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from featdiv.backbones.models import Model
from featdiv.errors import InputError

if TYPE_CHECKING:
    import torch

PENULTIMATE = "penultimate"
OUTPUT = "output"
INPUT = ":input"
POOLS = ("auto", "cls", "mean", "gem", "none")
HEADS = ("fc", "classifier", "head", "heads", "linear", "logits")
"""Names under which networks keep their classifier."""

GEM_POWER = 3.0
GEM_FLOOR = 1e-6


class Tokens(NamedTuple):
    """How a network lays out what its layers give.

    Attributes:
        prefix: tokens before those of the patches.
        cls: whether the first is a class token.
        channels_last: whether maps are (b, h, w, d) rather than (b, d, h, w).
    """

    prefix: int
    cls: bool
    channels_last: bool


def tokens_of(model: Model) -> Tokens:
    """Returns the layout of a network, as far as it says."""
    module: Any = model.module
    if model.kind == "transformers":
        embeddings = getattr(_vision(module), "embeddings", None)
        cls = any(getattr(embeddings, name, None) is not None for name in ("cls_token", "class_embedding"))
        registers = int(getattr(getattr(module, "config", None), "num_register_tokens", 0) or 0)
        distilled = int(getattr(embeddings, "distillation_token", None) is not None)
        return Tokens(int(cls) + registers + distilled, cls, False)
    cls = getattr(module, "cls_token", None) is not None or getattr(module, "class_token", None) is not None
    prefix = int(getattr(module, "num_prefix_tokens", int(cls)) or 0)
    return Tokens(prefix, cls, str(getattr(module, "output_fmt", "")).upper().endswith("NHWC"))


def pooled(value: torch.Tensor, pool: str, tokens: Tokens, layer: str, function: str) -> torch.Tensor:
    """Returns (b, d) rows of what a layer gave.

    (b, d) stays as it is. Of tokens (b, t, d), ``"auto"`` takes the class token where there is one, else the mean of
    the others; of maps, the mean over positions. ``"gem"`` is the generalised mean with power 3 over positions,
    (mean max(x, 1e-6)^3)^(1/3) (Radenović et al. 2018, eq. 3). ``"none"`` flattens.

    Raises:
        InputError: if the shape cannot be pooled as asked.
    """
    if value.ndim == 2:
        return value
    if pool == "none" or value.ndim < 2:
        return value.reshape(value.shape[0], -1)
    if value.ndim == 3:
        if pool == "cls" or (pool == "auto" and tokens.cls):
            if not tokens.cls:
                raise InputError(f"{function}: pool: {layer!r} has no class token to take; use pool='mean'")
            return value[:, 0]
        positions = value[:, tokens.prefix :] if value.shape[1] > tokens.prefix else value
    elif value.ndim == 4:
        if pool == "cls":
            raise InputError(f"{function}: pool: {layer!r} gives maps, which have no class token; use pool='mean'")
        positions = value.flatten(1, 2) if tokens.channels_last else value.flatten(2).transpose(1, 2)
    else:
        shape = tuple(value.shape)
        raise InputError(f"{function}: layer: {layer!r} gives shape {shape}; use pool='none' to flatten it")
    if pool == "gem":
        powers = positions.float().clamp(min=GEM_FLOOR) ** GEM_POWER
        return powers.mean(dim=1) ** (1.0 / GEM_POWER)
    return positions.mean(dim=1)


def expand(model: Model, layers: Sequence[str], function: str) -> list[str]:
    """Returns the layers meant: patterns such as ``"blocks.*"`` become the modules that match, in the model's order.

    Raises:
        InputError: if a name or pattern matches nothing (with those near it), or the list is empty or repeats itself.
    """
    if isinstance(layers, str) or not layers:
        raise InputError(
            f"{function}: layers: expected a list of names, such as ['blocks.*', 'penultimate']; got {layers!r}"
        )
    names = [name for name, _ in model.module.named_modules() if name]
    found: list[str] = []
    for layer in layers:
        if not isinstance(layer, str):
            raise InputError(f"{function}: layers: expected names; got {layer!r}")
        path = layer.removesuffix(INPUT)
        if layer in (PENULTIMATE, OUTPUT) or path in names:
            found.append(layer)
            continue
        depth = path.count(".")
        matches = [name for name in names if name.count(".") == depth and fnmatch.fnmatchcase(name, path)]
        if not matches:
            raise InputError(f"{function}: layer: {_unknown(model, path, names)}")
        found += [name + layer[len(path) :] for name in matches]
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise InputError(f"{function}: layers: {', '.join(map(repr, repeated))} are meant more than once")
    return found


def _unknown(model: Model, layer: str, names: list[str]) -> str:
    near = difflib.get_close_matches(layer, names, n=3, cutoff=0.5)
    top = [name for name in names if "." not in name]
    hint = f"did you mean {', '.join(map(repr, near))}? " if near else ""
    return (
        f"{model.name} has no layer {layer!r}; {hint}It has {', '.join(top[:12])} and what lies below them; "
        f"{PENULTIMATE!r} and {OUTPUT!r} work with every model"
    )


class Capture:
    """Runs a network and returns one (b, d) tensor for each layer.

    Args:
        model: the network.
        layers: names, as `expand` returns them.
        pool: one of `POOLS`.
        function: public name for messages.
    """

    def __init__(self, model: Model, layers: Sequence[str], pool: str, function: str) -> None:
        self.model = model
        self.layers = list(layers)
        self.pool = pool
        self.function = function
        self.tokens = tokens_of(model)
        self._caught: dict[str, Any] = {}
        self._handles: list[Any] = []
        self.origin = {layer: layer for layer in layers}
        """Layer to the module whose input or output it is."""
        for layer in layers:
            if layer == PENULTIMATE and model.kind == "module":
                self.origin[layer] = classifier_of(model, function) + INPUT
            if self.origin[layer] not in (PENULTIMATE, OUTPUT):
                self._watch(self.origin[layer])

    def _watch(self, layer: str) -> None:
        module = self.model.module.get_submodule(layer.removesuffix(INPUT))
        if layer.endswith(INPUT):

            def before(_: Any, inputs: tuple[Any, ...]) -> None:
                self._caught[layer] = inputs[0]

            self._handles.append(module.register_forward_pre_hook(before))
        else:

            def after(_: Any, __: Any, output: Any) -> None:
                self._caught[layer] = output

            self._handles.append(module.register_forward_hook(after))

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Returns the rows of each layer, in the order of the layers."""
        self._caught.clear()
        run: Callable[[Any], None] = {"timm": self._run_timm, "transformers": self._run_transformers}.get(
            self.model.kind, self._run_module
        )
        run(x)
        rows = []
        for layer in self.layers:
            origin = self.origin[layer]
            if origin not in self._caught:
                raise InputError(
                    f"{self.function}: layer: {layer!r} was not used in the forward pass of {self.model.name}"
                )
            value = _tensor(self._caught[origin])
            if value is None:
                kind = type(self._caught[origin]).__name__
                raise InputError(
                    f"{self.function}: layer: {layer!r} gives {kind}, not a tensor; choose a layer inside it"
                )
            rows.append(pooled(value, self.pool, self.tokens, layer, self.function))
        self._caught.clear()
        return rows

    def _run_timm(self, x: Any) -> None:
        module: Any = self.model.module
        features = module.forward_features(x)
        if PENULTIMATE in self.layers:
            own = self.pool == "auto"
            self._caught[PENULTIMATE] = module.forward_head(features, pre_logits=True) if own else features
        if any(self.origin[layer] not in self._caught for layer in self.layers):
            self._caught[OUTPUT] = module.forward_head(features)

    def _run_transformers(self, x: Any) -> None:
        module: Any = self.model.module
        wanted = OUTPUT in self.layers
        result = module(pixel_values=x) if wanted else _vision(module)(pixel_values=x)
        if wanted:
            named = [getattr(result, name, None) for name in ("logits", "image_embeds", "pooler_output")]
            self._caught[OUTPUT] = next((value for value in named if value is not None), None)
        if PENULTIMATE in self.layers:
            hidden = getattr(result, "last_hidden_state", None)
            if hidden is None:
                hidden = _vision(module)(pixel_values=x).last_hidden_state
            self._caught[PENULTIMATE] = hidden

    def _run_module(self, x: Any) -> None:
        self._caught[OUTPUT] = self.model.module(x)

    def close(self) -> None:
        """Takes the hooks off the network."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _vision(module: Any) -> Any:
    return getattr(module, "vision_model", None) or getattr(module, "base_model", None) or module


def _tensor(value: Any) -> torch.Tensor | None:
    import torch

    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if isinstance(value, torch.Tensor) else getattr(value, "last_hidden_state", None)


def classifier_of(model: Model, function: str) -> str:
    """Returns the name of the last linear layer of a network that is not timm's: its input is the penultimate layer.

    Raises:
        InputError: if the network does not make clear which layer that is.
    """
    from torch import nn

    module = model.module
    for name in HEADS:
        if hasattr(module, name):
            inner = [
                path for path, part in module.named_modules() if _below(path, name) and isinstance(part, nn.Linear)
            ]
            if inner:
                return str(inner[-1])
    if isinstance(module, nn.Sequential) and len(module):
        last = list(module.named_modules())[-1]
        if isinstance(last[1], nn.Linear):
            return str(last[0])
    raise InputError(
        f"{function}: layer: {model.name} does not say which layer is its penultimate (no linear layer in "
        f"{', '.join(HEADS)}); name one, or take what the network returns with layer='output'"
    )


def _below(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")
