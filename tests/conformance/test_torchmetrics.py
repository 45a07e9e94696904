"""torchmetrics: Fréchet distance from its additive sums, pairwise cosines; and where uncentred sums fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import featdiv

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


class AsTheyAre(torch.nn.Module):
    """Stands where the Inception network would, for rows that are features already."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.num_features = d

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture
def frechet(load):
    """Their Fréchet distance of two sets of rows, streamed in batches of 64."""
    fid = load("torchmetrics.image.fid").FrechetInceptionDistance

    def distance(x: np.ndarray, other: np.ndarray) -> float:
        metric = fid(feature=AsTheyAre(x.shape[1]))
        for rows, real in ((x, True), (other, False)):
            for batch in torch.from_numpy(rows).split(64):
                metric.update(batch, real=real)
        return float(metric.compute())

    return distance


@pytest.fixture
def others(rows):
    random = np.random.default_rng(44)
    return rows[:300] @ (np.eye(60) + 0.1 * random.normal(size=(60, 60))) + 0.5


def test_frechet_distance(rows, others, frechet, agree):
    agree(featdiv.frechet_distance(rows, others, precision="float64"), frechet(rows, others), rel=1e-7)


def test_mean_cosines(rows, load, agree):
    pairs = load("torchmetrics.functional").pairwise_cosine_similarity(torch.from_numpy(rows), zero_diagonal=True)
    n = len(rows)
    agree(featdiv.mean_cosine(rows, precision="float64"), float(pairs.sum()) / (n * (n - 1)), rel=1e-10)
    squares = float(pairs.square().sum()) / (n * (n - 1))
    agree(featdiv.mean_squared_cosine(rows, precision="float64"), squares, rel=1e-10)


def test_redundancy(rows, load, agree):
    correlate = load("torchmetrics.functional").pearson_corrcoef
    x = torch.from_numpy(rows[:, :8])
    above = [abs(float(correlate(x[:, i], x[:, j]))) for i in range(8) for j in range(i)]
    agree(featdiv.redundancy(rows[:, :8], precision="float64"), np.mean(above), rel=1e-9)


def test_uncentred_sums_cancel_where_the_mean_is_large(frechet, disagree):
    # Both add float64 sums over batches, theirs of x x^T about zero. Twice the same rows, once twice as wide: the
    # covariances are I and 4 I, the means equal, the distance is d (2 - 1)^2 = 8, wherever the rows are.
    z = np.random.default_rng(45).normal(size=(512, 8))
    q, _ = np.linalg.qr(z - z.mean(axis=0))
    x = np.round(q * np.sqrt(511.0) * 2.0**20) / 2.0**20  # entries that survive the move exactly
    near, far = (x, 2.0 * x), (x + 2.0**27, 2.0 * x + 2.0**27)
    assert frechet(*near) == pytest.approx(8.0, rel=1e-4)
    ours = featdiv.frechet_distance(*far, precision="float64")
    disagree(ours, frechet(*far), 8.0, rel=1e-4, peer_off_by=0.05)
