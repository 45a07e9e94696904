"""Rankings of networks whose order is known on paper; cache, failures, refusals."""

from __future__ import annotations

import dataclasses
import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import featdiv
from featdiv.backbones.cache import DiskFull
from featdiv.errors import FormatError, InputError, NotEnoughData, SourceNotFound
from featdiv.studies.ranking import store
from featdiv.studies.ranking.candidates import candidates, imagenet_note

pytest.importorskip("PIL.Image", reason="Pillow is not installed; pip install 'featdiv[vision]' installs it")

sys.path.insert(0, str(Path(__file__).parent))
import networks

sys.path.pop(0)

HERE = Path(__file__).parent
FEW = ["effective_rank", "vendi", "logme", "filter_cosine"]


@pytest.fixture
def models():
    torch.manual_seed(0)
    return {"blurred": networks.Colours(0.9), "clear": networks.Colours(), "noise": networks.Colours(1.0)}


@pytest.fixture
def rank(models):
    def ranked(of=models, data=None, **arguments):
        arguments = {"scores": FEW, "folds": 3, "draws": 1000, "extraction": networks.EXTRACTION, **arguments}
        return featdiv.rank_models(of, data or networks.two_colours(), **arguments)

    return ranked


def test_the_model_that_sees_the_classes_is_best(rank):
    found = rank()
    assert found.best == "clear"
    assert found.models[0] == "clear"
    assert found.criterion == "linear"
    # A mean over 64 pixels of uniform noise parts the colours by more than three deviations; one pixel hardly does.
    assert found.column("linear")["clear"] > 0.95
    assert found.column("linear")["noise"] < 0.75
    assert found.p_best[0] > 0.9
    assert sum(found.p_best) == pytest.approx(1.0)
    assert "noise" not in found.contenders
    assert "Take clear" in found.recommendation
    assert not found.failed


def test_the_table_holds_what_the_single_functions_give(rank, models):
    data = networks.two_colours()
    found = rank()
    features = featdiv.extract(models["clear"], data, **networks.EXTRACTION)
    rows = features.take(np.arange(60))
    assert found.column("effective_rank")["clear"] == pytest.approx(float(featdiv.effective_rank(rows)), rel=1e-4)
    assert found.column("vendi")["clear"] == pytest.approx(float(featdiv.vendi(rows)), rel=1e-4)
    assert found.column("logme")["clear"] == pytest.approx(float(featdiv.logme(rows, data.labels)), rel=1e-6)
    expected = featdiv.filter_diversity(models["clear"]).cosine
    assert found.column("filter_cosine")["clear"] == pytest.approx(expected)
    for probe in ("linear", "knn"):
        np.testing.assert_allclose(found.correct[probe].mean(axis=(1, 2)), list(found.column(probe).values()))


def test_agreement_is_that_of_rank_agreement(rank):
    found = rank()
    lines = {line["score"]: line["tau"] for line in found.agreement}
    truth = found.column("linear")
    for score in ("knn", "logme"):
        expected = featdiv.rank_agreement(found.column(score), truth, draws=0).scores["weighted_kendall"]
        assert lines[score] == pytest.approx(expected)


def test_two_models_have_no_agreement_and_say_so(rank, models):
    found = rank({name: models[name] for name in ("clear", "blurred")})
    assert found.agreement == ()
    assert any("needs 3 models" in note for note in found.provenance.notes)


def test_the_order_in_which_models_come_changes_nothing(rank, models):
    one, other = rank(), rank(dict(reversed(models.items())))
    assert (one.models, one.values, one.p_best, one.contenders) == (
        other.models,
        other.values,
        other.p_best,
        other.contenders,
    )


def test_one_model_is_a_ranking_too(rank, models):
    found = rank({"clear": models["clear"]})
    assert (found.p_best, found.contenders, found.regret) == ((1.0,), ("clear",), 0.0)
    assert "only model" in found.recommendation


def test_repeats_divide_anew(rank):
    found = rank(repeats=2, probes="knn", scores=None)
    assert found.correct["knn"].shape == (3, 2, 60)
    assert found.columns == ("knn",)
    assert found.criterion == "knn"


def test_a_second_call_computes_nothing(rank, models, tmp_path, monkeypatch):
    first = rank(out=tmp_path)
    assert not any(step.cached for step in first.steps)
    # Not its forward, whose code is a part of what features are found by.
    monkeypatch.setattr(networks.Colours, "__call__", None)
    again = rank(out=tmp_path)
    assert all(step.cached for step in again.steps)
    assert without_steps(again.to_dict()) == without_steps(first.to_dict())


def test_what_shapes_a_number_computes_it_anew(rank, models, tmp_path):
    def computed(**arguments):
        return {step.step for step in rank(out=tmp_path, **arguments).steps if not step.cached}

    computed()
    assert computed() == set()
    assert computed(draws=50) == set()
    assert computed(folds=4) == {"linear probe", "knn probe"}
    assert computed(scores=["stable_rank", "participation_ratio"]) == {"spectrum"}
    assert computed(limit=40) >= {"features", "linear probe", "knn probe", "diversity"}
    with torch.no_grad():
        models["clear"].mix.weight.mul_(1.5)
    assert "features" in computed()


def test_steps_of_another_version_are_left_alone(rank, tmp_path, monkeypatch):
    def steps():
        return {path: path.read_bytes() for path in (tmp_path / "steps").iterdir()}

    little = {"out": tmp_path, "scores": ["vendi"], "probes": "knn", "similarity": False, "directions": 0}
    rank(**little)
    old = steps()
    for name, other in (("STORE_VERSION", 99), ("__version__", "99.0")):
        with monkeypatch.context() as patched:
            patched.setattr(store, name, other)
            again = rank(**little)
        # Features have a version of their own.
        assert {step.step for step in again.steps if step.cached} == {"features"}
        assert old.items() <= steps().items()
    assert len(steps()) == 3 * len(old)


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(rank, models, tmp_path, monkeypatch):
    real = store.replacing
    written = []

    def filling(path):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return real(path)

    monkeypatch.setattr(store, "replacing", filling)
    with pytest.raises(DiskFull, match=r"rank_models: out: the disk is full: .* finished steps are kept. Free space"):
        rank(out=tmp_path)
    monkeypatch.setattr(store, "replacing", real)
    again = rank(out=tmp_path)
    assert set(again.models) == set(models)
    assert sum(step.cached for step in again.steps if step.step != "features") == 3


def test_a_disk_that_is_full_at_a_score_is_no_missing_score(rank, models, tmp_path, monkeypatch):
    real = store.replacing

    def full_for_diversity(path):
        if "diversity" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path)

    monkeypatch.setattr(store, "replacing", full_for_diversity)
    with pytest.raises(DiskFull, match=r"rank_models: out: the disk is full"):
        rank({"clear": models["clear"]}, out=tmp_path)


def test_a_model_that_fails_does_not_keep_the_others(rank, models):
    found = rank({**models, "broken": networks.Broken(), "wrong": nn.Linear(3, 2)})
    assert set(found.models) == set(models)
    assert "this layer was never finished" in found.failed["broken"]
    assert set(found.failed) == {"broken", "wrong"}
    assert "2 models could not be ranked" in found.recommendation


def test_nothing_left_to_rank_is_an_error_with_the_reasons(rank):
    with pytest.raises(InputError, match=r"none of 1 could be ranked\. broken: .*never finished"):
        rank({"broken": networks.Broken()})


def test_a_score_that_fails_spoils_no_other(rank, models):
    class Constant(networks.Colours):
        def forward(self, x):
            return self.fc(self.mix(0.0 * x.mean(dim=(2, 3)) + 1.0))

    found = rank({**models, "constant": Constant()})
    assert found.column("effective_rank")["constant"] is None
    assert found.undefined["constant: effective_rank"]
    with pytest.raises(NotEnoughData, match=r"constant: effective_rank is undefined"):
        found.read("constant: effective_rank")
    assert found.column("linear")["constant"] == pytest.approx(0.5, abs=0.2)


@pytest.mark.slow
def test_killed_five_times_it_gives_the_same_table(tmp_path):
    def run(folder, kills):
        command = [sys.executable, "-W", "ignore", str(HERE / "networks.py"), str(folder), "11", str(kills)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE)
        return json.loads(done.stdout)

    killed, whole = run(tmp_path / "killed", 5), run(tmp_path / "whole", 0)
    assert killed["killed"] >= 3
    assert any(step["cached"] for step in killed["ranking"]["steps"])
    assert without_steps(killed["ranking"]) == without_steps(whole["ranking"])


def test_a_damaged_step_is_named(rank, models, tmp_path):
    rank({"clear": models["clear"]}, out=tmp_path)
    (path,) = (tmp_path / "steps").glob("clear-linear_probe-*.json")
    path.write_text(path.read_text()[:40])
    with pytest.raises(InputError, match=rf"{path.name}.*delete the file"):
        rank({"clear": models["clear"]}, out=tmp_path)


def test_only_the_training_images_are_used_where_the_data_is_divided(models, tmp_path):
    from PIL import Image

    data = networks.two_colours(30)
    for index in range(30):
        image, label = data[index]
        folder = tmp_path / ("train" if index < 20 else "test") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image)).save(folder / f"{index}.png")
    arguments = {"scores": None, "probes": "knn", "folds": 2, "extraction": networks.EXTRACTION}
    assert featdiv.rank_models(models, tmp_path, **arguments).n == 20
    assert featdiv.rank_models(models, tmp_path, split="test", **arguments).n == 10


def test_accuracies_on_imagenet_are_a_column(rank, models, tmp_path):
    table = tmp_path / "results.csv"
    table.write_text("model,img_size,top1,top5\nclear,224,70.5,90\nblurred,224,80.25,95\n")
    found = rank(scores=None, imagenet=table)
    assert found.column("imagenet_top1") == {"clear": 70.5, "blurred": 80.25, "noise": None}
    assert found.undefined["noise: imagenet_top1"] == "not known for this model"


def test_that_timm_ships_no_accuracies_is_said(rank):
    timm = pytest.importorskip("timm")
    # Were there a field of accuracies, it would be one of these.
    known = timm.get_pretrained_cfg("resnet50.a1_in1k")
    assert not [name for name in vars(known) if "top1" in name or "acc" in name]
    published = candidates(["resnet18"], {"pretrained": True})
    (note,) = imagenet_note(published, None)
    assert "timm ships none with its weights" in note
    assert imagenet_note(published, "results.csv") == ()
    assert imagenet_note(candidates(["resnet18"], {"pretrained": False}), None) == ()
    assert not any("ImageNet" in note for note in rank(scores=None, probes="knn").provenance.notes)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"of": []}, InputError, "expected at least one model; got none"),
        ({"of": ["resnet18", "resnet18"]}, InputError, "'resnet18' is there twice"),
        ({"of": ["resnet81x"]}, InputError, r"no model 'resnet81x'; did you mean .*resnet"),
        ({"of": {"a": {"checkpoint": "w.pt"}}}, InputError, r"models\['a'\]: expected a mapping with 'model'"),
        ({"of": {"a": {"model": "resnet18", "chekpoint": "w.pt"}}}, InputError, "no argument 'chekpoint'"),
        ({"of": {"a": {"model": "resnet18", "checkpoint": "w.pt"}}}, SourceNotFound, r"models\['a'\]: checkpoint"),
        ({"scores": ["logem"]}, InputError, "scores: nothing here is named 'logem'; did you mean logme"),
        ({"scores": ["knn"]}, InputError, "scores: 'knn' is no score of features"),
        ({"probes": ["ridge"]}, InputError, "probes: expected some of 'linear', 'knn'; got 'ridge'"),
        ({"probes": ()}, InputError, "probes: .*got none"),
        ({"folds": 1}, InputError, "folds: expected a whole number of at least 2; got 1"),
        ({"limit": 3}, InputError, "limit: expected at least 4, two images of each of 2 classes; got 3"),
        ({"imagenet": "none.csv"}, SourceNotFound, "imagenet: no file is at 'none.csv'"),
        ({"extraction": {"out": "here"}}, InputError, "extraction: no argument 'out'"),
        ({"draws": 0}, InputError, "draws: expected a positive integer, got 0"),
        ({"memory": "lots"}, InputError, "memory: expected bytes or text"),
        ({"data": featdiv.images(np.zeros((9, 4, 4), np.uint8))}, InputError, "data: expected labelled images"),
        (
            {"data": featdiv.images(np.zeros((3, 4, 4), np.uint8), labels=np.eye(3, dtype=int))},
            InputError,
            "data: expected one class an image; .* has several",
        ),
    ],
)
def test_what_cannot_be_ranked_is_refused_before_work_starts(rank, monkeypatch, arguments, error, text):
    # Not its forward, whose code is a part of what features are found by.
    monkeypatch.setattr(networks.Colours, "__call__", None)
    if isinstance(arguments.get("of"), list) and arguments["of"]:
        pytest.importorskip("timm")
    given = {"extraction": {}, **arguments}
    with pytest.raises(error, match=f"featdiv.rank_models: .*{text}"):
        rank(**given)


def test_a_table_without_its_columns_is_refused(rank, tmp_path):
    table = tmp_path / "results.csv"
    table.write_text("name,accuracy\nclear,70\n")
    with pytest.raises(FormatError, match="expected columns model and top1"):
        rank(imagenet=table)


def test_the_page_shows_the_ranking(rank, tmp_path):
    found = rank()
    page = found.report(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    for text in (*found.models, "Probability of being the best", ">best<"):
        assert text in page


def test_results_read_as_tables_pictures_and_json(rank):
    found = rank()
    pandas = pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == list(found.models)
    assert frame.loc["clear", "linear"] == found.column("linear")["clear"]
    labels = [text.get_text() for text in found.plot().axes[0].get_yticklabels()]
    assert labels == list(found.models)
    assert json.loads(found.to_json())["recommendation"] == found.recommendation
    assert "You" in found.cite()
    assert "h_score: Ibrahim" in dataclasses.replace(found, columns=("linear", "h_score")).cite()
    assert "<td>clear</td>" in found._repr_html_()
    with pytest.raises(InputError, match="expected one of linear"):
        found.column("leep")


def without_steps(content):
    """A ranking without what differs from call to call: times, and where files lie."""
    kept = json.loads(json.dumps(content))
    del kept["steps"], kept["provenance"]["arguments"]["out"]
    return kept
