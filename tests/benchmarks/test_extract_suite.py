"""The oracle of the extraction benchmark is timm's own forward pass, and its errors are relative."""

from __future__ import annotations

import numpy as np
import pytest

from suites.extract import SUITE, contenders, data

pytest.importorskip("timm")


def test_every_contender_computes_what_the_reference_does(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SIDE", 32)
    monkeypatch.setattr(contenders, "SIDE", 32)
    job = data.primer(tmp_path)
    truth = contenders.reference(job)
    assert truth["features"].shape == (job.n, job.d)
    assert truth["features"].dtype == np.float64
    np.testing.assert_array_equal(truth["mean"], truth["features"].mean(axis=0))
    for contender in SUITE.workload("resnet18").contenders:
        found = SUITE.errors(contender.answer(job, contender.run(job)), truth)
        assert found.keys() == SUITE.accuracy[contender.accuracy].keys()
        assert all(error <= SUITE.accuracy[contender.accuracy][name] for name, error in found.items())


def test_errors_are_relative_to_the_largest_value():
    truth = {"features": np.array([[4.0, -8.0]]), "mean": np.array([1.0])}
    assert SUITE.errors({"features": [[4.0, -6.0]]}, truth) == {"features": 0.25}
    assert SUITE.errors({"mean": [1.5]}, truth) == {"mean": 0.5}
