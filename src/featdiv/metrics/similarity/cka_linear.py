"""The formula of linear CKA, from sums that can be had from scatters of the features or from kernels of the rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from featdiv.errors import NotEnoughData
from featdiv.metrics.similarity.left_out import Estimate
from featdiv.metrics.similarity.pairs import ROUNDING, require_variance

LEAST_ROWS = 4

ESTIMATES = {
    "debiased": Estimate(low=-1.0, biased=False, decomposed=False),
    "biased": Estimate(low=-1.0, decomposed=False),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """What linear CKA takes of one side, from its scatter or from its kernel.

    Attributes:
        name: of the model.
        d: features.
        trace: sum of k_i, the squared norms of centred rows.
        square: squared Frobenius norm of the scatter, or of the kernel.
        fourth: sum of k_i^2.
        error_bound: relative error of scatter or kernel.
    """

    name: str
    d: int
    trace: float
    square: float
    fourth: float
    error_bound: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alignment:
    """What linear CKA takes of two sides.

    Attributes:
        n: rows.
        x: one side.
        other: the other.
        square: squared Frobenius norm of the cross scatter, or inner product of the kernels.
        product: sum of k_i l_i.
    """

    n: int
    x: Side
    other: Side
    square: float
    product: float


def value(sums: Alignment, *, definition: str) -> float:
    """Returns the linear CKA, ``"debiased"`` or ``"biased"``.

    Raises:
        NotEnoughData: if there are too few rows, or those of a side are all the same, or all equally far apart.
    """
    for side in (sums.x, sums.other):
        require_variance(side.name, side.trace)
    if definition == "biased":
        # The product of the two would overflow, or vanish, at scales where each is in range.
        return min(1.0, sums.square / math.sqrt(sums.x.square) / math.sqrt(sums.other.square))
    if sums.n < LEAST_ROWS:
        raise NotEnoughData(
            f"debiased CKA needs at least {LEAST_ROWS} rows; got {sums.n}. definition='biased' exists, but with so few "
            "rows it is near 1 for any two representations"
        )
    scale = math.sqrt(_self_hsic(sums.x, sums.n)) * math.sqrt(_self_hsic(sums.other, sums.n))
    found = hsic(sums.square, sums.x.trace, sums.other.trace, sums.product, sums.n)
    return min(1.0, max(-1.0, found / scale))


def hsic(square: float, trace: float, other_trace: float, product: float, n: int) -> float:
    """Returns the unbiased estimate of the Hilbert-Schmidt independence criterion of two linear kernels.

    With K and L the kernels of rows about their means, their diagonals k and l set to zero, the rows of K sum to
    -k_i: so 1'K1 = -sum k, 1'KL1 = sum k l, tr KL = |C|^2 - sum k l, and no n x n matrix is needed.

    Args:
        square: squared Frobenius norm of the cross scatter C.
        trace: sum of k_i, the squared norms of centred rows.
        other_trace: sum of l_i.
        product: sum of k_i l_i.
        n: rows, at least 4.

    Source:
        Song et al. 2012, equation 5.
    """
    inner = square - product + trace * other_trace / ((n - 1) * (n - 2)) - 2.0 * product / (n - 2)
    return inner / (n * (n - 3))


def _self_hsic(side: Side, n: int) -> float:
    found = hsic(side.square, side.trace, side.trace, side.fourth, n)
    terms = side.square + side.fourth + side.trace**2 / ((n - 1) * (n - 2))
    if found * n * (n - 3) <= 8.0 * max(ROUNDING, side.error_bound) * terms:
        raise NotEnoughData(
            f"the rows of {side.name} are all equally far from one another, which leaves nothing to compare; "
            "more rows would"
        )
    return found


def noise(n: int, d: int, other_d: int) -> float:
    """Returns the biased CKA to expect of two independent isotropic representations with n rows.

    The ratio of expectations for Gaussian rows: E |C|^2 = (n - 1) d d', E |S|^2 = (n - 1) d (n + d).
    """
    return math.sqrt(d * other_d / ((n + d) * (n + other_d)))


def details(sums: Alignment, *, definition: str) -> Mapping[str, Any]:
    """Returns what is shown beside the value: the biased one, and what noise would give."""
    beside = {"biased": value(sums, definition="biased")} if definition != "biased" else {}
    return {**beside, "biased_noise": noise(sums.n, sums.x.d, sums.other.d)}


def remarks(sums: Alignment, *, definition: str) -> tuple[str, ...]:
    """Returns what a reader of the biased number should know."""
    if definition != "biased":
        return ()
    expected = noise(sums.n, sums.x.d, sums.other.d)
    if value(sums, definition="biased") > 1.1 * expected:
        return ()
    return (
        f"biased CKA is at its floor: independent noise gives about {expected:.3g} at n={sums.n}, "
        f"d={sums.x.d} and {sums.other.d}; the debiased one is comparable over n",
    )
