"""Weights from a file into a model: wrappers taken off, and every entry that does not fit named."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featdiv.errors import FormatError, InputError
from featdiv.metrics.weights import checkpoints

if TYPE_CHECKING:
    import torch

WHERE = "featdiv.backbones.load_model: checkpoint"

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "student.", "teacher.")
"""What wrappers put before the names of parameters: DataParallel, torch.compile, Lightning, and habits."""

POSITIONS = ("pos_embed", "rel_pos", "relative_position", "attention_biases")
"""What the names of entries contain whose shape follows the size of the images."""

SHOWN = 5


def read(path: str) -> dict[str, torch.Tensor]:
    """Reads the state dict of a ``.safetensors`` file or of one that ``torch.save`` wrote; never runs pickled code.

    Raises:
        SourceNotFound: if there is no such file.
        FormatError: if it is damaged, holds Python objects, or no tensors.
    """
    state: Mapping[str, Any] = checkpoints.load(path, argument=WHERE)
    while True:
        inner = next((name for name in checkpoints.CONTAINERS if isinstance(state.get(name), Mapping)), None)
        if inner is None:
            break
        state = state[inner]
    tensors = {str(name): value for name, value in state.items() if hasattr(value, "shape")}
    if not tensors:
        raise FormatError(f"{WHERE}: {path}: no tensors; it holds {', '.join(map(repr, list(state)[:SHOWN]))}")
    return tensors


def unwrapped(state: Mapping[str, torch.Tensor], names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Returns the state dict without the prefixes that keep its entries from being called ``names``."""
    wanted = set(names)
    current = dict(state)
    while True:
        best, score = "", len(wanted & current.keys())
        for prefix in PREFIXES:
            stripped = {name.removeprefix(prefix) for name in current if name.startswith(prefix)}
            # A prefix is also taken off for the sake of what lies below it.
            if len(wanted & stripped) > score or (stripped and len(stripped) == len(current) and not score):
                best, score = prefix, max(score, len(wanted & stripped))
                break
        if not best:
            return current
        current = {name.removeprefix(best): value for name, value in current.items()}


def resampled(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor]
) -> tuple[Mapping[str, torch.Tensor], tuple[str, ...]]:
    """Resamples position embeddings saved at another image size to that of a timm model, as timm does.

    Entries that are not about positions, and those that timm cannot bring to the shape of the model, stay as they are.

    Args:
        module: the model.
        state: entries, under the names of the model.

    Returns:
        The entries, and the names of those that were resampled.
    """
    own = module.state_dict()
    misshaped = [
        name
        for name in own
        if name in state and state[name].shape != own[name].shape and any(word in name for word in POSITIONS)
    ]
    fitted = _by_timm(module, state) if misshaped else {}
    names = tuple(name for name in misshaped if name in fitted and fitted[name].shape == own[name].shape)
    return {**state, **{name: fitted[name] for name in names}}, names


def _by_timm(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Returns what timm's own filter for checkpoints of this architecture makes of the entries; nothing without one."""
    for kind in type(module).__mro__:
        convert: Any = getattr(sys.modules.get(kind.__module__), "checkpoint_filter_fn", None)
        if convert is None or not kind.__module__.startswith("timm."):
            continue
        try:
            with warnings.catch_warnings():
                # timm's interpolation of tables draws warnings of torch that no user can act on.
                warnings.simplefilter("ignore")
                fitted: Mapping[str, torch.Tensor] = convert(dict(state), module)
        except Exception:
            # Whatever it trips over, the entry keeps its shape, and is listed as one that does not fit.
            return {}
        return fitted
    return {}


def load_into(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str, *, strict: bool
) -> tuple[str, ...]:
    """Copies the weights into a model that they fit.

    Args:
        module: the model.
        state: entries, under the names of the model.
        path: of the file, for messages.
        strict: False lets entries pass that the model does not have.

    Returns:
        The entries that were passed over.

    Raises:
        InputError: if entries are missing, unexpected (with ``strict``) or of another shape; all are listed.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    shaped = [
        f"{name} is {_shape(state[name])}, the model's {_shape(own[name])}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = {"missing": missing, "misshaped": shaped} | ({"unexpected": unexpected} if strict else {})
    if any(problems.values()):
        lists = "; ".join(f"{len(names)} {what}: {_listing(names)}" for what, names in problems.items() if names)
        hint = ""
        if unexpected and not missing and not shaped:
            hint = ". strict=False leaves out what the model does not have"
        elif len(missing) == len(own):
            hint = ". Nothing fits: is it the checkpoint of another architecture?"
        raise InputError(
            f"{WHERE}: {path}: it does not fit {type(module).__name__} ({len(own)} entries): {lists}{hint}"
        )
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
    return tuple(unexpected)


def hash_of(module: torch.nn.Module) -> str:
    """Returns the hash of a model: its structure as printed, and name, type, shape and bits of every weight."""
    import torch

    digest = hashlib.blake2b(repr(module).encode(), digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else b"")
    return digest.hexdigest()


def _shape(tensor: Any) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _listing(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
