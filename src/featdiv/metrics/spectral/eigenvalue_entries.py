"""Catalogue entries of the scores of a spectrum: formula, source, range, invariances, how to read them."""

from __future__ import annotations

import math

from featdiv.metrics.entry import Bounds, Definition
from featdiv.metrics.entry_forms import ABOUT_THE_MEAN, NEITHER, ROTATIONS, SHARE_BOUNDS, one, only, zero
from featdiv.metrics.spectral import sources
from featdiv.metrics.spectral.entry_forms import (
    ABOUT_ZERO,
    COUNT,
    DIMENSION_BOUNDS,
    DIMENSIONS,
    HIGHER,
    LARGEST,
    LOWER,
    metric,
    rank,
)

METRICS = (
    metric(
        "effective_rank",
        summary="The number of dimensions that the features would fill evenly, weighted by standard deviation.",
        definitions=only("exp H(p), p_i = sigma_i / sum(sigma), H(p) = -sum p ln p", sources.ROY_2007),
        bounds=DIMENSION_BOUNDS,
        direction=HIGHER,
        unit=DIMENSIONS,
        invariances=ABOUT_THE_MEAN,
        note="Centred by default; at few rows it falls short of the population value.",
    ),
    metric(
        "rankme",
        summary="Effective rank of the features as they are, mean included, with a small constant on every share.",
        needs="uncentred eigenvalues",
        definitions=(
            Definition(
                name="garrido2023",
                formula="exp(-sum p_i ln p_i), p_i = sigma_i / sum(sigma) + 1e-7, sigma of the uncentred rows",
                source=sources.GARRIDO_2023,
            ),
            Definition(
                name="stable-pretraining",
                formula="as garrido2023, with 1e-5 in place of 1e-7",
                source=sources.STABLE_PRETRAINING,
                defect="The constants add up over small shares: 7 % too high at 1,024 features with sigma_i "
                "= 1/i, 41 % at 4,096.",
            ),
            Definition(
                name="reptrix",
                formula="exp(-sum p_i ln p_i), p_i = lambda_i / sum(lambda) + 1e-7, lambda of the centred covariance",
                source=sources.REPTRIX,
                defect="Eigenvalues where the paper has singular values, and centred where it is not: "
                "5.1 instead of 182.5 at 1,024 features with sigma_i = 1/i. (The package keeps 2,048 eigenvalues at "
                "most; here all count.)",
            ),
            Definition(
                name="normalized",
                formula="ln(garrido2023) / ln(min(n, d))",
                source=sources.RANKME_PACKAGE,
                defect="A normalised entropy under the name of a rank: 0.75 instead of 182.5 at 1,024 "
                "features with sigma_i = 1/i.",
            ),
        ),
        bounds=Bounds(
            text="1 <= value <= min(n, d), each up to a share of min(n, d) * 1e-7 * ln(1e7) for the constants",
            lower=lambda n, d: 1.0 - 1e-6,
            upper=lambda n, d: min(n, d) * (1.0 + min(n, d) * 1e-7 * math.log(1e7)),
        ),
        direction=HIGHER,
        unit=DIMENSIONS,
        invariances=ABOUT_ZERO,
        parameters={"definition": "which of the published formulas"},
        note="A large common mean lowers it: one direction then holds most of the singular values' sum.",
    ),
    metric(
        "participation_ratio",
        summary="The number of dimensions that the features would fill evenly, weighted by variance.",
        definitions=(
            Definition(name="gao2017", formula="sum(lambda)^2 / sum(lambda^2)", source=sources.GAO_2017),
            Definition(
                name="debiased",
                formula="((m + 1) s^2 - 2 q)/(m q - s^2), s = sum(lambda), q = sum(lambda^2), m = n - 1",
                source=sources.SRIVASTAVA_2005,
            ),
        ),
        bounds=DIMENSION_BOUNDS,
        direction=HIGHER,
        unit=DIMENSIONS,
        invariances=ABOUT_THE_MEAN,
        parameters={"definition": "of the sample, or unbiased for the population"},
        note="It grows with n up to the population's value; 'debiased' compares over n and may exceed min(n, d).",
    ),
    metric(
        "stable_rank",
        summary="The total variance in units of the variance along the leading direction.",
        definitions=only("sum(lambda) / lambda_1", sources.RUDELSON_2007),
        bounds=DIMENSION_BOUNDS,
        direction=HIGHER,
        unit=DIMENSIONS,
        invariances=ABOUT_THE_MEAN,
        jackknife_check=LARGEST,
    ),
    metric(
        "nesum",
        module="stable_rank",
        summary="The sum of the eigenvalues normalised by the first: the stable rank of centred features.",
        definitions=only("sum(lambda_i / lambda_1)", sources.HE_2022),
        bounds=DIMENSION_BOUNDS,
        direction=HIGHER,
        unit=DIMENSIONS,
        invariances=ABOUT_THE_MEAN,
        jackknife_check=LARGEST,
        alias_of="stable_rank",
        note="Another name of stable_rank, not a second piece of evidence.",
    ),
    metric(
        "alpha_req",
        summary="The exponent of the power law that the eigenvalues follow.",
        definitions=(
            Definition(
                name="least-squares",
                formula="-slope of the least-squares line of ln lambda_i on ln i, i = 11 ... min(n, d)/2",
                source=sources.AGRAWAL_2022,
            ),
            Definition(
                name="agrawal2022",
                formula="as least-squares, each point weighted by 1/i",
                source=sources.AGRAWAL_2022,
                defect="The range differs from script to script in the authors' code; give the one compared with.",
            ),
            Definition(
                name="stringer2019",
                formula="-slope of the line of ln lambda_i on ln i weighted by 1/i, i = 11 ... min(500, n, d)",
                source=sources.STRINGER_2019,
                defect="The paper fits cross-validated variances; the plain eigenvalues used here bend at the end.",
            ),
        ),
        bounds=Bounds(text="0 <= value", lower=zero),
        direction=LOWER,
        unit="1 (an exponent)",
        invariances=ABOUT_THE_MEAN,
        parameters={
            "definition": "weights and default range of the fit",
            "fit_min": "first index of the range, counted from 1",
            "fit_max": "last index of the range",
        },
        note="Undefined with fewer than 10 eigenvalues of the range above the noise floor. Read it with its "
        "R^2: a spectrum that is no power law has no exponent. Values near 1 went with the best transfer in the "
        "source.",
    ),
    metric(
        "condition_number",
        summary="The ratio of the largest to the smallest standard deviation of any direction above the noise floor.",
        definitions=only(
            "sqrt(lambda_1 / lambda_min), lambda_min the smallest above the noise floor", sources.GOLUB_2013
        ),
        bounds=Bounds(text="1 <= value", lower=one),
        direction=LOWER,
        unit="1 (a ratio)",
        invariances=ABOUT_THE_MEAN,
        jackknife_check="featdiv.metrics.spectral.condition_number.jackknife_problem",
        note="Directions below the floor are counted in the details and left out.",
    ),
    metric(
        "components_for",
        summary="The number of principal components that hold a given share of the variance.",
        definitions=only("smallest k with lambda_1 + ... + lambda_k >= q sum(lambda)", sources.JOLLIFFE_2002),
        bounds=DIMENSION_BOUNDS,
        direction=HIGHER,
        unit="components",
        invariances=ABOUT_THE_MEAN,
        parameters={"q": "share of the variance, in (0, 1]"},
        score_prefix="components_",
        jackknife=COUNT,
    ),
    metric(
        "explained_variance",
        summary="The share of the variance in the k leading principal components.",
        definitions=only("(lambda_1 + ... + lambda_k) / sum(lambda)", sources.JOLLIFFE_2002),
        bounds=Bounds(text="k/min(n, d) <= value <= 1", lower=lambda n, d: 1.0 / min(n, d), upper=one),
        direction=LOWER,
        unit="1 (a share)",
        invariances=ABOUT_THE_MEAN,
        parameters={"k": "how many components"},
        jackknife_check=LARGEST,
    ),
    metric(
        "spectral_entropy",
        summary="The entropy of the shares of variance along the principal directions.",
        definitions=only("H(p) = -sum p ln p, p_i = lambda_i / sum(lambda)", sources.ALTER_2000),
        bounds=Bounds(text="0 <= value <= ln(min(n, d))", lower=zero, upper=lambda n, d: math.log(min(n, d))),
        direction=HIGHER,
        unit="nats",
        invariances=ABOUT_THE_MEAN,
        note="The source divides by ln(min(n, d)).",
    ),
    metric(
        "marchenko_pastur",
        summary="The number of directions whose variance exceeds what noise of equal variance would give.",
        definitions=only(
            "number of lambda_i > s^2 (1 + sqrt(d/n))^2, s^2 = median(lambda) / mu_beta (times n/d if n < d), mu_beta "
            "the median of the Marchenko-Pastur law at beta = min(n, d)/max(n, d)",
            sources.GAVISH_2014,
        ),
        sources=(sources.MARCHENKO_1967,),
        bounds=Bounds(text="0 <= value <= min(n, d)", lower=zero, upper=rank),
        direction=NEITHER,
        unit="directions",
        invariances=ABOUT_THE_MEAN,
        jackknife=COUNT,
        note="Pure noise counts one in about 17 % of draws. Where more than half of the directions hold "
        "signal the median measures signal, and the count is a description, not a test.",
    ),
    metric(
        "isoscore",
        summary="The participation ratio of the centred features, rescaled to between 0 and 1.",
        definitions=only("(PR - 1) / (d - 1), PR = sum(lambda)^2 / sum(lambda^2)", sources.RUDMAN_2022),
        bounds=SHARE_BOUNDS,
        direction=HIGHER,
        unit="1",
        invariances=ABOUT_THE_MEAN,
        note="Algebraically equal to the published algorithm; no evidence beside the participation ratio.",
    ),
    metric(
        "coding_rate",
        summary="The number of nats that a code of one row needs at a given distortion.",
        needs="uncentred eigenvalues",
        definitions=(
            Definition(
                name="yu2020",
                formula="1/2 ln det(I + d/(n eps^2) X^T X)",
                source=sources.YU_2020,
            ),
            Definition(name="length", formula="(n + d)/2 ln det(I + d/(n eps^2) X^T X)", source=sources.YU_2020),
        ),
        bounds=Bounds(text="0 <= value", lower=zero),
        direction=HIGHER,
        unit="nats",
        invariances=ROTATIONS,
        parameters={
            "definition": "rate of one row, or length of the code of all",
            "eps_squared": "squared distortion eps^2, 0.5 by default",
        },
        note="It grows with the scale of the rows; the source divides rows by their norm first.",
    ),
)
"""Scores of a spectrum."""
