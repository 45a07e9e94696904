from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
Image = pytest.importorskip("PIL.Image")

MODEL = ("--model", "test_resnet", "--no-pretrained", "--input-size", "32", "--data", "pets")


@pytest.fixture
def pets(tmp_path):
    """Six images of noise in two classes."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(3):
            pixels = random.integers(0, 256, size=(20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{index}.png")
    return tmp_path / "pets"


def test_features_are_written_and_can_be_analysed(run, pets, tmp_path):
    result = run("extract", *MODEL, "--out", "features", "--json", "out.json")
    assert result.exit_code == 0, result.stderr
    heading, line = result.stdout.splitlines()
    assert heading.split() == ["layer", "rows", "features", "dtype", "path"]
    assert line.split()[:4] == ["penultimate", "6", "96", "float32"]
    (content,) = json.loads((tmp_path / "out.json").read_text())["features"]
    assert content["extraction"]["weights"] == "random weights (seed 0)"
    expected = featdiv.extract("test_resnet", pets, pretrained=False, transform={"input_size": (3, 32, 32)})
    opened = featdiv.open(content["path"])
    np.testing.assert_allclose(opened.take(range(6)), expected.take(range(6)), rtol=1e-5, atol=1e-5)
    assert json.loads(run("info", content["path"], "--json", "-").stdout)["rows"] == 6


def test_layers_moments_and_damaged_images(run, pets, tmp_path):
    (pets / "cat" / "x.png").write_bytes(b"")
    arguments = ("extract", *MODEL, "-o", "features", "--layer", "layer1", "--layer", "penultimate", "--no-store")
    broken = run(*arguments)
    assert broken.exit_code == 1
    assert "x.png: the file has no bytes" in broken.stderr
    result = run(*arguments, "--corrupt", "skip")
    assert result.exit_code == 0, result.stderr
    assert "skipped " in result.stderr
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [["layer1", "6"], ["penultimate", "6"]]
    assert len(list((tmp_path / "features").glob("*/moments.npz"))) == 2


def test_dry_run_writes_nothing(run, pets, tmp_path):
    result = run("extract", *MODEL, "--out", "features", "--dry-run", "--json", "-")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert (content["n"], content["left"], content["d"], content["bytes"]) == (6, 6, {"penultimate": 96}, 6 * 96 * 4)
    assert content["fits"] is True
    assert not list((tmp_path / "features").glob("*")) if (tmp_path / "features").exists() else True
    table = run("extract", *MODEL, "--out", "features", "--dry-run").stdout
    assert "6 to do, of 6" in table
    assert "images/s on cpu" in table
    run("extract", *MODEL, "--out", "features")
    assert "0 to do, of 6" in run("extract", *MODEL, "--out", "features", "--dry-run").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "resnet1", "--data", "pets"], 1, "has no model 'resnet1'; did you mean resnet18"),
        (["--model", "test_resnet", "--data", "pet"], 1, "no such file or folder: pet; did you mean pets?"),
        (["--model", "test_resnet", "--data", "pets", "--pool", "max"], 2, "--pool"),
        (["--data", "pets"], 2, "--model"),
        ([*MODEL, "--layer", "layer9"], 1, "has no layer 'layer9'; did you mean"),
        ([*MODEL, "--split", "test"], 1, "expected one of the splits"),
        (["--model", "test_resnet", "--data", "pets", "--checkpoint", "no.pt"], 1, "no.pt: there is no such file"),
    ],
)
def test_wrong_usage(run, pets, arguments, code, message):
    result = run("extract", *arguments, "--out", "features")
    assert result.exit_code == code
    assert message in result.stderr
