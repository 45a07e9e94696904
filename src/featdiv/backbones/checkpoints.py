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


def read(path: str, entry: str | None = None) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Reads the state dict of a ``.safetensors`` file or of one that ``torch.save`` wrote; never runs pickled code.

    Args:
        path: of the file.
        entry: the part of it to read: a key under which weights are kept, or what their names begin with.

    Returns:
        The tensors by name, and the keys of other weights in the file.

    Raises:
        SourceNotFound: if there is no such file.
        FormatError: if it is damaged, holds Python objects, or no tensors.
        InputError: if it has no such part, or several and none was asked for.
    """
    content: Mapping[str, Any] = checkpoints.load(path, argument=WHERE)
    named = content.get(entry) if entry is not None else None
    state, others = _innermost(named if isinstance(named, Mapping) else content)
    tensors = {str(name): value for name, value in state.items() if hasattr(value, "shape")}
    if entry is not None and not isinstance(named, Mapping):
        begin = entry.removesuffix(".") + "."
        part = {name.removeprefix(begin): value for name, value in tensors.items() if name.startswith(begin)}
        if not part:
            known = ", ".join(map(repr, (*_weights(content), *list(tensors)[:SHOWN])))
            raise InputError(
                f"{WHERE}: {path}: entry: no weights under {entry!r}, and no names that begin with it; it holds {known}"
            )
        return part, ()
    if not tensors and others:
        raise InputError(
            f"{WHERE}: {path}: it holds weights under {', '.join(map(repr, others))}; say which with "
            "load_model(..., entry=)"
        )
    if not tensors:
        raise FormatError(f"{WHERE}: {path}: no tensors; it holds {', '.join(map(repr, list(state)[:SHOWN]))}")
    return tensors, others


def _innermost(content: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], tuple[str, ...]]:
    """Returns what is inside the containers of a checkpoint, and the keys of weights that were passed by."""
    others: tuple[str, ...] = ()
    while True:
        kept = _weights(content)
        only = kept if len(kept) == 1 and not any(hasattr(value, "shape") for value in content.values()) else ()
        chosen = next((name for name in (*checkpoints.CONTAINERS, *only) if name in kept), None)
        others += tuple(name for name in kept if name != chosen)
        if chosen is None:
            return content, others
        content = content[chosen]


def _weights(content: Mapping[Any, Any]) -> tuple[str, ...]:
    """Returns the keys of mappings with named tensors in them; those of an optimiser's state are numbers."""
    return tuple(name for name, value in content.items() if isinstance(name, str) and _has_weights(value))


def _has_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(name, str) and (hasattr(inner, "shape") or _has_weights(inner)) for name, inner in value.items()
    )


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
