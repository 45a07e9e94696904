from __future__ import annotations

import pytest
import torch

from featdiv import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Lightning warns of workers, loggers and its dependencies
]


@pytest.fixture
def fl(load):
    return load("lightning")


def module(rows: torch.Tensor, metric=None):
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        """A linear classifier over features that pass through unchanged, in batches of unequal size."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = torch.nn.Identity()
            self.head = torch.nn.Linear(45, 2)
            self.metric = metric

        def _loss(self, batch):
            return self.head(self.backbone(batch)).square().mean()

        def training_step(self, batch, index):
            return self._loss(batch)

        def validation_step(self, batch, index):
            self._loss(batch)
            if self.metric is not None:
                self.metric.update(batch)
                self.log("logged as a metric", self.metric)

        def test_step(self, batch, index):
            self._loss(batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

        def train_dataloader(self):
            return torch.utils.data.DataLoader(rows[:200] + 1.0, batch_size=64)

        def val_dataloader(self):
            return torch.utils.data.DataLoader(rows, batch_size=64)

        test_dataloader = val_dataloader

    return Module()


def run(*callbacks, folder, rows=None, model=None, precision="32-true", stage="fit", metric=None, compiled=False):
    import lightning.pytorch as pl

    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        precision=precision,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    model = module(rows, metric) if model is None else model
    getattr(trainer, stage)(torch.compile(model, backend="eager") if compiled else model)
    return trainer, model


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_scores_of_a_layer_after_validation(rows, truth, fl, tmp_path, precision):
    callback = fl.LayerScores("backbone", ["effective_rank", "rankme", "vendi"])
    trainer, model = run(callback, rows=rows, folder=tmp_path, precision=precision)
    for name in ("effective_rank", "rankme", "vendi"):
        logged = trainer.callback_metrics[f"featdiv/backbone/{name}"]
        assert float(logged) == pytest.approx(truth(rows, name), rel=1e-6)  # Lightning keeps float32
    assert not model.backbone._forward_hooks


def test_training_rows(rows, truth, fl, tmp_path):
    trainer, _ = run(fl.LayerScores("backbone", ["rankme"], stage="train"), rows=rows, folder=tmp_path)
    logged = float(trainer.callback_metrics["featdiv/backbone/rankme"])
    assert logged == pytest.approx(truth(rows[:200] + 1.0, "rankme"), rel=1e-6)


def test_test_rows(rows, truth, fl, tmp_path):
    trainer, _ = run(fl.LayerScores("backbone", ["rankme"], stage="test"), rows=rows, folder=tmp_path, stage="test")
    assert float(trainer.callback_metrics["featdiv/backbone/rankme"]) == pytest.approx(truth(rows, "rankme"), rel=1e-6)


def test_a_module_that_is_compiled_before_the_validation_is_watched(rows, truth, fl, tmp_path):
    trainer, model = run(fl.LayerScores("backbone", ["rankme"]), rows=rows, folder=tmp_path, compiled=True)
    logged = float(trainer.callback_metrics["featdiv/backbone/rankme"])
    assert logged == pytest.approx(truth(rows, "rankme"), rel=1e-6)
    assert not model.backbone._forward_hooks


def test_stages_of_one_layer_have_names_of_their_own(rows, truth, fl, tmp_path):
    callbacks = [fl.LayerScores("backbone", ["rankme"]), fl.LayerScores("backbone", ["rankme"], stage="train")]
    with pytest.raises(InputError, match=r"prefix: two callbacks of the trainer log 'featdiv/backbone/rankme'"):
        run(*callbacks, rows=rows, folder=tmp_path)
    callbacks[1] = fl.LayerScores("backbone", ["rankme"], stage="train", prefix="train")
    trainer, _ = run(*callbacks, rows=rows, folder=tmp_path)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged == {
        "featdiv/backbone/rankme": pytest.approx(truth(rows, "rankme"), rel=1e-6),
        "train/backbone/rankme": pytest.approx(truth(rows[:200] + 1.0, "rankme"), rel=1e-6),
    }


def test_a_run_that_fails_leaves_no_hook(rows, fl, tmp_path):
    model = module(rows)
    hooks = []

    def fails(*_, **__):
        hooks.append(len(model.backbone._forward_hooks))
        raise ArithmeticError

    model.training_step = fails
    with pytest.raises(ArithmeticError):
        run(fl.LayerScores("backbone", ["rankme"], stage="train"), model=model, folder=tmp_path)
    assert hooks == [1]
    assert not model.backbone._forward_hooks


def test_lightning_logs_the_metrics_too(rows, truth, fl, load, tmp_path):
    metric = load("torchmetrics_").EffectiveRank(45)
    trainer, _ = run(
        fl.LayerScores("backbone", ["rankme"]), rows=rows, folder=tmp_path, precision="bf16-mixed", metric=metric
    )
    logged = float(trainer.callback_metrics["logged as a metric"])
    assert logged == pytest.approx(truth(rows, "effective_rank"), rel=1e-6)


def test_a_layer_that_does_not_exist_is_named(rows, fl, tmp_path):
    with pytest.raises(InputError, match=r"lightning\.LayerScores: layer: the model has no module 'backbones'"):
        run(fl.LayerScores("backbones"), rows=rows, folder=tmp_path)


def test_wrong_arguments(fl):
    with pytest.raises(InputError, match="stage: expected one of 'validation', 'train', 'test'; got 'predict'"):
        fl.LayerScores("backbone", stage="predict")
    with pytest.raises(InputError, match="scores: expected a list of names"):
        fl.LayerScores("backbone", "rankme")
    with pytest.raises(InputError, match=r"^lightning\.LayerScores: scores: no metric is named 'rankmee'; did you"):
        fl.LayerScores("backbone", ["rankmee"])
    with pytest.raises(InputError, match="nonfinite: expected one of"):
        fl.LayerScores("backbone", nonfinite="ignore")
