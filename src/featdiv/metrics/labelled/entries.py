"""The labelled metrics, as the catalogue lists them."""

from __future__ import annotations

import functools
import math

from featdiv.metrics.entry import Bounds, Definition
from featdiv.metrics.entry_forms import (
    ABOUT_THE_MEAN,
    CORRELATION_BOUNDS,
    DIRECTIONS,
    NOT_NEGATIVE,
    ROTATIONS,
    SHARE_BOUNDS,
    metric,
    only,
    zero,
)
from featdiv.metrics.labelled import sources

_SEPARATED = "higher is better separated"


def _two(n: int, d: int) -> float:
    return 2.0


_metric = functools.partial(metric, family="labelled")

METRICS = (
    _metric(
        "intra_class_distance",
        summary="The mean distance of two unit rows of the same class, then the mean over classes.",
        needs="labelled rows",
        definitions=(
            Definition(
                name="euclidean",
                formula="mean over classes of the mean over pairs of a class of |u_i - u_j|, u = x/|x|",
                source=sources.KORNBLITH_2021,
            ),
            Definition(
                name="squared",
                formula="mean_c 2 (1 - |mu_c|^2) n_c/(n_c - 1), mu_c the mean of the unit rows of class c",
                source=sources.KORNBLITH_2021,
            ),
        ),
        bounds=Bounds(text="0 <= value <= 2", lower=zero, upper=_two),
        direction="higher is more diverse within classes",
        unit="1 (a distance of unit vectors)",
        invariances=DIRECTIONS,
        parameters={"definition": "distances, or squared distances"},
        note="Kornblith et al. average cosine distances, half of the squared ones. Classes of one row are left out.",
    ),
    _metric(
        "class_separation",
        summary="The share of the mean cosine distance of all rows that is not within classes.",
        needs="unit class moments",
        definitions=(
            Definition(
                name="kornblith2021",
                formula="1 - mean_c(1 - |mu_c|^2) / (1 - |mean_c mu_c|^2), mu_c the mean of the unit rows of class c",
                source=sources.KORNBLITH_2021,
            ),
            Definition(
                name="pooled",
                formula="1 - (sum_c n_c^2 (1 - |mu_c|^2) / sum_c n_c^2) / (1 - |mu|^2), mu the mean of all unit rows",
                source=sources.KORNBLITH_2021,
            ),
        ),
        bounds=SHARE_BOUNDS,
        direction=_SEPARATED,
        unit="1 (a share)",
        invariances=DIRECTIONS,
        parameters={"definition": "the same weight for every class, or for every pair of rows"},
        note="Pairs of a row with itself are included, as published: few rows in a class raise the value. 'pooled' "
        "may be negative.",
    ),
    _metric(
        "neural_collapse",
        summary="How far classes have shrunk to points (NC1), evenly spread (NC2), nearest to their own mean (NC4).",
        needs="labelled rows",
        definitions=(
            Definition(
                name="balanced",
                formula="nc1 = Tr(S_W S_B^+)/c; nc2_equinorm = std_c |mu_c - mu| / mean_c |mu_c - mu|; nc2_equiangular "
                "= mean of abs(cos(mu_c - mu, mu_c' - mu) + 1/(c - 1)); nc4 = share of rows nearest to the mean of "
                "their class; mu the mean of class means, S_B their covariance, S_W that within classes",
                source=sources.PAPYAN_2020,
            ),
            Definition(
                name="weighted",
                formula="as balanced, with weight n_c/n for class c in mu and S_B",
                source=sources.PAPYAN_2020,
            ),
        ),
        bounds={
            "nc1": NOT_NEGATIVE,
            "nc2_equinorm": NOT_NEGATIVE,
            "nc2_equiangular": Bounds(text="0 <= value <= 1 + 1/(c - 1)", lower=zero, upper=_two),
            "nc4": SHARE_BOUNDS,
        },
        direction="lower nc1 and nc2, higher nc4: more collapsed",
        directions={
            "nc1": "lower is more collapsed",
            "nc2_equinorm": "lower is more collapsed",
            "nc2_equiangular": "lower is more collapsed",
            "nc4": "higher is more collapsed",
        },
        unit="1",
        invariances=ABOUT_THE_MEAN,
        parameters={
            "definition": "the same weight for every class, or for every row",
            "cutoff": "singular values of the centred class means up to this share of the largest count as zero",
        },
        note="Full collapse, class means on a simplex equiangular tight frame, has 0, 0, 0 and 1. The paper's nc4 "
        "takes the network's decisions for the labels.",
    ),
    _metric(
        "lidar",
        summary="The effective rank of the linear discriminants of surrogate classes: inputs and their views.",
        needs="class moments",
        definitions=only(
            "exp(-sum p_i ln p_i), p_i = lambda_i / sum(lambda) + 1e-7, lambda of (S_W + delta I)^-1/2 S_B "
            "(S_W + delta I)^-1/2, S_B the covariance of class means, S_W that within classes",
            sources.THILAK_2023,
        ),
        bounds=Bounds(
            text="1 <= value <= min(c - 1, d), each up to a share of d * 1e-7 * ln(1e7) for the constants",
            lower=lambda n, d: 1.0 - 1e-6,
            upper=lambda n, d: min(n - 1, d) * (1.0 + d * 1e-7 * math.log(1e7)),
        ),
        direction="higher is more diverse",
        unit="dimensions",
        invariances=(*ROTATIONS, "translation"),
        parameters={"delta": "added to the diagonal of S_W, 1e-4 as in the paper"},
        note="At most c - 1, so compare at an equal number of inputs and views; delta fixes the scale of the features.",
    ),
    _metric(
        "rate_reduction",
        summary="The nats for each row that knowing the class saves in a lossy code of the rows.",
        needs="class moments",
        definitions=only("R(X) - sum_c (n_c/n) R(X_c), R(X) = 1/2 ln det(I + d/(n eps^2) X^T X)", sources.YU_2020),
        bounds=NOT_NEGATIVE,
        direction="higher: diverse as a whole, compact within classes",
        unit="nats",
        invariances=ROTATIONS,
        parameters={
            "eps_squared": "squared distortion, in squared units of the rows",
            "memory": "budget for the second moments",
        },
        note="It grows with the scale of the rows; the paper divides rows by their norm (normalize='l2').",
    ),
    _metric(
        "silhouette",
        summary="How much nearer rows are to their own class than to the next one, on a stated sample.",
        needs="labelled rows",
        definitions=only(
            "mean of (b - a)/max(a, b), a the mean distance to the rows of the own class, b the least mean "
            "distance to those of another",
            sources.ROUSSEEUW_1987,
        ),
        bounds=CORRELATION_BOUNDS,
        direction=_SEPARATED,
        unit="1",
        invariances=ABOUT_THE_MEAN,
        parameters={"sample": "rows to draw, 10,000 by default", "seed": "of the draw"},
        jackknife="it compares all pairs of a sample of rows; there are no moments of parts to leave out",
        note="Computed by scikit-learn. A row that is alone in its class counts 0.",
    ),
    _metric(
        "calinski_harabasz",
        summary="The variance of class means relative to that within classes, each over its degrees of freedom.",
        needs="class moments",
        definitions=only(
            "(Tr B / (c - 1)) / (Tr W / (n - c)), B the scatter of class means, W that within classes",
            sources.CALINSKI_1974,
        ),
        bounds=NOT_NEGATIVE,
        direction=_SEPARATED,
        unit="1",
        invariances=ABOUT_THE_MEAN,
        jackknife="it grows with the number of rows, which leaving some out changes",
        note="Of all rows, from one pass. It grows with n where class means differ: compare at equal n.",
    ),
)
"""Every labelled metric, in the order in which they are shown."""
