"""Uniformity: how evenly directions are spread over the sphere."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.io.progress import Progress, check_progress
from featdiv.metrics.geometric import pairs
from featdiv.metrics.geometric.rows import Rows, read
from featdiv.results import Interval, Score
from featdiv.stats import arguments
from featdiv.stats.resampling import Float64Array


def core(x: Float64Array, *, t: float = 2.0) -> float:
    """Returns the uniformity of rows in memory."""
    rows = read(x, function="uniformity")
    return _value(pairs.reduce(rows, interval=None, **task(rows, t, "float64", "auto")))


ROUNDED_ROWS = 1 << 14
"""Rows from which on rounding them to 16 bits changes the score at t = 2 by less than 1e-6, one standard deviation."""

ROUNDED_RATE = 8.0
"""Largest t for that: at larger ones a few pairs of copies may make up the sum, and errors of few do not cancel."""


def task(rows: Rows, t: float, precision: str, backend: str) -> dict[str, Any]:
    """Returns the arguments of the pair op."""
    return {"rates": (t,), "precision": precision_for(rows.n, t, precision), "backend": backend}


def precision_for(n: int, t: float, precision: str) -> str:
    """Returns the precision of the products where it is ``"auto"``: the error of rounding goes with t / sqrt(n)."""
    if precision != "auto":
        return precision
    return "mixed" if t <= ROUNDED_RATE and n >= ROUNDED_ROWS * (t / 2.0) ** 2 else "float32"


def _value(found: pairs.Pairs, place: int = 0) -> float:
    mean = float(found.total.exp_sums[place]) / found.total.pairs
    if mean <= 0.0:
        raise NotEnoughData(
            "uniformity: every term exp(-t |x - y|^2) is smaller than float64 can hold; use a smaller t"
        )
    return min(0.0, math.log(mean))


def interval_of(found: pairs.Pairs, place: int = 0) -> Interval | None:
    """Returns the interval of the uniformity from the sums by blocks."""
    sums = None if found.exp_sums is None else found.exp_sums[:, :, place]
    return found.interval(sums, lambda totals, counts: np.log(totals / counts))


def of_pairs(rows: Rows, found: pairs.Pairs, *, t: float) -> Score:
    """Returns the score of a pass over pairs whose first rate is t."""
    interval = interval_of(found)
    note = (f"no interval: {found.no_interval}",) if found.no_interval else ()
    d = rows.provenance.d or 1
    return Score(
        name="uniformity",
        scores={"uniformity": _value(found)},
        intervals={"uniformity": interval} if interval else {},
        details={"pairs": found.total.pairs, "noise": noise(d, t=t)}
        | ({"sample": rows.sampled} if rows.sampled is not None else {}),
        provenance=dataclasses.replace(
            rows.provenance,
            arguments={"t": t, "sample": rows.sampled},
            method="all pairs" if rows.sampled is None else "all pairs of a sample",
            precision=found.total.precision,
            backends={"pair_sums": found.total.backend},
            notes=(*rows.provenance.notes, *note),
        ),
    )


def noise(d: int, *, t: float = 2.0) -> float:
    """Returns the uniformity of isotropic directions: ln(exp(-2t) 0F1(; d/2; t^2)), for any number of rows."""
    from scipy.special import hyp0f1

    return float(-2.0 * t + np.log(hyp0f1(d / 2.0, t * t)))


def check_rate(t: Any) -> float:
    """Returns t; raises InputError unless it is positive and finite."""
    return arguments.number("uniformity", "t", t, "a positive finite number", lambda rate: 0.0 < rate < math.inf)


def uniformity(
    x: Any,
    *,
    t: float = 2.0,
    groups: Any = None,
    interval: str | None = None,
    sample: int | None = None,
    precision: str = "auto",
    backend: str = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Score:
    """Uniformity: ln of the mean of exp(-t |u_i - u_j|^2) over pairs i < j, u = x/|x|.

    The potential energy of the directions under a Gaussian kernel: the lower, the more evenly they cover the
    sphere. Exact for all n (n - 1)/2 pairs, which are never stored. Isotropic directions give
    ln(exp(-2t) 0F1(; d/2; t^2)), about -2t for large d, at any n (in ``details["noise"]``).

    Args:
        x: rows (array, path, source).
        t: rate of the kernel, 2 as published.
        groups: (n,) group ids (video, patient, document): the bootstrap draws whole groups.
        interval: None, ``"bootstrap"`` (95 % block bootstrap: contiguous blocks of rows, or the groups) or
            ``"auto"`` (the same where there are rows enough).
        sample: how many rows to draw; None for all. The result then says "sample".
        precision: ``"float32"`` or ``"float64"`` products, ``"mixed"`` (of rows rounded at random, where the backend
            has them: to 16 bits, at most 6.2e-5 t / sqrt(n) off, one standard deviation, mostly a hundredth of that,
            unless a few copies make up the sum; small principal components to 8 bits, where a sample of the rows
            predicts that the score is off by 2.5e-7 at most, likewise), or ``"auto"``: mixed from 16,384 (t / 2)^2
            rows on, up to t = 8, else float32.
        backend: backend of the pair sums.
        memory: budget for the rows, in bytes or as text; None for a quarter of the RAM.
        seed: of the sample and of the bootstrap.
        progress: called with (rows done, rows in all) while rows are compared.

    Returns:
        A `Score` between -4t and 0.

    Raises:
        NotEnoughData: if there are fewer than two rows.
        ZeroNormError: if a row is zero.
        InputError: if ``x`` does not hold rows, or an argument is out of range.
        BudgetExceeded: if the rows do not fit the budget.

    Complexity:
        n^2 d / 2 multiply-adds. Nothing of size n x n; rows of a file are read where they lie.

    Source:
        Wang & Isola 2020, equation 2.

    Example:
        >>> import featdiv, numpy as np
        >>> round(float(featdiv.uniformity(np.array([[3.0, 0.0], [-1.0, 0.0]]))), 6)  # antipodes: -4t
        -8.0
    """
    check_progress(progress, function="uniformity")
    t = check_rate(t)
    pairs.check_interval("uniformity", interval)
    rows = read(x, function="uniformity", groups=groups, sample=sample, seed=seed, memory=memory)
    found = pairs.reduce(rows, interval=interval, seed=seed, progress=progress, **task(rows, t, precision, backend))
    return of_pairs(rows, found, t=t)
