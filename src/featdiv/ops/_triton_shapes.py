"""The shapes in which Triton kernels are launched: one table, of which every entry is compiled by the tests.

An entry is there because it compiles without spilling registers and fits into shared memory. Which of the pipelines
of an entry is fastest is timed on the device at first use.
"""

from __future__ import annotations

import dataclasses
import functools

from featdiv.ops._routes import Route


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """How products are tiled.

    Attributes:
        height: rows of a tile.
        width: columns of a tile.
        chain: products that the tensor cores sum before a rounded addition takes over.
        pipelines: (warps, stages) to choose from; the choice changes no number.
    """

    height: int
    width: int
    chain: int
    pipelines: tuple[tuple[int, int], ...]


GRAM_SHAPES: dict[tuple[int, str, int], tuple[Shape, Shape]] = {
    (8, "bfloat16", 6): (
        Shape(height=64, width=64, chain=32, pipelines=((8, 3), (4, 2))),
        Shape(height=64, width=128, chain=32, pipelines=((8, 3),)),
    ),
    (8, "bfloat16", 3): (
        Shape(height=64, width=64, chain=32, pipelines=((8, 3), (4, 2))),
        Shape(height=128, width=64, chain=64, pipelines=((8, 2),)),
    ),
    (8, "bfloat16", 1): (
        Shape(height=64, width=64, chain=64, pipelines=((8, 3), (8, 4))),
        Shape(height=128, width=64, chain=64, pipelines=((8, 3), (8, 4))),
    ),
    (8, "float64", 1): (
        Shape(height=64, width=64, chain=64, pipelines=((8, 2), (8, 3))),
        Shape(height=64, width=64, chain=64, pipelines=((8, 2), (8, 3))),
    ),
    (9, "bfloat16", 6): (
        Shape(height=64, width=64, chain=64, pipelines=((4, 2), (4, 3))),
        Shape(height=128, width=64, chain=64, pipelines=((8, 2),)),
    ),
    (9, "bfloat16", 3): (
        Shape(height=64, width=64, chain=64, pipelines=((4, 2), (4, 3))),
        Shape(height=128, width=64, chain=64, pipelines=((8, 2), (8, 3))),
    ),
    (9, "bfloat16", 1): (
        Shape(height=64, width=64, chain=64, pipelines=((4, 3), (4, 4))),
        Shape(height=128, width=64, chain=64, pipelines=((8, 3), (8, 4))),
    ),
    (9, "float64", 1): (
        Shape(height=64, width=64, chain=64, pipelines=((8, 2), (8, 3))),
        Shape(height=64, width=64, chain=64, pipelines=((8, 2), (8, 3))),
    ),
}
"""(compute capability from which on, type of the terms, products) to shapes for few and for many features."""

PAIR_SHAPES: dict[tuple[int, str], Shape] = {
    (8, "bfloat16"): Shape(height=64, width=64, chain=32, pipelines=((8, 2),)),
    (8, "float64"): Shape(height=32, width=32, chain=32, pipelines=((4, 2),)),
    (9, "bfloat16"): Shape(height=64, width=64, chain=64, pipelines=((8, 2),)),
    (9, "float64"): Shape(height=32, width=32, chain=32, pipelines=((4, 2),)),
}
"""(compute capability from which on, type of the terms) to the shape of products of pairs, summed along features."""

FEW_FEATURES = 64


def gram_shape(d: int, route: Route, capability: int) -> Shape:
    """Returns the shape for d features.

    Args:
        d: features.
        route: how rows are multiplied; float16 takes the shapes of bfloat16.
        capability: major compute capability of the device.
    """
    element = "bfloat16" if route.element == "float16" else route.element
    few, many = GRAM_SHAPES[9 if capability >= 9 else 8, element, route.products]
    return few if d <= FEW_FEATURES else many


def pair_shape(element: str, capability: int) -> Shape:
    """Returns the shape of products of pairs of rows; arguments as those of `gram_shape`."""
    return PAIR_SHAPES[9 if capability >= 9 else 8, element]


@functools.cache
def major_capability(index: int | None) -> int:
    """Returns the major compute capability of a CUDA device; for the interpreter (None), that of the newest shapes."""
    if index is None:
        return 9
    import torch

    return int(torch.cuda.get_device_capability(index)[0])
