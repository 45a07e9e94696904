"""pair_sums on the CPU through `featdiv._cpu`: products, exponentials and counts of a block while it is in cache."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from featdiv.errors import BudgetExceeded, InputError
from featdiv.ops import _native
from featdiv.ops._dispatch import Request
from featdiv.ops._watched import LONG_PRODUCTS, watched
from featdiv.ops.pair_sums import MEASURES, BlockSums, PairSums, PairTask, of_set, out_of_range, tapered
from featdiv.ops.pair_sums.tapered import Taper
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
    result = _run(x, other, np.array([0, x.shape[0]], dtype=np.int64), task)
    return dataclasses.replace(result, by_block=None)


def pair_sums_by_block(x: Rows, edges: npt.NDArray[np.int64], task: PairTask) -> PairSums:
    """Returns the reductions, and those by pairs of the blocks between ``edges``."""
    return _run(x, None, edges, task)


def _run(x: Rows, other: Rows | None, block_edges: npt.NDArray[np.int64], task: PairTask) -> PairSums:
    g = len(block_edges) - 1
    sizes = np.diff(block_edges)
    exp_sums = np.zeros((g, g, len(task.rates)))
    distance_sums = np.zeros((g, g)) if task.distances else None
    counts = np.zeros((g, g, task.bins + 2), dtype=np.int64)
    examples = np.full((task.examples, 2), -1, dtype=np.int64)
    pairs = np.triu(np.multiply.outer(sizes, sizes), 1) + np.diag(sizes * (sizes - 1) // 2)
    rates = np.array(task.rates, dtype=np.float64)
    left, right = _native.readable(x), None if other is None else _native.readable(other)
    n, d = (int(size) for size in x.shape)
    close, i, j, value, precision = 0, -1, -1, 0.0, task.precision
    if n and (right is None or len(right)):
        first = task.precision
        if first == "float32" and task.may_round and _native.module().rounds_pairs(_native.isa()):
            first = "mixed"
        shift = _pilot_mean(left, task.normalize) if first == "mixed" or task.normalize is None else None
        taper = _taper(left, shift, task) if first == "mixed" and right is None else None
        hosts = [_native.HostRows(rows) for rows in (left, right) if rows is not None]
        m, threads, isa = 0 if right is None else len(right), _native.threads(), _native.isa()

        def compared(precision: str, taper: Taper | None, watch: int) -> Any:
            return _native.module().pair_sums(
                x=hosts[0].address,
                n=n,
                x_stride=hosts[0].row_stride,
                other=hosts[-1].address,
                m=m,
                other_stride=hosts[-1].row_stride,
                d=d,
                element=hosts[0].element,
                block_edges=_native.address(block_edges),
                blocks=g,
                shift=_native.address(shift),
                normalize=task.normalize == "l2",
                doubles=precision == "float64",
                rounded=precision == "mixed",
                basis=_native.address(None if taper is None else taper.basis),
                lead=0 if taper is None else taper.lead,
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
                distance_sums=_native.address(distance_sums),
                histogram=_native.address(counts),
                examples=_native.address(examples),
                watch=watch,
                threads=threads,
                isa=isa,
            )

        total = n * m if m else n * (n - 1) // 2
        precisions = ("mixed", "float32", "float64")
        ways: list[tuple[str, Taper | None]] = [(name, None) for name in precisions[precisions.index(first) :]]
        if taper is not None:
            ways.insert(0, ("mixed", taper))
        for precision, taper in ways:
            if total * d > LONG_PRODUCTS or task.progress is not None:
                found = watched(functools.partial(compared, precision, taper), total=total, progress=task.progress)
            else:
                found = compared(precision, taper, 0)
            outcome, close, i, j, value = found
            if outcome != _native.OUT_OF_RANGE:
                break
        _raise_for(outcome, x, other, task)
        if taper is not None:
            exp_sums /= 1.0 + taper.bias
    cells = counts.sum(axis=(0, 1))
    histogram = None if task.edges is None else np.ascontiguousarray(counts[:, :, 1:-1])
    return PairSums(
        pairs=0,
        exp_sums=exp_sums.sum(axis=(0, 1)),
        distance_sum=None if distance_sums is None else float(distance_sums.sum()),
        histogram=None if task.edges is None else cells[1:-1],
        below=int(cells[0]),
        above=int(cells[-1]),
        close=None if task.threshold is None else close,
        close_pairs=examples[examples[:, 0] >= 0],
        nearest=(i, j, value) if i >= 0 else None,
        precision=precision,
        by_block=BlockSums(exp_sums=exp_sums, distance_sums=distance_sums, histogram=histogram, pairs=pairs),
    )


def _raise_for(outcome: int, x: Rows, other: Rows | None, task: PairTask) -> None:
    if outcome == _native.NO_MEMORY:
        d = int(x.shape[1])
        raise BudgetExceeded(f"pair_sums: no memory for packing some rows of {d} features; nothing smaller would do")
    if outcome == _native.OUT_OF_RANGE:
        raise out_of_range()
    if outcome != _native.DONE:
        _raise_for_sets(x, other, task)


def _taper(rows: Rows, shift: npt.NDArray[np.float64] | None, task: PairTask) -> Taper | None:
    """Returns how to taper rows before they are compared, or None."""
    n, d = (int(size) for size in rows.shape)
    if shift is None or not tapered.worthwhile(n, d) or not _native.module().tapers_pairs(_native.isa()):
        return None
    # The main pass finds rows that are not finite, or zero, and says so.
    with np.errstate(all="ignore"):
        sample = reference.to_float64(rows[:: tapered.sample_step(n)])
        if task.normalize == "l2":
            sample = sample / np.linalg.norm(sample, axis=1, keepdims=True)
        return tapered.choose(sample - shift, n, task.rates)


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
