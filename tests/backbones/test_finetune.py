from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import featdiv
from featdiv.backbones.finetune_estimate import estimate
from featdiv.backbones.finetune_train import Training
from featdiv.errors import InputError, NotEnoughData

pytest.importorskip("timm", reason="timm is not installed; pip install 'featdiv[vision]' installs it")

spec = importlib.util.spec_from_file_location("finetune_worker", Path(__file__).with_name("finetune_worker.py"))
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)

GIVEN = {
    "transform": worker.to_tensor,
    "augmentation": "none",
    "steps": 20,
    "batch_size": 8,
    "lr": 0.05,
    "weight_decay": 0.0,
    "device": "cpu",
}


@pytest.fixture
def tune():
    def tuned(data=None, model=None, **arguments):
        data = worker.coloured(36, 1) if data is None else data
        return featdiv.finetune(model or worker.network(), data, **{**GIVEN, **arguments})

    return tuned


def logits_of(result, data):
    x = torch.stack([worker.to_tensor(image) for image, _ in data])
    with torch.no_grad():
        return result.module(x).numpy()


def test_scores_are_those_of_the_returned_network(tune):
    from sklearn import metrics

    test = worker.coloured(25, 2)
    found = tune(test=test, steps=12)
    logits = logits_of(found, test)
    assert np.array_equal(found.predictions, logits.argmax(1)[None])
    assert np.array_equal(found.correct[0], logits.argmax(1) == test.labels)
    truth = np.eye(3)[test.labels]
    probabilities = torch.from_numpy(logits).double().softmax(1).numpy()
    assert 0.4 < found.accuracy < 1.0
    assert found.accuracy == pytest.approx(metrics.accuracy_score(test.labels, logits.argmax(1)))
    assert found.read("test_mean_per_class") == pytest.approx(
        metrics.balanced_accuracy_score(test.labels, logits.argmax(1))
    )
    assert found.read("test_map") == pytest.approx(metrics.average_precision_score(truth, probabilities), rel=1e-6)
    assert found.trials[-1].loss == pytest.approx(metrics.log_loss(test.labels, probabilities), rel=1e-5)
    assert found.accuracy in found.intervals["test_accuracy"]
    assert found.intervals["test_accuracy"].groups == 25
    shares = metrics.recall_score(test.labels, logits.argmax(1), average=None)
    assert list(found.per_class.values()) == pytest.approx(shares.tolist())


def test_the_test_images_choose_nothing(tune):
    test = worker.coloured(24, 2)
    wrong = featdiv.images(np.stack([np.asarray(image) for image, _ in test]), labels=(test.labels + 1) % 3)
    grid = {"lr": (0.001, 0.05), "weight_decay": (0.0, 1e-4), "halving": 2}
    right, shifted = tune(test=test, **grid), tune(test=wrong, **grid)
    assert (right.lr, right.weight_decay) == (shifted.lr, shifted.weight_decay)
    assert [point.accuracy for point in right.curve] == [point.accuracy for point in shifted.curve]
    assert right.accuracy == 1.0
    assert shifted.accuracy == 0.0


def test_the_point_that_is_best_on_validation_is_refitted_on_everything(tune):
    found = tune(lr=(1e-5, 0.05), halving=None)
    search, final = found.trials[:2], found.trials[2]
    assert [trial.lr for trial in search] == [1e-5, 0.05]
    assert search[1].value > search[0].value
    assert (found.lr, final.stage, final.lr, final.steps) == (0.05, "final", 0.05, 20)
    assert (found.provenance.n, found.provenance.arguments["chosen_on"]) == (36, "holdout")
    assert found.read("val_accuracy") == search[1].value
    assert found.undefined["test_accuracy"] == "there are no test images"
    with pytest.raises(NotEnoughData, match="there are no test images"):
        _ = found.accuracy


def test_without_refit_the_network_of_the_search_is_judged(tune):
    val = worker.coloured(15, 4)
    found = tune(val=val, test=val, refit=False, seed=(3, 4), steps=6)
    assert found.trials[1].value == found.trials[0].value == found.curve[-1].accuracy
    assert found.seeds == (3, 4)
    assert np.mean(logits_of(found, val).argmax(1) == val.labels) == found.trials[0].value
    assert found.accuracy == pytest.approx(np.mean([found.trials[1].value, found.trials[2].value]))
    assert found.read("test_accuracy_sd") == pytest.approx(np.std([t.value for t in found.trials[1:]], ddof=1))


def test_halving_keeps_the_best_and_goes_on_when_all_diverge(tune):
    found = tune(lr=(1e-4, 0.05, 1e30), weight_decay=(0.0, 1e-6), halving=3, steps=90)
    rungs = [[trial for trial in found.trials if trial.stage == "search" and trial.rung == i] for i in range(3)]
    assert [(len(rung), rung[0].steps) for rung in rungs] == [(6, 10), (2, 30), (1, 90)]
    assert {trial.lr for trial in found.diverged} == {1e30}
    assert all("at step" in trial.diverged or "not finite" in trial.diverged for trial in found.diverged)
    best = sorted((t for t in rungs[0] if t.value is not None), key=lambda t: (-t.value, t.loss))[:2]
    assert {(t.lr, t.weight_decay) for t in best} == {(t.lr, t.weight_decay) for t in rungs[1]}
    assert "2 of 10 runs diverged and were given up" in found.provenance.notes


def test_images_with_several_classes(tune):
    from sklearn.metrics import average_precision_score

    pixels = np.stack([np.asarray(image) for image, _ in worker.coloured(48, 1)])
    both = np.maximum(pixels, np.roll(pixels, 1, axis=0))
    table = np.eye(3, dtype=int)[np.arange(48) % 3] | np.eye(3, dtype=int)[(np.arange(48) - 1) % 3]
    table[::8] = np.eye(3, dtype=int)[np.arange(48) % 3][::8]
    both[::8] = pixels[::8]
    data = featdiv.images(both, labels=table, classes=["red", "green", "blue"])
    train, test = data.subset(np.arange(36)), data.subset(np.arange(36, 48))
    found = tune(train, test=test, seed=(0, 1), baseline=True, label_smoothing=0.1)
    logits = logits_of(found, test)
    assert found.trials[-2].value == pytest.approx(average_precision_score(test.labels, logits), rel=1e-9)
    assert found.read("test_map") == pytest.approx(np.mean([trial.value for trial in found.trials[-2:]]))
    assert found.read("test_map_sd") == pytest.approx(np.std([trial.value for trial in found.trials[-2:]], ddof=1))
    assert found.read("gain_over_scratch") == pytest.approx(found.read("test_map") - found.scratch.read("test_map"))
    assert found.metric == "map"
    np.testing.assert_array_equal(found.predictions[0], logits > 0)
    assert found.correct.shape == (2, 12, 3)
    assert "test_accuracy" not in found.intervals
    with pytest.raises(NotEnoughData, match="images have several classes, none of which is the right one"):
        _ = found.accuracy
    assert found.undefined["steps_to_90"] == found.undefined["val_accuracy"]
    assert [point.accuracy for point in found.curve] == [None] * len(found.curve)
    assert found.curve[-1].map == found.read("val_map")
    assert found.plot().axes[0].get_ylabel() == "mean average precision on validation images"
    assert json.loads(found.to_json())["undefined"]["test_accuracy"]
    with pytest.raises(InputError, match="metric: images with several classes have no 'accuracy'; leave it out"):
        tune(train, metric="accuracy")


def test_the_first_loss_is_the_binary_cross_entropy_of_each_class(tune):
    data = featdiv.images(np.zeros((8, 6, 6, 3), dtype=np.uint8), labels=np.array([[1, 0, 1]] * 4 + [[0, 1, 0]] * 4))
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
    nn.init.zeros_(network[1].weight)
    found = tune(data, network, val=data, steps=1, lr=1e-9, refit=False, label_smoothing=0.2)
    # Pixels of zero leave the bias of the new classifier alone.
    bias = found.module[1].bias.detach().double().numpy()
    shares = data.labels * 0.8 + 0.1
    expected = np.logaddexp(0.0, bias) - shares * bias
    assert found.curve[0].train_loss == pytest.approx(expected.mean(), rel=1e-5)


def test_classes_are_matched_by_name(tune):
    pixels = np.stack([np.asarray(image) for image, _ in worker.coloured(36, 1)])
    colours = np.array(["red", "green", "blue"])
    train = featdiv.images(pixels, labels=colours[np.arange(36) % 3])
    part = np.flatnonzero(np.arange(36) % 3 > 0)
    test = featdiv.images(pixels[part], labels=colours[part % 3])
    assert train.classes != test.classes
    found = tune(train, test=test)
    assert found.classes == ("blue", "green", "red")
    assert found.accuracy == 1.0
    assert found.per_class == {"blue": 1.0, "green": 1.0}


def test_splits_of_a_folder_are_used(folder):
    found = featdiv.finetune(worker.network(), folder, holdout=0.4, **{**GIVEN, "steps": 2})
    assert found.classes == ("cat", "dog")
    assert found.predictions.shape == (1, 3)
    assert found.provenance.n == 5


@pytest.mark.parametrize("augmentation", ["none", "flip", "mild-crop", "crop-flip", "randaugment", "strong"])
def test_presets_run_and_are_repeatable(augmentation):
    digits = np.random.default_rng(0).integers(0, 256, size=(12, 8, 8), dtype=np.uint8)
    data = featdiv.images(digits, labels=np.arange(12) % 2)
    arguments = {
        **GIVEN,
        "transform": {"input_size": (3, 32, 32), "crop_pct": 1.0},
        "steps": 2,
        "augmentation": augmentation,
        "refit": False,
    }
    first, second = (featdiv.finetune("test_resnet", data, pretrained=False, **arguments) for _ in range(2))
    assert first.trials[0].loss == second.trials[0].loss
    assert first.module.num_classes == 2


def test_baseline_and_protocol(tune):
    test = worker.coloured(12, 5)
    reports = []
    found = tune(test=test, baseline=True, steps=10, progress=lambda done, total: reports.append((done, total)))
    assert reports == [(step, 40) for step in range(1, 41)]
    assert found.scratch.mode == "scratch"
    assert found.read("gain_over_scratch") == pytest.approx(found.accuracy - found.scratch.accuracy)
    assert json.loads(found.to_json())["scratch"]["mode"] == "scratch"
    followed = tune(protocol="kornblith2019", steps=2, batch_size=4, weight_decay=(0.0, 1e-5, 1e-4), lr=0.1)
    assert followed.provenance.arguments["bn_momentum"] == "auto"
    assert len(followed.trials) == 8 + 1
    notes = " ".join(followed.provenance.notes)
    assert "steps: 2 instead of 20000" in notes
    assert "augmentation: none instead of crop-flip" in notes


def test_a_protocol_has_a_grid_of_its_own_for_random_weights(tune):
    # 8 strengths from 1e-6 on and none when fine-tuning; 8 from 1e-5 to 10^-1.5 from scratch (SimCLR, B.8).
    found = tune(protocol="kornblith2019", baseline=True, steps=1, batch_size=4, lr=0.1, weight_decay=(0.0, 1e-5, 1e-4))
    decays = [
        sorted(trial.weight_decay for trial in each.trials if trial.stage == "search")
        for each in (found, found.scratch)
    ]
    np.testing.assert_allclose(decays[0], [0.0, *np.logspace(-6, -3, 7)])
    np.testing.assert_allclose(decays[1], np.logspace(-5, -1.5, 8))
    assert "steps: 1 instead of 20000" in " ".join(found.provenance.notes)
    assert "steps: 1 instead of 40000" in " ".join(found.scratch.provenance.notes)


def test_an_estimate_counts_the_grid_of_the_baseline():
    given = {"timed": 1, "transform": worker.to_tensor, "augmentation": "none", "device": "cpu"}
    both, full, scratch = (
        estimate(worker.network(), worker.coloured(36, 1), **given, **asked)
        for asked in (
            {"protocol": "kornblith2019", "baseline": True},
            {"protocol": "kornblith2019"},
            {"protocol": "kornblith2019", "mode": "scratch"},
        )
    )
    assert (full.steps, scratch.steps) == (57 * 20_000, 57 * 40_000)
    assert (both.steps, both.runs) == (full.steps + scratch.steps, 2 * 57)


def test_a_result_is_plain_json_and_draws(tune):
    found = tune(lr=(0.05, 1e30), halving=None)
    content = json.loads(found.to_json())
    assert content["trials"][1]["diverged"]
    assert [point["step"] for point in content["curve"]] == list(range(2, 21, 2))
    assert found.to_pandas().loc["lr", "value"] == 0.05
    assert "<caption>FineTune of 36</caption>" in found._repr_html_()
    axes = found.plot().axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [point.accuracy for point in found.curve])
    grid = found.plot_grid().axes[0]
    texts = [text.get_text() for text in grid.texts]
    assert "diverged" in texts
    assert texts[0].startswith(f"{found.trials[0].value:.3f}")


def test_mixed_precision_and_an_average_of_weights_are_other_numbers(tune):
    plain, mixed, averaged = (tune(steps=6, **changed) for changed in ({}, {"autocast": "bfloat16"}, {"ema": 0.9}))
    assert mixed.provenance.precision == "bfloat16"
    assert mixed.trials[0].loss == pytest.approx(plain.trials[0].loss, rel=0.05)
    assert mixed.trials[0].loss != plain.trials[0].loss
    assert averaged.curve[0].train_loss == plain.curve[0].train_loss
    assert averaged.trials[0].loss != plain.trials[0].loss


@pytest.mark.parametrize(("batch_size", "share"), [(2, 10 * 2 / 240), (64, 0.1)])
def test_momentum_of_batch_normalisation(tune, monkeypatch, batch_size, share):
    found = []
    begin = Training.__init__

    def beginning(self, *arguments):
        begin(self, *arguments)
        found.append(self.network[1].momentum)

    monkeypatch.setattr(Training, "__init__", beginning)
    tune(worker.coloured(300, 1), steps=1, refit=False, bn_momentum="auto", batch_size=batch_size)
    assert found == [pytest.approx(share)]


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ([2.0] * 10, ""),
        ([9.3] * 9 + [9.0], "loss 9.27 in the steps up to 40, 4.0 times that of guessing"),
        ([1.0, float("inf")] + [1.0] * 8, "loss inf at step 32"),
    ],
)
def test_a_run_is_given_up_for_its_losses(losses, reason):
    # Ten classes: guessing has a loss of ln 10 = 2.303, four times which is 9.210.
    run = SimpleNamespace(step=40, warm=5, diverged="", setting=SimpleNamespace(guessing=np.log(10)))
    Training._check(run, [torch.tensor(loss) for loss in losses])
    assert run.diverged == reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, r"lr: expected a positive number or a list of them; got 0.0"),
        ({"lr": (0.1, float("nan"))}, r"lr: expected a positive number"),
        ({"lr": ()}, r"lr: expected a positive number"),
        ({"weight_decay": -1e-4}, r"weight_decay: expected a non-negative number"),
        ({"steps": 0}, r"steps: expected .* got 0"),
        ({"batch_size": 2.5}, r"batch_size: expected .* got 2.5"),
        ({"mode": "partial"}, r"mode: expected one of 'full', 'frozen', 'scratch'; got 'partial'"),
        ({"optimizer": "lion"}, r"optimizer: expected one of 'sgd', 'adamw'; got 'lion'"),
        ({"schedule": "step"}, r"schedule: expected one of 'cosine', 'constant'"),
        ({"augmentation": "mixup"}, r"augmentation: expected one of 'none', .*, or a callable .*; got 'mixup'"),
        ({"augmentation": "crop"}, r"augmentation: 'crop' crops and flips images of a known configuration"),
        ({"halving": 1}, r"halving: expected None or a whole number of at least 2; got 1"),
        ({"seed": -1}, r"seed: expected a whole number from 0 on"),
        ({"ema": 1.0}, r"ema: expected None or a decay between 0 and 1"),
        ({"bn_momentum": "fast"}, r"bn_momentum: expected None, 'auto' or a number"),
        ({"warmup": 1.0}, r"warmup: expected a number from 0 on and below 1; got 1.0"),
        ({"metric": "f1"}, r"metric: expected one of None, 'accuracy', 'mean_per_class', 'map'"),
        ({"holdout": 1.5}, r"holdout: expected a share between 0 and 1; got 1.5"),
        ({"autocast": "int8"}, r"autocast: expected one of None, 'bfloat16', 'float16'"),
        ({"mode": "scratch", "baseline": True}, r"baseline: mode='scratch' is the baseline"),
        ({"eval_every": 0}, r"eval_every: expected"),
    ],
)
def test_arguments_are_refused_by_name(tune, arguments, message):
    with pytest.raises(InputError, match=r"featdiv.finetune: " + message):
        tune(**arguments)


def test_images_that_cannot_be_learned_from(tune):
    pixels = np.zeros((8, 6, 6, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r"data: expected images of two classes or more .* all 8 in .* are 'cat'"):
        tune(featdiv.images(pixels, labels=["cat"] * 8))
    with pytest.raises(InputError, match=r"data: expected a label for each image; 8 of 8 .* have none"):
        tune(featdiv.images(pixels))
    train = featdiv.images(pixels, labels=["cat", "dog"] * 4)
    test = featdiv.images(pixels, labels=["cat", "emu"] * 4)
    with pytest.raises(
        InputError, match=r"test: .* has classes that the training images lack: 'emu'; training has 'cat'"
    ):
        tune(train, test=test)
    with pytest.raises(NotEnoughData, match=r"holdout: 0\.2 of classes of up to 1 rows is none"):
        tune(featdiv.images(pixels[:2], labels=["cat", "dog"]))


def test_when_everything_diverges_it_says_so(tune):
    with pytest.raises(NotEnoughData, match=r"lr: all 2 runs of 10 steps diverged \(lr 1e\+30: .*\). Pass smaller"):
        tune(lr=(1e30, 2e30))
    broken = worker.network()
    with torch.no_grad():
        broken[0].weight.fill_(float("nan"))
    with pytest.raises(NotEnoughData, match=r"loss nan at step 1"):
        tune(model=broken)


def test_networks_that_do_not_fit(tune):
    with pytest.raises(InputError, match="does not say which layer is its penultimate"):
        tune(model=nn.Sequential(nn.Flatten(), nn.Linear(108, 5), nn.ReLU()))
    with pytest.raises(InputError, match=r"transform: Sequential refuses a batch of shape \(8, 3, 6, 6\)"):
        tune(model=nn.Sequential(nn.Flatten(), nn.Linear(100, 5)))

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.fc = nn.Linear(108, 5)

        def forward(self, x):
            return self.fc(x.flatten(1) * self.scale)

    with pytest.raises(InputError, match=r"mode: scale of Scaled cannot be drawn anew \(no reset_parameters\)"):
        tune(model=Scaled(), mode="scratch")


def test_runs_on_disk_need_a_transform_that_can_be_named(tune, tmp_path):
    class Nameless:
        def __call__(self, image):
            return worker.to_tensor(image)

    with pytest.raises(InputError, match="has neither a repr nor code that says so"):
        tune(transform=Nameless(), out=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file; expected a folder"):
        tune(out=tmp_path / "file")
