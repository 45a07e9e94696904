from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv


@pytest.fixture
def files(tmp_path):
    """Three models of the same 300 rows: b is a rotation of a, c is noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)) * [3.0, 2.0, 1.0, 1.0, 0.5]
    made = {"a": x, "b": x @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 7.0, "c": rng.normal(size=(300, 4))}
    for name, rows in made.items():
        np.save(tmp_path / f"{name}.npy", rows)
    return made


def test_two_models_on_one_line(run, files):
    result = run("compare", "a.npy", "b.npy")
    assert result.exit_code == 0
    title, heading, line = result.stdout.splitlines()
    assert title.startswith("cka (debiased) over 300 rows, float64")
    assert heading.split() == ["pair", "cka", "95", "%", "interval", "biased"]
    assert line.split() == ["a", "~", "b", "1.00000", "1"]


def test_several_models_as_a_matrix_and_its_pairs(run, files):
    result = run("compare", "a.npy", "b.npy", "c.npy", "--metric", "procrustes", "--definition", "squared")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["procrustes", "a", "b", "c"]
    expected = float(featdiv.procrustes(files["a"], files["c"], definition="squared"))
    assert lines[2] == ["a", "0.000", lines[2][2], f"{expected:.3f}"]
    assert float(lines[-2][3]) == pytest.approx(expected, rel=1e-5)
    assert [line[:3] for line in lines[-3:]] == [["a", "~", "b"], ["a", "~", "c"], ["b", "~", "c"]]


def test_json_alone_on_stdout(run, files):
    result = run("compare", "a.npy", "c.npy", "--json", "-", "--quiet")
    content = json.loads(result.stdout)
    assert content["scores"]["a ~ c"] == pytest.approx(float(featdiv.cka(files["a"], files["c"])), abs=1e-12)
    assert content["biased"][0][1] == pytest.approx(
        float(featdiv.cka(files["a"], files["c"], definition="biased")), abs=1e-12
    )
    assert result.stderr == ""


def test_arguments_of_the_metric(run, files):
    result = run("compare", "a.npy", "c.npy", "--metric", "mutual_knn", "--set", "k=3", "--json", "-")
    content = json.loads(result.stdout)
    assert content["scores"]["a ~ c"] == float(featdiv.mutual_knn(files["a"], files["c"], k=3))
    assert content["provenance"]["arguments"]["k"] == 3
    result = run("compare", "a.npy", "c.npy", "--metric", "rsa", "--set", "distance=euclidean", "--json", "-")
    expected = float(featdiv.rsa(files["a"], files["c"], distance="euclidean"))
    assert json.loads(result.stdout)["scores"]["a ~ c"] == pytest.approx(expected)


def test_pictures(run, files, tmp_path):
    result = run("compare", "a.npy", "b.npy", "c.npy", "--plot", "map.png", "--dendrogram", "tree.svg")
    assert result.exit_code == 0
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "tree.svg").read_bytes()
    assert "wrote map.png" in result.stderr


def test_names_tell_paths_apart(run, files, tmp_path):
    for folder in ("early", "late"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "x.npy", files["a"])
    content = json.loads(run("compare", "early/x.npy", "late/x.npy", "--json", "-").stdout)
    assert content["rows"] == ["early/x", "late/x"]


def test_ids_match_rows(run, files, tmp_path):
    order = np.random.default_rng(1).permutation(300)
    np.savez(tmp_path / "p.npz", rows=files["a"], name=np.arange(300))
    np.savez(tmp_path / "q.npz", rows=files["b"][order], name=order)
    arguments = ("compare", "p.npz", "q.npz", "--key", "rows", "--json", "-")
    assert json.loads(run(*arguments, "--ids", "name").stdout)["scores"]["p ~ q"] == pytest.approx(1.0)
    assert json.loads(run(*arguments).stdout)["scores"]["p ~ q"] < 0.1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.npy"], 2, "expected two models or more, each a path; got 1"),
        (["a.npy", "a.npy"], 2, "a.npy is given twice"),
        (["a.npy", "b.npy", "--metric", "nope"], 2, "--metric: expected one of cka, cca"),
        (["a.npy", "b.npy", "--definition", "nope"], 2, "--definition: expected one of debiased, biased, rbf for cka"),
        (["a.npy", "b.npy", "--set", "k"], 2, "--set: expected NAME=VALUE, such as k=5; got 'k'"),
        (["a.npy", "b.npy", "--plot", "missing/x.png"], 2, "the directory 'missing' does not exist"),
        (["a.npy", "b.npy", "--set", "q=2"], 1, "q: cka has no such argument"),
        (["a.npy", "b.npy", "--set", "seed=2"], 2, "--set: seed has an option of its own, --seed"),
        (["a.npy", "b.npy", "--metric", "mutual_knn", "--set", "k=five"], 1, "compare: k: expected a positive integer"),
        (["a.npy", "b.npy", "--metric", "rsa", "--set", "sample=0"], 1, "sample: expected a positive integer, got 0"),
        (["a.npy", "b.npy", "--metric", "rsa", "--set", "distance=5"], 1, "distance: expected one of 'correlation'"),
        (["a.npy", "b.npy", "--metric", "svcca", "--set", "variance=x"], 1, "variance: expected a share in (0, 1]"),
        (
            ["a.npy", "b.npy", "--definition", "rbf", "--set", "bandwidth=x"],
            1,
            "bandwidth: expected a positive multiple",
        ),
        (["a.npy", "short.npy"], 1, "short: expected 300 rows, as a has; got 299"),
        (["a.npy", "none.npy"], 1, "none.npy"),
    ],
)
def test_what_cannot_be_done(run, files, tmp_path, arguments, code, message):
    np.save(tmp_path / "short.npy", files["b"][1:])
    result = run("compare", *arguments)
    assert result.exit_code == code
    # Usage errors are wrapped to the width of the terminal.
    assert message in " ".join(result.stderr.replace("│", " ").split())
