from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from featdiv.cli import demo_models


@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_demo_does_the_whole_job(run, tmp_path):
    result = run("demo", "--out", "here/there", "--no-models")
    assert result.exit_code == 0
    folder = tmp_path / "here" / "there"
    assert sorted(path.name for path in folder.iterdir()) == [
        "digits.npy",
        "labels.npy",
        "spectrum.json",
        "spectrum.png",
    ]
    digits = load_digits()
    np.testing.assert_array_equal(np.load(folder / "digits.npy"), digits.data)
    written = json.loads((folder / "spectrum.json").read_text())
    variances = np.linalg.svd(digits.data - digits.data.mean(0), compute_uv=False) ** 2
    expected = variances.sum() ** 2 / (variances**2).sum()
    assert written["scores"]["participation_ratio"] == pytest.approx(expected, rel=1e-5)
    assert set(written["per_class"]) == {str(digit) for digit in range(10)}
    assert f"featdiv spectrum {'here/there'}/digits.npy" in result.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_demo_trains_and_ranks_two_networks(run, tmp_path, monkeypatch):
    pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
    few = load_digits()
    few = type(few)(images=few.images[:200], target=few.target[:200], data=few.data[:200])
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: few)
    monkeypatch.setattr(demo_models, "STEPS", 2)
    monkeypatch.setattr(demo_models, "SIZE", 16)
    result = run("demo")
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "featdiv-demo"
    # The digits 5 to 9, a picture file each.
    assert len(list((folder / "images").rglob("*.png"))) == int((few.target >= 5).sum())
    assert sorted(path.name for path in (folder / "images").iterdir()) == list("56789")
    content = json.loads((folder / "ranking.json").read_text())
    assert sorted(content["models"]) == sorted(demo_models.NETWORKS)
    assert content["n"] == int((few.target >= 5).sum())
    assert not content["failed"]
    assert content["recommendation"] in result.stdout
    assert "Two small networks" in (folder / "ranking.html").read_text()
    again = result.stderr.rstrip().splitlines()[-1].split()[1:]
    assert again[:3] == ["rank-models", "--data", "featdiv-demo/images"]
    shown = run(*again, "--limit", "40", "--scores", "none", "--probe", "knn", "--json", "-")
    assert json.loads(shown.stdout)["n"] == 40
