"""`.pt` files: tensors that torch maps from the file, with the unpickler that builds nothing but tensors."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

from featdiv.errors import FormatError, InputError
from featdiv.io.arrays import ArrayRows, open_array
from featdiv.io.entries import Entry, choose
from featdiv.io.files import WHERE, File


def open_pt(file: File, key: Any = None) -> ArrayRows:
    """Opens a tensor, or one tensor of a mapping, that ``torch.save`` wrote.

    The file is memory-mapped, so a tensor larger than the memory can be read. The mapping may be nested
    (``key="train.features"``); its other entries, tensors or lists of strings, can be labels, ids and groups.

    Raises:
        FormatError: for anything but tensors, numbers, strings and containers of them (nothing is executed),
            and for truncated or damaged files.
        InputError: unknown key, several candidates, a tensor that is not 2-D numbers.
    """
    where = f"{WHERE}: {file.name}"
    loaded = _load(file, where)
    if hasattr(loaded, "shape"):
        if key is not None:
            raise InputError(f"{where}: key: the file holds one tensor without a name; leave key= out, got {key!r}")
        rows, others = loaded, {}
    elif isinstance(loaded, Mapping):
        values = _flatten(loaded)
        tensors = {name: value for name, value in values.items() if hasattr(value, "shape")}
        entries = [
            Entry(name, tuple(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in tensors.items()
        ]
        name = choose(entries, key, where).name
        rows = tensors[name]
        others = {other: value for other, value in values.items() if other != name}
        where = f"{where}[{name!r}]"
    else:
        raise InputError(
            f"{where}: expected a tensor or a mapping of names to tensors; got a {type(loaded).__name__}. "
            "Save one 2-D tensor: torch.save(torch.cat(x), path)"
        )
    _check_storage(rows, where)
    opened = open_array(rows, where)
    opened.description = where.removeprefix(f"{WHERE}: ")
    opened.format = "pt"
    opened.path = file.name
    opened.columns = {
        name: value
        for name, value in others.items()
        if isinstance(value, (list, tuple)) or (hasattr(value, "shape") and len(value.shape) == 1)
    }
    return opened


def _load(file: File, where: str) -> Any:
    import torch

    path = file.fetched()
    members = None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise FormatError(f"{where}: the archive is damaged ({error})") from None
    if members is None:
        raise FormatError(
            f"{where}: it is not a zip archive as torch.save writes (torch >= 1.6); it is truncated, in the old "
            "format (load it with weights_only=True and save it again), or not a .pt file"
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        # Mapping a compressed member would hand out its compressed bytes as numbers.
        raise FormatError(f"{where}: its members are compressed, so they cannot be mapped; save it with torch.save")
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise FormatError(f"{where}: it is a TorchScript program, which is never run; save a tensor with torch.save")
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())
        objects = type(error).__name__ == "UnpicklingError" or "weights_only" in reason.lower()
        # torch 2.4 says the same of a storage that is too short for its tensor.
        if objects and "resize storage" not in reason:
            raise FormatError(
                f"{where}: it holds Python objects other than tensors (a pickle), which featdiv never loads, because "
                "that can run code; save tensors, or a mapping of names to tensors and lists of strings"
            ) from None
        raise FormatError(f"{where}: torch cannot read it ({reason[:200]}); it is truncated or damaged") from None


def _flatten(values: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping) and depth < 4:
            flat.update(_flatten(value, f"{full}.", depth + 1))
        else:
            flat[full] = value
    return flat


def _check_storage(tensor: Any, where: str) -> None:
    """Refuses a tensor whose pickle asks for more than its storage holds."""
    if tensor.device.type != "cpu" or str(tensor.layout) != "torch.strided" or tensor.numel() == 0:
        return
    last = tensor.storage_offset() + sum(
        (length - 1) * step for length, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    if (last + 1) * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise FormatError(
            f"{where}: the header promises shape {tuple(tensor.shape)}, but the file holds "
            f"{tensor.untyped_storage().nbytes()} bytes of it; it is truncated or damaged"
        )
