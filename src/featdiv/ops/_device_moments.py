"""Sums of rows and of their products by group on a device: what scatter and class_scatter share, whoever's kernels.

Rows are packed once into planes of terms, block by block; one triangle of their products is summed by segment in
float32 with Kahan's rule, and segments are added in float64 in a fixed order. Kernels allocate nothing: all that a
call works in is planned by `workspace` and taken before the first of them runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from featdiv.errors import BudgetExceeded
from featdiv.ops._routes import LARGEST_SQUARE_SUM, LEAST_MEAN_SQUARE, Route
from featdiv.ops._tiles import BLOCK_ROWS, Segments, Tiles

PACKED_BYTES = 1 << 28
"""Bytes of packed rows made at a time."""

PROGRAMS = 512
"""Programs to aim for; the largest devices of today run about half of them at a time."""

Norms = tuple[torch.Tensor, torch.Tensor]
"""Two float64 factors of each row, whose meaning is the kernels' own, that make its norm 1; NaN without a direction."""


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
        d: features.
        row: (tiles,) int32 first rows.
        column: (tiles,) int32 first columns.
    """

    tiles: Tiles
    d: int
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
        planes: torch.Tensor,
        plane: int,
        total: torch.Tensor,
        squares: torch.Tensor,
    ) -> None:
        """Writes planes of ``plane`` numbers, and sums of columns and of their squares for each block of rows."""

    def norm_sums(
        self,
        x: torch.Tensor,
        places: Places,
        transform: Transform,
        padded: int,
        weighted: torch.Tensor,
        fourth: torch.Tensor,
    ) -> None:
        """Writes the norm-weighted sums of each block of rows."""

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
        """Adds the segments of each group, in their order, to ``out`` (groups, d, d)."""


def workspace(blocks: int, groups: int, tiles: Tiles, route: Route, *, norm_sums: bool) -> dict[str, int]:
    """Returns the numbers (of the type of terms for the planes, else float64) of each buffer of a step.

    Args:
        blocks: of rows that the step packs.
        groups: at most so many have rows among them.
        tiles: of the products.
        route: how rows are multiplied.
        norm_sums: whether to add up the norm-weighted sums.
    """
    segments = min(blocks, max(1, PROGRAMS // tiles.count) + min(groups, blocks))
    found = {
        "planes": route.terms * blocks * BLOCK_ROWS * tiles.padded,
        "total": blocks * tiles.padded,
        "squares": blocks * tiles.padded,
        "slab": segments * tiles.count * tiles.height * tiles.width,
    }
    return found | ({"weighted": blocks * tiles.padded, "fourth": blocks} if norm_sums else {})


def blocks_at_a_time(padded: int, route: Route) -> int:
    """Returns how many blocks of rows are packed at a time."""
    return max(1, PACKED_BYTES // (BLOCK_ROWS * padded * _size(route) * route.terms))


def _size(route: Route) -> int:
    return 8 if route.element == "float64" else 2


def group_means(
    kernels: Kernels,
    x: torch.Tensor,
    source: torch.Tensor,
    blocks: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    norms: Norms | None,
    most_rows: int,
    route: Route,
) -> torch.Tensor:
    """Returns the means of the first rows of each group, (groups, padded) in float64; arguments as `group_sums`."""
    padded = kernels.tiles(x, route).padded
    means = torch.zeros((len(blocks), padded), dtype=torch.float64, device=x.device)
    first = np.concatenate([[0], np.cumsum(blocks)])[:-1] * BLOCK_ROWS
    places, used = (
        torch.from_numpy(values).to(x.device) for values in (first, np.minimum(counts, most_rows).astype(np.int64))
    )
    with on_device(x):
        kernels.first_means(x, source, places, used, norms, means)
    return means


def group_sums(
    kernels: Kernels,
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
        kernels: whose kernels do it.
        x: (n, d) rows.
        blocks: (groups,) packed blocks of each group; all rows of ``x`` in order for one group without ``source``.
        source: rows of ``x`` by packed place, -1 for filling; None for all rows in order.
        transform: what is done to them.
        route: how they are multiplied.
        norm_sums: whether to add up the norm-weighted sums.

    Raises:
        BudgetExceeded: if the device has no memory for one block of rows at a time.
    """
    run = _Run(kernels, x, blocks, source, transform, route, norm_sums)
    with on_device(x):
        run.all()
    return run.sums()


class _Run:
    def __init__(
        self,
        kernels: Kernels,
        x: torch.Tensor,
        blocks: npt.NDArray[np.int64],
        source: torch.Tensor | None,
        transform: Transform,
        route: Route,
        norm_sums: bool,
    ) -> None:
        self.kernels, self.x, self.source, self.transform, self.route = kernels, x, source, transform, route
        self.d, self.blocks = int(x.shape[1]), blocks
        self.tiles = tiles = kernels.tiles(x, route)
        row, column = (torch.from_numpy(axis).to(x.device) for axis in (tiles.row, tiles.column))
        self.grid = Grid(tiles=tiles, d=self.d, row=row, column=column)
        groups = len(blocks)
        self.out = {"total": self._zeros(groups, tiles.padded), "squares": self._zeros(groups, tiles.padded)}
        if norm_sums:
            self.out |= {"weighted": self._zeros(groups, tiles.padded), "fourth": self._zeros(groups, 1)}
        self.gram = self._zeros(groups, self.d, self.d)

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.x.device)

    def all(self) -> None:
        """Packs and adds all blocks, as many at a time as there is memory for."""
        ends = np.cumsum(self.blocks)
        number = int(ends[-1]) if len(ends) else 0
        step = min(number, blocks_at_a_time(self.tiles.padded, self.route))
        buffers: dict[str, torch.Tensor] = {}
        while number and not buffers:
            sizes = workspace(step, len(self.blocks), self.tiles, self.route, norm_sums="fourth" in self.out)
            try:
                buffers = {name: self._empty(name, size) for name, size in sizes.items()}
            except torch.cuda.OutOfMemoryError as error:
                if step == 1:
                    raise BudgetExceeded(self._too_little(sizes)) from error
                step //= 2
        for start in range(0, number, max(1, step)):
            # Blocks of each group among those of this step.
            here = np.diff(np.clip(ends, start, start + step), prepend=start).clip(min=0)
            self._add(start, here.astype(np.int64), buffers)

    def _empty(self, name: str, size: int) -> torch.Tensor:
        dtype = getattr(torch, self.route.element) if name == "planes" else torch.float64
        return torch.empty(size, dtype=dtype, device=self.x.device)

    def _too_little(self, sizes: dict[str, int]) -> str:
        wanted = sum(size * (_size(self.route) if name == "planes" else 8) for name, size in sizes.items())
        return (
            f"products of rows of {self.d} features need {math.ceil(wanted / 2**20)} MiB of free memory on "
            f"{self.x.device} for {BLOCK_ROWS} rows at a time, beside their result; free some, or move the rows "
            "with .cpu()"
        )

    def _add(self, start: int, blocks: npt.NDArray[np.int64], buffers: dict[str, torch.Tensor]) -> None:
        """Packs blocks from ``start`` on and adds their sums; ``blocks`` says how many of them each group has."""
        tiles, route, kernels, device = self.tiles, self.route, self.kernels, self.x.device
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
        places = self._places(start, number, group_of_block)
        plane = number * BLOCK_ROWS * tiles.padded
        kernels.pack(
            *(self.x, places, self.transform, route, tiles.padded),
            *(buffers["planes"], plane, buffers["total"], buffers["squares"]),
        )
        if "fourth" in self.out:
            kernels.norm_sums(self.x, places, self.transform, tiles.padded, buffers["weighted"], buffers["fourth"])
        for name, out in self.out.items():
            kernels.sum_blocks(buffers[name], first_blocks, out)
        kernels.gram(buffers["planes"], plane, self.grid, starts, route, buffers["slab"])
        kernels.sum_segments(buffers["slab"], self.grid, of_group, self.gram)

    def _places(self, start: int, number: int, group_of_block: torch.Tensor) -> Places:
        count = number * BLOCK_ROWS
        if self.source is None:
            first = start * BLOCK_ROWS
            return Places(
                source=None, first=first, count=min(count, len(self.x) - first), group_of_block=group_of_block
            )
        source = self.source[start * BLOCK_ROWS :]
        return Places(source=source, first=0, count=count, group_of_block=group_of_block)

    def sums(self) -> GroupSums:
        """Returns what was added up, without the filling."""
        weighted, fourth = self.out.get("weighted"), self.out.get("fourth")
        return GroupSums(
            total=self.out["total"][:, : self.d],
            squares=self.out["squares"][:, : self.d],
            gram=self.gram,
            weighted=None if weighted is None else weighted[:, : self.d],
            fourth=None if fourth is None else fourth[:, 0],
        )


@contextlib.contextmanager
def on_device(x: torch.Tensor) -> Iterator[None]:
    """Makes the device of ``x`` the current one, on which kernels are launched, in torch's current stream there."""
    with torch.cuda.device(x.device) if x.device.type == "cuda" else contextlib.nullcontext():
        yield
