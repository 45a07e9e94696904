"""ckatorch: the same CKA from n x n Gram matrices, where ours needs d x d; and where its option does nothing."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv


@pytest.fixture
def sides(rows):
    random = np.random.default_rng(42)
    return rows, rows[:, :20] @ random.normal(size=(20, 30)) + 0.5 * random.normal(size=(400, 30))


@pytest.fixture
def tensors(sides):
    import torch

    return [torch.from_numpy(side.copy()) for side in sides]


def test_debiased(sides, tensors, load, agree):
    theirs = load("ckatorch.core").cka_base(*tensors, unbiased=True)
    agree(featdiv.cka(*sides), theirs, rel=1e-9)


def test_debiased_by_its_other_form(sides, tensors, load, agree):
    # HSIC of one batch that holds every row is the estimate from all rows.
    theirs = load("ckatorch.core").cka_batch(*(tensor[None] for tensor in tensors))
    agree(featdiv.cka(*sides), theirs, rel=1e-9)


@pytest.mark.parametrize("method", ["fro_norm", "hsic"])
def test_biased(sides, tensors, load, agree, method):
    theirs = load("ckatorch.core").cka_base(*tensors, method=method)
    agree(featdiv.cka(*sides, definition="biased"), theirs, rel=1e-9)


def test_unbiased_is_ignored_where_the_method_is_hsic(load, disagree):
    """Independent noise with more features than rows: the asked-for unbiased value comes out biased."""
    import torch

    random = np.random.default_rng(0)
    # Both sides hold the same 3 features beside 400 of noise, so that the truth is not zero.
    shared = 6.0 * random.normal(size=(100, 3))
    x, y = (np.hstack([shared, random.normal(size=(100, 400))]) for _ in range(2))
    theirs = load("ckatorch.core").cka_base(torch.from_numpy(x), torch.from_numpy(y), unbiased=True, method="hsic")
    K, L = ((side - side.mean(axis=0)) @ (side - side.mean(axis=0)).T for side in (x, y))

    def u_centred(kernel):
        n = len(kernel)
        kernel = kernel - np.diag(np.diag(kernel))
        sums = kernel.sum(axis=1) / (n - 2)
        kernel = kernel - sums[:, None] - sums + kernel.sum() / ((n - 1) * (n - 2))
        return kernel - np.diag(np.diag(kernel))

    a, b = u_centred(K), u_centred(L)
    truth = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    disagree(featdiv.cka(x, y), theirs, truth, rel=1e-9, peer_off_by=0.01)


def test_gaussian_kernels_differ_by_what_counts_as_a_distance(sides, tensors, load):
    """Its median runs over the zeros of the diagonal too; ours over pairs of different rows. 400 in 160,000."""
    theirs = float(load("ckatorch.core").cka_base(*tensors, kernel="rbf"))
    ours = float(featdiv.cka(*sides, definition="rbf"))
    print(f"featdiv {ours:.12g}, the peer {theirs:.12g}")
    assert ours == pytest.approx(theirs, rel=2e-3)

    def kernel(x):
        squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
        return np.exp(-squared / (2.0 * np.sort(squared, axis=None)[(squared.size - 1) // 2]))

    H = np.eye(400) - 1.0 / 400
    K, L = (H @ kernel(side) @ H for side in sides)
    assert (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum()) == pytest.approx(theirs, rel=1e-9)
