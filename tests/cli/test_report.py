from __future__ import annotations

import json

import pytest

from featdiv.cli.report import split


@pytest.fixture
def spectra(run, isotropic, stretched):
    """The JSON of two spectra, as `featdiv spectrum` writes it."""
    for path in (isotropic, stretched):
        run("spectrum", path, "--json", f"{path.stem}.json", "--quiet")


def test_a_page_from_files(run, spectra, tmp_path):
    result = run("report", "isotropic.json", "mine=stretched.json", "-o", "page.html", "--title", "Two models")
    assert result.exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>Two models</h1>" in page
    assert '<th scope="row">isotropic</th>' in page
    assert '<th scope="row">mine</th>' in page
    assert "wrote page.html: 2 results" in result.stderr
    assert result.stdout == ""


def test_a_file_whose_name_holds_an_equals_sign_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert split("k=5.json") == ("k", "5.json")
    (tmp_path / "k=5.json").touch()
    assert split("k=5.json") == ("", "k=5.json")
    assert split("runs/k=5.json") == ("", "runs/k=5.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "broken.json: expected JSON"),
        ("[1, 2]", "broken.json: expected what Result.to_dict gives, with its class under 'type'; got list"),
        (json.dumps({"type": "Spectrum", "schema": 99}), "broken.json: expected schema 1; got 99"),
    ],
)
def test_what_is_no_result(run, tmp_path, content, message):
    (tmp_path / "broken.json").write_text(content)
    result = run("report", "broken.json")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "report.html").exists()


def test_where_nothing_can_be_written_or_read(run, tmp_path):
    assert "the directory 'none' does not exist" in " ".join(
        run("report", "a.json", "-o", "none/a.html").stderr.split()
    )
    result = run("report", "a.json")
    assert (result.exit_code, "a.json: there is no such file" in result.stderr) == (1, True)
