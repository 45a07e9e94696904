from __future__ import annotations

import json

import numpy as np
import pytest

import featdiv

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")
Image = pytest.importorskip("PIL.Image")

SMALL = ("--data", "pets", "--no-pretrained", "--input-size", "32", "--folds", "2", "--scores", "effective_rank,logme")
BOTH = ("--models", "test_resnet,test_vit")


@pytest.fixture
def pets(tmp_path):
    """Bright cats and dark dogs, ten each."""
    random = np.random.default_rng(0)
    for base, name in ((120, "cat"), (0, "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(10):
            pixels = random.integers(base, base + 120, size=(20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{index}.png")
    return tmp_path / "pets"


def test_the_table_the_page_and_the_json_are_one_ranking(run, pets, tmp_path):
    result = run("rank-models", *SMALL, *BOTH, "--out", "kept", "--json", "out.json", "--report", "page.html")
    assert result.exit_code == 0, result.stderr
    assert "How alike the models are" in (tmp_path / "page.html").read_text()
    assert featdiv.report({"ranking": tmp_path / "out.json"}).count("<img ") > 0
    content = json.loads((tmp_path / "out.json").read_text())
    expected = featdiv.rank_models(
        ["test_resnet", "test_vit"],
        pets,
        scores=["effective_rank", "logme"],
        folds=2,
        pretrained=False,
        extraction={"transform": {"input_size": (3, 32, 32)}},
        out=tmp_path / "kept",
    )
    assert all(step.cached for step in expected.steps)
    assert (content["models"], content["p_best"]) == (list(expected.models), list(expected.p_best))
    assert content["recommendation"] in result.stdout
    assert "2 models, 20 images, 2 folds" in result.stdout
    assert f"{100 * expected.values[0][0]:.1f} %" in result.stdout
    page = (tmp_path / "page.html").read_text()
    assert content["recommendation"].split(":")[0] in page
    assert "test_resnet" in page
    assert "note: agreement of scores with the linear probe needs 3 models" in result.stderr


def test_what_costs_time_can_be_left_out(run, pets):
    less = ("--no-similarity", "--directions", "0", "--interval", "none", "--json", "-")
    content = json.loads(run("rank-models", *SMALL, *BOTH, "--probe", "knn", *less).stdout)
    assert content["similarity"] is None
    assert {part["type"] for parts in content["parts"].values() for part in parts} == {"Spectrum", "Transferability"}
    arguments = content["provenance"]["arguments"]
    assert (arguments["interval"], arguments["similarity"], arguments["directions"]) == (None, False, 0)


def test_what_makes_networks_fast_is_asked_of_the_extraction(run, pets, monkeypatch):
    asked = {}

    def stand_in(*_, **given):
        asked.update(given)
        raise featdiv.InputError("seen")

    monkeypatch.setattr(featdiv, "rank_models", stand_in)
    run("rank-models", *SMALL, *BOTH, "--compile", "--channels-last", "--autocast", "bfloat16")
    assert asked["extraction"] == {
        "compile": True,
        "channels_last": True,
        "autocast": "bfloat16",
        "transform": {"input_size": (3, 32, 32)},
    }


def test_a_checkpoint_of_ones_own_is_ranked_beside(run, pets, tmp_path):
    from safetensors.torch import save_file

    from featdiv.backbones import load_model

    weights = load_model("test_resnet", pretrained=False, seed=3).module.state_dict()
    save_file(weights, tmp_path / "mine.safetensors")
    result = run(
        "rank-models", *SMALL, "--models", "test_resnet", "--checkpoint", "mine=test_resnet=mine.safetensors",
        "--probe", "knn", "--json", "-",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert sorted(content["models"]) == ["mine", "test_resnet"]
    place = content["columns"].index("effective_rank")
    assert content["values"][0][place] != content["values"][1][place]


def test_a_model_that_fails_is_named_at_the_end(run, pets, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 40)
    result = run("rank-models", *SMALL, *BOTH, "--checkpoint", "bad=test_vit=bad.safetensors")
    assert result.exit_code == 0
    assert "failed: bad: " in result.stderr
    assert "bad.safetensors" in result.stderr
    assert "1 model could not be ranked." in result.stdout


def test_a_dry_run_measures_and_writes_nothing(run, pets, tmp_path):
    result = run("rank-models", *SMALL, *BOTH, "--out", "kept", "--dry-run", "--json", "out.json")
    assert result.exit_code == 0, result.stderr
    assert not (tmp_path / "kept").exists()
    content = json.loads((tmp_path / "out.json").read_text())
    # Twenty rows of 96 and of 64 float32 features.
    assert content["models"]["test_resnet"]["bytes"] == 20 * 96 * 4
    assert content["bytes"] == sum(one["bytes"] for one in content["models"].values())
    assert content["models"]["test_vit"]["left"] == 20
    assert result.stdout.splitlines()[0].split() == ["model", "images", "to", "do", "rate", "features", "in", "disk"]


def test_steps_of_no_runs_are_wrong_usage(run, pets):
    result = run("rank-models", *SMALL, *BOTH, "--steps", "50")
    assert result.exit_code == 2
    assert "--steps: expected beside --finetune" in " ".join(result.stderr.split())


def test_a_dry_run_counts_fine_tuning(run, pets, tmp_path):
    tuned = ("--finetune", "7", "--steps", "50", "--out", "kept", "--dry-run")
    result = run("rank-models", *SMALL, *BOTH, *tuned, "--json", "out.json")
    assert result.exit_code == 0, result.stderr
    assert not (tmp_path / "kept").exists()
    content = json.loads((tmp_path / "out.json").read_text())
    runs = content["finetuning"]["models"]
    # Ten images are held out, two of the other ten are chosen on; halving 9 points: 10, 16 and 50 steps, and the last.
    assert {(one["train"], one["val"], one["test"]) for one in runs.values()} == {(8, 2, 10)}
    assert {one["steps"] for one in runs.values()} == {9 * 10 + 3 * 16 + 50 + 50}
    mean = np.mean([one["seconds"] for one in runs.values()])
    assert content["finetuning"]["seconds"] == pytest.approx(7 * mean)
    assert content["seconds"] == pytest.approx(7 * mean + sum(one["seconds"] for one in content["models"].values()))
    assert "7 runs: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "--models: expected at least one name"),
        (("--models", "test_vit,test_vit"), 2, "'test_vit' is there twice"),
        (("--checkpoint", "weights.pt"), 2, "--checkpoint: expected [LABEL=]NAME=FILE"),
        (("--checkpoint", "test_vit=a.pt", "--checkpoint", "test_vit=b.pt"), 2, "LABEL=test_vit=b.pt"),
        (("--models", "test_vitt"), 1, "no model 'test_vitt'; did you mean test_vit"),
        (("--checkpoint", "test_vit=none.pt"), 1, "no file is at 'none.pt'"),
        ((*BOTH, "--limit", "3"), 1, "two images of each of 2 classes; got 3"),
        ((*BOTH, "--report", "nowhere/page.html"), 2, "does not exist"),
        ((*BOTH, "--scores", "efective_rank"), 1, "did you mean effective_rank"),
    ],
)
def test_wrong_use_is_told_before_work_starts(run, pets, arguments, code, text):
    small = SMALL[:-2] if "--scores" in arguments else SMALL
    result = run("rank-models", *small, *arguments)
    assert result.exit_code == code
    assert text in " ".join(result.stderr.replace("│", " ").split())


def test_images_without_classes_are_refused(run, pets, tmp_path):
    result = run("rank-models", *SMALL[2:], *BOTH, "--data", "pets/cat")
    assert result.exit_code == 1
    assert "expected labelled images" in result.stderr
