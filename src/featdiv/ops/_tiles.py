"""How a product of grouped rows is cut into tiles and segments: plain integers, the same for every device.

The rows of each group are packed one after the other into blocks of `BLOCK_ROWS`, the last of a group filled up with
zeros, so that no block holds rows of two groups. A *segment* is a run of blocks of one group whose products one
program sums; segments of a group are added in their order, so that nothing depends on which program ends first.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]

BLOCK_ROWS = 64
"""Rows whose products tensor cores sum before a rounded addition takes over."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiles:
    """The tiles of a product of packed features with packed features.

    Attributes:
        height: rows of a tile.
        width: columns of a tile.
        padded: packed features, a multiple of both.
        row: (tiles,) int32 packed feature of the first row of each tile.
        column: (tiles,) int32 packed feature of the first column of each tile.
    """

    height: int
    width: int
    padded: int
    row: Int32Array
    column: Int32Array

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.row)

    @classmethod
    def upper(cls, d: int, height: int, width: int) -> Tiles:
        """Returns the tiles that meet the upper triangle of a d x d matrix, row of tiles after row of tiles."""
        row, column = _corners(d, d, height, width)
        above = column + width > row
        padded = padded_to(d, height, width)
        return cls(height=height, width=width, padded=padded, row=row[above], column=column[above])

    @classmethod
    def across(cls, p: int, q: int, height: int, width: int) -> Tiles:
        """Returns the tiles of a p x q matrix; the q features are packed behind the p, from `padded_to` (p) on."""
        row, column = _corners(p, q, height, width)
        first, second = padded_to(p, height, width), padded_to(q, height, width)
        return cls(height=height, width=width, padded=first + second, row=row, column=column + np.int32(first))

    def on_diagonal(self) -> tuple[Tiles, Int64Array]:
        """Returns the tiles that meet the diagonal of the packed features, and where in them each of its entries is."""
        row, column = _corners(self.padded, self.padded, self.height, self.width)
        meets = (column < row + self.height) & (row < column + self.width)
        tiles = dataclasses.replace(self, row=row[meets], column=column[meets])
        corner = np.zeros((self.padded // self.height, self.padded // self.width), dtype=np.int64)
        corner[tiles.row // self.height, tiles.column // self.width] = np.arange(tiles.count)
        feature = np.arange(self.padded)
        tile = corner[feature // self.height, feature // self.width]
        return tiles, (tile * self.height + feature % self.height) * self.width + feature % self.width


def padded_to(d: int, height: int, width: int) -> int:
    """Returns d rounded up to a multiple of both."""
    step = int(np.lcm(height, width))
    return -(-d // step) * step


def _corners(rows: int, columns: int, height: int, width: int) -> tuple[Int32Array, Int32Array]:
    row, column = (
        axis.ravel().astype(np.int32)
        for axis in np.meshgrid(np.arange(0, rows, height), np.arange(0, columns, width), indexing="ij")
    )
    return row, column


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segments:
    """Packed blocks dealt out to programs.

    Attributes:
        group_of_block: (blocks,) int32.
        starts: (segments + 1,) int64 first block of each segment.
        of_group: (groups + 1,) int64 first segment of each group; equal neighbours for a group without rows.
    """

    group_of_block: Int32Array
    starts: Int64Array
    of_group: Int64Array

    @property
    def count(self) -> int:
        """Number of segments."""
        return len(self.starts) - 1

    @classmethod
    def of(cls, blocks: Int64Array, longest: int) -> Segments:
        """Returns segments of at most ``longest`` blocks.

        Args:
            blocks: (groups,) blocks of each group.
            longest: at least 1.
        """
        pieces = -(-blocks // longest)
        of_group = np.concatenate([[0], np.cumsum(pieces)]).astype(np.int64)
        first = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
        group = np.repeat(np.arange(len(blocks)), pieces)
        place = np.arange(int(of_group[-1])) - of_group[group]
        starts = np.append(first[group] + place * longest, first[-1]).astype(np.int64)
        return cls(
            group_of_block=np.repeat(np.arange(len(blocks), dtype=np.int32), blocks), starts=starts, of_group=of_group
        )


def packed_sources(
    order: Int64Array, counts: Int64Array, block_rows: int = BLOCK_ROWS
) -> tuple[Int64Array, Int64Array]:
    """Returns (source row of each packed row, -1 where there is none; blocks of each group).

    Args:
        order: row numbers, group after group.
        counts: (groups,) rows of each group.
        block_rows: rows of a block.
    """
    blocks = -(-counts // block_rows)
    packed = np.full(int(blocks.sum()) * block_rows, -1, dtype=np.int64)
    first_row = np.concatenate([[0], np.cumsum(counts)])[:-1]
    first_place = (np.concatenate([[0], np.cumsum(blocks)])[:-1]) * block_rows
    packed[np.repeat(first_place - first_row, counts) + np.arange(len(order))] = order
    return packed, blocks.astype(np.int64)
