from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
Image = pytest.importorskip("PIL.Image")

SHORT = ("--model", "test_resnet", "--no-pretrained", "--input-size", "32", "--data", "pets", "--steps", "2")
ONE_POINT = ("--lr", "0.01", "--weight-decay", "0", "--batch-size", "4", "--device", "cpu")


@pytest.fixture
def pets(tmp_path):
    """Eight images of noise in two classes to learn from, four to judge on."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, size=(20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pets" / split / name / f"{index}.png")
    return tmp_path / "pets"


def test_a_table_of_scores_and_runs(run, pets, tmp_path):
    plots = ("--plot", "curve.png", "--plot-grid", "grid.png")
    given = ("--seed", "0,3", "--out", "runs", "--json", "out.json", "--channels-last")
    result = run("finetune", *SHORT, *ONE_POINT, *given, *plots)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert any(line[0] == "test_accuracy" for line in lines)
    assert [line[0] for line in lines[-3:]] == ["search", "final", "final"]
    assert [line[3] for line in lines[-3:]] == ["0", "0", "3"]
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["seeds"] == [0, 3]
    assert content["classes"] == ["cat", "dog"]
    assert content["metric"] == "accuracy"
    assert content["provenance"]["arguments"]["channels_last"] is True
    assert len(list((tmp_path / "runs").glob("*/weights-*.pt"))) == 2
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("curve.png", "grid.png"))


def test_dry_run_counts_and_writes_nothing(run, pets, tmp_path):
    grid = ("--lr", "0.01,0.1,1", "--halving", "3", "--weight-decay", "0,1e-5,1e-4", "--batch-size", "4")
    arguments = (*SHORT, "--steps", "30", *grid, "--device", "cpu", "--out", "runs", "--dry-run")
    result = run("finetune", *arguments, "--json", "-")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert (content["runs"], content["steps"]) == (9 + 1 + 1, 9 * 10 + 30 + 30)
    assert (content["train"], content["val"], content["test"], content["classes"]) == (6, 2, 4, 2)
    assert content["seconds"] > content["steps"] * content["seconds_per_step"]
    assert not (tmp_path / "runs").exists()
    shown = run("finetune", *arguments)
    assert "11, 150 steps in all" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lr", "fast"), "--lr: expected numbers separated by commas; got 'fast'"),
        (("--seed", "1.5"), "--seed: expected whole numbers separated by commas; got '1.5'"),
    ],
)
def test_lists_that_are_none_are_wrong_usage(run, pets, arguments, message):
    result = run("finetune", *SHORT, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lr", "0"), "lr: expected a positive number"),
        (("--test", "nowhere"), "no such file or folder: nowhere"),
        (("--protocol", "unknown"), "protocols.get: name: expected one of"),
    ],
)
def test_what_cannot_be_used_is_one_line(run, pets, arguments, message):
    result = run("finetune", *SHORT, *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
