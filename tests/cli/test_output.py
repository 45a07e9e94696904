from __future__ import annotations

import json
import os
import types

import pytest

from featdiv.cli import output


def test_json_file_replaces_the_old_one_as_a_whole(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")
    output.write_json({"a": 1}, str(target))
    assert json.loads(target.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_picture_that_fails_half_way_leaves_the_old_one(tmp_path):
    class Figure:
        def savefig(self, file, **_):
            file.write(b"half")
            raise KeyboardInterrupt

    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        output.save_plot(types.SimpleNamespace(plot=Figure), str(target))
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.png"]


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


def test_the_value_of_noise_stands_beside_the_score(capsys):
    import numpy as np

    import featdiv
    from featdiv.metrics.spectral import noise

    spectrum = featdiv.spectrum(np.random.default_rng(0).normal(size=(400, 50)))
    output.print_result(spectrum, title="")
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("participation_ratio "))
    assert line.split()[-1] == output.number(noise.participation_ratio(400, 50))
