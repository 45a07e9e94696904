"""The oracle of the spectrum benchmark is right, and its command line says what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import run
from harness.registry import Data
from suites.spectrum import SUITE, reference


def _saved(folder: Path, rows: np.ndarray, labels: np.ndarray | None = None) -> Data:
    np.save(folder / "x.npy", rows)
    if labels is not None:
        np.save(folder / "labels.npy", labels)
    return Data(
        path=str(folder / "x.npy"),
        n=len(rows),
        d=rows.shape[1],
        dtype=rows.dtype.name,
        labels=None if labels is None else str(folder / "labels.npy"),
    )


def _with_eigenvalues(eigenvalues: list[float], mean: list[float]) -> np.ndarray:
    """Rows plus and minus sqrt of the eigenvalues along the axes: the covariance is known by hand."""
    d = len(eigenvalues)
    axes = np.diag(np.sqrt(np.array(eigenvalues) * (2 * d - 1) / 2))
    return np.concatenate([axes, -axes]) + mean


@pytest.mark.parametrize("largest_qr", [0, 10**12], ids=["second moments", "QR"])
def test_the_reference_finds_known_eigenvalues(tmp_path, monkeypatch, largest_qr):
    monkeypatch.setattr(reference, "_QR_OPERATIONS", largest_qr)
    mean = [3.0, 0.0, 0.0]
    found = reference.spectrum(_saved(tmp_path, _with_eigenvalues([4.0, 1.0, 0.25], mean)))
    np.testing.assert_allclose(found["eigenvalues"], [4.0, 1.0, 0.25], rtol=1e-13)
    # X^T X / n of the six rows: 5/6 of the covariance, and the square of the mean on the first axis.
    np.testing.assert_allclose(found["uncentered"], [4 * 5 / 6 + 9, 5 / 6, 0.25 * 5 / 6], rtol=1e-13)


def test_effective_rank_of_the_oracle_by_hand():
    # sigma = (2, 1, 1): p = (1/2, 1/4, 1/4), entropy 1.5 ln 2.
    assert float(reference.effective_rank([4.0, 1.0, 1.0])) == pytest.approx(2**1.5)
    assert float(reference.effective_rank([7.0, 0.0])) == pytest.approx(1.0)
    assert float(reference.rankme(np.ones(16))) == pytest.approx(16.0, rel=1e-5)


def test_spectra_by_class_of_the_oracle(tmp_path):
    first, second = [9.0, 1.0], [4.0, 2.0]
    rows = np.concatenate([_with_eigenvalues(first, [5.0, 5.0]), _with_eigenvalues(second, [0.0, -9.0])])
    data = _saved(tmp_path, rows, labels=np.repeat([1, 7], 4))
    np.testing.assert_allclose(reference.spectra_by_class(data)["eigenvalues"], [first, second], rtol=1e-13)


def test_errors_are_relative_and_know_about_zero_and_leading_parts():
    true = {
        "eigenvalues": np.array([4.0, 1.0]),
        "effective_rank": 2.0,
        "uncentered": np.array([8.0, 1.0]),
        "uncentered_effective_rank": 4.0,
    }
    found = reference.errors({"eigenvalues": np.array([4.0, 2.0]), "effective_rank": 3.0}, true)
    assert found == {"eigenvalues": 0.25, "effective rank": 0.5}
    about_zero = {"eigenvalues": np.array([8.0, 2.0]), "effective_rank": 3.0, "centered": False}
    assert reference.errors(about_zero, true) == {"eigenvalues": 0.125, "effective rank": 0.25}
    assert reference.errors({"eigenvalues": np.array([5.0])}, true) == {"eigenvalues": 0.25}
    assert np.isnan(reference.errors({"eigenvalues": np.ones(3)}, true)["eigenvalues"])


@pytest.mark.parametrize(
    ("workload", "contender"),
    [
        (workload.name, contender.name)
        for workload in SUITE.workloads
        if workload.name in ("npy-200k", "classes-1000")
        for contender in workload.contenders
    ],
)
def test_every_contender_keeps_its_claim_on_a_small_input(tmp_path, workload, contender):
    chosen = SUITE.workload(workload)
    one = chosen.contender(contender)
    if one.missing():
        pytest.skip(f"needs {one.missing()}")
    data = SUITE.prime(tmp_path)
    found = SUITE.errors(one.answer(data, one.run(data)), chosen.reference(data))
    assert found
    for name, limit in SUITE.accuracy[one.accuracy].items():
        assert found[name] <= limit


def test_the_list_names_every_workload(capsys):
    assert run.main(["--list"]) == 0
    shown = capsys.readouterr().out
    for name in ("minilm", "npy-200k", "npy-1m", "classes-1000", "accuracy", "offset", "sklearn IncrementalPCA"):
        assert name in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["spectrum", "--workload", "npy-2"], "no 'npy-2' here; there are minilm, npy-200k"),
        (["spectrum", "--peers", "sklearn"], "no 'sklearn' here; there are sklearn PCA"),
        (["spectrum", "--repeats", "0"], "expected at least 1; got 0"),
        ([], "name an operation"),
    ],
)
def test_bad_usage_is_refused_before_anything_runs(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        run.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_writes_what_it_measured(tmp_path, capsys):
    out = tmp_path / "out.json"
    arguments = ["spectrum", "--workload", "classes-1000", "--quick", "--peers", "loop of eigvalsh(np.cov)"]
    assert run.main([*arguments, "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    (result,) = content["results"]
    assert [entry["status"] for entry in result["contenders"]] == ["timed", "timed"]
    assert content["machine"]["commit"]
    assert "### classes-1000" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]
