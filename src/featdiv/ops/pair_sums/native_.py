"""pair_sums on the CPU through `featdiv._cpu`: products, exponentials and counts of a block while it is in cache."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from featdiv.errors import BudgetExceeded, InputError
from featdiv.ops import _native
from featdiv.ops._dispatch import Request
from featdiv.ops.pair_sums import MEASURES, PairSums, PairTask, of_set, out_of_range
from featdiv.ops.scatter import reference

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

_PILOT_ROWS = 1024


def unsupported_reason(request: Request) -> str | None:
    """Returns why the native module cannot run the request."""
    return _native.unsupported_rows(request.device, request.dtype)


def pair_sums(x: Rows, other: Rows | None, task: PairTask) -> PairSums:
    """Returns the reductions; see `featdiv.ops.pair_sums.pair_sums`."""
    exp_sums = np.zeros(len(task.rates))
    counts = np.zeros(task.bins + 2, dtype=np.int64)
    examples = np.full((task.examples, 2), -1, dtype=np.int64)
    rates = np.array(task.rates, dtype=np.float64)
    left, right = _native.readable(x), None if other is None else _native.readable(other)
    n, d = (int(size) for size in x.shape)
    if n == 0 or (right is not None and not len(right)):
        return _result(task, exp_sums, counts, 0, examples, None, 0.0)
    rounded = task.may_round and bool(_native.module().rounds_pairs(_native.isa()))
    shift = _pilot_mean(left, task.normalize) if rounded or task.normalize is None else None
    hosts = [_native.HostRows(rows) for rows in (left, right) if rows is not None]
    for doubles in (True,) if task.precision == "float64" else (False, True):
        outcome, close, i, j, value, distance_sum = _native.module().pair_sums(
            x=hosts[0].address,
            n=n,
            x_stride=hosts[0].row_stride,
            other=hosts[-1].address,
            m=0 if right is None else len(right),
            other_stride=hosts[-1].row_stride,
            d=d,
            element=hosts[0].element,
            shift=_native.address(shift),
            normalize=task.normalize == "l2",
            doubles=doubles,
            rounded=rounded and not doubles,
            rates=_native.address(rates),
            rate_count=len(rates),
            distances=task.distances,
            measure=0 if task.measure is None else 1 + MEASURES.index(task.measure),
            bins=task.bins,
            edges=_native.address(task.edges),
            has_threshold=task.threshold is not None,
            threshold=task.threshold or 0.0,
            most_examples=task.examples,
            exp_sums=_native.address(exp_sums),
            histogram=_native.address(counts),
            examples=_native.address(examples),
            threads=_native.threads(),
            isa=_native.isa(),
        )
        if outcome != _native.OUT_OF_RANGE:
            break
    if outcome == _native.NO_MEMORY:
        raise BudgetExceeded(f"pair_sums: no memory for packing some rows of {d} features; nothing smaller would do")
    if outcome == _native.OUT_OF_RANGE:
        raise out_of_range()
    if outcome != _native.DONE:
        _raise_for_sets(x, other, task)
    result = _result(task, exp_sums, counts, close, examples, (i, j, value) if i >= 0 else None, distance_sum)
    return dataclasses.replace(result, precision="float64" if doubles else "mixed" if rounded else "float32")


def _result(
    task: PairTask,
    exp_sums: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    close: int,
    examples: npt.NDArray[np.int64],
    nearest: tuple[int, int, float] | None,
    distance_sum: float,
) -> PairSums:
    return PairSums(
        pairs=0,
        exp_sums=exp_sums,
        distance_sum=distance_sum if task.distances else None,
        histogram=None if task.edges is None else counts[1:-1],
        below=int(counts[0]),
        above=int(counts[-1]),
        close=None if task.threshold is None else close,
        close_pairs=examples[examples[:, 0] >= 0],
        nearest=nearest,
    )


def _pilot_mean(rows: Rows, normalize: str | None) -> npt.NDArray[np.float64] | None:
    """Returns a mean about which squared norms are small; distances do not depend on it."""
    step = max(1, len(rows) // _PILOT_ROWS)
    # The main pass finds rows that are not finite, or zero, and says so.
    with np.errstate(all="ignore"):
        pilot = reference.to_float64(rows[::step])
        if normalize == "l2":
            pilot = pilot / np.linalg.norm(pilot, axis=1, keepdims=True)
        mean: npt.NDArray[np.float64] = pilot.mean(axis=0)
    return mean if np.isfinite(mean).all() else None


def _raise_for_sets(x: Rows, other: Rows | None, task: PairTask) -> NoReturn:
    for rows, in_other in ((x, False), (other, True)):
        error = None if rows is None else _native.row_error(rows, normalize=task.normalize == "l2")
        if error is not None:
            raise of_set(error, other, in_other=in_other)
    raise InputError("pair_sums: expected rows that stay as they are while they are read; they have changed")
