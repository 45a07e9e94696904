"""Centred kernel alignment: the cosine between the similarity matrices of the rows in two representations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.similarity import cka_rbf
from featdiv.metrics.similarity.inputs import check_definition, resolve_pair
from featdiv.metrics.similarity.left_out import Estimate
from featdiv.metrics.similarity.pairs import ROUNDING, Pair, require_variance
from featdiv.metrics.similarity.rows import resolve_rows
from featdiv.results import Score
from featdiv.stats import arguments

DEFINITIONS = ("debiased", "biased", "rbf")
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
        trace: sum of k_i, the squared norms of centred rows.
        square: squared Frobenius norm of the scatter, or of the kernel.
        fourth: sum of k_i^2.
        error_bound: relative error of scatter or kernel.
    """

    name: str
    trace: float
    square: float
    fourth: float
    error_bound: float


def core(pair: Pair, *, definition: str = "debiased") -> float:
    """Returns the linear CKA of a pair; see `cka`."""
    x, other = (
        Side(
            name=side.name,
            trace=side.trace,
            square=side.square,
            fourth=side.fourth,
            error_bound=side.moments.error_bound,
        )
        for side in (pair.x, pair.other)
    )
    square = float(np.einsum("ij,ij->", pair.cross, pair.cross))
    return value(x, other, square=square, product=pair.product, n=pair.n, definition=definition)


def value(x: Side, other: Side, *, square: float, product: float, n: int, definition: str) -> float:
    """Returns the linear CKA of two sides.

    Args:
        x: one side.
        other: the other.
        square: squared Frobenius norm of the cross scatter, or inner product of the kernels.
        product: sum of k_i l_i.
        n: rows.
        definition: ``"debiased"`` or ``"biased"``.

    Raises:
        NotEnoughData: if there are too few rows, or those of a side are all the same, or all equally far apart.
    """
    for side in (x, other):
        require_variance(side.name, side.trace)
    if definition == "biased":
        # The product of the two would overflow, or vanish, at scales where each is in range.
        return min(1.0, square / math.sqrt(x.square) / math.sqrt(other.square))
    if n < LEAST_ROWS:
        raise NotEnoughData(
            f"debiased CKA needs at least {LEAST_ROWS} rows; got {n}. definition='biased' exists, but with so few "
            "rows it is near 1 for any two representations"
        )
    scale = math.sqrt(_self_hsic(x, n)) * math.sqrt(_self_hsic(other, n))
    return min(1.0, max(-1.0, hsic(square, x.trace, other.trace, product, n) / scale))


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


def details(pair: Pair, *, definition: str = "debiased") -> Mapping[str, Any]:
    """Returns what is shown beside the value: the biased one, and what noise would give."""
    beside = {"biased": core(pair, definition="biased")} if definition != "biased" else {}
    return {
        **beside,
        "biased_noise": noise(pair.n, pair.x.moments.d, pair.other.moments.d),
    }


def remarks(pair: Pair, *, definition: str = "debiased") -> tuple[str, ...]:
    """Returns what a reader of the biased number should know."""
    if definition != "biased":
        return ()
    expected = noise(pair.n, pair.x.moments.d, pair.other.moments.d)
    if core(pair, definition="biased") > 1.1 * expected:
        return ()
    return (
        f"biased CKA is at its floor: independent noise gives about {expected:.3g} at n={pair.n}, "
        f"d={pair.x.moments.d} and {pair.other.moments.d}; the debiased one is comparable over n",
    )


def cka(
    x: Any,
    other: Any = None,
    *,
    definition: str = "debiased",
    bandwidth: float = 1.0,
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
    seed: int = 0,
) -> Score:
    """Centred kernel alignment: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K = X X^T, L = Y Y^T.

    1 if the two arrange the rows alike, up to rotation and scale. The debiased form uses the U-statistic of HSIC, whose
    expectation is 0 for independent representations at any n and d; the biased one, which most papers print, tends to
    1 where features outnumber rows. Both come from one pass over the rows, and equal the formulas with n x n kernels.

    Args:
        x: rows (array, path, source), or `CrossMoments` of two models.
        other: the same rows in another representation; None with `CrossMoments`.
        definition: ``"debiased"``; ``"biased"``: |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F), centred; or ``"rbf"``: biased
            HSIC of kernels exp(-|x_i - x_j|^2 / (2 s^2)), which needs the rows and n^2 work.
        bandwidth: for ``"rbf"``: s, as a multiple of the median distance between rows.
        normalize: ``"l2"`` to divide each row by its norm first.
        precision: arithmetic of the products; None for float32, or float64 where there are few.
        backend: backend of the products.
        interval: None, ``"auto"`` (a 95 % jackknife interval where it costs less than a fifth of the pass) or
            ``"jackknife"`` (or an error that says why not); for rows, and not for ``"rbf"``.
        groups: (n,) group of each row (video, patient, document), in the order of x: the jackknife leaves whole groups
            out.
        seed: for ``"rbf"``: of the rows over which the median is taken, where they are more than 2,048.

    Returns:
        A `Score` between -1 and 1 (0 and 1 unless debiased). ``details`` hold the biased value beside the debiased one,
        and the biased value to expect of independent isotropic noise.

    Raises:
        NotEnoughData: with fewer than 4 rows for the debiased form, or if all rows of a side are the same.
        InputError: if the two do not hold the same rows.

    Complexity:
        n (d_x + d_y)^2 multiply-adds; memory O((d_x + d_y)^2). ``"rbf"``: n^2 (d_x + d_y), memory O(n (d_x + d_y)).

    Source:
        Kornblith et al. 2019, equations 3 and 4; Song et al. 2012, equation 5, and Nguyen et al. 2021 for debiasing.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(256, 2048)), rng.normal(size=(256, 2048))
        >>> score = featdiv.cka(x, y)
        >>> abs(score.value) < 0.02, round(score.details["biased"], 2)
        (True, 0.89)
    """
    check_definition("cka", definition, DEFINITIONS)
    arguments.check_seed("cka", seed)
    if definition == "rbf":
        cka_rbf.check_bandwidth(bandwidth)
        if interval is not None:
            raise InputError(
                "cka: interval: expected None with definition='rbf', whose kernels have no parts to leave out; got "
                f"{interval!r}"
            )
        rows = resolve_rows(x, other, function="cka", normalize=normalize)
        return rows.score(
            cka_rbf.prepare, cka_rbf.core, definition=definition, parameters={"bandwidth": bandwidth, "seed": seed}
        )
    estimate = ESTIMATES[definition]
    resolved = resolve_pair(
        x,
        other,
        function="cka",
        normalize=normalize,
        precision=precision,
        backend=backend,
        exact=False,
        interval=interval,
        groups=groups,
        estimate=estimate,
    )
    return resolved.score(core, definition=definition, details=details, remarks=remarks, estimate=estimate)
