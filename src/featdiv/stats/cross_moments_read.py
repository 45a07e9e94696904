"""One reading of aligned sources into the `CrossMoments` of their parts, whose merge is the whole."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NonFiniteError, RowError, ZeroNormError
from featdiv.ops.scatter import reference
from featdiv.stats import arguments, budget, grouped
from featdiv.stats.cross_moments import CrossMoments
from featdiv.stats.cross_moments_accumulate import CrossAccumulator, JointPilot, JointSpotCheck, joined
from featdiv.stats.cross_moments_align import Order, chunks, joint_dtype, orders

if TYPE_CHECKING:
    import torch

    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress

    Rows = npt.NDArray[Any] | torch.Tensor

CHUNK_BYTES = 32 << 20
MATRICES = 6
"""Joint float64 matrices that exist at a time while one statistic is built and merged."""

MATRICES_A_PART = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossRead:
    """The statistics of the parts of the rows, and what was noticed while reading them.

    Attributes:
        parts: statistic of each part that received rows.
        total: their merge.
        dropped: rows left out because they hold NaN or infinity in some model.
        tiles: tiles multiplied.
        tiles_in_float64: tiles that were multiplied in float64 because float32 sums would have drifted.
    """

    parts: tuple[CrossMoments, ...]
    total: CrossMoments
    dropped: int
    tiles: int
    tiles_in_float64: int


@contextlib.contextmanager
def opened(models: Any, *, function: str) -> Iterator[dict[str, Embeddings]]:
    """Opens every model, and closes those again that did not come open.

    Raises:
        InputError: if there is no model, a name is not text, or a source that can be read once comes twice.
    """
    if not isinstance(models, Mapping) or not models:
        raise InputError(f"{function}: models: expected a mapping from names to rows; got {_kind(models)}")
    with contextlib.ExitStack() as stack:
        found: dict[str, Embeddings] = {}
        for name, source in models.items():
            if not isinstance(name, str) or not name:
                raise InputError(f"{function}: models: expected names that are text; got {name!r}")
            found[name] = stack.enter_context(grouped.opened(source, function=function, argument=name))
        once = [id(source) for source in found.values() if source.one_pass]
        if len(set(once)) < len(once):
            raise InputError(f"{function}: models: a source that can be read only once is given twice")
        yield found


def _kind(models: Any) -> str:
    return "an empty one" if isinstance(models, Mapping) else type(models).__name__


def from_sources(
    models: Mapping[str, Any],
    *,
    normalize: str | None,
    precision: str,
    backend: str,
    device: str | None,
    nonfinite: str,
    memory: int | float | str | None,
    seed: int,
    progress: Progress | None,
) -> CrossMoments:
    """Reads several sources once; see `CrossMoments.from_sources`."""
    function = "CrossMoments.from_sources"
    arguments.check(
        function,
        normalize=normalize,
        precision=precision,
        backend=backend,
        nonfinite=nonfinite,
        seed=seed,
        progress=progress,
    )
    device = grouped.check_device(device, function=function)
    with opened(models, function=function) as sources:
        require_memory([source.d for source in sources.values()], memory, function=function)
        return read(
            sources,
            orders(sources, function=function),
            function=function,
            normalize=normalize,
            precision=precision,
            backend=backend,
            device=device,
            nonfinite=nonfinite,
            seed=seed,
            progress=progress,
        ).total


def needed_bytes(features: int, parts: int = 1) -> int:
    """Returns the bytes that a reading needs for so many features in all and so many parts."""
    matrices = MATRICES + (MATRICES_A_PART * parts if parts > 1 else 0)
    return 8 * matrices * features * features + 3 * CHUNK_BYTES


def require_memory(sizes: Sequence[int], memory: int | float | str | None, *, function: str) -> None:
    """Raises BudgetExceeded if the joint scatter of models of these sizes does not fit the budget."""
    total = sum(sizes)
    budget.require(
        needed_bytes(total),
        budget.budget_bytes(memory, function=function),
        function=function,
        what=f"second moments of {len(sizes)} models of {total} features in all",
        advice="Raise memory=, or give fewer models at a time; featdiv.compare reads them in blocks.",
    )


def read(
    sources: Mapping[str, Embeddings],
    order: Mapping[str, Order | None],
    *,
    function: str,
    buckets: int = 1,
    slab: int = 4096,
    groups: npt.NDArray[Any] | None = None,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    device: str | None = None,
    nonfinite: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> CrossRead:
    """Reads aligned sources once.

    Args:
        sources: where the rows come from.
        order: of `cross_moments_align.orders`.
        function: public name for error messages.
        buckets: number of parts.
        slab: consecutive rows that go to the same part.
        groups: (n,) groups of the rows; dealt to the parts, each whole, instead of slabs.
        normalize, precision, backend, device, seed, progress: as in `CrossMoments.from_sources`.
        nonfinite: the same; None raises too, in words for callers of a function that has no such argument.

    Raises:
        RowError: with ``first_row`` counted in the first source's order.
    """
    sizes = {name: source.d for name, source in sources.items()}
    empty = CrossMoments.empty(sizes, normalize=normalize)
    scratch: dict[str, Any] = {}
    accumulators = [
        CrossAccumulator(empty, precision=precision, backend=backend, scratch=scratch) for _ in range(buckets)
    ]
    spot = JointSpotCheck(empty.sizes, seed=seed, precision=precision, backend=backend)
    dealt: dict[Any, int] = {}
    dropped = 0
    total_rows = next((source.n for source in sources.values() if source.n is not None), None)
    # A joint row may be copied to float64.
    rows_at_once = max(64, CHUNK_BYTES // (8 * empty.joint.d))
    if buckets > 1 and groups is None:
        rows_at_once = max(slab, rows_at_once // slab * slab)
    for start, blocks in chunks(sources, order, rows_at_once, function=function):
        m = int(blocks[0].shape[0])
        positions = start + np.arange(m)
        prepared = [grouped.on_device(block, device) for block in blocks]
        index = None
        if nonfinite == "drop":
            index = _finite_in_all(prepared)
            if index is not None:
                dropped += m - len(index)
                positions = positions[index]
                prepared = [block[index] for block in prepared]
        raw = prepared
        try:
            if normalize == "l2":
                prepared = [_unit(block, precision) for block in prepared]
            rows = joined(prepared, joint_dtype(prepared))
            pilot = JointPilot.of_joint(rows, empty.sizes)
            # Values too large for their fourth powers are refused, in words, when the sums are closed.
            with np.errstate(over="ignore", invalid="ignore"):
                spot.see(rows, pilot)
            own_groups = None if groups is None else groups[positions]
            for bucket, part in grouped.deal(rows, positions, own_groups, buckets=buckets, slab=slab, dealt=dealt):
                with np.errstate(over="ignore", invalid="ignore"):
                    accumulators[bucket].add(part, pilot)
        except RowError as error:
            droppable = nonfinite is not None
            raise _located(error, sources, raw, positions, start + m, normalize, function, droppable) from None
        if progress is not None:
            progress(start + m, total_rows)
    parts = [moments for moments in (accumulator.cross_moments() for accumulator in accumulators) if moments.n]
    total = functools.reduce(CrossMoments.merge, parts, empty)
    return CrossRead(
        parts=tuple(parts),
        total=dataclasses.replace(total, joint=dataclasses.replace(total.joint, measured_error=spot.error)),
        dropped=dropped,
        tiles=sum(accumulator.tiles for accumulator in accumulators),
        tiles_in_float64=sum(accumulator.tiles_in_float64 for accumulator in accumulators),
    )


def _finite_in_all(blocks: Sequence[Rows]) -> npt.NDArray[np.int64] | None:
    kept = [index for index in map(grouped.finite_rows, blocks) if index is not None]
    return functools.reduce(np.intersect1d, kept) if kept else None


def _unit(rows: Rows, precision: str) -> Rows:
    """Returns rows over their norms, in float32 unless the precision or the rows ask for more."""
    wide = precision == "float64"
    if isinstance(rows, np.ndarray) or rows.device.type == "cpu":
        unit = reference.transformed(rows, normalize="l2")
        return unit if wide else unit.astype(np.float32)
    import torch

    z = rows.double()
    largest = z.abs().amax(dim=1)
    bad, zero = ~torch.isfinite(largest), largest == 0.0
    if bool(bad.any()):
        raise NonFiniteError("", count=1, first_row=int(bad.nonzero()[0]))
    if bool(zero.any()):
        raise ZeroNormError("", count=int(zero.sum()), first_row=int(zero.nonzero()[0]))
    z = z / largest[:, None]
    unit_rows: torch.Tensor = z / z.norm(dim=1, keepdim=True)
    return unit_rows if wide else unit_rows.float()


def _located(
    error: RowError,
    sources: Mapping[str, Embeddings],
    blocks: Sequence[Rows],
    positions: npt.NDArray[np.int64],
    stop: int,
    normalize: str | None,
    function: str,
    droppable: bool,
) -> RowError:
    """Returns the error counted over the chunk, placed in the source and with the name of the model.

    Args:
        error: what the rows of some model raised.
        sources: the models.
        blocks: the rows of the chunk that are in use, as they were read.
        positions: where these lie in the source.
        stop: rows read so far.
        normalize, function: as in `read`.
        droppable: whether the function takes ``nonfinite="drop"``.
    """
    for (name, source), block in zip(sources.items(), blocks, strict=True):
        try:
            reference.transformed(block, normalize=normalize)
        except RowError as found:
            first = int(positions[found.first_row])
            if isinstance(found, NonFiniteError):
                advice = "Use nonfinite='drop' to leave" if droppable else "Leave"
                message = (
                    f"{function}: {name}: expected finite rows; got {found.count} NaN or infinite entries by row "
                    f"{stop}, the first in {source.place(first)}. {advice} such rows out of every model."
                )
            else:
                message = (
                    f"{function}: {name}: normalize='l2' expected rows of non-zero norm; got {found.count} zero rows "
                    f"by row {stop}, the first is {source.place(first)}. Leave such rows out of every model."
                )
            return type(found)(message, count=found.count, first_row=first)
    return error
