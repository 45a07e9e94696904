"""Arrays in memory: NumPy, torch, CuPy and whatever else speaks DLPack. Never copied as a whole."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.io.annotations import as_values
from featdiv.io.dtypes import numpy_name, storage, torch_name
from featdiv.io.embeddings import CHUNK_BYTES, SAMPLE_BLOCKS, Embeddings, sample_blocks, start_digest
from featdiv.io.entries import Entry, check_shape, choose
from featdiv.io.files import WHERE

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

_DLPACK_CPU = 1


class ArrayRows(Embeddings):
    """An array in memory. Its chunks are views, except where the byte order must be turned."""

    n: int

    def __init__(self, rows: Rows, *, dtype: str, device: str, description: str | None = None) -> None:
        n, d = int(rows.shape[0]), int(rows.shape[1])
        super().__init__(
            n=n,
            d=d,
            dtype=dtype,
            device=device,
            description=description or f"array {n} x {d} {dtype}",
            format="array",
        )
        self.rows = rows
        self.columns: Mapping[str, Any] = {}
        self._swapped = isinstance(rows, np.ndarray) and not rows.dtype.isnative

    def _blocks(self, rows: int) -> Iterator[tuple[int, Rows]]:
        for start in range(0, self.n, rows):
            yield start, self._native(self.rows[start : start + rows])

    def _native(self, rows: Rows) -> Rows:
        if isinstance(rows, np.ndarray) and self._swapped:
            return rows.astype(rows.dtype.newbyteorder("="))
        return rows

    def _gather(self, index: npt.NDArray[np.int64]) -> Rows:
        if isinstance(self.rows, np.ndarray):
            if not isinstance(self.rows, np.memmap):
                return self._native(self.rows[index])
            return self._gather_mapped(self.rows, index)
        import torch

        return self.rows[torch.from_numpy(index).to(self.rows.device)]

    def _gather_mapped(self, rows: npt.NDArray[Any], index: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        out = np.empty((index.size, self.d), dtype=storage(self.dtype))
        order = np.argsort(index, kind="stable")
        step = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        for low in range(0, index.size, step):
            part = order[low : low + step]
            out[part] = rows[index[part]]
        return out

    def column_names(self) -> list[str]:
        """Names of what lay beside the rows."""
        return list(self.columns)

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """What lay beside the rows under ``name``."""
        return as_values(self.columns[name], name)

    def _digest(self, blocks: int = SAMPLE_BLOCKS) -> str:
        digest = start_digest(self.n, self.d, self.dtype)
        for start, stop in sample_blocks(self.n, self.row_bytes, blocks):
            digest.update(_little_endian(self.rows[start:stop]))
        return digest.hexdigest()


def _little_endian(rows: Rows) -> bytes:
    if not isinstance(rows, np.ndarray):
        import torch

        host = rows.detach().cpu().contiguous()
        rows = host.view(torch.int16).numpy() if host.dtype == torch.bfloat16 else host.numpy()
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).tobytes()


def is_array(source: Any) -> bool:
    """True for what `open_array` reads, or refuses with a reason of its own (sparse matrices); never for a source."""
    if isinstance(source, Embeddings):
        return False
    protocols = ("__dlpack__", "__cuda_array_interface__", "__array_interface__", "__array__", "toarray")
    return any(hasattr(source, name) for name in protocols)


def open_array(source: Any, where: str = WHERE) -> ArrayRows:
    """Wraps an array: NumPy (any strides and byte order, memory maps), torch, DLPack, or ``__array__``.

    Raises:
        InputError: for a wrong number of dimensions, or a type that is not a real number.
    """
    rows = as_array(source, where)
    if isinstance(rows, np.ndarray):
        if isinstance(rows, np.ma.MaskedArray):
            raise InputError(f"{where}: expected plain rows, got a masked array; drop or fill the masked rows first")
        dtype = numpy_name(rows.dtype, where)
        check_shape(rows.shape, where)
        if rows.dtype.kind == "b":
            rows = rows.view(np.uint8)
        description = None
        if isinstance(rows, np.memmap) and rows.filename:
            description = f"memory map of {rows.filename}"
        plain = rows if isinstance(rows, np.memmap) else np.asarray(rows)
        return ArrayRows(plain, dtype=dtype, device="cpu", description=description)
    import torch

    dtype = torch_name(rows.dtype, where)
    check_shape(rows.shape, where)
    if rows.dtype == torch.bool:
        rows = rows.view(torch.uint8)
    return ArrayRows(rows, dtype=dtype, device=str(rows.device))


def open_mapping(source: Mapping[Any, Any], key: Any, where: str = WHERE) -> ArrayRows:
    """Opens a mapping of names to arrays; its other entries can be labels, ids and groups."""
    arrays = {str(name): value for name, value in source.items() if hasattr(value, "shape") and is_array(value)}
    entries = [
        Entry(name, tuple(map(int, value.shape)), str(value.dtype).removeprefix("torch."))
        for name, value in arrays.items()
    ]
    entry = choose(entries, key, where)
    opened = open_array(arrays[entry.name], f"{where}[{entry.name!r}]")
    opened.columns = {str(name): value for name, value in source.items() if str(name) != entry.name}
    return opened


def open_frame(source: Any, key: str | Sequence[str] | None) -> ArrayRows:
    """Opens a pandas or polars frame: the columns that ``key`` lists, or all where all are numeric."""
    names = [str(name) for name in source.columns]
    if len(set(names)) != len(names):
        raise InputError(f"{WHERE}: expected a frame with distinct column names")
    columns = dict(zip(names, source.columns, strict=True))
    chosen = names if key is None else [key] if isinstance(key, str) else list(key)
    for name in chosen:
        if name not in columns:
            raise InputError(
                f"{WHERE}: key: the frame has no column {name!r}; it has {', '.join(map(repr, names[:12]))}"
            )
    rows = source[[columns[name] for name in chosen]].to_numpy()
    if rows.dtype.kind == "O" and len(chosen) == 1:
        rows = _stacked(source[columns[chosen[0]]].to_numpy(), chosen[0])
    if rows.dtype.kind not in "biuf":
        others = [name for name in chosen if source[columns[name]].to_numpy().dtype.kind not in "biuf"] or chosen
        raise InputError(
            f"{WHERE}: expected numeric columns, got {', '.join(map(repr, others[:12]))} of type {rows.dtype.name}; "
            "list the numeric ones with key=[...], or name a column of lists with key="
        )
    opened = open_array(rows)
    opened.description = f"frame {opened.n} x {opened.d} {opened.dtype}"
    opened.columns = {name: source[columns[name]].to_numpy() for name in names if name not in chosen or key is None}
    return opened


def _stacked(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Returns a column of lists as rows; one of anything else as it is."""
    if not all(isinstance(value, (list, tuple, np.ndarray)) for value in values):
        return values
    lengths = [len(value) for value in values]
    uneven = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
    if uneven is not None:
        raise InputError(
            f"{WHERE}: column {name!r}: row {uneven} has {lengths[uneven]} values, but the first row has "
            f"{lengths[0]}; every row must have the same length"
        )
    return np.array(values.tolist())


def as_array(source: Any, where: str) -> Rows:
    """Returns a view: a NumPy array, or a torch tensor for bfloat16 and for rows on a device."""
    if isinstance(source, np.ndarray):
        return source
    loaded: Any = sys.modules.get("torch")
    if loaded is not None and isinstance(source, loaded.Tensor):
        return _from_torch(source, where)
    if hasattr(source, "__dlpack__") and hasattr(source, "__dlpack_device__"):
        return _from_dlpack(source, where)
    if hasattr(source, "__cuda_array_interface__"):
        torch = importlib.import_module("torch")
        rows = torch.as_tensor(source, device="cuda")
        await_stream(torch, source.__cuda_array_interface__.get("stream"))
        return _from_torch(rows, where)
    if hasattr(source, "toarray"):
        raise InputError(f"{where}: expected dense rows, got {type(source).__name__}; pass x.toarray()")
    return np.asarray(source)


def await_stream(torch: Any, stream: int | None) -> None:
    """Lets torch's current stream wait for the one that an array says is writing it; DLPack does so by itself."""
    if stream is not None:
        torch.cuda.current_stream().wait_stream(torch.cuda.ExternalStream(stream))


def _from_torch(tensor: Any, where: str) -> Rows:
    torch = importlib.import_module("torch")
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        raise InputError(f"{where}: expected dense rows, got a {tensor.layout} tensor; pass x.to_dense()")
    if tensor.is_quantized:
        raise InputError(
            f"{where}: expected plain numbers, got a quantised tensor; pass x.int_repr() or x.dequantize()"
        )
    if tensor.device.type == "meta":
        raise InputError(f"{where}: expected data, got a meta tensor, which has none")
    tensor = tensor.resolve_neg()
    name = torch_name(tensor.dtype, where)
    if tensor.device.type != "cpu" or name == "bfloat16":
        kept: Rows = tensor
        return kept
    array: npt.NDArray[Any] = tensor.numpy()
    return array


def _from_dlpack(source: Any, where: str) -> Rows:
    device_type = int(source.__dlpack_device__()[0])
    if device_type == _DLPACK_CPU:
        try:
            array: npt.NDArray[Any] = np.from_dlpack(source)
        except (BufferError, TypeError, ValueError, RuntimeError):
            # NumPy cannot take bfloat16, nor read-only memory in its older releases; torch can take the
            # former.
            pass
        else:
            return array
    try:
        tensor = importlib.import_module("torch").from_dlpack(source)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{where}: {type(source).__name__} could not be taken over by DLPack: {error}") from error
    return _from_torch(tensor, where)
