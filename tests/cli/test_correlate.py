from __future__ import annotations

import json

import pytest

import featdiv

TABLE = """model,imagenet,pets,cars,rank
a,60,70.0,30,11
b,70,80.5,45,19
c,75,85.0,40,14
d,77,84.0,55,22
e,80,91.0,60,18
f,81,,70,25
"""


@pytest.fixture
def table(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)


def test_columns_of_a_table(run, table):
    result = run("correlate", "t.csv", "--x", "imagenet", "--y", "cars", "--x-scale", "percent", "--y-scale", "percent")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "logit(cars) against logit(imagenet), 6 models"
    found = featdiv.correlate(
        dict(zip("abcdef", [60, 70, 75, 77, 80, 81], strict=True)),
        dict(zip("abcdef", [30, 45, 40, 55, 60, 70], strict=True)),
        x_scale="percent",
        y_scale="percent",
    )
    assert float(lines[2].split()[1]) == pytest.approx(found.read("pearson"), rel=1e-5)


def test_several_columns_are_averaged_and_incomplete_models_said(run, table):
    result = run("correlate", "t.csv", "--x", "imagenet", "--y", "pets,cars", "--y-scale", "percent")
    assert result.stdout.startswith("mean logit(2 columns) against imagenet, 5 models")
    assert "note: left out, because a value is missing: f" in result.stderr


def test_several_columns_of_x_are_averaged_too(run, table):
    result = run("correlate", "t.csv", "--x", "pets,rank", "--y", "cars")
    assert result.stdout.startswith("cars against mean 2 columns, 5 models")


def test_diversity_json_and_picture(run, table, tmp_path):
    arguments = ("correlate", "t.csv", "--x", "imagenet", "--y", "cars", "--diversity", "rank")
    result = run(*arguments, "--plot", "p.png", "--json", "out.json")
    assert "r2_gain" in result.stdout
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert set(json.loads((tmp_path / "out.json").read_text())["p_values"]) == {"pearson", "spearman", "r2_gain"}


def test_exclude_leaves_a_row_out(run, table):
    content = json.loads(
        run("correlate", "t.csv", "--x", "imagenet", "--y", "cars", "--exclude", "a", "--json", "-").stdout
    )
    assert content["models"] == list("bcdef")


@pytest.mark.parametrize(
    ("text", "arguments", "code", "message"),
    [
        (TABLE, ["--y", "dogs"], 2, "t.csv has no column 'dogs'; it has model, imagenet, pets, cars, rank"),
        (TABLE, ["--y", "cars", "--exclude", "z"], 2, "--exclude: t.csv has no model 'z'"),
        (TABLE.replace("45", "n/a"), ["--y", "cars"], 1, "line 3: expected a number in column 'cars'; got 'n/a'"),
        (TABLE.replace("b,", "a,"), ["--y", "cars"], 1, "line 3: model 'a' is there twice"),
        ("", ["--y", "cars"], 1, "expected a line of headings and one row a model"),
        (TABLE, ["--y", "cars", "--y-scale", "fraction"], 1, "give scale 'percent'"),
    ],
)
def test_what_cannot_be_done(run, tmp_path, text, arguments, code, message):
    (tmp_path / "t.csv").write_text(text)
    result = run("correlate", "t.csv", "--x", "imagenet", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
