from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv.testing import cases


@pytest.fixture
def files(tmp_path):
    x, labels = cases.labelled(400, 6, 3, between=0.8)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", labels)
    theta = np.full((400, 4), 0.1)
    theta[np.arange(400), labels] = 0.7
    np.save(tmp_path / "p.npy", theta)
    return x, labels, theta


def test_the_table(run, files):
    x, labels, _ = files
    result = run("transferability", "x.npy", "--labels", "y.npy")
    assert result.exit_code == 0
    title, heads, *lines = result.stdout.splitlines()
    assert heads.split() == ["score", "value", "95", "%", "interval", "definition"]
    assert [line.split()[-1] for line in lines if line.split()[0] in ("h_score", "gbc")] == ["shrunk", "diagonal"]
    assert title == "400 × 6 float64, 3 classes, x.npy"
    shown = {line.split()[0]: line.split()[1] for line in lines}
    assert list(shown) == ["logme", "h_score", "transrate", "gbc", "lda", "lda_accuracy", "ridge", "knn"]
    assert float(shown["logme"]) == pytest.approx(float(featdiv.logme(x, labels)), rel=1e-5)


def test_json_names_and_probabilities(run, files, tmp_path):
    _, labels, theta = files
    result = run(
        "transferability", "x.npy", "--labels", "y.npy", "--metrics", "leep,nce,ridge", "--source-probs", "p.npy",
        "--json", "-", "--quiet", "--plot", "a.png",
    )  # fmt: skip
    content = json.loads(result.stdout)
    assert set(content["scores"]) == {"leep", "nce", "ridge"}
    assert content["scores"]["leep"] == pytest.approx(float(featdiv.leep(theta, labels)))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert result.stderr.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["x.npy"], 2, "--labels: expected the labels of the rows"),
        (["x.npy", "--labels", "y.npy", "--metrics", "nope"], 1, "metrics: expected 'default', 'all', or some of"),
        (["x.npy", "--labels", "y.npy", "--ignore", "cat"], 2, "--ignore: expected a whole number"),
        (["x.npy", "--labels", "y.npy", "--json", "missing/a.json"], 2, "the directory 'missing' does not exist"),
        (["x.npy", "--labels", "y.npy", "--interval", "jackknife"], 1, "'jackknife' cannot be had here"),
    ],
)
def test_what_cannot_be_done(run, files, arguments, code, message):
    result = run("transferability", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
