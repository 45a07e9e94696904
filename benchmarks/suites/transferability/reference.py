"""True answers, in float64, from the papers and by loops."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Data

Float64Array = npt.NDArray[np.float64]

WAYS, SHOTS, QUERIES, EPISODES = 5, 5, 15, 600
REFERENCE_EPISODES = 6000


def read(data: Data) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Returns the rows and their labels."""
    assert data.labels is not None
    return np.load(data.path)[: data.n], np.load(data.labels)[: data.n]


def fixed_point(sigma: Float64Array, z2: Float64Array, outside: float, n: int, d: int) -> float:
    """You et al. 2021, algorithm 1, for one target, until alpha/beta rests; the log evidence over n."""
    alpha = beta = 1.0
    for _ in range(5000):
        t = alpha / beta
        gamma = (sigma / (sigma + t)).sum()
        m2 = (sigma * z2 / (sigma + t) ** 2).sum()
        residual = (z2 * t**2 / (sigma + t) ** 2).sum() + outside
        alpha, beta = gamma / m2, (n - gamma) / residual
        if abs(alpha / beta - t) < 1e-10 * t:
            break
    log_det = np.log(alpha + beta * sigma).sum() + (d - len(sigma)) * np.log(alpha)
    evidence = d * np.log(alpha) + n * np.log(beta) - log_det - beta * residual - alpha * m2 - n * np.log(2 * np.pi)
    return float(evidence / (2 * n))


def published_logme(features: Float64Array, labels: npt.NDArray[np.int64], *, exact: bool) -> float:
    """LogME with the left singular vectors of the rows, by an SVD, or by the cheaper way of the authors' code."""
    n, d = features.shape
    if exact:
        left, s, _ = np.linalg.svd(features, full_matrices=False)
    else:
        values, vectors = np.linalg.eigh(features.T @ features)
        s = np.sqrt(np.maximum(values, 0.0))
        left = features @ vectors / s
    found = []
    for label in np.unique(labels):
        y = (labels == label).astype(np.float64)
        z2 = (left.T @ y) ** 2
        found.append(fixed_point(s**2, z2, float(y @ y - z2.sum()), n, d))
    return float(np.mean(found))


def loop_of_episodes(
    rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], episodes: int, seed: int = 0
) -> float:
    """Mean accuracy of the nearest centroid, episode after episode, class after class."""
    random = np.random.default_rng(seed)
    names, counts = np.unique(labels, return_counts=True)
    able = names[counts >= SHOTS + QUERIES]
    found = []
    for _ in range(episodes):
        centroids, asked = [], []
        for label in random.choice(able, WAYS, replace=False):
            drawn = random.permutation(np.flatnonzero(labels == label))[: SHOTS + QUERIES]
            centroids.append(rows[drawn[:SHOTS]].mean(axis=0))
            asked.append(rows[drawn[SHOTS:]])
        queries = np.concatenate(asked)
        distances = ((queries[:, None] - np.array(centroids)) ** 2).sum(axis=2)
        found.append((distances.argmin(axis=1) == np.repeat(np.arange(WAYS), QUERIES)).mean())
    return float(np.mean(found))


def logme(data: Data) -> Answer:
    """LogME from the singular value decomposition of the rows in float64."""
    rows, labels = read(data)
    return {"logme": published_logme(rows.astype(np.float64), labels, exact=True)}


def episodes(data: Data) -> Answer:
    """Ten times as many episodes as are timed."""
    rows, labels = read(data)
    return {"accuracy": loop_of_episodes(rows, labels, REFERENCE_EPISODES, seed=1)}


def episode_operations(job: Data) -> float:
    """The products of every query with every centroid."""
    return 2.0 * EPISODES * WAYS * QUERIES * WAYS * job.d


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """LogME relative to its size, accuracy in absolute terms."""
    found = {}
    if "logme" in answer:
        found["logme"] = abs(answer["logme"] / truth["logme"] - 1.0)
    if "accuracy" in answer:
        found["accuracy"] = abs(answer["accuracy"] - truth["accuracy"])
    return found
