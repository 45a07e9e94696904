"""Catalogue entries of the scores of unit rows, of single dimensions, and of two sets of rows."""

from __future__ import annotations

from featdiv.metrics.entry import Bounds, Definition
from featdiv.metrics.entry_forms import ROTATIONS, SHARE_BOUNDS, one, only, zero
from featdiv.metrics.spectral import sources
from featdiv.metrics.spectral.entry_forms import COSINES, DIMENSION_BOUNDS, HIGHER, LOWER, metric

METRICS = (
    metric(
        "vendi",
        summary="The effective number of different rows under a similarity, the cosine by default.",
        needs="unit eigenvalues",
        definitions=only(
            "exp(ln(sum lambda_i^q) / (1 - q)), lambda the eigenvalues of K/n, K_ij = cos(x_i, x_j); "
            "exp(-sum lambda ln lambda) for q = 1, 1/lambda_1 for q = inf",
            sources.FRIEDMAN_2023,
        ),
        sources=(sources.PASARKAR_2023,),
        bounds=DIMENSION_BOUNDS,
        direction=HIGHER,
        unit="rows",
        invariances=COSINES,
        parameters={
            "q": "order, in (0, inf]; low orders count rare kinds of rows",
            "kernel": "'cosine', or a function that returns the similarities of rows",
            "sample": "for such a function, how many rows to draw",
        },
    ),
    metric(
        "mean_cosine",
        summary="The mean cosine of two different rows.",
        needs="unit moments",
        definitions=only(
            "mean of cos(x_i, x_j) over pairs = (|sum u|^2 - n) / (n (n - 1)), u = x/|x|",
            sources.ETHAYARAJH_2019,
        ),
        bounds=Bounds(text="-1/(n - 1) <= value <= 1", lower=lambda n, d: -1.0 / (n - 1), upper=one),
        direction=LOWER,
        unit="1",
        invariances=COSINES,
    ),
    metric(
        "mean_squared_cosine",
        summary="The mean squared cosine of two different rows.",
        needs="unit moments",
        definitions=only(
            "mean of cos(x_i, x_j)^2 over pairs = (|U^T U|_F^2 - n) / (n (n - 1)), U the unit rows",
            sources.BENEDETTO_2003,
        ),
        sources=(sources.WELCH_1974,),
        bounds=Bounds(
            text="max(0, (n/d - 1)/(n - 1)) <= value <= 1",
            lower=lambda n, d: max(0.0, (n / d - 1.0) / (n - 1.0)),
            upper=one,
        ),
        direction=LOWER,
        unit="1",
        invariances=COSINES,
    ),
    metric(
        "redundancy",
        summary="The mean absolute correlation of two different feature dimensions.",
        needs="moments",
        definitions=(
            Definition(
                name="absolute",
                formula="mean of abs(rho_ij) over i != j, rho the Pearson correlation of live dimensions",
                source=sources.WANG_2022,
            ),
            Definition(
                name="squared",
                formula="mean of rho_ij^2 over i != j, rho the Pearson correlation of live dimensions",
                source=sources.WANG_2022,
            ),
        ),
        bounds=SHARE_BOUNDS,
        direction=LOWER,
        unit="1",
        invariances=(
            "row permutation",
            "feature permutation",
            "translation",
            "isotropic scaling",
            "feature scaling",
        ),
        parameters={"definition": "absolute or squared correlations"},
        note="Independent features give about sqrt(2/(pi n)), not 0. Dimensions without variance are left out.",
    ),
    metric(
        "dimension_usage",
        summary="How the variance is spread over the feature dimensions: dead ones, inequality, largest share.",
        needs="moments",
        definitions=only(
            "number of v_i = 0; sum_i (2i - d - 1) v_i / (d sum(v)), v ascending; max(v) / sum(v); v the variances of "
            "the dimensions",
            sources.HURLEY_2009,
        ),
        bounds={
            "dead_dimensions": Bounds(text="0 <= value <= d", lower=zero, upper=lambda n, d: float(d)),
            "variance_gini": Bounds(text="0 <= value <= 1 - 1/d", lower=zero, upper=lambda n, d: 1.0 - 1.0 / d),
            "largest_variance_share": Bounds(text="1/d <= value <= 1", lower=lambda n, d: 1.0 / d, upper=one),
        },
        direction=LOWER,
        unit="dimensions; 1; 1 (a share)",
        invariances=("row permutation", "feature permutation", "translation", "isotropic scaling"),
        jackknife="it holds a count and a maximum, for which the jackknife fails",
    ),
    metric(
        "frechet_distance",
        summary="The squared Wasserstein distance of two Gaussians with the moments of two sets of rows.",
        needs="two moments",
        definitions=only("|mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2)", sources.HEUSEL_2017),
        sources=(sources.DOWSON_1982,),
        bounds=Bounds(text="0 <= value", lower=zero),
        direction="lower is more alike",
        unit="squared units of the features",
        invariances=(*ROTATIONS, "translation"),
        parameters={"other": "the second set of rows"},
        note="Biased upwards by a term of order d^2/n: compare only at equal n.",
    ),
)
"""Scores of unit rows, of single dimensions, and of two sets of rows."""
