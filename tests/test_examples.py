"""Every script in examples/ runs as it is, and what it prints is what it promises."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def output_of(name: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_script_is_tested_here():
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in tested for path in EXAMPLES.glob("*.py"))


def test_spectrum_of_digits(tmp_path):
    lines = output_of("spectrum_of_digits.py", str(tmp_path / "out.png")).splitlines()
    assert lines[0].startswith("all digits: effective rank 39.7, ")
    assert len(lines) == 11
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_spectrum_of_file(tmp_path):
    lines = output_of("spectrum_of_file.py").splitlines()
    assert lines[0] == "digits.npy: 1,797 rows of 64 features, float32"
    assert lines[1].startswith("effective_rank: 39.71 95 %: [")
    rows = np.random.default_rng(0).normal(size=(2000, 5))
    np.savez(tmp_path / "two.npz", a=rows[:100, :4], b=rows)
    found = output_of("spectrum_of_file.py", str(tmp_path / "two.npz"), "b")
    assert found.startswith("two.npz: 2,000 rows of 5 features")


def test_parquet_shards():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed; pip install 'featdiv[arrow]' installs it")
    first, second = output_of("parquet_shards.py").splitlines()
    assert first == "400 shards, 1,797 rows of 64 features"
    # As of the digits at once.
    assert second.startswith("effective rank 39.7, ")


def test_rank_under_ddp():
    lines = output_of("rank_under_ddp.py").splitlines()
    # Of 1,797 digits each process takes 898.
    assert [line.partition(",")[0] for line in lines] == [f"epoch {i}: 1796 rows of 2 processes" for i in range(3)]
    ranks = [float(re.search(r"effective rank ([0-9.]+)", line)[1]) for line in lines]
    assert all(1.0 <= rank <= 32.0 for rank in ranks)


def test_layer_by_layer():
    pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
    title, heads, *lines = output_of("layer_by_layer.py").splitlines()
    assert title == "CKA of the layers of seed 0 (down) with those of seed 1 (across)"
    assert heads.split() == [line.split()[0] for line in lines] == [f"layer{i}" for i in (1, 2, 3, 4)]
    assert all(-0.1 <= float(value) <= 1.0 for line in lines for value in line.split()[1:])


def test_knn_like_dinov2():
    lines = output_of("knn_like_dinov2.py").splitlines()
    accuracies = {name: float(value.split()[0]) for name, value in (line.split(": ") for line in lines[:4])}
    assert list(accuracies) == [f"k={k} exp" for k in (10, 20, 100, 200)]
    assert accuracies["k=10 exp"] > 90.0
    assert lines[4] == "protocol dinov2-knn@1"


def test_linear_probe_protocol():
    first, second, _ = output_of("linear_probe_protocol.py").splitlines()
    assert first.startswith("dinov2-logreg@1: 45 values of C, the best ")
    assert 88.0 < float(second.split()[1]) < 99.0


def test_collapse_gate():
    command = [sys.executable, "-W", "error", str(EXAMPLES / "collapse_gate.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    *_, healthy, collapsed = done.stdout.splitlines()
    assert (healthy, collapsed) == ("healthy: exit code 0", "collapsed: exit code 3")


def test_merge_shards():
    first, merged, whole = output_of("merge_shards.py").splitlines()
    assert first == "8 shards, 20,000 rows"
    assert float(merged.split()[-1]) == pytest.approx(float(whole.split()[-1]), rel=1e-5)


def test_watch_training():
    ranks = [float(found) for found in re.findall(r"effective rank ([0-9.]+)", output_of("watch_training.py"))]
    assert len(ranks) == 5
    assert all(1.0 <= rank <= 32.0 for rank in ranks)


def test_rank_checkpoints(tmp_path):
    pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
    lines = output_of("rank_checkpoints.py", "--out", str(tmp_path / "kept")).splitlines()
    chances = [float(re.search(r"P\(best\) ([0-9.]+)", line)[1]) for line in lines[:3]]
    assert sum(chances) == pytest.approx(1.0, abs=0.02)
    assert lines[3].startswith("Take test_")
    assert (tmp_path / "kept" / "ranking.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_cifar10_checkpoints(tmp_path):
    data = EXAMPLES.parents[1] / "shared" / "data"
    if not (data / "cifar10-train.parquet").exists():
        pytest.skip("the data of the study is not beside the repository")
    pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
    small = {
        "images": 64,
        "test-images": 20,
        "epochs": 1,
        "target-images": 60,
        "target-test-images": 20,
        "batch-size": 32,
    }
    options = [
        f"--{name}={value}" for name, value in {**small, "finetune-steps": 1, "finetune-lr": 0.1, "seeds": 0}.items()
    ]
    options += ["--measured", "0", "1"]
    output_of("cifar10_checkpoints/study.py", f"--data={data}", f"--out={tmp_path}", *options)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["target"]) for row in rows] == [
        (epoch, target) for epoch in "01" for target in ("mnist", "sign-digits")
    ]
    assert all(0.0 <= float(row["finetune_accuracy"]) <= 1.0 for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["settings"]["images"] == 64
    with (tmp_path / "means.csv").open(newline="") as file:
        means = {(line["target"], line["epoch"]): line for line in csv.DictReader(file)}
    assert {line["seeds"] for line in means.values()} == {"1"}
    for row in rows:
        line = means[row["target"], row["epoch"]]
        assert line["vendi"] == line["vendi_low"] == line["vendi_high"] == row["vendi"]
    # Two checkpoints go together or against one another.
    assert {abs(found["vendi"]["linear_accuracy"]["pooled"] or 1.0) for found in summary["spearman"].values()} == {1.0}
    assert (tmp_path / "checkpoints.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_cifar10_checkpoints_go_on_after_a_kill(tmp_path, monkeypatch):
    data = EXAMPLES.parents[1] / "shared" / "data"
    if not (data / "cifar10-train.parquet").exists():
        pytest.skip("the data of the study is not beside the repository")
    pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
    torch = pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("study", EXAMPLES / "cifar10_checkpoints" / "study.py")
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)

    def options(out):
        small = [f"--data={data}", f"--out={tmp_path / out}", "--images=64", "--test-images=20", "--batch-size=16"]
        monkeypatch.setattr(sys, "argv", ["study.py", *small, "--epochs=2"])
        return study.arguments()

    whole = study.train(options("whole"), 0)
    save, saved = study.save, []

    def dying(value, path):
        # The weights of the second epoch are there, and not what the third needs.
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(path)
        save(value, path)

    monkeypatch.setattr(study, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        study.train(options("killed"), 0)
    monkeypatch.setattr(study, "save", save)
    again = study.train(options("killed"), 0)
    for (path, accuracy), (other, expected) in zip(again, whole, strict=True):
        assert accuracy == expected
        found, weights = (torch.load(one, weights_only=True) for one in (path, other))
        assert all(torch.equal(found[name], value) for name, value in weights.items())
