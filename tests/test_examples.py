"""Every script in examples/ runs as it is, and what it prints is what it promises."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

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
    small = {"images": 64, "test-images": 20, "epochs": 1, "target-images": 60, "target-test-images": 20}
    options = [f"--{name}={value}" for name, value in {**small, "finetune-steps": 1}.items()]
    output_of("cifar10_checkpoints/study.py", f"--data={data}", f"--out={tmp_path}", *options)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["target"]) for row in rows] == [
        (epoch, target) for epoch in "01" for target in ("mnist", "sign-digits")
    ]
    assert all(0.0 <= float(row["finetune_accuracy"]) <= 1.0 for row in rows)
    assert json.loads((tmp_path / "summary.json").read_text())["settings"]["images"] == 64
    assert (tmp_path / "checkpoints.png").read_bytes().startswith(b"\x89PNG")
