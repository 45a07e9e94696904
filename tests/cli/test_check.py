from __future__ import annotations

import json

import numpy as np
import pytest
import typer

from featdiv.cli import check


@pytest.fixture
def result_file(tmp_path):
    """Writes a result with one score, its interval, and one undefined score."""

    def write(name, value, low, high):
        content = {
            "schema": 1,
            "scores": {"effective_rank": value, "rankme": value, "alpha_req": None},
            "undefined": {"alpha_req": "only 3 points above the floor"},
            "intervals": {"effective_rank": {"low": low, "high": high}},
        }
        (tmp_path / name).write_text(json.dumps(content))
        return name

    return write


@pytest.mark.parametrize(
    ("value", "relation", "limit", "holds"),
    [
        (2, ">=", 2, True),
        (2, ">", 2, False),
        (1, "<=", 1, True),
        (1, "<", 1, False),
        (float("nan"), ">=", 0, False),
    ],
)
def test_relations(value, relation, limit, holds):
    assert check.parse_requirement(f"rankme {relation} {limit}").holds(value) is holds


@pytest.mark.parametrize(
    "text", ["effective_rank", "effective_rank=200", ">=3", "rankme>=many", "rankme>=1e", "a>=1>=0"]
)
def test_a_requirement_that_is_none_is_refused(text):
    with pytest.raises(typer.BadParameter, match=r"--require: expected NAME>=NUMBER"):
        check.parse_requirement(text)


@pytest.mark.parametrize("text", ["ten", "-1%", "100%", "2", ""])
def test_a_drop_that_is_none_is_refused(text):
    with pytest.raises(typer.BadParameter, match=r"--max-drop: expected a share such as 10% or 0.1"):
        check.parse_drop(text)


def test_embeddings_that_hold(run, isotropic):
    result = run("check", isotropic, "--require", "effective_rank>=3.9", "--require", "stable_rank<5")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["pass", "pass"]


def test_one_failed_requirement_fails_the_check(run, stretched):
    result = run("check", stretched, "--require", "effective_rank>=3.9", "--require", "stable_rank>=1.3")
    assert result.exit_code == 3
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["FAIL", "pass"]


@pytest.mark.parametrize(
    ("low", "high", "exit_code", "uncertain"),
    [(190, 230, 0, True), (205, 230, 0, False)],
)
def test_the_value_decides_and_the_interval_is_reported(run, result_file, low, high, exit_code, uncertain):
    file = result_file("result.json", 210, low, high)
    result = run("check", file, "--require", "effective_rank>=200", "--json", "-")
    assert result.exit_code == exit_code
    (verdict,) = json.loads(result.stdout)["verdicts"]
    assert verdict["passed"] is True
    assert verdict["uncertain"] is uncertain


def test_a_failure_can_be_uncertain_too(run, result_file):
    result = run("check", result_file("result.json", 190, 180, 210), "--require", "effective_rank>=200")
    assert result.exit_code == 3
    assert "FAIL" in result.stdout
    assert "uncertain" in result.stdout


def test_an_undefined_score_never_passes(run, result_file):
    result = run("check", result_file("result.json", 5, 4, 6), "--require", "alpha_req<99")
    assert result.exit_code == 3
    assert "undefined: only 3 points above the floor" in result.stdout


@pytest.mark.parametrize(("value", "exit_code"), [(181, 0), (179, 3)])
def test_a_drop_from_the_baseline(run, result_file, value, exit_code):
    baseline = result_file("baseline.json", 200, 195, 205)
    now = result_file("now.json", value, value - 1, value + 1)
    result = run("check", now, "--baseline", baseline, "--max-drop", "10%")
    assert result.exit_code == exit_code
    assert "effective_rank>=180 (baseline 200)" in result.stdout
    assert "rankme>=180 (baseline 200)" in result.stdout


def test_a_drop_of_a_chosen_score(run, result_file):
    baseline = result_file("baseline.json", 200, 195, 205)
    result = run("check", baseline, "--baseline", baseline, "--max-drop", "0.1", "--score", "rankme")
    assert result.exit_code == 0
    assert "effective_rank" not in result.stdout


def test_a_result_of_spectrum_is_a_baseline(run, isotropic, stretched):
    run("spectrum", isotropic, "--json", "baseline.json")
    assert run("check", isotropic, "--baseline", "baseline.json", "--max-drop", "1%").exit_code == 0
    assert run("check", stretched, "--baseline", "baseline.json", "--max-drop", "10%").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to check"),
        (["--baseline", "b.json"], "--baseline and --max-drop belong together"),
        (["--max-drop", "10%", "--require", "rankme>1"], "--baseline and --max-drop belong together"),
        (["--require", "rankme>1", "--score", "rankme"], "--score: expected beside --baseline"),
        (["--require", "rankme>1", "--normalize", "l2"], "is a result: --key, --normalize, --groups and --precision"),
        (["--require", "rankme>1", "--precision", "float64"], "is a result: --key, --normalize, --groups and"),
        (["--require", "fun>=1"], "no score named 'fun'; there are: effective_rank, rankme"),
    ],
)
def test_wrong_usage(run, result_file, arguments, message):
    result = run("check", result_file("result.json", 5, 4, 6), *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("content", ["{}", "not json", '{"scores": [], "schema": 1}', '{"scores": {}, "schema": 2}'])
def test_a_json_that_is_no_result_is_bad_data(run, tmp_path, content):
    (tmp_path / "odd.json").write_text(content)
    result = run("check", "odd.json", "--require", "rankme>=1")
    assert result.exit_code == 1
    assert "expected a result that `featdiv spectrum --json` wrote; got 'odd.json'" in result.stderr


def test_collapsed_features_do_not_pass(run, tmp_path):
    np.save(tmp_path / "collapsed.npy", np.ones((100, 4)))
    result = run("check", "collapsed.npy", "--require", "effective_rank>=2")
    assert result.exit_code == 1
    assert "pass" not in result.stdout
