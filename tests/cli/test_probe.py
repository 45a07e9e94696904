from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv.testing import cases


@pytest.fixture
def files(tmp_path):
    x, labels = cases.labelled(400, 6, 3, between=0.8)
    np.save(tmp_path / "x.npy", x[:300])
    np.save(tmp_path / "y.npy", labels[:300])
    np.save(tmp_path / "t.npy", x[300:])
    np.save(tmp_path / "u.npy", labels[300:])
    return x, labels


def test_ridge_with_a_test_set(run, files, tmp_path):
    x, labels = files
    result = run(
        "probe", "ridge", "x.npy", "--labels", "y.npy", "--test", "t.npy", "--test-labels", "u.npy", "--json", "-",
        "--plot", "path.png", "--quiet",
    )  # fmt: skip
    expected = featdiv.ridge_probe(x[:300], labels[:300], test=x[300:], test_labels=labels[300:])
    assert json.loads(result.stdout)["scores"] == pytest.approx(dict(expected.scores))
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")


def test_ridge_holds_out_a_share_of_every_class(run, files):
    result = run("probe", "ridge", "--train", "x.npy", "--labels", "y.npy", "--holdout", "0.2", "--lambdas", "1,10")
    assert result.exit_code == 0
    assert "ridge probe, penalty" in result.stdout.splitlines()[0]
    assert "test_accuracy" in result.stdout


@pytest.mark.parametrize("name", ["ridge", "linear"])
def test_groups_reach_the_intervals(run, files, name):
    np.save("groups.npy", np.arange(300) % 40)
    np.save("test-groups.npy", np.arange(100) % 11)
    rows = ("probe", name, "x.npy", "--labels", "y.npy", "--groups", "groups.npy", "--json", "-", "--quiet")
    rows += ("--C", "0.1,1") if name == "linear" else ()
    other = ("--test", "t.npy", "--test-labels", "u.npy", "--test-groups", "test-groups.npy")
    intervals = json.loads(run(*rows, *other).stdout)["intervals"]
    assert intervals["test_accuracy"]["groups"] == 11
    if name == "ridge":
        assert intervals["loo_accuracy"]["groups"] == 40
    held_out = json.loads(run(*rows, "--holdout", "0.25").stdout)["intervals"]["test_accuracy"]
    # About a quarter of the 40 groups, which are held out whole.
    assert 8 <= held_out["groups"] <= 12


def test_fewshot(run, files):
    x, labels = files
    result = run("probe", "fewshot", "x.npy", "--labels", "y.npy", "--ways", "3", "--shots", "1,2", "--json", "-")
    expected = featdiv.fewshot_probe(x[:300], labels[:300], shots=(1, 2), ways=3)
    assert json.loads(result.stdout)["scores"] == pytest.approx(dict(expected.scores))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ridge", "x.npy"], 2, "--labels: expected the labels of the rows"),
        (["ridge", "--labels", "y.npy"], 2, "expected the training rows once"),
        (["linear", "x.npy", "--labels", "y.npy", "--val-labels", "y.npy"], 2, "--val-labels: expected --val with it"),
        (["ridge", "x.npy", "--labels", "y.npy", "--holdout", "2"], 1, "holdout: expected a share between 0 and 1"),
        (["ridge", "x.npy", "--labels", "y.npy", "--lambdas", "a"], 2, "--lambdas: expected numbers separated by"),
        (["fewshot", "x.npy", "--labels", "y.npy", "--shots", "1.5"], 2, "expected whole numbers"),
        (["fewshot", "x.npy", "--labels", "y.npy"], 1, "5 classes with at least 16 rows are needed"),
    ],
)
def test_what_cannot_be_done(run, files, arguments, code, message):
    result = run("probe", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_linear_with_a_test_set(run, files, tmp_path):
    x, labels = files
    result = run(
        "probe", "linear", "x.npy", "--labels", "y.npy", "--test", "t.npy", "--test-labels", "u.npy", "--C", "0.1,10",
        "--folds", "3", "--json", "-", "--plot", "path.png", "--quiet",
    )  # fmt: skip
    expected = featdiv.linear_probe(
        x[:300], labels[:300], test=x[300:], test_labels=labels[300:], C=[0.1, 10.0], folds=3
    )
    assert json.loads(result.stdout)["scores"] == pytest.approx(dict(expected.scores))
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")


def test_linear_holds_out_a_share_of_every_class(run, files):
    result = run("probe", "linear", "--train", "x.npy", "--labels", "y.npy", "--holdout", "0.2", "--C", "1,10")
    assert result.exit_code == 0
    assert "linear probe, C = " in result.stdout.splitlines()[0]
    assert "test_accuracy" in result.stdout


def test_linear_wants_one_set_to_judge_on(run, files):
    result = run(
        "probe", "linear", "x.npy", "--labels", "y.npy", "--test", "t.npy", "--test-labels", "u.npy", "--holdout", "0.2"
    )
    assert result.exit_code == 2
    assert "with --test there is nothing to hold out" in result.stderr
