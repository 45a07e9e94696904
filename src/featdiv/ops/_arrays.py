"""Arrays of other libraries at the door of an op: taken over where they lie, and worked on in their own stream."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import numpy as np

from featdiv.io.arrays import as_array

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def takes_arrays(op: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Lets an op take CuPy arrays, and whatever else speaks DLPack, beside NumPy arrays and torch tensors.

    Memory is shared, never copied. Work on CuPy arrays is queued in CuPy's current stream, behind what made them.
    """

    @functools.wraps(op)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        foreign = [value for value in (*args, *kwargs.values()) if _is_foreign(value)]
        if not foreign:
            return op(*args, **kwargs)
        # What is taken over inside belongs to the stream of the block, so that the library adds no other order.
        with _stream_of(foreign):
            taken: Any = [_taken(value, op.__name__) for value in args]
            named: Any = {name: _taken(value, op.__name__) for name, value in kwargs.items()}
            return op(*taken, **named)

    return call


def _is_foreign(value: Any) -> bool:
    if isinstance(value, (np.ndarray, np.generic)):
        return False
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return False
    return hasattr(value, "__dlpack_device__") or hasattr(value, "__cuda_array_interface__")


def _taken(value: Any, where: str) -> Any:
    return as_array(value, where) if _is_foreign(value) else value


def _stream_of(arrays: Iterable[Any]) -> AbstractContextManager[Any]:
    """Returns a block in which torch works in CuPy's current stream, if one of the arrays is CuPy's."""
    cupy = sys.modules.get("cupy")
    if cupy is not None:
        for array in arrays:
            if isinstance(array, cupy.ndarray):
                import torch

                number = int(array.device.id)
                pointer = int(cupy.cuda.get_current_stream(number).ptr)
                stream: AbstractContextManager[Any] = torch.cuda.stream(
                    torch.cuda.ExternalStream(pointer, device=torch.device("cuda", number))
                )
                return stream
    return contextlib.nullcontext()
