"""The float64 oracle of the cross_gram op: the contract written down as plainly as it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import RowError
from featdiv.ops._dispatch import Request
from featdiv.ops.cross_gram import CrossSums, Side, of_side
from featdiv.ops.scatter import reference

Float64Array = npt.NDArray[np.float64]


def unsupported_reason(request: Request) -> str | None:
    """Returns None: the oracle takes any rows, copying them to the host."""
    return None


def transformed(left: Side, right: Side, *, normalize: str | None) -> tuple[Float64Array, Float64Array]:
    """Returns z and w in float64.

    Raises:
        RowError: with a message that names the side.
    """
    found = []
    for name, side in (("x", left), ("other", right)):
        try:
            found.append(
                reference.transformed(side.rows, shift=side.shift, exponent=side.exponent, normalize=normalize)
            )
        except RowError as error:
            raise of_side(error, name) from None
    return found[0], found[1]


def cross_gram(
    left: Side, right: Side, sums: CrossSums, *, precision: str = "float32", normalize: str | None = None
) -> None:
    """Adds the sums of all rows at once, in float64 whatever ``precision`` allows."""
    z, w = transformed(left, right, normalize=normalize)
    add(sums, "total", z.sum(axis=0))
    add(sums, "other_total", w.sum(axis=0))
    add(sums, "gram", z.T @ w)
    if sums.fourth is not None:
        k, other_k = np.einsum("ij,ij->i", z, z), np.einsum("ij,ij->i", w, w)
        add(sums, "weighted", z.T @ other_k)
        add(sums, "other_weighted", w.T @ k)
        add(sums, "fourth", np.array([k @ other_k]))
    sums.n += len(z)


def add(sums: CrossSums, name: str, value: Any) -> None:
    """Adds to one accumulator, which may be a tensor."""
    target = getattr(sums, name)
    if not isinstance(target, np.ndarray):
        import torch

        value = torch.from_numpy(value).to(target.device)
    target += value
