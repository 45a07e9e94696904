"""The kernels of scatter, class_scatter and cross_gram in CUDA; `_device_moments` puts them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featdiv.ops import _cupy
from featdiv.ops._dispatch import Request
from featdiv.ops._routes import Route
from featdiv.ops._tiles import Tiles

if TYPE_CHECKING:
    import torch

    from featdiv.ops._device_kernels import Grid, Norms, Places, Transform

ELEMENTS = ("float64", "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8")
"""Element types that the kernels read in place, in the order of `Element` in csrc/cuda/elements.cuh."""

GRAM_KERNELS: dict[str, tuple[int, int]] = {
    "gram_bfloat16_6_128": (256, 2 * 2 * 3 * 32 * 128 * 2),
    "gram_bfloat16_3_128": (256, 3 * 2 * 2 * 32 * 128 * 2),
    "gram_bfloat16_1_128": (256, 3 * 2 * 1 * 64 * 128 * 2),
    "gram_float16_1_128": (256, 3 * 2 * 1 * 64 * 128 * 2),
    "gram_bfloat16_6_64": (128, 2 * 2 * 3 * 32 * 64 * 2),
    "gram_bfloat16_3_64": (128, 3 * 2 * 2 * 32 * 64 * 2),
    "gram_bfloat16_1_64": (128, 3 * 2 * 1 * 64 * 64 * 2),
    "gram_float16_1_64": (128, 3 * 2 * 1 * 64 * 64 * 2),
    "gram_float64_1_64": (256, 3 * 2 * 1 * 32 * 64 * 8),
}
"""Kernel ``gram_TYPE_PRODUCTS_SIDE`` of csrc/cuda/gram.cuh to (threads, bytes of shared memory: stages, sides of the
product, terms, rows of a stage, side of a tile, bytes of a number)."""

_THREADS = 256
_COLUMNS = 64
_SUM_COLUMNS = 32
_FEW_FEATURES = 64


def unsupported_reason(request: Request) -> str | None:
    """Returns why the CUDA kernels cannot run the request."""
    if request.dtype not in (*ELEMENTS, "bool"):
        return f"its kernels cannot read rows of type {request.dtype}"
    return _cupy.unsupported_reason(request.device)


class CudaMoments:
    """`featdiv.ops._device_kernels.CrossKernels` of csrc/cuda."""

    def packs_tiles(self, route: Route, padded: int) -> bool:
        """Whether rows are packed in the tiles of gram_sm90.cuh, as its products want them, or one after the other."""
        return False

    def tiles(self, x: torch.Tensor, route: Route) -> Tiles:
        """Returns the tiling of the products of ``x``."""
        d = int(x.shape[1])
        side = _side(d, route)
        return Tiles.upper(d, side, side)

    def cross_tiles(self, x: torch.Tensor, other: torch.Tensor, route: Route) -> Tiles:
        """Returns the tiling of the products of ``x`` and ``other``."""
        p, q = int(x.shape[1]), int(other.shape[1])
        side = _side(min(p, q), route)
        return Tiles.across(p, q, side, side)

    def row_norms(self, x: torch.Tensor) -> Norms:
        """Returns (a power of two, the inverse norm of the row times it) of each row."""
        import torch

        n = len(x)
        scale, inverse = (torch.empty(n, dtype=torch.float64, device=x.device) for _ in range(2))
        arguments = (*rows_given(x), np.int64(n), np.int32(x.shape[1]), scale, inverse)
        _launch("moments.cuh", "row_norms", (-(-n // (_THREADS // 32)),), arguments)
        return scale, inverse

    def first_means(
        self,
        x: torch.Tensor,
        source: torch.Tensor,
        places: torch.Tensor,
        used: torch.Tensor,
        norms: Norms | None,
        out: torch.Tensor,
    ) -> None:
        """Writes the means of the first rows of groups."""
        groups, padded = out.shape
        sizes = (np.int32(x.shape[1]), np.int32(padded))
        arguments = (*rows_given(x), *sizes, source, places, used, *(norms or (None, None)), out)
        _launch("moments.cuh", "first_rows", (groups, padded // _COLUMNS), arguments)
        out /= used[:, None]

    def pack(
        self,
        x: torch.Tensor,
        places: Places,
        transform: Transform,
        route: Route,
        padded: int,
        width: int,
        planes: torch.Tensor,
        plane: int,
        total: torch.Tensor,
        squares: torch.Tensor,
        rests: torch.Tensor | None = None,
    ) -> None:
        """Writes planes and sums of columns."""
        terms = {"bfloat16": route.terms, "float16": 0, "float64": -1}[route.element]
        layout = (np.int64(plane), np.int32(terms), np.int32(self.packs_tiles(route, padded)))
        out = (np.int32(route.wide), planes, *layout, total, squares, rests)
        arguments = (*_moved(x, places, transform, padded), *out)
        _launch("moments.cuh", "pack_rows", (places.blocks, width // _COLUMNS), arguments)

    def squared_norms(
        self, x: torch.Tensor, places: Places, transform: Transform, padded: int, squares: torch.Tensor
    ) -> None:
        """Writes the squared norms of packed rows."""
        arguments = (*_moved(x, places, transform, padded), squares)
        _launch("moments.cuh", "squared_norms", (places.blocks,), arguments)

    def norm_sums(
        self,
        x: torch.Tensor,
        places: Places,
        transform: Transform,
        padded: int,
        width: int,
        squares: torch.Tensor,
        weights: torch.Tensor,
        weighted: torch.Tensor,
        fourth: torch.Tensor,
    ) -> None:
        """Writes the weighted sums of blocks."""
        out = (squares, weights, np.int32(width), weighted, fourth)
        arguments = (*_moved(x, places, transform, padded), *out)
        _launch("moments.cuh", "norm_sums", (places.blocks,), arguments)

    def sum_blocks(self, partial: torch.Tensor, first_blocks: torch.Tensor, out: torch.Tensor) -> None:
        """Adds the sums of blocks to those of their groups."""
        groups, width = out.shape
        arguments = (partial, first_blocks, out, np.int32(width))
        _launch("moments.cuh", "sum_blocks", (groups, -(-width // _SUM_COLUMNS)), arguments)

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
        name = f"gram_{route.element}_{route.products}_{grid.tiles.height}"
        launch_gram("gram.cuh", name, GRAM_KERNELS[name], planes, plane, grid, starts, slab)

    def sum_segments(self, slab: torch.Tensor, grid: Grid, of_group: torch.Tensor, out: torch.Tensor) -> None:
        """Adds the segments of groups."""
        tiles = grid.tiles
        corners = (grid.row, grid.column, np.int32(tiles.count))
        shape = (np.int32(grid.rows), np.int32(grid.columns), np.int32(grid.first_column))
        arguments = (slab, np.int32(tiles.height), *corners, of_group, out, *shape)
        strips = tiles.height * tiles.width // _THREADS
        _launch("gram.cuh", "sum_segments", (tiles.count * len(out), strips), arguments)


def _side(d: int, route: Route) -> int:
    return 64 if route.element == "float64" or d <= _FEW_FEATURES else 128


def launch_gram(
    source: str,
    name: str,
    shape: tuple[int, int],
    planes: torch.Tensor,
    plane: int,
    grid: Grid,
    starts: torch.Tensor,
    slab: torch.Tensor,
) -> None:
    """Launches a kernel of products, of (threads, bytes of shared memory)."""
    launch_tiles(source, name, shape, (planes, np.int64(plane)), grid, starts, (slab,))


def launch_tiles(
    source: str,
    name: str,
    shape: tuple[int, int],
    rows: tuple[_cupy.Argument, ...],
    grid: Grid,
    starts: torch.Tensor,
    out: tuple[torch.Tensor, ...],
) -> None:
    """Launches a kernel with a block of (threads, bytes of shared memory) for each segment and tile."""
    tiles = grid.tiles
    corners = (np.int32(tiles.padded), grid.row, grid.column, np.int32(tiles.count))
    blocks = (len(starts) - 1) * tiles.count
    _launch(source, name, (blocks,), (*rows, *corners, starts, *out), threads=shape[0], shared_bytes=shape[1])


def rows_given(x: torch.Tensor) -> tuple[torch.Tensor, np.int32, np.int64, np.int64]:
    """Returns rows, the number of their type and their strides, as kernels take them."""
    element = ELEMENTS.index(str(x.dtype).removeprefix("torch."))
    return x, np.int32(element), np.int64(x.stride(0)), np.int64(x.stride(1))


def _moved(x: torch.Tensor, places: Places, transform: Transform, padded: int) -> tuple[_cupy.Argument, ...]:
    """Returns what kernels that read rows take first."""
    sizes = (np.int32(x.shape[1]), np.int32(padded))
    rows = (places.source, np.int64(places.first), np.int64(places.count), places.group_of_block)
    moves = (transform.shift, transform.powers, *(transform.norms or (None, None)))
    return (*rows_given(x), *sizes, *rows, *moves)


def _launch(
    source: str,
    name: str,
    grid: tuple[int, ...],
    arguments: tuple[_cupy.Argument, ...],
    *,
    threads: int = _THREADS,
    shared_bytes: int = 0,
) -> None:
    device = next(each.device for each in arguments if not isinstance(each, np.generic) and each is not None)
    _cupy.launch(
        source, name, grid=grid, threads=threads, arguments=arguments, device=device, shared_bytes=shared_bytes
    )
