"""The publications that the spectral metrics cite."""

from __future__ import annotations

from featdiv.metrics.entry import Source

ROY_2007 = Source(
    authors="Roy & Vetterli",
    year=2007,
    title="The effective rank: a measure of effective dimensionality",
    venue="European Signal Processing Conference",
    where="section 2",
)
GARRIDO_2023 = Source(
    authors="Garrido, Balestriero, Najman & LeCun",
    year=2023,
    title="RankMe: assessing the downstream performance of pretrained self-supervised representations by their rank",
    venue="International Conference on Machine Learning",
    where="equation 1",
)
STABLE_PRETRAINING = Source(
    authors="The stable-pretraining contributors",
    year=2026,
    title="stable-pretraining: callbacks.RankMe",
    venue="Software, version 0.1.8",
)
REPTRIX = Source(
    authors="The reptrix contributors",
    year=2024,
    title="reptrix: rankme.get_rankme",
    venue="Software, version 0.1.0",
)
RANKME_PACKAGE = Source(
    authors="The rankme contributors",
    year=2025,
    title="rankme: RankMe as normalised entropy",
    venue="Software",
)
GAO_2017 = Source(
    authors="Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy & Ganguli",
    year=2017,
    title="A theory of multineuronal dimensionality, dynamics and measurement",
    venue="bioRxiv 214262",
)
SRIVASTAVA_2005 = Source(
    authors="Srivastava",
    year=2005,
    title="Some tests concerning the covariance matrix in high dimensional data",
    venue="Journal of the Japan Statistical Society 35(2), 251-272",
    where="section 2",
)
RUDELSON_2007 = Source(
    authors="Rudelson & Vershynin",
    year=2007,
    title="Sampling from large matrices: an approach through geometric functional analysis",
    venue="Journal of the ACM 54(4), article 21",
)
HE_2022 = Source(
    authors="He & Ozay",
    year=2022,
    title="Exploring the gap between collapsed & whitened features in self-supervised learning",
    venue="International Conference on Machine Learning",
)
AGRAWAL_2022 = Source(
    authors="Agrawal, Mondal, Ghosh & Richards",
    year=2022,
    title="alpha-ReQ: assessing representation quality in self-supervised learning by measuring eigenspectrum decay",
    venue="Advances in Neural Information Processing Systems 35",
)
STRINGER_2019 = Source(
    authors="Stringer, Pachitariu, Steinmetz, Carandini & Harris",
    year=2019,
    title="High-dimensional geometry of population responses in visual cortex",
    venue="Nature 571, 361-365",
)
GOLUB_2013 = Source(
    authors="Golub & Van Loan",
    year=2013,
    title="Matrix computations, 4th edition",
    venue="Johns Hopkins University Press",
    where="section 2.6",
)
JOLLIFFE_2002 = Source(
    authors="Jolliffe",
    year=2002,
    title="Principal component analysis, 2nd edition",
    venue="Springer",
    where="section 6.1",
)
ALTER_2000 = Source(
    authors="Alter, Brown & Botstein",
    year=2000,
    title="Singular value decomposition for genome-wide expression data processing and modeling",
    venue="Proceedings of the National Academy of Sciences 97(18), 10101-10106",
)
MARCHENKO_1967 = Source(
    authors="Marchenko & Pastur",
    year=1967,
    title="Distribution of eigenvalues for some sets of random matrices",
    venue="Mathematics of the USSR-Sbornik 1(4), 457-483",
)
GAVISH_2014 = Source(
    authors="Gavish & Donoho",
    year=2014,
    title="The optimal hard threshold for singular values is 4/sqrt(3)",
    venue="IEEE Transactions on Information Theory 60(8), 5040-5053",
)
RUDMAN_2022 = Source(
    authors="Rudman, Gillman, Rayne & Eickhoff",
    year=2022,
    title="IsoScore: measuring the uniformity of embedding space utilization",
    venue="Findings of the Association for Computational Linguistics: ACL 2022",
    where="algorithm 1",
)
YU_2020 = Source(
    authors="Yu, Chan, You, Song & Ma",
    year=2020,
    title="Learning diverse and discriminative representations via the principle of maximal coding rate reduction",
    venue="Advances in Neural Information Processing Systems 33",
    where="section 2.1",
)
FRIEDMAN_2023 = Source(
    authors="Friedman & Dieng",
    year=2023,
    title="The Vendi score: a diversity evaluation metric for machine learning",
    venue="Transactions on Machine Learning Research",
    where="definition 3.1",
)
PASARKAR_2023 = Source(
    authors="Pasarkar & Dieng",
    year=2023,
    title="Cousins of the Vendi score: a family of similarity-based diversity metrics for science and machine learning",
    venue="arXiv 2310.12952",
)
ETHAYARAJH_2019 = Source(
    authors="Ethayarajh",
    year=2019,
    title="How contextual are contextualized word representations? Comparing the geometry of BERT, ELMo, "
    "and GPT-2 embeddings",
    venue="Conference on Empirical Methods in Natural Language Processing",
)
BENEDETTO_2003 = Source(
    authors="Benedetto & Fickus",
    year=2003,
    title="Finite normalized tight frames",
    venue="Advances in Computational Mathematics 18, 357-385",
)
WELCH_1974 = Source(
    authors="Welch",
    year=1974,
    title="Lower bounds on the maximum cross correlation of signals",
    venue="IEEE Transactions on Information Theory 20(3), 397-399",
)
WANG_2022 = Source(
    authors="Wang, Tang, Zhu, Bai, Zhao, Qi & Ouyang",
    year=2022,
    title="Revisiting the transferability of supervised pretraining: an MLP perspective",
    venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition",
)
HURLEY_2009 = Source(
    authors="Hurley & Rickard",
    year=2009,
    title="Comparing measures of sparsity",
    venue="IEEE Transactions on Information Theory 55(10), 4723-4741",
)
HEUSEL_2017 = Source(
    authors="Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter",
    year=2017,
    title="GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    venue="Advances in Neural Information Processing Systems 30",
    where="equation 6",
)
DOWSON_1982 = Source(
    authors="Dowson & Landau",
    year=1982,
    title="The Fréchet distance between multivariate normal distributions",
    venue="Journal of Multivariate Analysis 12(3), 450-455",
)
