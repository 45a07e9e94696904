from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.testing import cases


@pytest.mark.parametrize("name", list(cases.GENERATORS))
def test_the_seed_decides_everything(name):
    first, again, other = (cases.make(name, 100, 8, seed=seed).rows for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert first.shape == (100, 8)
    assert first.dtype == np.float32


@pytest.mark.parametrize("name", ["power_law", "low_rank"])
def test_the_spectrum_is_what_it_is_said_to_be(name):
    case = cases.make(name, 300, 32, dtype="float64")
    eigenvalues = np.linalg.eigvalsh(np.cov(case.rows.T))[::-1]
    assert np.abs(eigenvalues - case.truth["eigenvalues"]).max() < 1e-13
    assert np.linalg.matrix_rank(case.rows - case.rows.mean(axis=0)) == case.truth["rank"]


def test_power_law_eigenvalues_fall_with_the_third_power():
    eigenvalues = cases.make("power_law", 100, 10).truth["eigenvalues"]
    assert eigenvalues[[0, 1, 9]].tolist() == [1.0, 0.125, 0.001]


@pytest.mark.parametrize("name", ["gaussian", "heavy_tailed", "near_rank_one", "constant_magnitude", "counts"])
def test_the_population_covariance(name):
    case = cases.make(name, 60_000, 5, dtype="float64")
    truth = case.truth["population_covariance"]
    scale = np.sqrt(np.outer(truth.diagonal(), truth.diagonal()))
    # The fourth moments of Student's t with three degrees of freedom are infinite.
    assert (np.abs(np.cov(case.rows.T) - truth) / scale).max() < (0.3 if name == "heavy_tailed" else 0.04)


def test_constant_magnitude_has_exact_sums_of_squares():
    case = cases.make("constant_magnitude", 200, 6, dtype="float64")
    assert (case.rows**2).sum(axis=0) == pytest.approx(case.truth["sum_of_squares"], rel=1e-13)


def test_relu_is_sparse_and_counts_are_whole():
    assert 0.5 < (cases.make("relu", 1000, 8).rows == 0.0).mean() < 0.8
    counts = cases.make("counts", 1000, 8).rows
    assert (counts == np.round(counts)).all()
    assert counts.min() == 0.0


def test_offsets_move_only_their_columns():
    plain = cases.make("gaussian", 400, 6, dtype="float64").rows
    moved = cases.make("gaussian", 400, 6, dtype="float64", offset=1e4, columns=[1, 4]).rows
    assert (moved[:, [0, 2, 3, 5]] == plain[:, [0, 2, 3, 5]]).all()
    assert np.allclose(moved[:, [1, 4]].mean(axis=0) / plain[:, [1, 4]].std(axis=0), 1e4, rtol=1e-4)


def test_repeats_and_element_types():
    repeated = cases.make("gaussian", 40, 3, repeat=4).rows
    assert (repeated.reshape(10, 4, 3) == repeated[::4, None]).all()
    assert cases.make("gaussian", 10, 3, dtype="bfloat16").rows.dtype == torch.bfloat16
    assert cases.make("counts", 10, 3, dtype="uint8").rows.dtype == np.uint8


def test_labelled_rows_have_the_spread_that_was_asked_for():
    rows, labels = cases.labelled(20_000, 4, 5, within=0.5, between=10.0, offset=3.0)
    assert set(labels.tolist()) == set(range(5))
    residual = rows - np.array([rows[labels == k].mean(axis=0) for k in range(5)])[labels]
    assert residual.std() == pytest.approx(0.5, rel=0.02)
    counts = np.bincount(labels)
    assert (np.diff(counts) < 0).all()


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 0, 254), ("int8", -127, 126), ("int64", -(10**9), 10**9 - 1), ("bool", False, True)],
)
def test_integers_of_any_type_fill_it(dtype, low, high):
    rows = cases.of_type(dtype, 3000, 4)
    assert rows.dtype == dtype
    assert low <= rows.min() <= low + (high - low) * 1e-2
    assert high - (high - low) * 1e-2 <= rows.max() <= high


def test_floats_of_any_type_are_the_same_normal_numbers():
    rows = cases.of_type("float64", 4000, 3, seed=1)
    assert abs(rows.mean()) < 0.05
    assert abs(rows.std() - 1.0) < 0.05
    np.testing.assert_array_equal(cases.of_type("float16", 4000, 3, seed=1), rows.astype("float16"))
    assert torch.equal(cases.of_type("bfloat16", 4000, 3, seed=1), torch.from_numpy(rows).to(torch.bfloat16))
