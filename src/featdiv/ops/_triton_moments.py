"""The kernels of scatter, class_scatter and cross_gram through Triton; `_device_moments` puts them together."""

from __future__ import annotations

import torch

from featdiv.ops import _triton
from featdiv.ops._device_kernels import Grid, Norms, Places, Transform, on_device
from featdiv.ops._routes import Route
from featdiv.ops._tiles import BLOCK_ROWS, Tiles
from featdiv.ops._triton_shapes import Shape, gram_shape, major_capability

__all__ = ["TritonMoments", "inverse_norms", "on_device"]

_COLUMNS = 64
_NORM_ROWS = 16
_NORM_COLUMNS = 32
_STRIP = 32

PACKING_WARPS = 8
"""Of a program that packs; with four, Triton 3.6 keeps some of its float64 numbers in memory."""


def _shape(d: int, route: Route, there: torch.Tensor) -> Shape:
    return gram_shape(d, route, major_capability(there.device.index if there.is_cuda else None))


def inverse_norms(x: torch.Tensor) -> Norms:
    """Returns (largest magnitude, inverse norm of the row over it) of each row; NaN where a row has no direction."""
    from featdiv.ops._triton_kernels import pack

    n, d = x.shape
    largest, inverse = (torch.empty(n, dtype=torch.float64, device=x.device) for _ in range(2))
    with on_device(x):
        pack.row_norms[(-(-n // _NORM_ROWS),)](
            x, largest, inverse, n, d, x.stride(0), x.stride(1), block_rows=_NORM_ROWS, block_columns=_COLUMNS
        )
    return largest, inverse


class TritonMoments:
    """`featdiv.ops._device_kernels.CrossKernels` through Triton."""

    def tiles(self, x: torch.Tensor, route: Route) -> Tiles:
        """Returns the tiling of the products of ``x``."""
        shape = _shape(int(x.shape[1]), route, x)
        return Tiles.upper(int(x.shape[1]), shape.height, shape.width)

    def cross_tiles(self, x: torch.Tensor, other: torch.Tensor, route: Route) -> Tiles:
        """Returns the tiling of the products of ``x`` and ``other``."""
        p, q = int(x.shape[1]), int(other.shape[1])
        shape = _shape(min(p, q), route, x)
        return Tiles.across(p, q, shape.height, shape.width)

    def row_norms(self, x: torch.Tensor) -> Norms:
        """Returns (largest magnitude, inverse norm of the row over it) of each row."""
        return inverse_norms(x)

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
        from featdiv.ops._triton_kernels import pack

        groups, padded = out.shape
        largest, inverse = norms or (out, out)
        pack.group_means[(groups, padded // _COLUMNS)](
            *(x, out, source, places, used, largest, inverse),
            *(x.shape[1], padded, x.stride(0), x.stride(1)),
            block_rows=_NORM_ROWS,
            block_columns=_COLUMNS,
            has_norms=norms is not None,
        )

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
        from featdiv.ops._triton_kernels import pack

        pack.pack[(places.blocks, width // _COLUMNS)](
            *(x, planes, plane, total, squares, total if rests is None else rests),
            *(*_rows(places, total), *_moves(transform, total)),
            *(x.shape[1], padded, x.stride(0), x.stride(1)),
            block_rows=BLOCK_ROWS,
            block_columns=_COLUMNS,
            terms=route.terms,
            wide=route.wide,
            has_rests=rests is not None,
            num_warps=PACKING_WARPS,
            **_flags(places, transform),
        )

    def squared_norms(
        self, x: torch.Tensor, places: Places, transform: Transform, padded: int, squares: torch.Tensor
    ) -> None:
        """Writes the squared norms of packed rows."""
        from featdiv.ops._triton_kernels import pack

        pack.squared_norms[(places.blocks,)](
            *(x, squares, *_rows(places, squares), *_moves(transform, squares)),
            *(x.shape[1], padded, x.stride(0), x.stride(1)),
            block_rows=BLOCK_ROWS,
            block_columns=_NORM_COLUMNS,
            num_warps=8,
            num_stages=1,
            **_flags(places, transform),
        )

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
        from featdiv.ops._triton_kernels import pack

        pack.norm_sums[(places.blocks,)](
            *(x, squares, weights, weighted, fourth, *_rows(places, fourth), *_moves(transform, fourth)),
            *(x.shape[1], width, padded, x.stride(0), x.stride(1)),
            block_rows=BLOCK_ROWS,
            block_columns=_NORM_COLUMNS,
            num_warps=8,
            num_stages=1,
            **_flags(places, transform),
        )

    def sum_blocks(self, partial: torch.Tensor, first_blocks: torch.Tensor, out: torch.Tensor) -> None:
        """Adds the sums of blocks to those of their groups."""
        from featdiv.ops._triton_kernels import pack

        groups, width = out.shape
        columns = min(width, _COLUMNS)
        pack.sum_blocks[(groups, width // columns)](
            partial, first_blocks, out, width, block_columns=columns, strip=_STRIP
        )

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
        from featdiv.ops._triton_kernels import gram

        tiles, shape = grid.tiles, _shape(min(grid.rows, grid.columns), route, planes)
        gram.tuned_gram(shape.pipelines)[((len(starts) - 1) * tiles.count,)](
            *(planes, plane, tiles.padded, grid.row, grid.column, tiles.count, starts, slab),
            height=tiles.height,
            width=tiles.width,
            block_rows=BLOCK_ROWS,
            chain=shape.chain,
            products=route.products,
            upcast=_triton.interpreting() and route.element == "bfloat16",
        )

    def sum_segments(self, slab: torch.Tensor, grid: Grid, of_group: torch.Tensor, out: torch.Tensor) -> None:
        """Adds the segments of groups."""
        from featdiv.ops._triton_kernels import gram

        tiles = grid.tiles
        gram.sum_segments[(tiles.count * len(out), tiles.height // _STRIP)](
            *(slab, grid.row, grid.column, tiles.count, of_group, out, grid.rows, grid.columns, grid.first_column),
            height=tiles.height,
            width=tiles.width,
            strip=_STRIP,
        )


def _rows(places: Places, unused: torch.Tensor) -> tuple[torch.Tensor, int, int, torch.Tensor]:
    source = unused if places.source is None else places.source
    return source, places.first, places.count, places.group_of_block


def _moves(transform: Transform, unused: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns shift, powers and norms; some other tensor, which the kernel leaves alone, for what is absent."""
    shift, powers = transform.shift, transform.powers
    norms = transform.norms or (unused, unused)
    return (unused if shift is None else shift, unused if powers is None else powers, *norms)


def _flags(places: Places, transform: Transform) -> dict[str, bool]:
    return {
        "gather": places.source is not None,
        "has_shift": transform.shift is not None,
        "has_powers": transform.powers is not None,
        "has_norms": transform.norms is not None,
    }
