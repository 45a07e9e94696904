"""pair_sums through Triton where its blocks, lists and bins run full; the op's own tests cover the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, ZeroNormError
from featdiv.ops.pair_sums import blocks, pair_sums


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(150, 20)).astype(np.float32)


def cosines(x):
    unit = x.astype(float) / np.linalg.norm(x.astype(float), axis=1)[:, None]
    return unit @ unit.T


@pytest.mark.parametrize("listed", [1, 1 << 16])
def test_blocks_with_too_many_unsure_pairs_are_cut_in_two(rows, monkeypatch, listed):
    """Rows of a lattice, a third of whose cosines lie on an edge or the threshold."""
    monkeypatch.setattr(blocks, "BLOCK", 256)
    monkeypatch.setattr(blocks, "LISTED", listed)
    lattice = np.sign(np.concatenate([rows, rows[::-1] + 1])[:200, :16])
    truth = cosines(lattice)[np.triu_indices(200, 1)]
    got = pair_sums(lattice, measure="cosine", bins=4, threshold=0.25, examples=7, backend="triton")
    want = pair_sums(lattice, measure="cosine", bins=4, threshold=0.25, examples=7, backend="reference")
    assert got.histogram.tolist() == want.histogram.tolist()
    assert got.close == want.close
    assert got.close_pairs.tolist() == want.close_pairs.tolist()
    assert got.nearest[2] == pytest.approx(truth.max(), rel=1e-12)


def test_more_bins_than_a_program_can_count(rows):
    truth = np.histogram(cosines(rows)[np.triu_indices(150, 1)], bins=1500, range=(-1, 1))[0]
    got = pair_sums(rows, measure="cosine", bins=1500, backend="triton")
    assert got.histogram.tolist() == truth.tolist()


@pytest.mark.parametrize("rates", [(), (1.0,), (0.5, 1.0, 2.0, 4.0, 8.0)])
def test_any_number_of_rates(rows, rates):
    got = pair_sums(rows, rates=rates, backend="triton")
    want = pair_sums(rows, rates=rates, backend="reference")
    assert got.exp_sums == pytest.approx(want.exp_sums, rel=1e-6)


def test_rows_of_every_stride(rows):
    base = torch.from_numpy(rows)
    for x in (base[::2, 3:17], base.T.contiguous().T):
        want = pair_sums(x, backend="reference").exp_sums
        assert pair_sums(x, backend="triton").exp_sums == pytest.approx(want, rel=1e-6)


def test_bad_rows_are_named_with_their_set(rows):
    other = rows.copy()
    other[17] = 0
    with pytest.raises(ZeroNormError, match=r"other: .* the first is row 17"):
        pair_sums(rows, other, backend="triton")
    with pytest.raises(InputError, match="squares float64 can hold"):
        pair_sums(rows.astype(float) * 1e200, normalize=None, backend="triton")
