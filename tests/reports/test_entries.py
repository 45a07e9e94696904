from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.reports.entries import gather


def result(kind="Spectrum", source=None, **more):
    return {"type": kind, "schema": 1, "scores": {}, "provenance": {"source": source}, **more}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("runs/resnet18.npy", "resnet18"),
        ("array 3 x 4 float32", "Spectrum"),
        ("a.npy; b.npy", "Spectrum"),
        (None, "Spectrum"),
    ],
)
def test_a_result_is_called_after_its_rows_or_after_what_it_is(source, name):
    assert [entry.name for entry in gather(result(source=source))] == [name]


def test_names_that_are_given_win():
    entries = gather([{"a": [result(source="x.npy"), result("KnnProbe")]}, {"b": result()}])
    assert [(entry.name, entry.kind) for entry in entries] == [("a", "Spectrum"), ("a", "KnnProbe"), ("b", "Spectrum")]


def test_two_of_one_kind_and_name_are_told_apart():
    entries = gather({"a": [result(), result(), result("KnnProbe")]})
    assert [entry.name for entry in entries] == ["a", "a (2)", "a"]


def test_directions_that_several_models_lack_are_of_the_same_model():
    entries = gather({"a": [result("Directions", other=other) for other in (None, "b", "c")]})
    assert {entry.name for entry in entries} == {"a"}


def test_a_file_without_a_source_is_called_after_itself(tmp_path):
    score = featdiv.effective_rank(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    (tmp_path / "mine.json").write_text(score.to_json())
    (entry,) = gather(tmp_path / "mine.json")
    assert (entry.name, entry.kind) == ("mine", "Score")
    assert entry.scores["effective_rank"] == score.value


def test_the_ends_of_intervals():
    content = result(intervals={"rank": {"low": 1.0, "high": 2.0}})
    (entry,) = gather(content)
    assert entry.interval("rank") == (1.0, 2.0)
    assert entry.interval("other") == (None, None)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "big.json").write_text("[" + "0," * 1000 + "0]")
    monkeypatch.setattr("featdiv.reports.entries.LARGEST_FILE", 1000)
    with pytest.raises(featdiv.FormatError, match="expected the JSON of one result; got 2,003 bytes"):
        gather(tmp_path / "big.json")
