"""How products are cut into tiles and rows into segments, and by how many terms: facts that can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from featdiv.ops._routes import route
from featdiv.ops._tiles import BLOCK_ROWS, Segments, Tiles, packed_sources


@pytest.mark.parametrize("d", [1, 63, 64, 65, 200, 257])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 64), (64, 128)])
def test_tiles_cover_the_upper_triangle_once(d, height, width):
    tiles = Tiles.upper(d, height, width)
    assert tiles.padded >= d
    assert tiles.padded % height == tiles.padded % width == 0
    covered = np.zeros((tiles.padded, tiles.padded), dtype=int)
    for row, column in zip(tiles.row, tiles.column, strict=True):
        covered[row : row + height, column : column + width] += 1
        assert column + width > row
    assert covered.max() == 1
    assert covered[:d, :d][np.triu_indices(d)].min() == 1


def test_segments_are_runs_of_one_group_in_order():
    segments = Segments.of(np.array([0, 5, 1, 0, 4]), longest=2)
    assert segments.starts.tolist() == [0, 2, 4, 5, 6, 8, 10]
    assert segments.of_group.tolist() == [0, 0, 3, 4, 4, 6]
    assert segments.group_of_block.tolist() == [1, 1, 1, 1, 1, 2, 4, 4, 4, 4]
    assert segments.count == 6


def test_blocks_hold_rows_of_one_group_and_then_filling():
    order = np.arange(100, 100 + 66)
    packed, blocks = packed_sources(order, np.array([1, 0, 65]))
    assert blocks.tolist() == [1, 0, 2]
    assert len(packed) == 3 * BLOCK_ROWS
    assert packed[0] == 100
    assert packed[BLOCK_ROWS : BLOCK_ROWS + 65].tolist() == list(range(101, 166))
    assert (np.delete(packed, [0, *range(BLOCK_ROWS, BLOCK_ROWS + 65)]) == -1).all()


@pytest.mark.parametrize(
    ("dtype", "precision", "transformed", "terms", "products", "element"),
    [
        ("float32", "float32", False, 3, 6, "bfloat16"),
        ("float32", "mixed", False, 2, 3, "bfloat16"),
        ("float32", "bfloat16", False, 1, 1, "bfloat16"),
        ("bfloat16", "float32", False, 1, 1, "bfloat16"),
        ("float16", "float32", False, 1, 1, "float16"),
        ("float16", "float32", True, 3, 6, "bfloat16"),
        ("uint8", "float32", True, 3, 6, "bfloat16"),
        ("float32", "float64", False, 1, 1, "float64"),
    ],
)
def test_routes(dtype, precision, transformed, terms, products, element):
    chosen = route(dtype, precision, transformed=transformed)
    assert (chosen.terms, chosen.products, chosen.element) == (terms, products, element)
