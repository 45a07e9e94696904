"""Products of warpgroups on devices of compute capability 9.0: where they are used, and the check that comes first.

`FEATDIV_CUDA_PRODUCTS` names one of `KINDS` to insist on it; else the first against which nothing speaks is used.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING

import numpy as np

from featdiv.errors import InputError
from featdiv.ops import _cuda, _cuda_moments, _cupy
from featdiv.ops._routes import Route
from featdiv.ops._tiles import BLOCK_ROWS

if TYPE_CHECKING:
    import torch

    from featdiv.ops._device_kernels import Grid

VARIABLE = "FEATDIV_CUDA_PRODUCTS"

SIDE = 128
"""Rows and columns of a tile."""


def _shape(terms: int, depth: int, stages: int) -> tuple[int, int]:
    """Returns (threads, bytes of shared memory) of a kernel.

    The latter are those to align it, stages of both sides of the product, two barriers of each stage and one of each
    warpgroup that multiplies, and what a block is told.
    """
    return 384, 1024 + stages * (2 * terms * depth * SIDE * 2 + 2 * 8) + 2 * 8 + 32


GRAM_KERNELS: dict[str, tuple[int, int]] = {
    "gram_sm90_bfloat16_6": _shape(3, 32, 4),
    "gram_sm90_bfloat16_3": _shape(2, 64, 3),
    "gram_sm90_bfloat16_1": _shape(1, 64, 6),
    "gram_sm90_float16_1": _shape(1, 64, 6),
}
"""Kernel ``gram_sm90_TYPE_PRODUCTS`` of packed terms to (threads, bytes of shared memory)."""

ROW_KERNELS: dict[str, tuple[int, int]] = {
    "gram_rows_sm90_float32_6": _shape(3, 32, 4),
    "gram_rows_sm90_float32_3": _shape(2, 64, 3),
    "gram_rows_sm90_float32_1": _shape(1, 64, 6),
    "gram_rows_sm90_bfloat16_1": _shape(1, 64, 6),
    "gram_rows_sm90_float16_1": _shape(1, 64, 6),
}
"""Kernel ``gram_rows_sm90_TYPE_PRODUCTS`` of rows where they lie to the same."""

FEATURES_READ = 4
"""Features that a thread reads at once: rows begin and end at a multiple of them."""


class WarpgroupMoments(_cuda_moments.CudaMoments):
    """The kernels of csrc/cuda, with products of warpgroups where rows have enough features for them."""

    def packs_tiles(self, route: Route, padded: int) -> bool:
        """Whether warpgroups multiply the rows: terms of 16 bits, and tiles of 128."""
        return route.element != "float64" and padded % SIDE == 0

    def gram(
        self,
        planes: torch.Tensor,
        plane: int,
        grid: Grid,
        starts: torch.Tensor,
        route: Route,
        slab: torch.Tensor,
    ) -> None:
        """Writes the products of segments."""
        tiles = grid.tiles
        if not self.packs_tiles(route, tiles.padded):
            super().gram(planes, plane, grid, starts, route, slab)
            return
        name = f"gram_sm90_{route.element}_{route.products}"
        _cuda_moments.launch_gram("gram_sm90.cuh", name, GRAM_KERNELS[name], planes, plane, grid, starts, slab)


class RowMoments(WarpgroupMoments):
    """The same, where rows of some types are read by the products themselves (csrc/cuda/gram_rows_sm90.cuh)."""

    def multiplies_rows(self, x: torch.Tensor, route: Route) -> bool:
        """Whether rows are multiplied where they lie: of these types, as they are, in whole units of memory."""
        steps = x.stride(0) if len(x) > 1 else 0, x.shape[1], x.data_ptr() // x.element_size()
        return (
            _row_kernel(x, route) in ROW_KERNELS
            and not route.wide
            and self.packs_tiles(route, self.tiles(x, route).padded)
            and x.stride(1) == 1
            and not any(step % FEATURES_READ for step in steps)
        )

    def gram_of_rows(
        self,
        x: torch.Tensor,
        first: int,
        grid: Grid,
        starts: torch.Tensor,
        route: Route,
        slab: torch.Tensor,
        total: torch.Tensor,
        squares: torch.Tensor,
    ) -> None:
        """Writes the products and the sums of columns of segments."""
        name = _row_kernel(x, route)
        sizes = (np.int64(x.stride(0) * x.element_size()), np.int64(first), np.int64(len(x)), np.int32(x.shape[1]))
        _cuda_moments.launch_tiles(
            *("gram_rows_sm90.cuh", name, ROW_KERNELS[name], (x, *sizes), grid, starts, (slab, total, squares))
        )


def _row_kernel(x: torch.Tensor, route: Route) -> str:
    return f"gram_rows_sm90_{str(x.dtype).removeprefix('torch.')}_{route.products}"


KINDS: dict[str, type[_cuda_moments.CudaMoments]] = {
    "wgmma": RowMoments,
    "wgmma-packed": WarpgroupMoments,
    "mma": _cuda_moments.CudaMoments,
}
"""Name of a kind of products to its kernels, the fastest first."""


def kernels(device: torch.device) -> _cuda_moments.CudaMoments:
    """Returns the kernels of csrc/cuda that are used on a device.

    Raises:
        InputError: if ``FEATDIV_CUDA_PRODUCTS`` is none of `KINDS`, or is what the device cannot do.
    """
    wanted = os.environ.get(VARIABLE) or None
    if wanted not in (None, *KINDS):
        kinds = ", ".join(KINDS)
        raise InputError(f"{VARIABLE}: expected one of {kinds}, or nothing for what suits the device; got {wanted!r}")
    kind = wanted or best(device)
    reason = problem(device, kind)
    if reason is not None:
        raise InputError(
            f"{VARIABLE}: expected {best(device)} on {device}; got {kind!r}, which is not used because {reason}"
        )
    return KINDS[kind]()


def best(device: torch.device) -> str:
    """Returns the fastest kind of products against which nothing speaks."""
    return next(kind for kind in KINDS if problem(device, kind) is None)


@functools.cache
def problem(device: torch.device, kind: str = "wgmma") -> str | None:
    """Returns why a kind of products is not used on a device, or None; those of warpgroups are checked at first use."""
    import torch

    if kind == "mma":
        return None
    if kind == "wgmma":
        return problem(device, "wgmma-packed") or _failed(device, of_rows=True)
    missing = _cupy.unsupported_reason(device.type)
    if missing is not None:
        return missing
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) != (9, 0):
        return f"the device has compute capability {major}.{minor}, and wgmma belongs to 9.0 alone"
    if _cuda.missing() is None and "90a" not in _cuda.architectures():
        return "featdiv._cuda was built without code for compute capability 90a"
    return _failed(device, of_rows=False)


def _failed(device: torch.device, *, of_rows: bool) -> str | None:
    if products_agree(device, of_rows=of_rows):
        return None
    of = "of rows where they lie" if of_rows else "of packed rows"
    return f"its products {of} failed the check at first use, so it is left alone"


def describe() -> str:
    """Returns one line for people: which kernels multiply on the devices that are there, and why."""
    import torch

    wanted = os.environ.get(VARIABLE)
    if wanted and wanted not in KINDS:
        return f"none: {VARIABLE}={wanted} is none of {', '.join(KINDS)}"
    if wanted:
        return f"{wanted}, because {VARIABLE}={wanted}"
    if not torch.cuda.is_available():
        return "mma or wgmma, by the device; there is none"
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    chosen = {device: (best(device), problem(device)) for device in devices}
    said = {
        device: f"{kind}, because {reason}" if reason else f"{kind}, which passed its check"
        for device, (kind, reason) in chosen.items()
    }
    return "; ".join(f"{device}: {words}" for device, words in said.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """Products that must come out right before others are trusted.

    Attributes:
        route: how they are made.
        dtype: of the rows.
        bound: how far they may be off, as a share of the norms of their columns.
        n: rows, more than the stages of a kernel hold.
        top: the rows are whole numbers up to this in magnitude...
        offset: ...plus this...
        over: ...over this.
    """

    route: Route
    dtype: str
    bound: float
    n: int
    top: int
    offset: int = 0
    over: int = 1


def _route(element: str, terms: int) -> Route:
    return Route(element=element, terms=terms, products=terms * (terms + 1) // 2, wide=False)


CHECKS = (
    Check(route=_route("bfloat16", 1), dtype="bfloat16", bound=0.0, n=450, top=15),
    Check(route=_route("bfloat16", 1), dtype="float32", bound=0.0, n=450, top=15),
    Check(route=_route("float16", 1), dtype="float16", bound=0.0, n=450, top=15),
    Check(route=_route("bfloat16", 2), dtype="float32", bound=2.0**-14, n=250, top=15, offset=300),
    Check(route=_route("bfloat16", 3), dtype="float32", bound=0.0, n=130, top=300),
    Check(route=_route("bfloat16", 3), dtype="float32", bound=1e-6, n=130, top=300, over=331),
)
"""Sums of the products of whole numbers stay below 2^24, and two terms hold each number: they come out exactly, but for
the three products of two terms, which leave one out."""


def products_agree(device: torch.device, *, of_rows: bool) -> bool:
    """Whether all of `CHECKS` come out right on a device, of rows where they lie or of packed rows."""
    return all(_off(check, device, of_rows) <= check.bound for check in CHECKS)


def _off(check: Check, device: torch.device, of_rows: bool) -> float:
    """Returns how far products of one segment are off, entry (i, j) as a share of the norms of columns i and j.

    Sums of columns and of their squares count as well, as a share of those of their magnitudes.
    """
    import torch

    from featdiv.ops._device_kernels import SEGMENT_SUMS, Grid, Places, Transform, on_device

    own, route, n, d = RowMoments(), check.route, check.n, SIDE + 72
    row, column = np.arange(n)[:, None], np.arange(d)
    numbers = (7 * row + 13 * column + row * column) % (2 * check.top + 1) - check.top + check.offset
    x = torch.from_numpy(numbers / check.over).to(getattr(torch, check.dtype)).to(device)
    blocks = -(-n // BLOCK_ROWS)
    tiles = own.tiles(x, route)
    corners = (torch.from_numpy(axis).to(device) for axis in (tiles.row, tiles.column))
    grid = Grid(tiles=tiles, rows=d, columns=d, first_column=0, row=next(corners), column=next(corners))
    starts, of_group = (torch.tensor(each, dtype=torch.int64, device=device) for each in ([0, blocks], [0, 1]))
    total, squares = (
        torch.empty((SEGMENT_SUMS if of_rows else blocks, tiles.padded), dtype=torch.float64, device=device)
        for _ in range(2)
    )
    slab = torch.full((tiles.count * SIDE * SIDE,), torch.nan, dtype=torch.float64, device=device)
    gram = torch.zeros(1, d, d, dtype=torch.float64, device=device)
    with on_device(x):
        if of_rows:
            own.gram_of_rows(x, 0, grid, starts, route, slab, total, squares)
        else:
            plane = blocks * BLOCK_ROWS * tiles.padded
            planes = torch.empty(route.terms * plane, dtype=getattr(torch, route.element), device=device)
            group_of_block = torch.zeros(blocks, dtype=torch.int32, device=device)
            places = Places(source=None, first=0, count=n, group_of_block=group_of_block)
            own.pack(x, places, Transform(), route, tiles.padded, tiles.padded, planes, plane, total, squares)
            own.gram(planes, plane, grid, starts, route, slab)
        own.sum_segments(slab, grid, of_group, gram)
    held = x.to(torch.float64).cpu().numpy()
    lengths = (held**2).sum(axis=0)
    pairs = (
        (gram[0].triu(), np.triu(held.T @ held), np.sqrt(np.outer(lengths, lengths))),
        (total.sum(0)[:d], held.sum(axis=0), np.abs(held).sum(axis=0)),
        (squares.sum(0)[:d], lengths, lengths),
    )
    worst = [float((np.abs(got.cpu().numpy() - truth) / size).max()) for got, truth, size in pairs]
    return np.inf if np.isnan(worst).any() else max(worst)
