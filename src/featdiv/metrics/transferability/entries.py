"""The transferability metrics, as the catalogue lists them."""

from __future__ import annotations

import functools

from featdiv.metrics.entry import TRANSFORMATIONS, Bounds, Definition
from featdiv.metrics.entry_forms import (
    ABOUT_THE_MEAN,
    CORRELATION_BOUNDS,
    ROTATIONS,
    SHARE_BOUNDS,
    metric,
    only,
    zero,
)
from featdiv.metrics.transferability import sources

_SECOND_READING = "it takes a second reading of the rows; there are no moments of parts to leave out"
_PAIRS = "it compares rows with one another; there are no moments of parts to leave out"
_NOT_POSITIVE = Bounds(text="value <= 0", upper=zero)

_metric = functools.partial(metric, family="transferability", direction="higher should transfer better")

METRICS = (
    _metric(
        "logme",
        summary="The largest evidence that a Bayesian linear model of the labels can have.",
        needs="class moments",
        definitions=only(
            "mean over classes of max over alpha, beta of ln p(y | F, alpha, beta)/n, y the 0/1 column of "
            "the class, y ~ N(F w, I/beta), w ~ N(0, I/alpha)",
            sources.YOU_2021,
        ),
        bounds=Bounds(text="any real number"),
        unit="nats for each row",
        invariances=(*ROTATIONS, "isotropic scaling"),
        parameters={"targets": "numbers to predict in the place of classes"},
        note="Without an intercept, as published, so a common offset of the rows counts. May exceed 1.",
    ),
    _metric(
        "h_score",
        summary="The variance between classes of the whitened features, summed over directions.",
        needs="labelled rows",
        definitions=(
            Definition(
                name="bao2019",
                formula="Tr(S^+ S_B), S the covariance of the features, S_B that of the class means by class size",
                source=sources.BAO_2019,
                defect="With n near d it approaches c - 1 for any labels.",
            ),
            Definition(
                name="shrunk",
                formula="(1 - a) Tr(S_a^-1 S_B), S_a = (1 - a) S + a Tr(S)/d I, a by Ledoit & Wolf",
                source=sources.IBRAHIM_2022,
            ),
        ),
        sources=(sources.LEDOIT_2004,),
        bounds=Bounds(text="0 <= value <= min(c - 1, d)", lower=zero, upper=lambda n, d: min(n - 1, d)),
        unit="dimensions",
        invariances=(*ABOUT_THE_MEAN, "feature scaling"),
        parameters={"definition": "whether the covariance is shrunk", "shrinkage": "its share, where known"},
        note="bao2019 needs class moments alone; shrunk reads rows twice, and feature scaling changes it.",
    ),
    _metric(
        "leep",
        summary="The log-likelihood of the labels under a predictor read off source-class probabilities.",
        needs="source probabilities",
        definitions=only(
            "(1/n) sum_i ln sum_z P(y_i|z) theta(x_i)_z, P(y, z) = (1/n) sum_(i: y_i = y) theta(x_i)_z",
            sources.NGUYEN_2020,
        ),
        bounds=_NOT_POSITIVE,
        unit="nats for each row",
        invariances=TRANSFORMATIONS,
        jackknife=_PAIRS,
        note="It needs the output of a classifier; the features play no part.",
    ),
    _metric(
        "nce",
        summary="The negative conditional entropy of the label given the source model's decision.",
        needs="source probabilities",
        definitions=only(
            "sum over y, z of P(y, z) ln(P(y, z)/P(z)), z the source class of largest probability", sources.TRAN_2019
        ),
        bounds=_NOT_POSITIVE,
        unit="nats",
        invariances=TRANSFORMATIONS,
        jackknife=_PAIRS,
        note="It needs the output of a classifier; the features play no part.",
    ),
    _metric(
        "nleep",
        summary="LEEP with the components of a Gaussian mixture of the features as source classes.",
        needs="labelled rows",
        definitions=only(
            "leep with theta the posteriors of 5 c Gaussians fitted to the principal components of 80 % of "
            "the variance",
            sources.LI_2021,
        ),
        bounds=_NOT_POSITIVE,
        unit="nats for each row",
        invariances=ABOUT_THE_MEAN,
        parameters={"variance": "share of the variance that is kept", "seed": "of the start of the mixture"},
        jackknife=_SECOND_READING,
        note="The mixture is fitted by scikit-learn, from a seeded start that the order of rows does not change.",
    ),
    _metric(
        "transrate",
        summary="The nats that knowing the class saves in a code of fixed, small distortion.",
        needs="class moments",
        definitions=(
            Definition(
                name="tllib",
                formula="R(X) - mean_c R(X_c), R(X) = 1/2 ln det(I + X^T X/(n eps)), X about the mean of all rows, "
                "eps = 1e-4",
                source=sources.TLLIB,
                defect="Classes have equal weight whatever their size, so it may be negative.",
            ),
            Definition(
                name="huang2022",
                formula="R(X) - sum_c (n_c/n) R(X_c), R as above",
                source=sources.HUANG_2022,
            ),
        ),
        bounds=Bounds(text="any real number; huang2022: 0 <= value"),
        unit="nats",
        invariances=(*ROTATIONS, "translation"),
        parameters={
            "definition": "the same weight for every class, or for every row",
            "eps": "squared distortion, in squared units of the features",
            "memory": "budget for the second moments",
        },
        note="The fixed distortion makes it depend on the scale of the features.",
    ),
    _metric(
        "gbc",
        summary="How much Gaussian models of the classes overlap, summed over pairs, with a minus.",
        needs="class moments",
        definitions=(
            Definition(
                name="diagonal",
                formula="-sum over a != b of exp(-D(a, b)), D the Bhattacharyya distance of Gaussians with a variance "
                "for each feature and class",
                source=sources.PANDY_2022,
            ),
            Definition(
                name="spherical",
                formula="as diagonal, with one variance for each class",
                source=sources.PANDY_2022,
            ),
            Definition(
                name="stable-transfer",
                formula="as diagonal, with variances of at least 1e-4",
                source=sources.STABLE_TRANSFER,
            ),
        ),
        bounds=Bounds(text="-c (c - 1) <= value <= 0", lower=lambda n, d: -n * (n - 1.0), upper=zero),
        unit="1",
        invariances=("row permutation", "feature permutation", "translation", "isotropic scaling", "feature scaling"),
        parameters={
            "definition": "a variance for each feature, or one for all",
            "memory": "budget for the second moments",
        },
        note="The authors reduce the features to 64 principal components first; it is taken of the features as they "
        "are here. The spherical one is left as it is by rotations, but not by feature scaling; stable-transfer by no "
        "scaling.",
    ),
    _metric(
        "parc",
        summary="The rank correlation of distances between rows with whether their labels differ.",
        needs="labelled rows",
        definitions=only(
            "Spearman, over pairs of rows, of 1 - Pearson of features and 1 - Pearson of one-hot labels",
            sources.BOLYA_2021,
        ),
        bounds=CORRELATION_BOUNDS,
        unit="1",
        invariances=("row permutation", "feature permutation", "isotropic scaling", "row scaling"),
        parameters={"sample": "rows to draw, 2,000 by default", "seed": "of the draw"},
        jackknife=_PAIRS,
        note="Of a stated sample; the authors print it times 100.",
    ),
    _metric(
        "lda",
        summary="The log-likelihood of each label by the shrunk linear discriminant of all other rows.",
        needs="labelled rows",
        definitions=only(
            "mean_i ln P(y_i | x_i) by classes N(mu_c, S) fitted without row i, S = ((1 - a) W + a Tr(W)/d "
            "I)/(n - c), a the oracle approximating shrinkage",
            sources.FRIEDMAN_1989,
        ),
        sources=(sources.CHEN_2010,),
        bounds={
            "lda": _NOT_POSITIVE,
            "lda_accuracy": SHARE_BOUNDS,
        },
        unit="nats for each row; share of rows",
        invariances=ABOUT_THE_MEAN,
        parameters={"shrinkage": "share of the identity; None to estimate it"},
        jackknife=_SECOND_READING,
        note="Rows alone in their class are left out of the first number and wrong in the second.",
    ),
)
"""Every transferability metric, in the order in which they are shown."""
