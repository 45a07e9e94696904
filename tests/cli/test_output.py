from __future__ import annotations

import json
import os
import subprocess
import sys
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


def test_a_reader_that_leaves_early_costs_no_file(tmp_path):
    code = "from featdiv.cli import output; output.print_table(['a'], [['1']]); output.write_json({}, 'out.json')"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path) as process:
        process.stdout.close()
        assert process.wait() == 0
    assert (tmp_path / "out.json").read_text() == "{}\n"


def test_json_refuses_what_is_not_json():
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        output.write_json({"a": float("nan")}, "-")


def test_no_destination_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    output.write_json({"a": 1}, None)
    assert capsys.readouterr().out == ""
    assert os.listdir(tmp_path) == []


def test_files_that_were_written_are_named_once_each_on_stderr(capsys):
    output.say_written("out.json", None, "plot.png")
    output.say_written("-", None)
    output.say_written("quiet.json", quiet=True)
    assert capsys.readouterr() == ("", "wrote out.json\nwrote plot.png\n")


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


def test_scores_of_a_column_end_alike():
    assert [output.measured(value) for value in (12.8, 0.5, -1.0, 1.5e-9, float("inf"))] == [
        "12.8000",
        "0.500000",
        "-1",
        "1.50000e-09",
        "inf",
    ]
    assert output.between(12.8, 14.19731, digits=4) == "12.80 … 14.20"


def test_reasons_stand_below_the_table_and_once(capsys):
    output.say_undefined({"a": "too few rows", "b": "one class", "c": "too few rows"})
    assert capsys.readouterr().err == "note: a, c are undefined: too few rows\nnote: b is undefined: one class\n"
    output.say_undefined({"a": "too few rows"}, quiet=True)
    assert not capsys.readouterr().err


def test_remarks_are_wrapped_between_words_on_a_terminal_alone(monkeypatch, capsys):
    output.remark("note", "six words that are not short")
    monkeypatch.setenv("COLUMNS", "16")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    output.remark("note", "six words that are not short")
    lines = ["note: six words that are not short", "note: six words", "  that are not", "  short"]
    assert capsys.readouterr().err.splitlines() == lines


def test_what_was_a_warning_is_no_note_as_well(monkeypatch, capsys):
    made = types.SimpleNamespace(provenance=types.SimpleNamespace(notes=("copies", "few rows")))
    monkeypatch.setattr(output, "warned", ["featdiv.knn_probe: copies"])
    output.notes(made)
    assert capsys.readouterr().err == "note: few rows\n"


@pytest.mark.parametrize(
    ("width", "kept", "left_out"),
    [(60, ["score", "value", "how to read it", "source"], ""), (40, ["score", "value", "how to read it"], "source")],
)
def test_a_narrow_terminal_goes_without_columns_that_can_be_spared(monkeypatch, capsys, width, kept, left_out):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    columns = ["score", "value", "how to read it", "source"]
    rows = [["participation", "1.5", "higher is more", "Gao et al. 2017"]]
    output.print_table(columns, rows, right=(1,), spare=(2, 3))
    out, err = capsys.readouterr()
    heading, _, row = out.split("\n")[1:4]
    assert [name for name in columns if name in heading] == kept
    assert [cell for cell in rows[0] if cell in row] == rows[0][: len(kept)]
    assert err == (f"note: this terminal is too narrow for: {left_out}\n" if left_out else "")


def test_the_value_of_noise_stands_beside_the_score(capsys):
    import numpy as np

    import featdiv
    from featdiv.metrics.spectral import noise

    spectrum = featdiv.spectrum(np.random.default_rng(0).normal(size=(400, 50)))
    output.print_result(spectrum, title="")
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("participation_ratio "))
    assert line.split()[-1] == output.measured(noise.participation_ratio(400, 50))


def test_a_score_outside_its_interval_is_explained_under_the_table_once(run, tmp_path):
    import numpy as np
    from sklearn.datasets import load_digits

    np.save(tmp_path / "digits.npy", load_digits().data)
    line = "alpha_req lies outside its interval, which is for the population, corrected for the bias of a finite sample"
    found = run("spectrum", "digits.npy", "--json", "digits.json")
    assert found.stdout.splitlines()[-1] == line
    assert "lies outside" not in found.stderr
    for source in ("digits.npy", "digits.json"):
        assert run("check", source, "--require", "alpha_req>1").stdout.splitlines()[-1] == line
        assert line not in run("check", source, "--require", "rankme>1").stdout
