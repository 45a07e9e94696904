"""Reads the named weights of a module, a state dict or a file, and decides which are layers with filters."""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from featdiv.errors import FormatError, InputError, SourceNotFound

FUNCTION = "filter_diversity"

ATTENTION = re.compile(r"(?:^|[._])(?:qkv|in_proj|c_attn|kv|[qkv]_?proj|to_?(?:qkv|kv|q|k|v)|query|key|value)$")
"""Names of layers that hold projections to queries, keys and values."""

STACKED = {"qkv": 3, "in_proj": 3, "c_attn": 3, "to_qkv": 3, "kv": 2, "to_kv": 2}
"""Last part of such a name to the projections that it holds, one below the other; others hold one."""

EMBEDDING = re.compile(r"(?:^|[._])(?:\w*embed(?:ding)?s?|wte|wpe|\w*bias_table)$")
"""Names of lookup tables, for a state dict, which does not say."""

CONTAINERS = ("state_dict", "model_state_dict", "model")
"""Names under which training scripts keep the state dict in a checkpoint, in order of preference."""

ONE_DIMENSIONAL = "one-dimensional: a bias, or the scale, shift or statistics of a normalisation"
LOOKUP = "a lookup table: its rows are entries, not filters"
OTHER = "not the weight of a convolution, linear layer or attention projection"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Weight:
    """A parameter.

    Attributes:
        name: of the parameter.
        value: array or tensor.
        kind: ``"convolution"``, ``"linear"``, ``"attention"``, or empty for one that is skipped.
        rule: why it is skipped.
        groups: groups of the convolution, as far as the model says.
        transposed: whether inputs come before outputs.
    """

    name: str
    value: Any
    kind: str = ""
    rule: str = ""
    groups: int = 1
    transposed: bool = False

    @property
    def layer(self) -> str:
        """Name without the trailing ``weight``."""
        return re.sub(r"[._]?weight$", "", self.name)

    @property
    def stacked(self) -> int:
        """How many projections lie one below the other."""
        return next((n for ending, n in STACKED.items() if re.search(rf"(?:^|[._]){ending}$", self.layer)), 1)


def weights(model: Any) -> Iterator[Weight]:
    """Yields every parameter of a model, state dict or file, in order.

    Raises:
        InputError: if ``model`` is none of these.
        FormatError: if the file is damaged, or holds more than tensors.
        SourceNotFound: if there is no such file.
    """
    if hasattr(model, "named_modules"):
        return _of_module(model)
    if isinstance(model, (str, os.PathLike)):
        return _of_state_dict(load(os.fspath(model)))
    if isinstance(model, Mapping):
        return _of_state_dict(model)
    raise InputError(
        f"{FUNCTION}: model: expected a torch.nn.Module, a state dict or the path of one; got {type(model).__name__}"
    )


def load(path: str, *, argument: str = f"{FUNCTION}: model") -> Mapping[str, Any]:
    """Reads a state dict: ``.safetensors``, or what ``torch.save`` wrote, from which only tensors are taken.

    Args:
        path: of the file.
        argument: function and argument that messages name.

    Raises:
        SourceNotFound: if there is no such file.
        FormatError: if it is damaged, or holds more than tensors.
    """
    where = f"{argument}: {path}"
    if not os.path.isfile(path):
        raise SourceNotFound(f"{where}: there is no such file")
    if path.lower().endswith(".safetensors"):
        import safetensors
        import safetensors.torch

        try:
            tensors: Mapping[str, Any] = safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, ValueError, OSError) as error:
            raise FormatError(f"{where}: it is not a complete .safetensors file ({error})") from None
        return tensors
    import torch

    try:
        # Checkpoints from before torch 1.6 are no archives and cannot be mapped.
        loaded = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(
            f"{where}: torch cannot read it as weights alone ({reason}). It is damaged, or holds Python objects, which "
            "featdiv never loads; save model.state_dict() instead."
        ) from None
    if not isinstance(loaded, Mapping):
        raise FormatError(f"{where}: expected a state dict, a mapping of names to tensors; got {type(loaded).__name__}")
    return loaded


def _of_module(model: Any) -> Iterator[Weight]:
    from torch import nn
    from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

    seen: dict[int, str] = {}
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        found: dict[str, Weight] = {}
        if isinstance(module, _ConvNd):
            found["weight"] = Weight(
                name=f"{prefix}weight",
                value=module.weight,
                kind="convolution",
                groups=module.groups,
                transposed=isinstance(module, _ConvTransposeNd),
            )
        elif isinstance(module, nn.Linear) or (type(module).__name__ == "Conv1D" and hasattr(module, "nf")):
            found["weight"] = Weight(
                name=f"{prefix}weight",
                value=module.weight,
                kind="attention" if ATTENTION.search(path) else "linear",
                transposed=not isinstance(module, nn.Linear),
            )
        elif isinstance(module, nn.MultiheadAttention):
            for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
                if getattr(module, name) is not None:
                    found[name] = Weight(name=prefix + name, value=getattr(module, name), kind="attention")
        # A frozen normalisation keeps its scale and shift as buffers.
        for name, value in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if name not in found:
                lookup = isinstance(module, (nn.Embedding, nn.EmbeddingBag))
                rule = ONE_DIMENSIONAL if value.ndim < 2 else LOOKUP if lookup else OTHER
                found[name] = Weight(name=prefix + name, value=value, rule=rule)
        for weight in found.values():
            # A parametrised weight is computed anew for each look at it; only parameters can be shared.
            shared = isinstance(weight.value, nn.Parameter)
            first = seen.setdefault(id(weight.value), weight.name) if shared else weight.name
            if weight.kind and first != weight.name:
                yield dataclasses.replace(weight, kind="", rule=f"the same weights as {first}")
            else:
                yield weight


def _of_state_dict(state: Mapping[str, Any]) -> Iterator[Weight]:
    for name in CONTAINERS:
        if isinstance(state.get(name), Mapping):
            state = state[name]
            break
    for name, value in _flat(state):
        weight = Weight(name=name, value=value)
        kind, rule = _by_name(weight)
        yield dataclasses.replace(weight, kind=kind, rule=rule)


def _flat(state: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif hasattr(value, "shape"):
            yield f"{prefix}{name}", value


def _by_name(weight: Weight) -> tuple[str, str]:
    """Returns the kind, or empty and the rule by which a parameter is skipped, from its name and shape."""
    floating = any(kind in str(weight.value.dtype) for kind in ("float", "double", "half"))
    if len(weight.value.shape) < 2:
        return "", ONE_DIMENSIONAL
    if not weight.name.endswith("weight") or not floating or len(weight.value.shape) > 5:
        return "", OTHER
    if len(weight.value.shape) > 2:
        return "convolution", ""
    if EMBEDDING.search(weight.layer):
        return "", LOOKUP
    return ("attention" if ATTENTION.search(weight.layer) else "linear"), ""
