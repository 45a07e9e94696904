"""The geometric metrics, as the catalogue lists them."""

from __future__ import annotations

import functools

from featdiv.metrics.entry import Bounds, Definition
from featdiv.metrics.entry_forms import (
    ABOUT_THE_MEAN,
    CORRELATION_BOUNDS,
    DIRECTIONS,
    NEITHER,
    NOT_NEGATIVE,
    SHARE_BOUNDS,
    metric,
    one,
    only,
    zero,
)
from featdiv.metrics.geometric import sources

_metric = functools.partial(metric, family="geometric")

METRICS = (
    _metric(
        "uniformity",
        summary="The log of the mean Gaussian kernel of two directions: low where they cover the sphere evenly.",
        needs="rows",
        definitions=only("ln of the mean over pairs of exp(-t |u_i - u_j|^2), u = x/|x|, t = 2", sources.WANG_2020),
        bounds=Bounds(text="-4t <= value <= 0", lower=lambda n, d: -8.0, upper=zero),
        direction="lower is more diverse",
        unit="nats",
        invariances=DIRECTIONS,
        parameters={"t": "rate of the kernel", "sample": "rows to draw; all by default"},
        jackknife="it is a mean over pairs, for which blocks of rows are drawn again (block bootstrap)",
        note="Isotropic directions give about -2t whatever n is, a little more in few dimensions.",
    ),
    _metric(
        "alignment",
        summary="The mean squared distance of two views of the same input, as unit rows.",
        needs="aligned rows",
        definitions=only("mean of |u_i - v_i|^a over positive pairs, u = x/|x|, v = y/|y|, a = 2", sources.WANG_2020),
        bounds=Bounds(text="0 <= value <= 2^a", lower=zero, upper=lambda n, d: 4.0),
        direction="lower: views of an input agree more",
        unit="1 (a squared distance of unit vectors)",
        invariances=DIRECTIONS,
        parameters={
            "other": "the other views",
            "a": "power of the distance",
            "normalize": "'l2' as published, or None",
        },
    ),
    _metric(
        "pair_histogram",
        summary="The distribution of the cosine, or the distance, of two different rows.",
        needs="rows",
        definitions=only(
            "number of pairs i < j with cos(x_i, x_j) in each bin; quantiles linear within a bin",
            sources.ETHAYARAJH_2019,
        ),
        bounds=dict.fromkeys(("pair_p05", "pair_median", "pair_p95"), CORRELATION_BOUNDS),
        direction="lower cosines are more diverse",
        unit="1",
        invariances=DIRECTIONS,
        parameters={
            "measure": "'cosine' or 'distance'",
            "bins": "number of bins",
            "limits": "first and last edge",
            "sample": "rows to draw; all by default",
        },
        jackknife="it is a mean over pairs, for which blocks of rows are drawn again (block bootstrap)",
    ),
    _metric(
        "sparsity",
        summary="How few entries of a row, or rows of a unit, carry the activity.",
        needs="rows",
        definitions=only(
            "share of abs(u) < eps, u = x/|x|; mean of (sqrt(d) - |x|_1/|x|_2)/(sqrt(d) - 1); mean of (mean |x|)^2 / "
            "mean x^2 over the entries of a row, and over the rows of a unit",
            sources.HOYER_2004,
        ),
        sources=(sources.TREVES_1991,),
        bounds={
            "sparsity": SHARE_BOUNDS,
            "hoyer": SHARE_BOUNDS,
            "treves_rolls_per_sample": Bounds(text="1/d <= value <= 1", lower=lambda n, d: 1.0 / d, upper=one),
            "treves_rolls_per_unit": Bounds(text="1/n <= value <= 1", lower=lambda n, d: 1.0 / n, upper=one),
        },
        direction="higher sparsity and hoyer, lower Treves-Rolls: sparser",
        directions={
            "sparsity": "higher is sparser",
            "hoyer": "higher is sparser",
            "treves_rolls_per_sample": "lower is sparser",
            "treves_rolls_per_unit": "lower is sparser",
        },
        score_sources={
            "treves_rolls_per_sample": sources.TREVES_1991,
            "treves_rolls_per_unit": sources.TREVES_1991,
        },
        unit="1",
        invariances=("row permutation", "feature permutation", "isotropic scaling"),
        parameters={"eps": "magnitude below which an entry of a unit row counts as zero, 1e-3 by default"},
        note="Entries of unit rows have a root mean square of 1/sqrt(d): compare shares at equal d.",
    ),
    _metric(
        "near_duplicates",
        summary="Pairs of rows with a cosine of tau or more, and the share of rows that have such a partner.",
        needs="rows",
        definitions=only("number of pairs i < j with cos(x_i, x_j) >= tau, tau = 0.95", sources.ABBAS_2023),
        bounds={
            "near_duplicate_pairs": Bounds(
                text="0 <= value <= n (n - 1)/2", lower=zero, upper=lambda n, d: n * (n - 1) / 2.0
            ),
            "near_duplicate_rows": SHARE_BOUNDS,
            "nearest_cosine": CORRELATION_BOUNDS,
        },
        direction="lower is more diverse",
        unit="pairs; 1 (a share); 1",
        invariances=DIRECTIONS,
        parameters={
            "tau": "cosine from which two rows count",
            "examples": "pairs to list",
            "sample": "rows to draw; all by default",
        },
        jackknife="it holds a count of rare pairs and a maximum, for which resampling fails",
    ),
    _metric(
        "intrinsic_dimension",
        summary="The dimension of the sheet that rows lie on locally, from distances to neighbours.",
        needs="rows",
        definitions=(
            Definition(
                name="twonn",
                formula="slope through the origin of -ln(1 - F) on ln(T_2/T_1), F = i/n, without the largest tenth",
                source=sources.FACCO_2017,
            ),
            Definition(
                name="mle",
                formula="mean over k of 1 / mean over rows of 1/(k - 1) sum_(j < k) ln(T_k/T_j), k = 10 to 20",
                source=sources.LEVINA_2005,
            ),
        ),
        sources=(sources.MACKAY_2005,),
        bounds=NOT_NEGATIVE,
        direction=NEITHER,
        unit="dimensions",
        invariances=ABOUT_THE_MEAN,
        parameters={
            "definition": "two neighbours, or a range of them",
            "discard": "for twonn: share of the largest ratios to leave out",
            "k": "for mle: number of neighbours, or first and last of a range",
            "neighbours": "Euclidean neighbours made elsewhere",
            "sample": "rows to draw; all by default",
        },
        note="High dimensions are underestimated: rows that fill d dimensions grow as exp(d). Compare at equal n.",
    ),
)
"""Every geometric metric, in the order in which they are shown."""
