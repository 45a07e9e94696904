"""The similarity metrics, as the catalogue lists them.

Invariances and contrasts are those of changing one side alone, except that the rows of both are reordered together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from featdiv.metrics.entry import Bounds, Definition, Metric
from featdiv.metrics.entry_forms import ABOUT_THE_MEAN, CORRELATION_BOUNDS, SHARE_BOUNDS, metric, one, only, zero
from featdiv.metrics.similarity import sources

_HIGHER = "higher is more alike"
_OTHER = {"other": "the same rows in another representation"}
_LINEAR = (*ABOUT_THE_MEAN, "feature scaling")


def _metric(name: str, *, parameters: Mapping[str, str] | None = None, **fields: Any) -> Metric:
    return metric(name, family="similarity", parameters=_OTHER | dict(parameters or {}), **fields)


METRICS = (
    _metric(
        "cka",
        summary="The cosine between the similarity matrices that two representations give the same rows.",
        needs="cross moments",
        definitions=(
            Definition(
                name="debiased",
                formula="HSIC1(K, L) / sqrt(HSIC1(K, K) HSIC1(L, L)), K = X X^T, L = Y Y^T, HSIC1 = [tr(K0 L0) + "
                "1'K0 1 1'L0 1 / ((n-1)(n-2)) - 2 1'K0 L0 1 / (n-2)] / (n (n-3)), K0 and L0 with zero diagonals",
                source=sources.SONG_2012,
            ),
            Definition(
                name="biased",
                formula="|Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F), X and Y centred",
                source=sources.KORNBLITH_2019,
                defect="tends to 1 where features outnumber rows: independent Gaussian rows give 0.89 at n = 256, "
                "d = 2048",
            ),
            Definition(
                name="rbf",
                formula="tr(K H L H) / sqrt(tr(K H K H) tr(L H L H)), H = I - 1/n, "
                "K_ij = exp(-|x_i - x_j|^2 / (2 s^2)), s the bandwidth times the median distance",
                source=sources.KORNBLITH_2019,
            ),
        ),
        sources=(sources.KORNBLITH_2019, sources.NGUYEN_2021),
        bounds=CORRELATION_BOUNDS,
        direction=_HIGHER,
        unit="1",
        invariances=ABOUT_THE_MEAN,
        parameters={
            "definition": "debiased, biased, or with Gaussian kernels",
            "bandwidth": "width of the Gaussian kernel, in median distances",
            "seed": "of the rows over which that median is taken, where they are many",
        },
        note="Independent representations give 0 if debiased; if biased, about sqrt(d d' / ((n + d) (n + d'))).",
    ),
    _metric(
        "cca",
        summary="The mean canonical correlation of two representations.",
        needs="cross moments",
        definitions=(
            Definition(
                name="mean",
                formula="mean of rho_i, the singular values of S_x^-1/2 S_xy S_y^-1/2, i = 1 … min(rank_x, rank_y)",
                source=sources.RAGHU_2017,
            ),
            Definition(name="mean_squared", formula="mean of rho_i^2", source=sources.KORNBLITH_2019),
        ),
        sources=(sources.HOTELLING_1936,),
        bounds=SHARE_BOUNDS,
        direction=_HIGHER,
        unit="1",
        invariances=_LINEAR,
        parameters={"definition": "mean of rho, or of its square"},
        note="Independent representations give a mean square of max(rank_x, rank_y)/(n - 1), not 0. Undefined where a "
        "side has n - 1 directions.",
    ),
    _metric(
        "svcca",
        summary="The mean canonical correlation of the components that hold most of the variance.",
        needs="cross moments",
        definitions=only(
            "cca of the leading principal components of each side that hold 99 % of its variance", sources.RAGHU_2017
        ),
        bounds=SHARE_BOUNDS,
        direction=_HIGHER,
        unit="1",
        invariances=ABOUT_THE_MEAN,
        parameters={"variance": "share of the variance to keep"},
        jackknife="the number of components that hold a share of the variance is a count, which jumps",
    ),
    _metric(
        "pwcca",
        summary="The mean canonical correlation, weighted by what each direction carries of the first side.",
        needs="cross moments",
        definitions=only(
            "sum alpha_i rho_i / sum alpha_i, alpha_i = sum_j abs(<h_i, x_j>), h_i the canonical variables of x",
            sources.MORCOS_2018,
        ),
        bounds=SHARE_BOUNDS,
        direction=_HIGHER,
        unit="1",
        invariances=("row permutation", "feature permutation", "translation", "isotropic scaling"),
        jackknife="its weights jump where canonical correlations are nearly equal, and errors come out far too wide",
        note="Not symmetric: the weights are those of x.",
    ),
    _metric(
        "procrustes",
        summary="The angle between two representations after the best rotation, translation and scaling.",
        needs="cross moments",
        definitions=(
            Definition(
                name="angular",
                formula="arccos(|Y^T X|_* / (|X|_F |Y|_F)), X and Y centred, |.|_* the sum of singular values",
                source=sources.WILLIAMS_2021,
            ),
            Definition(
                name="squared",
                formula="|X|_F^2 + |Y|_F^2 - 2 |Y^T X|_*, X and Y centred and scaled to |X|_F = |Y|_F = 1",
                source=sources.DING_2021,
            ),
        ),
        bounds=Bounds(text="0 <= value <= pi/2", lower=zero, upper=lambda n, d: math.pi / 2.0),
        direction="lower is more alike",
        unit="radians",
        invariances=ABOUT_THE_MEAN,
        parameters={"definition": "the angle, or the squared distance"},
        note="Angles below sqrt(2 eps) are rounding; eps is the error of the second moments.",
    ),
    _metric(
        "subspace_overlap",
        summary="The share of the leading principal directions that two feature spaces have in common.",
        needs="cross moments",
        definitions=only(
            "|U_k^T V_k|_F^2 / k, U_k and V_k the leading k principal directions", sources.KRZANOWSKI_1979
        ),
        bounds=SHARE_BOUNDS,
        direction=_HIGHER,
        unit="1",
        invariances=("row permutation", "translation", "isotropic scaling"),
        parameters={"k": "number of directions"},
        jackknife="directions of nearly equal variance change places from part to part",
        note="Both sides must have the same features. Independent directions give k/d.",
    ),
    _metric(
        "linear_predictivity",
        summary="The share of the variance of one representation that a ridge regression from the other predicts.",
        needs="parts of cross moments",
        definitions=only(
            "1 - |Y - f(X)|_F^2 / |Y - mean(Y)|_F^2 over rows left out of the fit, f ridge regression on the other "
            "four fifths of the rows, lambda by generalised cross-validation there",
            sources.YAMINS_2014,
        ),
        sources=(sources.HOERL_1970, sources.GOLUB_1979),
        bounds=Bounds(text="value <= 1", upper=one),
        direction=_HIGHER,
        unit="1",
        invariances=("feature permutation", "rotation", "translation", "isotropic scaling"),
        jackknife="folds share their training rows, so that nothing unbiased tells how far their mean may be off",
        note="Not symmetric: x predicts other. Reordering the rows changes which of them are left out together.",
    ),
    _metric(
        "rsa",
        summary="The correlation of the distances between rows in two representations.",
        needs="aligned rows",
        definitions=(
            Definition(
                name="spearman",
                formula="rank correlation over pairs i < j of dist(x_i, x_j) and dist(y_i, y_j), "
                "dist = 1 - correlation",
                source=sources.KRIEGESKORTE_2008,
            ),
            Definition(
                name="pearson",
                formula="correlation over pairs i < j of dist(x_i, x_j) and dist(y_i, y_j)",
                source=sources.KRIEGESKORTE_2008,
            ),
        ),
        bounds=CORRELATION_BOUNDS,
        direction=_HIGHER,
        unit="1",
        invariances=("row permutation", "feature permutation", "isotropic scaling", "row scaling"),
        parameters={
            "definition": "rank or plain correlation",
            "distance": "correlation, cosine or euclidean",
            "sample": "most rows to take",
            "seed": "which rows are taken",
        },
        jackknife="pairs of rows are not independent",
    ),
    _metric(
        "mutual_knn",
        summary="The mean share of nearest neighbours that rows have in common in two representations.",
        needs="aligned rows",
        definitions=only(
            "mean over i of |N_x(i) ∩ N_y(i)| / k, N(i) the k = 10 other rows of largest cosine with row i",
            sources.HUH_2024,
        ),
        bounds=SHARE_BOUNDS,
        direction=_HIGHER,
        unit="1",
        invariances=("row permutation", "feature permutation", "rotation", "isotropic scaling", "row scaling"),
        parameters={"k": "neighbours of each row"},
        jackknife="leaving rows out changes the neighbours of all others",
        note="Independent representations give k/(n - 1): compare only at equal n.",
    ),
)
"""Every similarity metric, in the order in which they are shown."""
