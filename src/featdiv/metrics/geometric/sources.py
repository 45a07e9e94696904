"""The publications that the geometric metrics cite."""

from __future__ import annotations

from featdiv.metrics.entry import Source

WANG_2020 = Source(
    authors="Wang & Isola",
    year=2020,
    title="Understanding contrastive representation learning through alignment and uniformity on the hypersphere",
    venue="International Conference on Machine Learning 37",
    where="section 4",
)
ETHAYARAJH_2019 = Source(
    authors="Ethayarajh",
    year=2019,
    title="How contextual are contextualized word representations?",
    venue="Empirical Methods in Natural Language Processing 2019, 55-65",
)
HOYER_2004 = Source(
    authors="Hoyer",
    year=2004,
    title="Non-negative matrix factorization with sparseness constraints",
    venue="Journal of Machine Learning Research 5, 1457-1469",
    where="section 3.1",
)
TREVES_1991 = Source(
    authors="Treves & Rolls",
    year=1991,
    title="What determines the capacity of autoassociative memories in the brain?",
    venue="Network: Computation in Neural Systems 2(4), 371-397",
)
ABBAS_2023 = Source(
    authors="Abbas, Tirumala, Simig, Ganguli & Morcos",
    year=2023,
    title="SemDeDup: data-efficient learning at web-scale through semantic deduplication",
    venue="arXiv 2303.09540",
)
FACCO_2017 = Source(
    authors="Facco, d'Errico, Rodriguez & Laio",
    year=2017,
    title="Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
    venue="Scientific Reports 7, 12140",
)
LEVINA_2005 = Source(
    authors="Levina & Bickel",
    year=2005,
    title="Maximum likelihood estimation of intrinsic dimension",
    venue="Advances in Neural Information Processing Systems 17",
    where="equation 8",
)
MACKAY_2005 = Source(
    authors="MacKay & Ghahramani",
    year=2005,
    title="Comments on 'Maximum likelihood estimation of intrinsic dimension' by E. Levina and P. Bickel",
    venue="Inference Group, Cavendish Laboratory",
)
