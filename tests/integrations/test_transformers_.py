from __future__ import annotations

import pytest
import torch

from featdiv import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # transformers and accelerate warn of what is absent here
]


@pytest.fixture
def ft(load):
    pytest.importorskip("accelerate", reason="accelerate is not installed, which the Trainer needs")
    return load("transformers_")


class Model(torch.nn.Module):
    """A linear classifier over features that pass through unchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Identity())
        self.head = torch.nn.Linear(45, 2)

    def forward(self, x, labels=None):
        logits = self.head(self.encoder(x))
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def examples(rows):
    return [{"x": row, "labels": i % 2} for i, row in enumerate(rows)]


@pytest.fixture
def trainer(rows, ft, tmp_path):
    def make(eval_dataset=None, **arguments):
        import transformers

        return transformers.Trainer(
            model=Model(),
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path),
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                per_device_train_batch_size=40,
                per_device_eval_batch_size=64,
                num_train_epochs=2,
                save_strategy="no",
                **arguments,
            ),
            train_dataset=examples(rows[:200] + 1.0),
            eval_dataset=examples(rows) if eval_dataset is None else eval_dataset,
        )

    return make


def test_scores_of_an_evaluation_are_returned_and_logged(rows, truth, ft, trainer):
    trainer = trainer(eval_strategy="epoch")
    callback = ft.LayerScores("encoder.0", ["effective_rank", "vendi"]).attach(trainer)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_encoder_0_vendi" in entry]
    assert [entry["epoch"] for entry in logged] == [1.0, 2.0]
    returned = trainer.evaluate()
    for name in ("effective_rank", "vendi"):
        expected = pytest.approx(truth(rows, name), rel=1e-9)
        assert returned[f"eval_encoder_0_{name}"] == expected
        assert all(entry[f"eval_encoder_0_{name}"] == expected for entry in logged)
    assert callback.watcher.scores() == {}


def test_each_evaluation_set_has_its_prefix(rows, truth, ft, trainer):
    trainer = trainer(eval_dataset={"near": examples(rows), "far": examples(rows + 9.0)})
    ft.LayerScores("encoder.0", ["rankme"]).attach(trainer)
    returned = trainer.evaluate()
    assert returned["eval_near_encoder_0_rankme"] == pytest.approx(truth(rows, "rankme"), rel=1e-9)
    assert returned["eval_far_encoder_0_rankme"] == pytest.approx(truth(rows + 9.0, "rankme"), rel=1e-9)


def test_predictions_do_not_count(rows, truth, ft, trainer):
    trainer = trainer()
    ft.LayerScores("encoder.0", ["rankme"]).attach(trainer)
    trainer.predict(examples(rows + 5.0))
    assert trainer.evaluate()["eval_encoder_0_rankme"] == pytest.approx(truth(rows, "rankme"), rel=1e-9)


def test_training_rows_every_so_many_steps(rows, truth, ft, trainer):
    trainer = trainer(max_steps=5)
    ft.LayerScores("encoder.0", ["rankme"], stage="train", log_every=5).attach(trainer)
    trainer.train()
    (logged,) = [entry for entry in trainer.state.log_history if "encoder_0_rankme" in entry]
    assert logged["step"] == 5
    assert logged["encoder_0_rankme"] == pytest.approx(truth(rows[:200] + 1.0, "rankme"), rel=1e-9)


def test_a_score_can_stop_a_run_early(ft, trainer):
    import transformers

    trainer = trainer(eval_strategy="epoch", metric_for_best_model="encoder_0_rankme")
    trainer.add_callback(transformers.EarlyStoppingCallback(early_stopping_patience=1))
    ft.LayerScores("encoder.0", ["rankme"]).attach(trainer)
    trainer.args.num_train_epochs = 9
    trainer.train()
    # The features never change: their first score stays the best.
    assert trainer.state.epoch == 2.0


def test_the_model_of_a_new_training_is_watched(rows, truth, ft, trainer):
    trainer = trainer(eval_strategy="epoch")
    trainer.model_init = Model
    first = trainer.model
    ft.LayerScores("encoder.0", ["rankme"]).attach(trainer)
    trainer.train()
    assert trainer.model is not first
    logged = [entry["eval_encoder_0_rankme"] for entry in trainer.state.log_history if "eval_encoder_0_rankme" in entry]
    assert logged == [pytest.approx(truth(rows, "rankme"), rel=1e-9)] * 2
    assert not first.encoder[0]._forward_hooks


def test_it_must_be_attached(ft, trainer):
    trainer = trainer()
    trainer.add_callback(ft.LayerScores("encoder.0"))
    with pytest.raises(InputError, match=r"expected callback\.attach\(trainer\)"):
        trainer.evaluate()


def test_wrong_arguments(ft, trainer):
    with pytest.raises(InputError, match="stage: expected one of 'evaluation', 'train'; got 'test'"):
        ft.LayerScores("encoder", stage="test")
    with pytest.raises(InputError, match="log_every: expected a positive number of steps; got 0"):
        ft.LayerScores("encoder", log_every=0)
    trainer = trainer()
    with pytest.raises(InputError, match="has no module 'encode'"):
        ft.LayerScores("encode").attach(trainer)
    callback = ft.LayerScores("encoder").attach(trainer)
    with pytest.raises(InputError, match="has one already"):
        callback.attach(trainer)
