"""How rows reach tensor cores: as how many terms of which type, and by how many products; the same on every GPU."""

from __future__ import annotations

import dataclasses

EXACT_IN_BFLOAT16 = ("bfloat16", "int8", "uint8", "bool")
"""Types whose values bfloat16 holds, so that one product of them is exact."""

FITS_FLOAT32 = (*EXACT_IN_BFLOAT16, "float16", "int16", "uint16", "float32")
"""Types whose values float32 holds."""

LEAST_MEAN_SQUARE, LARGEST_SQUARE_SUM = 2.0**-80, 2.0**120
"""Between these, no term of a split underflows where it counts, and no sum of products overflows float32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Route:
    """How rows are multiplied.

    Attributes:
        element: type of the terms: ``"bfloat16"``, ``"float16"`` or ``"float64"``.
        terms: terms that stand for one number.
        products: products of terms that stand for one product: all pairs (s, t) with s + t < terms.
        wide: whether rows are transformed and split in float64 (else in float32, which holds them).
    """

    element: str
    terms: int
    products: int
    wide: bool


def route(dtype: str, precision: str, *, transformed: bool) -> Route:
    """Returns the cheapest way that keeps the bound of a precision.

    One term of bfloat16 holds 8 bits, so three terms hold a float32. Of their nine products the three smallest are
    below the rounding of float32, and are left out; of the four of two terms, the smallest.

    Args:
        dtype: element type of the rows.
        precision: key of `featdiv.ops.scatter.PRECISIONS`.
        transformed: whether rows are shifted, scaled or normalised first.
    """
    wide = transformed or dtype not in FITS_FLOAT32
    if precision == "float64":
        return Route(element="float64", terms=1, products=1, wide=True)
    if not transformed and dtype in EXACT_IN_BFLOAT16:
        return Route(element="bfloat16", terms=1, products=1, wide=False)
    if not transformed and dtype == "float16":
        return Route(element="float16", terms=1, products=1, wide=False)
    terms = {"float32": 3, "mixed": 2, "bfloat16": 1}[precision]
    return Route(element="bfloat16", terms=terms, products=terms * (terms + 1) // 2, wide=wide)
