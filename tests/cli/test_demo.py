from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_demo_does_the_whole_job(run, tmp_path):
    result = run("demo", "--out", "here/there")
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
