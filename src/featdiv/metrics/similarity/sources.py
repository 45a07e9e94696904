"""The publications that the similarity metrics cite."""

from __future__ import annotations

from featdiv.metrics.entry import Source

_ICML = "International Conference on Machine Learning"
_NEURIPS = "Advances in Neural Information Processing Systems"

KORNBLITH_2019 = Source(
    authors="Kornblith, Norouzi, Lee & Hinton",
    year=2019,
    title="Similarity of neural network representations revisited",
    venue=_ICML,
    where="equations 3 and 4",
)
SONG_2012 = Source(
    authors="Song, Smola, Gretton, Bedo & Borgwardt",
    year=2012,
    title="Feature selection via dependence maximization",
    venue="Journal of Machine Learning Research 13",
    where="equation 5",
)
NGUYEN_2021 = Source(
    authors="Nguyen, Raghu & Kornblith",
    year=2021,
    title="Do wide and deep networks learn the same things? Uncovering how neural network representations vary with "
    "width and depth",
    venue="International Conference on Learning Representations",
)
HOTELLING_1936 = Source(
    authors="Hotelling", year=1936, title="Relations between two sets of variates", venue="Biometrika 28"
)
RAGHU_2017 = Source(
    authors="Raghu, Gilmer, Yosinski & Sohl-Dickstein",
    year=2017,
    title="SVCCA: singular vector canonical correlation analysis for deep learning dynamics and interpretability",
    venue=_NEURIPS,
    where="section 2",
)
MORCOS_2018 = Source(
    authors="Morcos, Raghu & Bengio",
    year=2018,
    title="Insights on representational similarity in neural networks with canonical correlation",
    venue=_NEURIPS,
    where="equation 3",
)
WILLIAMS_2021 = Source(
    authors="Williams, Kunz, Kornblith & Linderman",
    year=2021,
    title="Generalized shape metrics on neural representations",
    venue=_NEURIPS,
)
DING_2021 = Source(
    authors="Ding, Denain & Steinhardt",
    year=2021,
    title="Grounding representation similarity through statistical testing",
    venue=_NEURIPS,
)
KRZANOWSKI_1979 = Source(
    authors="Krzanowski",
    year=1979,
    title="Between-groups comparison of principal components",
    venue="Journal of the American Statistical Association 74",
)
HOERL_1970 = Source(
    authors="Hoerl & Kennard",
    year=1970,
    title="Ridge regression: biased estimation for nonorthogonal problems",
    venue="Technometrics 12",
)
GOLUB_1979 = Source(
    authors="Golub, Heath & Wahba",
    year=1979,
    title="Generalized cross-validation as a method for choosing a good ridge parameter",
    venue="Technometrics 21",
)
YAMINS_2014 = Source(
    authors="Yamins et al.",
    year=2014,
    title="Performance-optimized hierarchical models predict neural responses in higher visual cortex",
    venue="Proceedings of the National Academy of Sciences 111",
)
KRIEGESKORTE_2008 = Source(
    authors="Kriegeskorte, Mur & Bandettini",
    year=2008,
    title="Representational similarity analysis: connecting the branches of systems neuroscience",
    venue="Frontiers in Systems Neuroscience 2",
)
HUH_2024 = Source(
    authors="Huh, Cheung, Wang & Isola",
    year=2024,
    title="The Platonic representation hypothesis",
    venue=_ICML,
    where="section 2",
)
