"""What the kernels of a device have to provide: their launches, and the arguments that describe rows and products."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch

from featdiv.ops._routes import Route
from featdiv.ops._tiles import Tiles

SEGMENT_SUMS = 4
"""Rows of sums of columns that `RowKernels.gram_of_rows` writes for each segment."""

Norms = tuple[torch.Tensor, torch.Tensor]
"""Two float64 factors of each row, whose meaning is the kernels' own, that make its norm 1; NaN without a direction."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """What is done to rows: z = (x / |x| - shift) 2^e.

    Attributes:
        shift: (groups, padded) float64, or None.
        powers: (padded,) float64 powers of two, or None.
        norms: factors of each row, or None.
    """

    shift: torch.Tensor | None = None
    powers: torch.Tensor | None = None
    norms: Norms | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
    """Where packed rows come from.

    Attributes:
        source: row of ``x`` by packed place, -1 for filling; None for rows in order.
        first: the row of the first place, without ``source``.
        count: places that rows may take.
        group_of_block: (blocks,) int32.
    """

    source: torch.Tensor | None
    first: int
    count: int
    group_of_block: torch.Tensor

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.group_of_block)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Tiles whose corners lie on the device.

    Attributes:
        tiles: the tiling.
        rows: of the product.
        columns: of the product.
        first_column: packed feature that its first column is of.
        row: (tiles,) int32 first rows.
        column: (tiles,) int32 first columns.
    """

    tiles: Tiles
    rows: int
    columns: int
    first_column: int
    row: torch.Tensor
    column: torch.Tensor


class Kernels(Protocol):
    """Launches of the kernels, each on the device of its tensors, in its current stream, without waiting."""

    def tiles(self, x: torch.Tensor, route: Route) -> Tiles:
        """Returns the tiling of the products of ``x``."""

    def row_norms(self, x: torch.Tensor) -> Norms:
        """Returns the factors that make the norm of each row 1."""

    def first_means(
        self,
        x: torch.Tensor,
        source: torch.Tensor,
        places: torch.Tensor,
        used: torch.Tensor,
        norms: Norms | None,
        out: torch.Tensor,
    ) -> None:
        """Writes the mean of the first used[g] packed rows of group g, which begin at places[g]: (groups, padded)."""

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
        """Writes planes of ``plane`` numbers, and sums of columns and of their squares for each block of rows.

        Fills ``width`` of the ``padded`` packed columns. ``rests`` gets the sums of the squares of what the terms of
        bfloat16 leave out.
        """

    def squared_norms(
        self, x: torch.Tensor, places: Places, transform: Transform, padded: int, squares: torch.Tensor
    ) -> None:
        """Writes |z|^2 of each packed row, 0 for filling."""

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
        """Writes, for each block of rows, the sums of weight z and of |z|^2 weight.

        ``weights`` are the squared norms of the rows, or of the other features of the same samples. Fills ``width`` of
        the ``padded`` columns of ``weighted``.
        """

    def sum_blocks(self, partial: torch.Tensor, first_blocks: torch.Tensor, out: torch.Tensor) -> None:
        """Adds the sums of the blocks of each group, in a fixed order, to ``out`` (groups, width)."""

    def gram(
        self,
        planes: torch.Tensor,
        plane: int,
        grid: Grid,
        starts: torch.Tensor,
        route: Route,
        slab: torch.Tensor,
    ) -> None:
        """Writes the products of each segment and tile into ``slab`` (segments, tiles, height, width) in float64."""

    def sum_segments(self, slab: torch.Tensor, grid: Grid, of_group: torch.Tensor, out: torch.Tensor) -> None:
        """Adds the segments of each group, in their order, to ``out`` (groups, rows, columns)."""


@runtime_checkable
class RowKernels(Kernels, Protocol):
    """Kernels that multiply some rows where they lie, without planes."""

    def multiplies_rows(self, x: torch.Tensor, route: Route) -> bool:
        """Whether `gram_of_rows` takes these rows."""

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
        """Writes what `gram` does, of blocks of rows from row ``first`` on, and sums of columns and of their squares.

        These are (segments, `SEGMENT_SUMS`, padded), of some of the rows each.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Packed:
    """One of two sets of features that are packed beside each other.

    Attributes:
        x: (n, d) rows.
        transform: what is done to them.
        width: packed columns that they fill, d of them with numbers.
    """

    x: torch.Tensor
    transform: Transform
    width: int


class CrossKernels(Kernels, Protocol):
    """What two sets of features want beside `Kernels`."""

    def cross_tiles(self, x: torch.Tensor, other: torch.Tensor, route: Route) -> Tiles:
        """Returns the tiling of the products of ``x`` with ``other``."""


@contextlib.contextmanager
def on_device(x: torch.Tensor) -> Iterator[None]:
    """Makes the device of ``x`` the current one, on which kernels are launched, in torch's current stream there."""
    with torch.cuda.device(x.device) if x.device.type == "cuda" else contextlib.nullcontext():
        yield
