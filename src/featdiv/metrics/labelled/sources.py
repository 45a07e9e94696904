"""The publications that the labelled metrics cite."""

from __future__ import annotations

from featdiv.metrics.entry import Source

KORNBLITH_2021 = Source(
    authors="Kornblith, Chen, Lee & Norouzi",
    year=2021,
    title="Why do better loss functions lead to less transferable features?",
    venue="Advances in Neural Information Processing Systems 34",
)
PAPYAN_2020 = Source(
    authors="Papyan, Han & Donoho",
    year=2020,
    title="Prevalence of neural collapse during the terminal phase of deep learning training",
    venue="Proceedings of the National Academy of Sciences 117(40), 24652-24663",
)
THILAK_2023 = Source(
    authors="Thilak, Huang, Saremi, Dinh, Goh, Nakkiran, Susskind & Littwin",
    year=2023,
    title="LiDAR: sensing linear probing performance in joint embedding SSL architectures",
    venue="arXiv 2312.04000",
)
YU_2020 = Source(
    authors="Yu, Chan, You, Song & Ma",
    year=2020,
    title="Learning diverse and discriminative representations via the principle of maximal coding rate reduction",
    venue="Advances in Neural Information Processing Systems 33",
    where="section 2",
)
ROUSSEEUW_1987 = Source(
    authors="Rousseeuw",
    year=1987,
    title="Silhouettes: a graphical aid to the interpretation and validation of cluster analysis",
    venue="Journal of Computational and Applied Mathematics 20, 53-65",
)
CALINSKI_1974 = Source(
    authors="Caliński & Harabasz",
    year=1974,
    title="A dendrite method for cluster analysis",
    venue="Communications in Statistics 3(1), 1-27",
)
