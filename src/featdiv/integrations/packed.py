"""Moments as one float64 tensor, which grows on the device of the rows without the host waiting for it.

A state for d features is a vector of 4 + d + d^2 numbers:

    n | rows with NaN or infinity | rows of norm zero | rows normalised | mean (d) | scatter (d, d), row by row

Zeros are the state of no rows. Rows that cannot be used are counted and left out, for asking whether there are
any would make the host wait; `to_moments` asks once, when a score is wanted.

Adding to a state costs a reading of all d^2 numbers, however few the rows are. So the rows of small batches wait in a
`Buffer` until there are enough for one product; whoever reads a state drains the buffer first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from featdiv.errors import InputError
from featdiv.ops._dispatch import PRECISIONS
from featdiv.stats import Moments

_HEADER = 4
_LEAST_CAPACITY = 256


class Buffer:
    """Rows that are not in a state yet, as they came.

    It holds ``capacity`` rows, max(256, d/2): in float32 a quarter of the bytes of a state of many features.
    """

    def __init__(self) -> None:
        self._rows: torch.Tensor | None = None
        self._count = 0

    def add(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Takes rows in, and yields sets of rows that are due; each is to be used before the next is asked for.

        Args:
            rows: (m, d), which may change afterwards, unless they are yielded.
        """
        rows = rows.detach()
        m, d = rows.shape
        capacity = max(_LEAST_CAPACITY, d // 2)
        if m >= capacity:
            yield rows
            return
        if not self._fits(rows) or self._count + m > capacity:
            yield from self.drained()
        if not self._fits(rows):
            # A tensor made in inference mode could not be written to outside of it.
            with torch.inference_mode(False):
                self._rows = torch.empty((capacity, d), dtype=rows.dtype, device=rows.device)
        assert self._rows is not None
        with torch.no_grad():
            self._rows[self._count : self._count + m] = rows
        self._count += m

    def drained(self) -> Iterator[torch.Tensor]:
        """Yields the rows that wait, if there are any, and is empty then."""
        if self._count:
            assert self._rows is not None
            yield self._rows[: self._count]
        self._count = 0

    def clear(self) -> None:
        """Forgets the rows that wait, and lets go of their memory."""
        self._rows, self._count = None, 0

    def _fits(self, rows: torch.Tensor) -> bool:
        mine = self._rows
        return (
            mine is not None
            and mine.shape[1] == rows.shape[1]
            and mine.dtype == rows.dtype
            and mine.device == rows.device
        )


def empty(d: int, device: torch.device | str | None = None) -> torch.Tensor:
    """Returns the state of no rows of d features."""
    return torch.zeros(_HEADER + d + d * d, dtype=torch.float64, device=device)


def features_of(state: torch.Tensor) -> int:
    """Returns d of one state, or of states stacked along leading dimensions."""
    return (math.isqrt(4 * state.shape[-1] - 4 * _HEADER + 1) - 1) // 2


def check_rows(rows: torch.Tensor, *, function: str, d: int | None = None) -> None:
    """Raises `InputError` unless rows are a real (m, d) tensor; looks at its shape and type only."""
    if not isinstance(rows, torch.Tensor):
        raise InputError(f"{function}: rows: expected a torch.Tensor of shape (m, d); got {type(rows).__name__}")
    if rows.ndim != 2 or rows.dtype.is_complex:
        raise InputError(
            f"{function}: rows: expected a real tensor of shape (m, d); got {tuple(rows.shape)} of {rows.dtype}. "
            "Pool tokens and positions first, for example rows.mean(dim=1)."
        )
    if d is not None and rows.shape[1] != d:
        raise InputError(f"{function}: rows: expected d={d} features; got d={rows.shape[1]}")


def of_rows(rows: torch.Tensor, *, normalize: str | None = None) -> torch.Tensor:
    """Returns the state of an (m, d) tensor, on its device, computed in float64 whatever autocast is in force.

    Args:
        rows: real rows of any type, on a device that has float64.
        normalize: ``"l2"`` divides each row by its Euclidean norm first.

    Complexity:
        m d^2 multiply-adds in float64; nothing waits for the device.
    """
    with torch.no_grad(), torch.autocast(device_type=rows.device.type, enabled=False):
        x = rows.detach().to(torch.float64)
        finite = torch.isfinite(x).all(dim=1)
        x = torch.where(finite[:, None], x, 0.0)
        used = finite
        if normalize == "l2":
            largest = x.abs().amax(dim=1)
            used = finite & (largest > 0.0)
            # Dividing by the largest entry first keeps the squares of 1e200 and of 1e-200 in range.
            x = x / torch.where(used, largest, 1.0)[:, None]
            x = x / torch.where(used, torch.linalg.vector_norm(x, dim=1), 1.0)[:, None]
        n = used.sum().to(torch.float64)
        mean = x.sum(dim=0) / n.clamp_min(1.0)
        centred = torch.where(used[:, None], x - mean, 0.0)
        # The last count keeps torchmetrics from taking states for equal that were equal for one batch only.
        counts = torch.stack([n, (~finite).sum(), (finite & ~used).sum(), n * (normalize is not None)])
        return torch.cat([counts, mean, (centred.T @ centred).flatten()])


def added(state: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """Returns the state of both sets of rows: `Moments.merge`, on the device (Chan, Golub & LeVeque 1983)."""
    d = features_of(state)
    mean = slice(_HEADER, _HEADER + d)
    with torch.no_grad(), torch.autocast(device_type=state.device.type, enabled=False):
        share = batch[0] / (state[0] + batch[0]).clamp_min(1.0)
        delta = batch[mean] - state[mean]
        step = delta * (state[0] * share).sqrt()
        result = state + batch
        result[mean] = state[mean] + delta * share
        result[_HEADER + d :].view(d, d).addr_(step, step)
        return result


def merged(states: torch.Tensor) -> torch.Tensor:
    """Returns the merge of (k, ..., s) stacked states along the first dimension, in that order.

    A ``dist_reduce_fx`` of torchmetrics: gathered states come in the order of the ranks. It goes by `Moments.merge`
    on the host, so that all ranks get the same bits whatever their devices.
    """
    flat = states.reshape(len(states), -1, states.shape[-1]).to("cpu", torch.float64)
    result = [from_moments(_merge_all([_read(one) for one in column]), column) for column in flat.unbind(1)]
    return torch.stack(result).reshape(states.shape[1:]).to(states.device)


def _merge_all(parts: list[Moments]) -> Moments:
    total = parts[0]
    for part in parts[1:]:
        total = total.merge(part)
    return total


def from_moments(moments: Moments, counted: torch.Tensor | None = None) -> torch.Tensor:
    """Returns the state that holds ``moments``.

    Args:
        moments: moments.
        counted: (k, s) states, the sum of whose other counts it takes over.
    """
    counts = np.zeros(_HEADER - 1) if counted is None else counted[:, 1:_HEADER].sum(dim=0).numpy()
    return torch.from_numpy(np.concatenate([[moments.n], counts, moments.mean, moments.scatter.ravel()]))


def to_moments(
    state: torch.Tensor, *, function: str, normalize: str | None = None, nonfinite: str = "raise"
) -> Moments:
    """Returns the moments in a state, on the host.

    Args:
        state: one state.
        function: who asks, for messages.
        normalize: how the state was made.
        nonfinite: ``"raise"``, or ``"drop"`` for being content without the rows that were left out.

    Raises:
        InputError: if rows were left out because they held NaN or infinity (unless dropped), or had norm zero, or if
            the moments overflow float64.
    """
    host = state.detach().to("cpu", torch.float64)
    broken, zero = int(host[1]), int(host[2])
    if broken and nonfinite == "raise":
        raise InputError(
            f"{function}: rows: expected finite values; {broken} rows held NaN or infinity. Find out why, or pass "
            "nonfinite='drop'."
        )
    if zero:
        raise InputError(f"{function}: rows: expected rows that can be divided by their norm; {zero} have norm zero")
    if not bool(torch.isfinite(host).all()):
        raise InputError(
            f"{function}: rows: expected values whose squares float64 can hold; theirs exceed its range. Multiply the "
            "rows by a constant that brings them near one."
        )
    return _read(host, normalize)


def _read(state: torch.Tensor, normalize: str | None = None) -> Moments:
    d = features_of(state)
    numbers = state.numpy()
    scatter = numbers[_HEADER + d :].reshape(d, d)
    return Moments(
        n=int(numbers[0]),
        mean=numbers[_HEADER : _HEADER + d].copy(),
        # A product of a matrix with itself need not be symmetric to the last bit.
        scatter=(scatter + scatter.T) / 2.0,
        normalize=normalize,
        error_bound=PRECISIONS["float64"],
        dtype="float64",
        backend="torch",
    )
