"""Sums of rows and of their products by group on a device: what scatter and class_scatter share, whoever's kernels.

Rows are packed once into planes of terms, block by block (or read where they lie, if the kernels do that); their
products are summed by segment in float32 with Kahan's rule, and segments are added in float64 in a fixed order.
`_device_cross` packs two sets of features. Kernels allocate nothing: all that a call works in is planned by `workspace`
and taken before the first of them runs.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.errors import BudgetExceeded
from featdiv.ops._device_kernels import SEGMENT_SUMS, Grid, Kernels, Norms, Places, RowKernels, Transform, on_device
from featdiv.ops._routes import LARGEST_SQUARE_SUM, LEAST_MEAN_SQUARE, Route
from featdiv.ops._tiles import BLOCK_ROWS, Segments, Tiles

PACKED_BYTES = 1 << 28
"""Bytes of packed rows made at a time."""

PROGRAMS = 4 * 132
"""Programs to aim for: of 132 multiprocessors (H100, H200), which run one or two each at a time, none is left idle."""

LONGEST_SEGMENT = 1024
"""Blocks of a segment of rows that are multiplied where they lie, where nothing else bounds it: what Kahan's rule loses
with 8 bits for what a sum lost is then below 2048 x 2^-33 of it."""


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


def workspace(blocks: int, groups: int, tiles: Tiles, route: Route, *, norm_sums: bool) -> dict[str, int]:
    """Returns the numbers (of the type of terms for the planes, else float64) of each buffer of a step.

    Args:
        blocks: of rows that the step packs.
        groups: at most so many have rows among them.
        tiles: of the products.
        route: how rows are multiplied.
        norm_sums: whether to add up the norm-weighted sums.
    """
    found = {
        "planes": route.terms * blocks * BLOCK_ROWS * tiles.padded,
        "total": blocks * tiles.padded,
        "squares": blocks * tiles.padded,
        "slab": most_segments(blocks, groups, tiles) * tiles.count * tiles.height * tiles.width,
    }
    if norm_sums:
        found |= {"norms": blocks * BLOCK_ROWS, "weighted": blocks * tiles.padded, "fourth": blocks}
    return found


def most_segments(blocks: int, groups: int, tiles: Tiles) -> int:
    """Returns how many segments a step has at most; arguments as `workspace`."""
    return min(blocks, max(1, PROGRAMS // tiles.count) + min(groups, blocks))


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
    if source is None and isinstance(kernels, RowKernels) and kernels.multiplies_rows(x, route):
        run: _GroupRun = _RowsRun(kernels, x, blocks, source, transform, route, norm_sums)
    else:
        run = _GroupRun(kernels, x, blocks, source, transform, route, norm_sums)
    with on_device(x):
        run.all()
    return run.sums()


class Run(abc.ABC):
    """Packs blocks of rows, adds up their columns and multiplies them, as many at a time as there is memory for.

    Attributes:
        out: name to float64 sums of packed columns, (groups, width), of buffers of that name.
        gram: (groups, rows, columns) float64 sums of products.
    """

    features: str
    """What the rows have, for a message."""

    def __init__(
        self,
        kernels: Kernels,
        device: torch.device,
        blocks: npt.NDArray[np.int64],
        route: Route,
        tiles: Tiles,
        shape: tuple[int, int],
        first_column: int,
    ) -> None:
        self.kernels, self.device, self.blocks, self.route, self.tiles = kernels, device, blocks, route, tiles
        self.grid = self._grid(tiles, *shape, first_column)
        self.out = {"total": self._zeros(len(blocks), tiles.padded), "squares": self._zeros(len(blocks), tiles.padded)}
        self.gram = self._zeros(len(blocks), *shape)

    def _grid(self, tiles: Tiles, rows: int, columns: int, first_column: int) -> Grid:
        row, column = self._moved(tiles.row), self._moved(tiles.column)
        return Grid(tiles=tiles, rows=rows, columns=columns, first_column=first_column, row=row, column=column)

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def _keep_norm_sums(self) -> None:
        groups = len(self.blocks)
        self.out |= {"weighted": self._zeros(groups, self.tiles.padded), "fourth": self._zeros(groups, 1)}

    def all(self) -> None:
        """Packs and adds all blocks."""
        ends = np.cumsum(self.blocks)
        number = int(ends[-1]) if len(ends) else 0
        step = min(number, self.most_blocks())
        buffers: dict[str, torch.Tensor] = {}
        while number and not buffers:
            sizes = self.workspace(step)
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

    def most_blocks(self) -> int:
        """Returns how many blocks of rows a step takes at most."""
        return blocks_at_a_time(self.tiles.padded, self.route)

    def workspace(self, step: int) -> dict[str, int]:
        """Returns the numbers of each buffer of a step of some blocks; see `workspace`."""
        return workspace(step, len(self.blocks), self.tiles, self.route, norm_sums="fourth" in self.out)

    def _empty(self, name: str, size: int) -> torch.Tensor:
        dtype = getattr(torch, self.route.element) if name == "planes" else torch.float64
        return torch.empty(size, dtype=dtype, device=self.device)

    def _too_little(self, sizes: dict[str, int]) -> str:
        wanted = sum(size * (_size(self.route) if name == "planes" else 8) for name, size in sizes.items())
        return (
            f"products of rows of {self.features} features need {math.ceil(wanted / 2**20)} MiB of free memory on "
            f"{self.device} for {BLOCK_ROWS} rows at a time, beside their result; free some, or move the rows "
            "with .cpu()"
        )

    def _add(self, start: int, blocks: npt.NDArray[np.int64], buffers: dict[str, torch.Tensor]) -> None:
        """Packs blocks from ``start`` on and adds their sums; ``blocks`` says how many of them each group has."""
        number = int(blocks.sum())
        aimed = max(1, PROGRAMS // self.tiles.count)
        segments = Segments.of(blocks, longest=max(1, -(-number // aimed)))
        group_of_block = self._moved(segments.group_of_block)
        plane = number * BLOCK_ROWS * self.tiles.padded
        self._pack(start, group_of_block, plane, buffers)
        self._multiply(start, segments, plane, buffers)
        self._sum_columns(blocks, segments, buffers)

    def _moved(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)

    @abc.abstractmethod
    def _pack(self, start: int, group_of_block: torch.Tensor, plane: int, buffers: dict[str, torch.Tensor]) -> None:
        """Fills the buffers with blocks from ``start`` on."""

    def _multiply(self, start: int, segments: Segments, plane: int, buffers: dict[str, torch.Tensor]) -> None:
        """Adds the products of segments of the blocks from ``start`` on."""
        starts = self._moved(segments.starts)
        self.kernels.gram(buffers["planes"], plane, self.grid, starts, self.route, buffers["slab"])
        self.kernels.sum_segments(buffers["slab"], self.grid, self._moved(segments.of_group), self.gram)

    def _sum_columns(self, blocks: npt.NDArray[np.int64], segments: Segments, buffers: dict[str, torch.Tensor]) -> None:
        """Adds the sums of columns that the step has left in its buffers."""
        first_blocks = self._moved(np.concatenate([[0], np.cumsum(blocks)]))
        for name, out in self.out.items():
            self.kernels.sum_blocks(buffers[name], first_blocks, out)


def places_in_order(rows: int, start: int, group_of_block: torch.Tensor) -> Places:
    """Returns the places of blocks from ``start`` on of rows that are packed in order."""
    first = start * BLOCK_ROWS
    count = min(len(group_of_block) * BLOCK_ROWS, rows - first)
    return Places(source=None, first=first, count=count, group_of_block=group_of_block)


class _GroupRun(Run):
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
        self.x, self.source, self.transform = x, source, transform
        self.d = int(x.shape[1])
        self.features = str(self.d)
        super().__init__(kernels, x.device, blocks, route, kernels.tiles(x, route), (self.d, self.d), 0)
        if norm_sums:
            self._keep_norm_sums()

    def _pack(self, start: int, group_of_block: torch.Tensor, plane: int, buffers: dict[str, torch.Tensor]) -> None:
        padded, places = self.tiles.padded, self._places(start, group_of_block)
        self.kernels.pack(
            *(self.x, places, self.transform, self.route, padded, padded),
            *(buffers["planes"], plane, buffers["total"], buffers["squares"]),
        )
        if "fourth" in self.out:
            self._weigh(places, buffers)

    def _weigh(self, places: Places, buffers: dict[str, torch.Tensor]) -> None:
        padded = self.tiles.padded
        self.kernels.squared_norms(self.x, places, self.transform, padded, buffers["norms"])
        self.kernels.norm_sums(
            *(self.x, places, self.transform, padded, padded),
            *(buffers["norms"], buffers["norms"], buffers["weighted"], buffers["fourth"]),
        )

    def _places(self, start: int, group_of_block: torch.Tensor) -> Places:
        if self.source is None:
            return places_in_order(len(self.x), start, group_of_block)
        source, count = self.source[start * BLOCK_ROWS :], len(group_of_block) * BLOCK_ROWS
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


class _RowsRun(_GroupRun):
    """Of all rows in order, which are multiplied where they lie."""

    kernels: RowKernels

    def most_blocks(self) -> int:
        """Returns how many blocks of rows a step takes at most: there are no planes that grow with them."""
        most = max(1, PROGRAMS // self.tiles.count) * LONGEST_SEGMENT
        return min(most, super().most_blocks()) if "fourth" in self.out else most

    def workspace(self, step: int) -> dict[str, int]:
        """Returns the numbers of each buffer of a step of some blocks."""
        sums = SEGMENT_SUMS * most_segments(step, 1, self.tiles) * self.tiles.padded
        return super().workspace(step) | {"planes": 0, "total": sums, "squares": sums}

    def _pack(self, start: int, group_of_block: torch.Tensor, plane: int, buffers: dict[str, torch.Tensor]) -> None:
        if "fourth" in self.out:
            self._weigh(self._places(start, group_of_block), buffers)

    def _multiply(self, start: int, segments: Segments, plane: int, buffers: dict[str, torch.Tensor]) -> None:
        starts, sums = self._moved(segments.starts), (buffers["total"], buffers["squares"])
        self.kernels.gram_of_rows(self.x, start * BLOCK_ROWS, self.grid, starts, self.route, buffers["slab"], *sums)
        self.kernels.sum_segments(buffers["slab"], self.grid, self._moved(segments.of_group), self.gram)

    def _sum_columns(self, blocks: npt.NDArray[np.int64], segments: Segments, buffers: dict[str, torch.Tensor]) -> None:
        by_segment = self._moved(np.array([0, SEGMENT_SUMS * segments.count]))
        by_block = self._moved(np.concatenate([[0], np.cumsum(blocks)]))
        for name, out in self.out.items():
            firsts = by_segment if name in ("total", "squares") else by_block
            self.kernels.sum_blocks(buffers[name], firsts, out)
