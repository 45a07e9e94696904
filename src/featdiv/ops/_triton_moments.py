"""Sums of rows and of their products by group, through Triton: what scatter and class_scatter share.

Rows are packed once into planes of terms, block by block; one triangle of their products is summed by segment in
float32 with Kahan's rule, and segments are added in float64 in a fixed order.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.ops import _triton
from featdiv.ops._routes import LARGEST_SQUARE_SUM, LEAST_MEAN_SQUARE, Route
from featdiv.ops._tiles import BLOCK_ROWS, Segments, Tiles
from featdiv.ops._triton_shapes import Shape, gram_shape, major_capability

PACKED_BYTES = 1 << 28
"""Bytes of packed rows made at a time."""

PROGRAMS = 512
"""Programs to aim for; the largest devices of today run about half of them at a time."""

_COLUMNS = 64
_NORM_ROWS = 16
_NORM_COLUMNS = 32
_STRIP = 32


@dataclasses.dataclass(kw_only=True)
class GroupSums:
    """Sums by group on the device of the rows, in float64.

    Attributes:
        total: (groups, d) sums of z.
        squares: (groups, d) sums of z^2, each exact but for float64 rounding.
        gram: (groups, d, d) sums of z z^T; the upper triangle.
        weighted: (groups, d) sums of |z|^2 z, or None.
        fourth: (groups,) sums of |z|^4, or None.
    """

    total: torch.Tensor
    squares: torch.Tensor
    gram: torch.Tensor
    weighted: torch.Tensor | None
    fourth: torch.Tensor | None

    def take_diagonal(self, limit: float, counts: torch.Tensor) -> torch.Tensor:
        """Puts the squares into the diagonal of the products, and returns whose products may be trusted, (groups,).

        They may where nothing left the range of float32, and no diagonal entry was off by more than ``limit``.
        """
        diagonal = self.gram.diagonal(dim1=1, dim2=2)
        drift = (diagonal - self.squares).abs() <= limit * self.squares
        low = self.squares >= LEAST_MEAN_SQUARE * counts[:, None]
        good = drift & ((self.squares == 0) | low) & (self.squares <= LARGEST_SQUARE_SUM)
        diagonal.copy_(self.squares)
        return good.all(dim=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """What is done to rows: z = (x / |x| - shift) 2^e.

    Attributes:
        shift: (groups, padded) float64, or None.
        powers: (padded,) float64 powers of two, or None.
        norms: (largest magnitude, inverse norm of the row over it), float64, or None.
    """

    shift: torch.Tensor | None = None
    powers: torch.Tensor | None = None
    norms: tuple[torch.Tensor, torch.Tensor] | None = None


def shape_for(x: torch.Tensor, route: Route) -> Shape:
    """Returns the shape of the products of ``x`` on its device."""
    return gram_shape(int(x.shape[1]), route, major_capability(x.device.index if x.is_cuda else None))


def tiles_for(x: torch.Tensor, route: Route) -> Tiles:
    """Returns the tiling of the products of ``x``."""
    shape = shape_for(x, route)
    return Tiles.upper(int(x.shape[1]), shape.height, shape.width)


def blocks_at_a_time(padded: int, route: Route) -> int:
    """Returns how many blocks of rows are packed at a time."""
    size = 8 if route.element == "float64" else 2
    return max(1, PACKED_BYTES // (BLOCK_ROWS * padded * size * route.terms))


def inverse_norms(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (largest magnitude, inverse norm of the row over it) of each row; NaN where a row has no direction."""
    from featdiv.ops._triton_kernels import pack

    n, d = x.shape
    largest, inverse = (torch.empty(n, dtype=torch.float64, device=x.device) for _ in range(2))
    with on_device(x):
        pack.row_norms[(-(-n // _NORM_ROWS),)](
            x, largest, inverse, n, d, x.stride(0), x.stride(1), block_rows=_NORM_ROWS, block_columns=_COLUMNS
        )
    return largest, inverse


def group_means(
    x: torch.Tensor,
    source: torch.Tensor,
    blocks: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    norms: tuple[torch.Tensor, torch.Tensor] | None,
    most_rows: int,
    route: Route,
) -> torch.Tensor:
    """Returns the means of the first rows of each group, (groups, padded) in float64; arguments as `group_sums`."""
    from featdiv.ops._triton_kernels import pack

    padded = tiles_for(x, route).padded
    means = torch.zeros((len(blocks), padded), dtype=torch.float64, device=x.device)
    first = np.concatenate([[0], np.cumsum(blocks)])[:-1] * BLOCK_ROWS
    places, used = (
        torch.from_numpy(values).to(x.device) for values in (first, np.minimum(counts, most_rows).astype(np.int64))
    )
    largest, inverse = norms or (means, means)
    with on_device(x):
        pack.group_means[(len(blocks), padded // _COLUMNS)](
            *(x, means, source, places, used, largest, inverse),
            *(x.shape[1], padded, x.stride(0), x.stride(1)),
            block_rows=_NORM_ROWS,
            block_columns=_COLUMNS,
            has_norms=norms is not None,
        )
    return means


def group_sums(
    x: torch.Tensor,
    blocks: npt.NDArray[np.int64],
    *,
    source: torch.Tensor | None = None,
    transform: Transform,
    route: Route,
    norm_sums: bool = False,
) -> GroupSums:
    """Returns the sums of every group.

    Args:
        x: (n, d) rows.
        blocks: (groups,) packed blocks of each group; all rows of ``x`` in order for one group without ``source``.
        source: rows of ``x`` by packed place, -1 for filling; None for all rows in order.
        transform: what is done to them.
        route: how they are multiplied.
        norm_sums: whether to add up the norm-weighted sums.
    """
    run = _Run(x, len(blocks), source, transform, route, norm_sums)
    step = blocks_at_a_time(run.tiles.padded, route)
    ends = np.cumsum(blocks)
    with on_device(x):
        for start in range(0, int(ends[-1]) if len(ends) else 0, step):
            # Blocks of each group among those of this step.
            here = np.diff(np.clip(ends, start, start + step), prepend=start).clip(min=0)
            run.add(start, here.astype(np.int64))
    return run.sums()


class _Run:
    def __init__(
        self,
        x: torch.Tensor,
        groups: int,
        source: torch.Tensor | None,
        transform: Transform,
        route: Route,
        norm_sums: bool,
    ) -> None:
        self.x, self.source, self.transform, self.route = x, source, transform, route
        self.d = int(x.shape[1])
        self.shape, self.tiles = shape_for(x, route), tiles_for(x, route)
        self.tile_row, self.tile_column = (
            torch.from_numpy(axis).to(x.device) for axis in (self.tiles.row, self.tiles.column)
        )
        self.total, self.squares = self._zeros(groups, self.tiles.padded), self._zeros(groups, self.tiles.padded)
        self.gram = self._zeros(groups, self.d, self.d)
        self.weighted = self._zeros(groups, self.tiles.padded) if norm_sums else None
        self.fourth = self._zeros(groups, 1) if norm_sums else None
        self.buffers: dict[str, torch.Tensor] = {}

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.x.device)

    def _buffer(self, name: str, size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        if name not in self.buffers or self.buffers[name].numel() < size:
            self.buffers[name] = torch.empty(size, dtype=dtype, device=self.x.device)
        return self.buffers[name]

    def add(self, start: int, blocks: npt.NDArray[np.int64]) -> None:
        """Packs blocks from ``start`` on and adds their sums; ``blocks`` says how many of them each group has."""
        from featdiv.ops._triton_kernels import gram, pack

        tiles, route, device = self.tiles, self.route, self.x.device
        number = int(blocks.sum())
        aimed = max(1, PROGRAMS // tiles.count)
        segments = Segments.of(blocks, longest=max(1, -(-number // aimed)))
        group_of_block, starts, of_group, first_blocks = (
            torch.from_numpy(values).to(device)
            for values in (
                segments.group_of_block,
                segments.starts,
                segments.of_group,
                np.concatenate([[0], np.cumsum(blocks)]),
            )
        )
        element = getattr(torch, route.element)
        plane = number * BLOCK_ROWS * tiles.padded
        planes = self._buffer("planes", route.terms * plane, element)
        sums = [self._buffer(name, number * tiles.padded) for name in ("total", "squares")]
        rows = self._rows(start, number)
        moves = self._moves()
        sizes = (self.d, tiles.padded, self.x.stride(0), self.x.stride(1))
        pack.pack[(number, tiles.padded // _COLUMNS)](
            *(self.x, planes, plane, *sums, *rows, group_of_block, *moves, *sizes),
            block_rows=BLOCK_ROWS,
            block_columns=_COLUMNS,
            terms=route.terms,
            wide=route.wide,
            **self._flags(),
        )
        partial = dict(zip(("total", "squares"), sums, strict=True))
        if self.weighted is not None:
            partial["weighted"] = self._buffer("weighted", number * tiles.padded)
            partial["fourth"] = self._buffer("fourth", number)
            pack.norm_sums[(number,)](
                *(self.x, partial["weighted"], partial["fourth"], *rows, group_of_block, *moves, *sizes),
                block_rows=BLOCK_ROWS,
                block_columns=_NORM_COLUMNS,
                num_warps=8,
                num_stages=1,
                **self._flags(),
            )
        for name, values in partial.items():
            self._add_blocks(values, first_blocks, getattr(self, name))
        slab = self._buffer("slab", segments.count * tiles.count * tiles.height * tiles.width)
        gram.tuned_gram(self.shape.pipelines)[(segments.count * tiles.count,)](
            *(planes, plane, tiles.padded, self.tile_row, self.tile_column, tiles.count, starts, slab),
            height=tiles.height,
            width=tiles.width,
            block_rows=BLOCK_ROWS,
            chain=self.shape.chain,
            products=route.products,
            upcast=_triton.interpreting() and route.element == "bfloat16",
        )
        gram.sum_segments[(tiles.count * len(blocks), tiles.height // _STRIP)](
            *(slab, self.tile_row, self.tile_column, tiles.count, of_group, self.gram, self.d),
            height=tiles.height,
            width=tiles.width,
            strip=_STRIP,
        )

    def _rows(self, start: int, number: int) -> tuple[Any, int, int]:
        """Returns (source, first row of x, packed places that rows may take) of a step."""
        places = number * BLOCK_ROWS
        if self.source is None:
            first = start * BLOCK_ROWS
            return self.total, first, min(places, len(self.x) - first)
        return self.source[start * BLOCK_ROWS :], 0, places

    def _moves(self) -> tuple[torch.Tensor, ...]:
        """Returns shift, powers and norms; some other tensor, which the kernel leaves alone, for what is absent."""
        shift, powers = self.transform.shift, self.transform.powers
        norms = self.transform.norms or (self.total, self.total)
        return (self.total if shift is None else shift, self.total if powers is None else powers, *norms)

    def _flags(self) -> dict[str, bool]:
        return {
            "gather": self.source is not None,
            "has_shift": self.transform.shift is not None,
            "has_powers": self.transform.powers is not None,
            "has_norms": self.transform.norms is not None,
        }

    def _add_blocks(self, partial: torch.Tensor, first_blocks: torch.Tensor, out: torch.Tensor) -> None:
        from featdiv.ops._triton_kernels import pack

        groups, width = out.shape
        columns = min(width, _COLUMNS)
        pack.sum_blocks[(groups, width // columns)](
            partial, first_blocks, out, width, block_columns=columns, strip=_STRIP
        )

    def sums(self) -> GroupSums:
        """Returns what was added up, without the filling."""
        return GroupSums(
            total=self.total[:, : self.d],
            squares=self.squares[:, : self.d],
            gram=self.gram,
            weighted=None if self.weighted is None else self.weighted[:, : self.d],
            fourth=None if self.fourth is None else self.fourth[:, 0],
        )


@contextlib.contextmanager
def on_device(x: torch.Tensor) -> Iterator[None]:
    """Makes the device of ``x`` the current one, on which Triton launches, on torch's current stream there."""
    with torch.cuda.device(x.device) if x.device.type == "cuda" else contextlib.nullcontext():
        yield
