"""What a ranking finds out between models, and what it keeps for its page."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import featdiv
from featdiv.errors import InputError
from featdiv.studies.ranking import run

pytest.importorskip("PIL.Image", reason="Pillow is not installed; pip install 'featdiv[vision]' installs it")

sys.path.insert(0, str(Path(__file__).parent))
import networks

sys.path.pop(0)


class Constant(networks.Colours):
    """Features that are the same for all images."""

    def forward(self, x):
        return self.fc(self.mix(0.0 * x.mean(dim=(2, 3)) + 1.0))


class Grey(networks.Colours):
    """Features that tell brightness and nothing else."""

    def forward(self, x):
        return self.fc(self.mix(x.mean(dim=(1, 2, 3))[:, None].expand(-1, 3)))


@pytest.fixture
def models():
    torch.manual_seed(0)
    return {"clear": networks.Colours(), "grey": Grey(), "noise": networks.Colours(1.0)}


@pytest.fixture
def rank(models):
    def ranked(of=models, data=None, **arguments):
        given = {"scores": None, "probes": "knn", "folds": 3, "draws": 200, "extraction": networks.EXTRACTION}
        return featdiv.rank_models(of, data or networks.two_colours(), **{**given, **arguments})

    return ranked


def rows_of(model):
    return featdiv.extract(model, networks.two_colours(), **networks.EXTRACTION).take(np.arange(60)).astype(np.float64)


def debiased_cka(x, y):
    """Song et al. 2012, equation 5, with the n x n kernels."""

    def hsic(k, other):
        n = len(k)
        inner = (k * other).sum() + k.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 * k.sum(0) @ other.sum(0) / (n - 2)
        return inner / (n * (n - 3))

    kernels = [z @ z.T for z in (x - x.mean(0), y - y.mean(0))]
    for kernel in kernels:
        np.fill_diagonal(kernel, 0.0)
    return hsic(*kernels) / np.sqrt(np.prod([hsic(kernel, kernel) for kernel in kernels]))


def test_models_are_compared_by_debiased_cka(rank, models):
    found = rank().similarity
    assert (found["type"], found["metric"], found["rows"]) == ("Comparison", "cka", ["clear", "grey", "noise"])
    rows = {name: rows_of(model) for name, model in models.items()}
    expected = [[1.0 if a == b else debiased_cka(rows[a], rows[b]) for b in rows] for a in rows]
    np.testing.assert_allclose(np.array(found["values"], dtype=float), expected, atol=1e-4)


def test_the_leading_directions_are_shown_by_the_images_at_their_ends(rank, models):
    from PIL import Image

    found = rank(directions=2)
    for name, model in models.items():
        (shown,) = (part for part in found.parts[name] if part["type"] == "Directions" and part["other"] is None)
        rows = rows_of(model)
        rows -= rows.mean(0)
        along = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
        ends = {frozenset(shown["low"][0]), frozenset(shown["high"][0])}
        order = np.argsort(along).tolist()
        assert ends == {frozenset(order[:5]), frozenset(order[-5:])}
        uri = shown["thumbnails"][str(shown["high"][0][0])]
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert picture.size == (8, 8)


def test_the_first_two_show_what_the_other_lacks(rank):
    found = rank(directions=1)
    first, second = found.models[:2]
    assert first == "clear"
    for one, other in ((first, second), (second, first)):
        (lacking,) = (part for part in found.parts[one] if part["type"] == "Directions" and part["other"] is not None)
        assert lacking["other"] == other
    assert not any(part["other"] for part in found.parts[found.models[2]])
    # Brightness is a function of the colours, but not the other way round.
    pair = rank({name: networks.Colours() if name == "clear" else Grey() for name in ("clear", "grey")})
    told = {name: part["explained"][0] for name in pair.models for part in pair.parts[name] if part["other"]}
    assert told["grey"] > 0.99 > 0.6 > told["clear"]


def test_neither_is_computed_where_it_is_not_asked_for(rank):
    found = rank(similarity=False, directions=0)
    assert found.similarity is None
    assert all(parts == () for parts in found.parts.values())
    assert {step.step for step in found.steps} == {"features", "knn probe"}


def test_features_beyond_the_budget_are_left_out_of_the_comparison_and_named(rank, tmp_path, monkeypatch):
    measured = run._bytes_in_memory

    def as_if_large(found):
        # In memory 60 rows of 6 features, four bytes each; on disk none.
        assert measured(found) in (60 * 6 * 4, 0)
        return 400_000 * measured(found)

    monkeypatch.setattr(run, "_bytes_in_memory", as_if_large)
    found = rank(memory="1.2GB", directions=0)
    assert found.similarity["rows"] == ["clear", "grey"]
    assert any("the features of noise do not fit the memory budget" in note for note in found.provenance.notes)
    whole = rank(memory="1.2GB", directions=0, out=tmp_path)
    assert whole.similarity["rows"] == ["clear", "grey", "noise"]
    assert not any("do not fit the memory budget" in note for note in whole.provenance.notes)


def test_a_model_without_variance_spoils_nothing_else(rank, models):
    found = rank({**models, "constant": Constant()})
    assert set(found.models) == {*models, "constant"}
    assert any(note.startswith("constant: no directions: ") for note in found.provenance.notes)
    values = np.array(found.similarity["values"], dtype=float)
    place = found.similarity["rows"].index("constant")
    assert np.isnan(values[place]).all()
    assert np.isfinite(np.delete(np.delete(values, place, 0), place, 1)).all()


def test_what_was_found_between_models_is_kept(rank, tmp_path, monkeypatch):
    first = rank(out=tmp_path)
    monkeypatch.setattr("featdiv.studies.ranking.relations.compare", None)
    monkeypatch.setattr("featdiv.studies.ranking.relations.directions", None)
    again = rank(out=tmp_path, draws=100)
    assert again.similarity == first.similarity
    assert again.parts == first.parts


def test_scores_have_intervals_unless_they_are_not_wanted(rank, models):
    wanted = ["mean_cosine", "uniformity", "logme"]
    # A jackknife needs five parts of 256 rows.
    given = {"data": networks.two_colours(1300), "scores": wanted, "directions": 0}
    found = rank({name: models[name] for name in ("clear", "grey")}, **given)
    for name in ("clear", "grey"):
        for score in wanted:
            interval = found.intervals[f"{name}: {score}"]
            assert interval.low < interval.high
            assert interval.groups >= 5
    place = found.columns.index("logme")
    assert all(row[place] is not None for row in found.low)
    assert any(interval is not None for line in found.similarity["low"] for interval in line)
    without = rank({name: models[name] for name in ("clear", "grey")}, **given, interval=None)
    assert {key.partition(": ")[2] for key in without.intervals} == {"knn"}
    np.testing.assert_allclose(without.values, found.values, rtol=1e-6, atol=1e-7)


def test_the_curves_are_those_of_the_folds(rank):
    found = rank(probes=("linear", "knn"))
    assert list(found.curves) == ["linear", "knn"]
    assert list(found.curves["linear"]) == list(found.curves["knn"]) == list(found.models)
    for setting, accuracy, low, high in found.curves["knn"]["clear"]:
        assert setting in (1, 5, 10, 20)
        assert low <= accuracy <= high + 1e-12
        assert featdiv.probes.proportion.wilson(round(60 * accuracy), 60).low == low
    # k is chosen without the fold: the probe can do no better than the best k of all folds.
    assert found.column("knn")["clear"] <= max(point[1] for point in found.curves["knn"]["clear"]) + 1e-12


def test_the_page_of_the_file_is_the_page_of_the_ranking(rank, tmp_path):
    found = rank(probes=("linear", "knn"), scores=["effective_rank", "vendi"])
    path = tmp_path / "ranking.json"
    path.write_text(found.to_json())
    page = found.report()
    assert featdiv.report(path) == page
    assert "<h1>Which of 3 models to take</h1>" in page
    for text in (
        "How alike the models are",
        "Linear probe, fold by fold",
        "k-nearest-neighbour probe, fold by fold",
        "What the leading directions show",
        f"clear: what {found.models[1]} lacks",
        "Spectra on logarithmic axes",
        "data:image/png;base64,",
    ):
        assert text in page


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"interval": "bootstrap"}, "interval: expected .*; got 'bootstrap'"),
        ({"directions": -1}, "directions: expected .*.*got -1"),
        ({"directions": 2.5}, "directions: expected .*got 2.5"),
    ],
)
def test_wrong_arguments_are_named(rank, arguments, text):
    with pytest.raises(InputError, match=f"featdiv.rank_models: {text}"):
        rank(**arguments)
