from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import featdiv
from featdiv.probes.holdout import split
from featdiv.probes.proportion import of_rows


@pytest.fixture
def files(tmp_path):
    """Four classes of 60 rows, well apart in a file with labels beside it, and a test file with its own."""
    rng = np.random.default_rng(1)
    labels = np.repeat(["oak", "fir", "elm", "ash"], 60)
    x = (np.repeat(np.eye(4), 60, axis=0) + 0.5 * rng.normal(size=(240, 4))).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "y.txt").write_text("\n".join(labels))
    np.save(tmp_path / "test.npy", x[::7] + rng.normal(size=(35, 4)).astype(np.float32))
    np.save(tmp_path / "test-labels.npy", labels[::7])
    return x, labels


def test_leave_one_out_table(run, files):
    result = run("knn", "x.npy", "--labels", "y.txt", "-k", "1,5", "--vote", "uniform", "--classes")
    assert result.exit_code == 0
    probe = featdiv.knn_probe(*files, k=(1, 5), vote="uniform")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("kNN probe of 240 rows by one another, 4 classes, cosine")
    assert lines[2].split()[:3] == ["1", "uniform", f"{probe.cells[0].top1:.4f}"]
    assert lines[3].split()[:3] == ["5", "uniform", f"{probe.cells[1].top1:.4f}"]
    assert sum(line.endswith("best") for line in lines) == 1
    worst = lines[-4].split()
    assert float(worst[2]) == pytest.approx(probe.per_class().min(), abs=1e-4)
    assert "note: the best of 2 cells was chosen on the rows" in result.stderr


def test_labels_that_extract_wrote_are_found(run, files, tmp_path):
    x, labels = files
    for name, rows in (("train", x), ("judge", np.load(tmp_path / "test.npy"))):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "features-00000.npy", rows)
        (tmp_path / name / "manifest.txt").write_text("features-00000.npy\n")
        np.save(tmp_path / name / "labels.npy", labels if name == "train" else labels[::7])
    refused = run("knn", "train", "--test", "judge", "-k", "5")
    assert "--labels: expected the labels of the rows" in refused.stderr
    facts = {"format": "featdiv.extraction", "facts": {"model": "resnet18"}}
    for name in ("train", "judge"):
        (tmp_path / name / "extraction.json").write_text(json.dumps(facts))
    found = run("knn", "train", "--test", "judge", "-k", "5", "--json", "-", "--quiet")
    told = run(
        *("knn", "x.npy", "--labels", "y.txt", "--test", "test.npy", "--test-labels", "test-labels.npy"),
        *("-k", "5", "--json", "-", "--quiet"),
    )
    assert json.loads(found.stdout)["scores"] == json.loads(told.stdout)["scores"]
    assert json.loads(found.stdout)["provenance"]["source"].endswith("features-00000.npy with its labels")
    shown = run("transferability", "train", "--metrics", "logme", "--quiet").stdout
    assert shown.splitlines()[0].endswith("features-00000.npy with its labels")
    other = ("--labels", "y.txt", "--metrics", "logme", "--quiet")
    assert run("transferability", "train", *other).stdout.splitlines()[0].endswith("features-00000.npy")
    assert "class_separation" in run("diversity", "train", "--metrics", "class_separation", "--quiet").stdout
    assert run("spectrum", "train", "--quiet").stdout.count("effective_rank") == 1
    assert run("spectrum", "train", "--per-class", "--quiet").stdout.count("effective_rank") == 2
    assert run("probe", "fewshot", "train", "--ways", "4", "--shots", "1", "--quiet").exit_code == 0


def test_train_and_test_as_json(run, files):
    result = run(
        *("knn", "--train", "x.npy", "--labels", "y.txt", "--test", "test.npy", "--test-labels", "test-labels.npy"),
        *("--protocol", "dinov2-knn", "--json", "-", "--quiet"),
    )
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    x, labels = files
    probe = featdiv.knn_probe(x, labels, test="test.npy", test_labels=labels[::7], protocol="dinov2-knn")
    assert content["scores"] == dict(probe.scores)
    assert content["provenance"]["arguments"]["protocol"] == "dinov2-knn@1"


def test_holdout_is_the_split_it_says(run, files):
    result = run(
        "knn", "x.npy", "--labels", "y.txt", "--holdout", "0.2", "--seed", "3", "-k", "7", "--json", "out.json"
    )
    assert result.exit_code == 0
    x, labels = files
    fit, judge = split(labels, 0.2, seed=3, function="test")
    assert np.unique(labels[judge], return_counts=True)[1].tolist() == [12] * 4
    probe = featdiv.knn_probe(x[fit], labels[fit], test=x[judge], test_labels=labels[judge], k=7)
    assert json.loads(Path("out.json").read_text())["scores"] == dict(probe.scores)
    assert "48 rows by 192 training rows" in result.stdout


def test_groups_of_test_and_of_what_is_held_out(run, files, tmp_path):
    x, labels = files
    np.save("groups.npy", np.arange(240) % 30)
    np.save("test-groups.npy", np.arange(35) % 9)
    rows = ("knn", "x.npy", "--labels", "y.txt", "--groups", "groups.npy", "-k", "7", "--vote", "exp", "--json", "-")
    other = ("--test", "test.npy", "--test-labels", "test-labels.npy", "--test-groups", "test-groups.npy")
    judged = json.loads(run(*rows, *other).stdout)
    probe = featdiv.knn_probe(x, labels, test="test.npy", test_labels=labels[::7], k=7)
    right = probe.predictions(probe.cell(7, "exp")) == labels[::7]
    expected = of_rows(right, np.arange(35) % 9)
    assert judged["intervals"]["k=7 exp"]["low"] == pytest.approx(expected.low)
    assert judged["intervals"]["k=7 exp"]["groups"] == 9
    held_out = json.loads(run(*rows, "--holdout", "0.2", "--quiet").stdout)
    _, judge = split(labels, 0.2, seed=0, function="test", groups=np.arange(240) % 30)
    assert held_out["provenance"]["arguments"]["test_n"] == len(judge)
    assert held_out["intervals"]["k=7 exp"]["groups"] == len(np.unique(judge % 30))


def test_few_shot_and_a_picture(run, files, tmp_path):
    result = run(
        *("knn", "x.npy", "--labels", "y.txt", "--per-class", "5", "--draws", "2", "--seed", "4", "-k", "1,3"),
        *("--temperature", "0.2", "--plot", "k.png"),
    )
    assert result.exit_code == 0
    assert "220 rows by 5 training rows of every class, 2 draws" in result.stdout
    probe = featdiv.knn_probe(*files, per_class=5, seeds=[4, 5], k=(1, 3), temperature=0.2)
    assert f"{probe.cell(3).top1:.4f}" in result.stdout
    assert (tmp_path / "k.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.npy"], "--labels: expected the labels"),
        (["--labels", "y.txt"], "expected the training rows once"),
        (["x.npy", "--train", "x.npy", "--labels", "y.txt"], "expected the training rows once"),
        (["x.npy", "--labels", "y.txt", "--test", "test.npy", "--holdout", "0.2"], "nothing to hold out"),
        (["x.npy", "--labels", "y.txt", "--test-labels", "y.txt"], "expected --test with it"),
        (["x.npy", "--labels", "y.txt", "--test-groups", "y.txt"], "--test-groups: expected --test with it"),
        (["x.npy", "--labels", "y.txt", "-k", "1;5"], "-k: expected whole numbers separated by commas"),
        (["x.npy", "--labels", "y.txt", "--backend", "annoy"], "--backend: expected auto"),
    ],
)
def test_bad_usage(run, files, arguments, message):
    result = run("knn", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", "").split())


def test_bad_data(run, files):
    result = run("knn", "x.npy", "--labels", "y.txt", "--holdout", "1.5")
    assert result.exit_code == 1
    assert "holdout: expected a share between 0 and 1; got 1.5" in result.stderr


@pytest.mark.parametrize("command", [["knn", "-k", "1"], ["probe", "linear", "--C", "1", "--holdout", "0.3"]])
def test_rows_without_a_label_are_ignored_when_asked(run, tmp_path, command):
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    np.save(tmp_path / "x.npy", rng.normal(size=(90, 5)) + 2.0 * np.eye(5)[labels])
    labels[:9] = -1
    np.save(tmp_path / "y.npy", labels)
    arguments = [*command, str(tmp_path / "x.npy"), "--labels", str(tmp_path / "y.npy"), "--quiet"]
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "got -1, which marks a missing label" in refused.stderr
    assert run(*arguments, "--ignore", "-1").exit_code == 0
