from __future__ import annotations

import json

import numpy as np
import pytest

from featdiv import protocols


def test_list_names_every_protocol(run):
    result = run("protocol", "list")
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == list(protocols.names())


@pytest.mark.parametrize("name", protocols.names())
def test_show_prints_parameters_and_defects(run, name):
    result = run("protocol", "show", name)
    assert result.exit_code == 0
    for defect in protocols.get(name).defects:
        assert defect in result.stdout
    assert json.loads(run("protocol", "show", name, "--json", "-").stdout)["name"] == name


def test_diff_of_two_protocols_shows_the_two_grids_of_c(run):
    result = run("protocol", "diff", "dinov2-logreg", "kornblith2019")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("linear_probe")]
    assert "1e-06, 1.77828e-06 … 100000 (45 values)" in line
    assert "1e-05, 1.77828e-05 … 1e+06 (45 values)" in line
    assert "only in kornblith2019@1\n  finetune" in result.stdout


def test_diff_with_itself_finds_nothing(run):
    content = json.loads(run("protocol", "diff", "ericsson2021", "ericsson2021", "--json", "-").stdout)
    assert content["differences"] == content["unrecorded"] == []
    assert content["presumes"] == {}


@pytest.fixture
def written(tmp_path):
    def write(arguments, function="featdiv.linear_probe"):
        made = {"provenance": {"function": function, "arguments": arguments}}
        (tmp_path / "result.json").write_text(json.dumps(made))

    return write


def test_diff_with_a_result(run, written):
    written({"C": np.logspace(-6, 5, 45).tolist(), "normalize": "l2", "intercept": True})
    result = run("protocol", "diff", "dinov2-logreg", "result.json")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("linear_probe  ")]
    assert line.split() == ["linear_probe", "normalize", "None", "l2"]
    assert "linear_probe.refit" in result.stdout.partition("not recorded")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "dino"], 2, "no protocol is named 'dino'; there are dinov2-knn"),
        (["diff", "dinov2-knn", "result.json"], 2, "holds a result of linear_probe; dinov2-knn prescribes knn_probe"),
        (["diff", "dinov2-knn", "none.json"], 1, "'none.json' is neither a protocol nor a file"),
        (["diff", "dinov2-knn", "text.json"], 1, "expected a result that a featdiv command wrote"),
    ],
)
def test_what_cannot_be_done(run, written, tmp_path, arguments, code, message):
    written({})
    (tmp_path / "text.json").write_text("[1, 2")
    result = run("protocol", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
