from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv
from featdiv.cli import diversity


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, size=900)
    x = rng.normal(size=(900, 12)) * np.arange(1.0, 13.0) ** -0.5 + 2.0 * np.eye(4, 12)[labels]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "labels.npy", labels)
    return x, labels


def test_a_line_for_each_score_with_its_source(run, rows):
    result = run("diversity", "x.npy", "--labels", "labels.npy")
    assert result.exit_code == 0
    title, heading, *lines = result.stdout.splitlines()
    assert title.startswith("900 × 12 float64, ")
    assert heading.split() == ["score", "value", "95", "%", "interval", "noise", "reading", "source"]
    expected = featdiv.diversity(*rows)
    assert [line.split()[0] for line in lines] == [line.name for line in expected.lines]
    (vendi,) = (line for line in lines if line.startswith("vendi "))
    assert vendi.split()[1] == f"{expected['vendi']:.4g}"
    assert vendi.endswith("Friedman & Dieng 2023")


def test_chosen_scores_and_an_undefined_one(run, rows):
    result = run("diversity", "x.npy", "--metrics", "mean_cosine, alpha_req", "--interval", "none")
    lines = [line.split() for line in result.stdout.splitlines()[2:]]
    assert lines[0][:2] == ["mean_cosine", f"{float(featdiv.mean_cosine(rows[0])):.4g}"]
    assert lines[1][:2] == ["alpha_req", "undefined"]


def test_a_sample_for_the_pairs(run, rows):
    result = run("diversity", "x.npy", "--sample", "300", "--metrics", "uniformity,rankme")
    assert result.exit_code == 0
    value = float(featdiv.uniformity(rows[0], sample=300))
    assert result.stdout.splitlines()[2].split()[:2] == ["uniformity", f"{value:.4g}"]
    assert "a sample of 300 rows" in result.stderr
    too_many = run("diversity", "x.npy", "--sample", "901")
    assert too_many.exit_code != 0
    assert "expected 2 to n = 900 rows" in too_many.stderr


def test_json_alone_on_stdout(run, rows):
    result = run("diversity", "x.npy", "--json", "-", "--quiet", "--metrics", "spectral")
    content = json.loads(result.stdout)
    assert content["scores"]["rankme"] == pytest.approx(float(featdiv.rankme(rows[0], precision="float64")))
    assert content["undefined"]["alpha_req"]
    assert {line["name"] for line in content["lines"]} == set(content["scores"])
    assert result.stderr == ""


def test_tables_to_paste(run, rows):
    markdown = run("diversity", "x.npy", "--table", "markdown", "--metrics", "vendi", "--quiet").stdout
    assert markdown.splitlines()[0].startswith("| score | value |")
    latex = run("diversity", "x.npy", "--table", "latex", "--metrics", "mean_cosine", "--quiet").stdout
    assert r"mean\_cosine &" in latex


def test_a_picture(run, rows, tmp_path):
    result = run("diversity", "x.npy", "--plot", "bars.png")
    assert "wrote bars.png" in result.stderr
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_moments_serve_for_what_follows_from_them(run, rows):
    run("spectrum", "x.npy", "--save-moments", "m.npz")
    result = run("diversity", "m.npz", "--metrics", "effective_rank,uniformity")
    lines = [line.split() for line in result.stdout.splitlines()[2:]]
    assert lines[0][1] == f"{float(featdiv.effective_rank(rows[0])):.4g}"
    assert lines[1][:2] == ["uniformity", "undefined"]
    assert run("diversity", "m.npz", "--labels", "labels.npy").exit_code == 2


def test_labels_to_ignore(run, rows, tmp_path):
    labels = rows[1].copy()
    labels[:300] = -1
    np.save(tmp_path / "some.npy", labels)
    assert run("diversity", "x.npy", "--labels", "some.npy").exit_code == 1
    result = run("diversity", "x.npy", "--labels", "some.npy", "--ignore", "-1", "--json", "-")
    assert json.loads(result.stdout)["provenance"]["n"] == 600
    assert run("diversity", "x.npy", "--labels", "some.npy", "--ignore", "cat").exit_code == 2
    np.save(tmp_path / "text.npy", labels.astype(str))
    named = run("diversity", "x.npy", "--labels", "text.npy", "--ignore", "-1", "--metrics", "class_separation")
    assert named.stdout.startswith("600 × ")
    assert " without 300 ignored rows\n" in named.stdout
    none = run("diversity", "x.npy", "--labels", "text.npy", "--ignore", "99", "--metrics", "class_separation")
    title = none.stdout.splitlines()[0]
    assert ", 1 reading (" in title
    assert title.endswith(", x.npy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics", "vendy"), "nothing is named 'vendy'; did you mean vendi"),
        (("--metrics", "lidar"), "'lidar' needs --labels"),
        (("--memory", "much"), "--memory: expected a size"),
        (("--plot", "nowhere/x.png"), "--plot: the directory 'nowhere' does not exist"),
    ],
)
def test_arguments_that_cannot_be_used(run, rows, arguments, message):
    result = run("diversity", "x.npy", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Garrido, Balestriero, Najman & LeCun 2023, equation 1", "Garrido et al. 2023"),
        ("Wang & Isola 2020, section 4", "Wang & Isola 2020"),
        ("Hoyer 2004, section 3.1", "Hoyer 2004"),
    ],
)
def test_sources_as_a_paper_cites_them(source, shown):
    assert diversity.cited(source) == shown
