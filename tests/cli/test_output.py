from __future__ import annotations

import json
import os
import stat

import pytest

from featdiv.cli import output


def test_a_file_that_fails_half_way_is_not_there_and_the_old_one_stays(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")

    def fails(temporary):
        with open(temporary, "w") as file:
            file.write("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        output.write_file(target, fails)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_written_file_has_the_permissions_that_the_umask_gives(tmp_path):
    mask = os.umask(0o027)
    try:
        output.write_json({"a": 1}, str(tmp_path / "out.json"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o640
    assert json.loads((tmp_path / "out.json").read_text()) == {"a": 1}


def test_json_refuses_what_is_not_json():
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        output.write_json({"a": float("nan")}, "-")


def test_no_destination_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    output.write_json({"a": 1}, None)
    assert capsys.readouterr().out == ""
    assert os.listdir(tmp_path) == []


def test_plain_table_aligns_and_has_no_trailing_blanks(capsys):
    output.print_table(["name", "value"], [["a", "1.5"], ["long name", "10"]], right=(1,))
    assert capsys.readouterr().out == "name       value\na            1.5\nlong name     10\n"


def test_numbers_have_six_significant_digits():
    assert [output.number(value) for value in (3.0, 1234567.0, 1 / 3, 1e-9)] == [
        "3",
        "1.23457e+06",
        "0.333333",
        "1e-09",
    ]
