"""Fine-tuning within a ranking: which models get a run, when it ends, and one real run."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import featdiv
from featdiv.backbones.cache import DiskFull
from featdiv.errors import InputError, NotEnoughData
from featdiv.studies.ranking import finetuning

pytest.importorskip("PIL.Image", reason="Pillow is not installed; pip install 'featdiv[vision]' installs it")

sys.path.insert(0, str(Path(__file__).parent))
import networks

sys.path.pop(0)


@pytest.fixture
def rank(monkeypatch):
    """Ranks four networks whose fine-tuned accuracies are given; the runs that were made are in ``rank.runs``."""
    torch.manual_seed(0)
    models = {name: networks.Colours(noise) for name, noise in (("a", 0.0), ("b", 0.1), ("c", 0.2), ("d", 1.0))}

    def ranked(accuracies, **arguments):
        ranked.runs = []

        def stand_in(module, data, *, test, seed, **given):
            name = next(name for name, model in models.items() if model is module)
            ranked.runs.append((name, seed))
            if isinstance(accuracies[name], Exception):
                raise accuracies[name]
            ranked.given = given
            wrong = np.arange(len(test)) >= round(accuracies[name] * len(test))
            predictions = np.where(wrong, 1 - test.labels, test.labels)[None]
            return types.SimpleNamespace(predictions=predictions, test_labels=test.labels, lr=0.1)

        monkeypatch.setattr(finetuning, "finetune", stand_in)
        asked = {"scores": None, "probes": "knn", "folds": 2, "draws": 500, "extraction": networks.EXTRACTION}
        return featdiv.rank_models(models, networks.two_colours(80), **{**asked, **arguments})

    return ranked


def test_all_models_get_one_run_and_it_decides(rank):
    found = rank({"a": 0.5, "b": 0.95, "c": 0.6, "d": 0.4}, finetune="all")
    assert sorted(rank.runs) == [("a", 0), ("b", 0), ("c", 0), ("d", 0)]
    assert (found.best, found.criterion, found.columns) == ("b", "finetune", ("finetune", "knn"))
    assert found.column("finetune") == {"b": 0.95, "c": 0.6, "a": 0.5, "d": 0.4}
    # 38 images of 40 against 24 of the same 40, nested: 14 differ and all speak for b.
    assert found.contenders == ("b",)
    assert "fine-tuning gets 95.0 % of 40 images right" in found.recommendation
    assert [line["against"] for line in found.agreement] == ["finetune"]


def test_top3_are_the_first_three_by_the_probe(rank):
    found = rank({"a": 0.9, "b": 0.8, "c": 0.7, "d": 1.0}, finetune="top3")
    assert {name for name, _ in rank.runs} == {"a", "b", "c"}
    assert found.models[-1] == "d"
    assert found.p_best[-1] == 0.0
    assert found.undefined["d: finetune"] == "not fine-tuned"
    assert any("it is 0 for the others" in note for note in found.provenance.notes)


def test_a_budget_ends_when_one_is_told_from_the_others(rank):
    rank({"a": 1.0, "b": 0.5, "c": 0.5, "d": 0.5}, finetune=12)
    # Twenty images differ and all speak for a: one round does.
    assert {seed for _, seed in rank.runs} == {0}
    assert len(rank.runs) <= 3


def test_a_budget_goes_to_the_undecided_and_is_not_overrun(rank):
    found = rank({"a": 0.9, "b": 0.9, "c": 0.2, "d": 0.2}, finetune=7)
    assert len(rank.runs) == 7
    later = {name for name, seed in rank.runs if seed > 0}
    assert later <= {"a", "b"}
    assert set(found.contenders) == {"a", "b"}
    assert any("7 runs" in note for note in found.provenance.notes)


def test_a_network_that_diverges_does_not_keep_the_others(rank):
    found = rank({"a": NotEnoughData("all runs diverged"), "b": 0.9, "c": 0.5, "d": 0.5}, finetune="all")
    assert found.best == "b"
    assert found.undefined["a: finetune"] == "all runs diverged"
    assert "a" in found.models


def test_a_network_whose_own_code_fails_does_not_keep_the_others(rank):
    found = rank({"a": KeyError("stem"), "b": 0.9, "c": 0.5, "d": 0.5}, finetune="all")
    assert found.best == "b"
    assert found.undefined["a: finetune"] == "KeyError: 'stem'"


def test_a_full_disk_ends_the_fine_tuning(rank):
    with pytest.raises(DiskFull, match="no room"):
        rank({"a": DiskFull("no room", needed=1), "b": 0.9, "c": 0.5, "d": 0.5}, finetune="all")


def test_runs_are_kept(rank, tmp_path):
    first = rank({"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}, finetune="all", out=tmp_path)
    again = rank({"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0}, finetune="all", out=tmp_path)
    assert rank.runs == []
    assert again.values == first.values
    rank({"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.1}, finetune="all", out=tmp_path, finetuning={"steps": 3})
    assert len(rank.runs) == 4


def test_what_makes_networks_fast_in_the_extraction_does_so_in_fine_tuning(rank):
    fast = {"channels_last": True, "autocast": "bfloat16", "compile": "eager"}
    extraction = {**networks.EXTRACTION, **fast}
    accuracies = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}
    rank(accuracies, finetune="all", extraction=extraction)
    assert {name: rank.given[name] for name in fast} == fast
    assert rank.given["transform"] is networks.EXTRACTION["transform"]
    assert not {"batch_size", "dtype", "pool"} & set(rank.given)
    rank(accuracies, finetune="all", extraction=extraction, finetuning={"compile": False, "channels_last": False})
    assert (rank.given["compile"], rank.given["channels_last"], rank.given["autocast"]) == (False, False, "bfloat16")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"finetune": "top4"}, "finetune: expected 'top3', 'all', or a budget of 2 runs or more; got 'top4'"),
        ({"finetune": 1}, "finetune: expected .*; got 1"),
        ({"finetune": "all", "finetuning": {"step": 3}}, "finetuning: no argument 'step'"),
        ({"finetune": "all", "finetuning": {"seed": 3}}, "finetuning: no argument 'seed'"),
        ({"finetuning": {"steps": 3}}, "finetuning: expected finetune= with it"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused_first(rank, arguments, text):
    with pytest.raises(InputError, match=f"featdiv.rank_models: {text}"):
        rank({}, **arguments)
    assert rank.runs == []


def test_networks_are_trained_and_judged_on_the_first_fold(tmp_path):
    torch.manual_seed(0)
    models = {"clear": networks.Colours(), "noise": networks.Colours(1.0)}
    found = featdiv.rank_models(
        models,
        networks.two_colours(80),
        scores=None,
        probes="knn",
        folds=2,
        draws=500,
        extraction=networks.EXTRACTION,
        finetune="all",
        finetuning={"steps": 60, "lr": 0.5, "weight_decay": 0.0, "augmentation": "none", "batch_size": 16},
        out=tmp_path,
    )
    assert not found.undefined
    # The classes are parted by the mean of a channel, which one network sees and the other does not.
    assert found.column("finetune")["clear"] > 0.8
    assert found.best == "clear"
