"""Centred kernel alignment: the cosine between the similarity matrices of the rows in two representations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from featdiv import io
from featdiv.errors import InputError
from featdiv.io import Embeddings
from featdiv.io.caller import called_by
from featdiv.metrics import jackknife
from featdiv.metrics.similarity import cka_kernels, cka_linear, cka_rbf, left_out
from featdiv.metrics.similarity.cka_linear import ESTIMATES, Alignment, Side
from featdiv.metrics.similarity.inputs import (
    NAMES,
    make_score,
    named,
    provenance_of_sources,
    resolve_pair,
    two_sides,
)
from featdiv.metrics.similarity.pairs import Pair
from featdiv.metrics.similarity.rows import resolve_rows
from featdiv.results import Interval, Score
from featdiv.stats import CrossMoments, arguments, budget, cross_moments_align, cross_moments_read, partition

DEFINITIONS = ("debiased", "biased", "rbf")


def core(pair: Pair, *, definition: str = "debiased") -> float:
    """Returns the linear CKA of a pair; see `cka`."""
    return cka_linear.value(alignment(pair), definition=definition)


def alignment(pair: Pair) -> Alignment:
    """Returns what linear CKA takes of a pair, from the scatters of its features."""
    x, other = (
        Side(
            name=side.name,
            d=side.moments.d,
            trace=side.trace,
            square=side.square,
            fourth=side.fourth,
            error_bound=side.moments.error_bound,
        )
        for side in (pair.x, pair.other)
    )
    square = float(np.einsum("ij,ij->", pair.cross, pair.cross))
    return Alignment(n=pair.n, x=x, other=other, square=square, product=pair.product)


def details(pair: Pair, *, definition: str = "debiased") -> Mapping[str, Any]:
    """Returns what is shown beside the value."""
    return cka_linear.details(alignment(pair), definition=definition)


def remarks(pair: Pair, *, definition: str = "debiased") -> tuple[str, ...]:
    """Returns what a reader of the number should know."""
    return cka_linear.remarks(alignment(pair), definition=definition)


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
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs less than a fifth of the
            pass; ``"jackknife"`` for one, or an error that says why there is none. For rows, and not for ``"rbf"``.
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
        n (d_x + d_y)^2 multiply-adds; memory O((d_x + d_y)^2). Where there are so few rows that n x n kernels are less
        work, these are taken: n^2 (d_x + d_y), memory O(n (d_x + d_y) + n^2), with an interval at next to no price;
        ``provenance.method`` says which. ``"rbf"``: n^2 (d_x + d_y), memory O(n (d_x + d_y)).

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
    arguments.one_of("cka", "definition", definition, DEFINITIONS)
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
    given = {
        "normalize": normalize,
        "precision": precision,
        "backend": backend,
        "interval": interval,
        "groups": groups,
    }
    if isinstance(x, CrossMoments):
        return _of_moments(x, other, definition, **given)
    arguments.check("cka", normalize=normalize, precision=precision or "float32", backend=backend)
    jackknife.check("cka", interval)
    with cross_moments_read.opened(two_sides(x, other, "cka"), function="cka") as sources:
        # Whoever names the arithmetic or the backend means that of the scatters.
        free = precision in (None, "float64") and backend == "auto"
        if free and _kernels_are_cheaper(sources):
            found = _of_kernels(sources, definition, normalize=normalize, interval=interval, groups=groups)
            if found is not None:
                return found
        return _of_moments(sources["x"], sources["other"], definition, **given)


def _of_moments(x: Any, other: Any, definition: str, **given: Any) -> Score:
    estimate = ESTIMATES[definition]
    resolved = resolve_pair(x, other, function="cka", exact=False, estimate=estimate, **given)
    return resolved.score(core, definition=definition, details=details, remarks=remarks, estimate=estimate)


def _kernels_are_cheaper(sources: Mapping[str, Embeddings]) -> bool:
    sizes = {name: source.d for name, source in sources.items()}
    memory = budget.budget_bytes(None, function="cka")
    return cka_kernels.at_hand(sources) and cka_kernels.cheaper(sizes, sources["x"].n, memory=memory)


def _of_kernels(
    sources: Mapping[str, Embeddings], definition: str, *, normalize: str | None, interval: str | None, groups: Any
) -> Score | None:
    """Returns the score, or None where a row cannot be used, which the other route refuses in its words."""
    sources = dict(sources)
    order = cross_moments_align.orders(sources, function="cka")
    if groups is not None:
        with called_by("cka"):
            sources["x"] = io.open(sources["x"], groups=groups)
    grouped = cross_moments_align.groups_of(sources, function="cka")
    assert sources["x"].n is not None
    dealt = cka_kernels.parts(sources["x"].n, grouped, interval=interval, function="cka")
    kernels = cka_kernels.read(
        sources,
        order,
        dealt,
        groups=grouped,
        normalize=normalize,
        memory=budget.budget_bytes(None, function="cka"),
        function="cka",
    )
    if kernels is None:
        return None
    whole = kernels.sums()
    sums = kernels.alignment(whole, NAMES)
    intervals: dict[str, Interval] = {}
    with named("cka"):
        value = cka_linear.value(sums, definition=definition)
        notes = cka_linear.remarks(sums, definition=definition)
        beside = cka_linear.details(sums, definition=definition)
    reason = dealt.no_interval
    if not reason:
        found = left_out.interval(
            NAMES,
            value,
            kernels.without_each(whole, [NAMES], definition),
            n=kernels.n,
            sizes=kernels.sizes,
            estimate=ESTIMATES[definition],
        )
        if found is not None:
            intervals["cka"] = found
        elif interval == "jackknife":
            raise partition.refused("cka", jackknife.UNDEFINED)
        else:
            reason = jackknife.UNDEFINED
    if reason and interval is not None:
        notes = (*notes, f"no interval: {reason}")
    provenance = dataclasses.replace(
        provenance_of_sources(sources, "cka", normalize),
        method=cka_kernels.METHOD,
        precision="float64",
        error_bound=kernels.error_bound,
    )
    return make_score("cka", value, provenance, definition=definition, details=beside, notes=notes, intervals=intervals)
