"""The publications that the transferability metrics cite."""

from __future__ import annotations

from featdiv.metrics.entry import Source

YOU_2021 = Source(
    authors="You, Liu, Wang & Long",
    year=2021,
    title="LogME: practical assessment of pre-trained models for transfer learning",
    venue="International Conference on Machine Learning 38",
    where="algorithm 1",
)
BAO_2019 = Source(
    authors="Bao, Li, Huang, Zhang, Zheng, Zamir & Guibas",
    year=2019,
    title="An information-theoretic approach to transferability in task transfer learning",
    venue="IEEE International Conference on Image Processing",
    where="definition 2",
)
IBRAHIM_2022 = Source(
    authors="Ibrahim, Ponomareva & Mazumder",
    year=2022,
    title="Newer is not always better: rethinking transferability metrics, their peculiarities, stability and "
    "performance",
    venue="European Conference on Machine Learning",
)
LEDOIT_2004 = Source(
    authors="Ledoit & Wolf",
    year=2004,
    title="A well-conditioned estimator for large-dimensional covariance matrices",
    venue="Journal of Multivariate Analysis 88(2), 365-411",
)
NGUYEN_2020 = Source(
    authors="Nguyen, Hassner, Seeger & Archambeau",
    year=2020,
    title="LEEP: a new measure to evaluate transferability of learned representations",
    venue="International Conference on Machine Learning 37",
    where="equation 2",
)
TRAN_2019 = Source(
    authors="Tran, Nguyen & Hassner",
    year=2019,
    title="Transferability and hardness of supervised classification tasks",
    venue="IEEE/CVF International Conference on Computer Vision",
)
LI_2021 = Source(
    authors="Li, Jia, Sang, Zhu, Green, Wang & Gong",
    year=2021,
    title="Ranking neural checkpoints",
    venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    where="section 3.3",
)
HUANG_2022 = Source(
    authors="Huang, Huang, Rong, Yang & Wei",
    year=2022,
    title="Frustratingly easy transferability estimation",
    venue="International Conference on Machine Learning 39",
    where="section 3",
)
TLLIB = Source(
    authors="Jiang, Chen, Fu & Long",
    year=2020,
    title="Transfer-Learning-Library",
    venue="software, tllib.ranking.transrate",
)
PANDY_2022 = Source(
    authors="Pándy, Agostinelli, Uijlings, Ferrari & Mensink",
    year=2022,
    title="Transferability estimation using Bhattacharyya class separability",
    venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition",
    where="equation 4",
)
STABLE_TRANSFER = Source(
    authors="The google-research contributors",
    year=2022,
    title="stable_transfer: transferability.gbc",
    venue="Software",
)
BOLYA_2021 = Source(
    authors="Bolya, Mittapalli & Hoffman",
    year=2021,
    title="Scalable diverse model selection for accessible transfer learning",
    venue="Advances in Neural Information Processing Systems 34",
    where="section 4",
)
FRIEDMAN_1989 = Source(
    authors="Friedman",
    year=1989,
    title="Regularized discriminant analysis",
    venue="Journal of the American Statistical Association 84, 165-175",
)
CHEN_2010 = Source(
    authors="Chen, Wiesel, Eldar & Hero",
    year=2010,
    title="Shrinkage algorithms for MMSE covariance estimation",
    venue="IEEE Transactions on Signal Processing 58(10), 5016-5029",
    where="equation 23",
)
