"""The references of the suites of ops and of the kNN probe against other code, so that the gate can be trusted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.neighbors import KNeighborsClassifier

from harness import registry
from harness.registry import Data
from suites import resident
from suites.class_scatter import reference as class_reference
from suites.eigvals import data as matrices
from suites.knn import data as knn_inputs
from suites.knn import reference as knn_reference
from suites.pair_sums import reference as pair_reference
from suites.scatter import reference as scatter_reference
from suites.topk import reference as topk_reference

N, D = 300, 12


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    rows = (random.normal(size=(N, D)) + 0.5).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "labels.npy", random.integers(0, 4, size=N))
    return Data(
        path=str(tmp_path / "rows.npy"), n=N, d=D, dtype="float32", labels=str(tmp_path / "labels.npy")
    ), rows.astype(np.float64)


@pytest.mark.parametrize("op", [op for op in registry.SUITES if op not in ("extract",)])
def test_every_suite_loads_and_its_targets_name_contenders(op):
    suite = registry.load(registry.SUITES[op])
    assert suite.op == op
    for workload in suite.workloads:
        names = {contender.name for contender in workload.contenders}
        assert len(names) == len(workload.contenders)
        assert {contender.accuracy for contender in workload.contenders} <= suite.accuracy.keys()
        for target in workload.targets:
            assert target.contender in names
            assert target.figure != "ratio" or (target.to in names and target.to in suite.baselines)


def test_the_product_is_that_of_the_rows_as_each_type_holds_them(data):
    np.testing.assert_allclose(scatter_reference.of_float32(data[0])["gram"], data[1].T @ data[1], rtol=1e-13)
    half = data[1].astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(scatter_reference.of_float16(data[0])["gram"], half.T @ half, rtol=1e-13)
    rounded = resident.bfloat16(data[0]).double().numpy()
    assert 0 < np.abs(rounded - data[1]).max() <= 2.0**-8 * np.abs(data[1]).max()
    np.testing.assert_allclose(scatter_reference.of_bfloat16(data[0])["gram"], rounded.T @ rounded, rtol=1e-13)


def test_answers_come_to_the_host_from_arrays_numbers_and_tensors():
    for value in (np.float32(2.5), np.array([2.5]), torch.tensor([2.5])):
        assert resident.on_host(value) == 2.5


def test_a_wrong_entry_is_seen_at_its_own_scale():
    true = np.diag([1e8, 1.0])
    found = true.copy()
    found[1, 1] = 1.5
    errors = scatter_reference.errors({"gram": found}, {"gram": true})
    assert errors["frobenius"] == pytest.approx(5e-9)
    assert errors["entrywise"] == pytest.approx(0.5)


def test_scatters_of_classes_are_covariances(data):
    labels = np.load(data[0].labels)
    found = class_reference.of_classes(data[0])
    first = data[1][labels == 0]
    np.testing.assert_allclose(found["scatters"][0], np.cov(first.T) * (len(first) - 1), rtol=1e-10)
    np.testing.assert_allclose(found["means"][0], first.mean(axis=0))


@pytest.mark.parametrize("block", [64, 4096])
def test_pairs_are_those_of_scipy(data, block, monkeypatch):
    monkeypatch.setattr(pair_reference, "_ROWS", block)
    assert pair_reference.distances(data[0])["score"] == pytest.approx(pdist(data[1]).mean(), rel=1e-12)
    cosines = 1.0 - pdist(data[1], "cosine")
    expected = np.histogram(cosines, pair_reference.BINS, range=(-1.0, 1.0))[0]
    np.testing.assert_array_equal(pair_reference.histogram(data[0])["counts"], expected)
    unit = data[1] / np.linalg.norm(data[1], axis=1, keepdims=True)
    expected = np.log(np.exp(-2.0 * pdist(unit, "sqeuclidean")).mean())
    assert pair_reference.uniformity(data[0])["score"] == pytest.approx(expected, rel=1e-12)


def test_nearest_products_are_those_of_a_full_sort(data):
    products = data[1] @ data[1].T
    expected = -np.sort(-products, axis=1)[:, :7]
    truth = topk_reference.nearest(7)(data[0])
    np.testing.assert_allclose(truth["values"], expected, rtol=1e-12)
    order = np.argsort(-products, axis=1)[:, :7]
    right = {"values": expected, "true_values": topk_reference.true_values(data[0], order)}
    assert topk_reference.errors(right, truth)["missed"] == 0.0
    order[:, -1] = products.argmin(axis=1)
    wrong = right | {"true_values": topk_reference.true_values(data[0], order)}
    assert topk_reference.errors(wrong, truth)["missed"] == pytest.approx(1 / 7)


def test_votes_are_those_of_scikit_learn_where_nothing_ties(data):
    gallery, labels, queries, truth = knn_inputs.split(data[0])
    assert (len(gallery), len(queries)) == (240, 60)
    values, indices = knn_reference.table(data[0], 20)
    found = knn_reference.accuracy(values, labels[indices], truth, 20, "exp")
    model = KNeighborsClassifier(
        20, metric="cosine", algorithm="brute", weights=lambda far: np.exp((1.0 - far) / knn_reference.TEMPERATURE)
    )
    assert found == pytest.approx(model.fit(gallery, labels).score(queries, truth), abs=1e-12)


def test_equal_votes_go_to_the_nearer_class():
    values, labels = np.array([[0.9, 0.8, 0.1, 0.05]]), np.array([[3, 1, 1, 3]])
    assert knn_reference.accuracy(values, labels, np.array([3]), 4, "uniform") == 1.0


def test_matrices_have_the_eigenvalues_that_they_are_made_with(tmp_path):
    job = matrices.primer(tmp_path)
    found = np.linalg.eigvalsh(np.load(job.path))
    np.testing.assert_allclose(found, matrices.eigenvalues(job.n, job.d), rtol=1e-9)
    off_diagonal = np.load(job.path) * (1 - np.eye(job.d))
    assert (np.abs(off_diagonal).max(axis=(1, 2)) > 0).all()


def test_fewer_rows_are_the_first_ones(data):
    assert len(resident.float32(dataclasses.replace(data[0], n=10))) == 10
