"""A callback of the Hugging Face Trainer that logs scores of a named layer.

from featdiv.integrations.transformers_ import LayerScores
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from featdiv._optional import require
from featdiv.errors import InputError
from featdiv.integrations import layers
from featdiv.stats import arguments

TrainerCallback: Any = require(
    "transformers", extra="transformers", needed_by="featdiv.integrations.transformers_"
).TrainerCallback

STAGES = ("evaluation", "train")


class LayerScores(TrainerCallback):  # type: ignore[misc]
    """Logs scores of the output of a layer, exact over all batches and ranks of an evaluation, or of some steps.

    ``callback.attach(trainer)`` takes the place of ``trainer.add_callback(callback)``: what callbacks add to the
    metrics of an evaluation comes too late for the log, so that the callback logs through the trainer.

    Stage ``"evaluation"`` logs ``eval_<layer>_<score>`` (dots of the layer become underscores) after every evaluation,
    to ``trainer.state.log_history`` and to the metrics that ``trainer.evaluate()`` returns, where
    ``metric_for_best_model`` finds them; with several evaluation sets, each has its prefix. Stage ``"train"`` logs
    ``<layer>_<score>`` of the rows since the last time, every ``log_every`` optimiser steps. A score that is undefined
    for the rows seen is not logged, and a layer that none went through is a warning. Under DDP, rows that accelerate
    repeats to fill the last batches count twice. In a compiled model, ``torch.compile`` breaks its graph at the layer.

    Args:
        layer: name of the layer, as ``model.named_modules()`` gives it.
        scores: names of scores in the catalogue that come from moments of rows.
        stage: ``"evaluation"`` or ``"train"``.
        pool: how to make (b, d) rows of an output: None where it has that shape, ``"mean"`` over tokens (b, t, d)
            or positions (b, d, h, w), padding included, ``"first"`` token, or a function.
        every: watch one forward pass in so many.
        log_every: optimiser steps between two logs of stage ``"train"``.
        nonfinite: ``"drop"`` leaves rows with NaN or infinity out, ``"raise"`` raises when scores are due.

    Raises:
        InputError: if an argument is wrong; for the layer, in ``attach``.

    Complexity:
        m d^2 multiply-adds in float64 for m rows, some hundreds at a time, without waiting for the device; O(d^3)
        a log.

    Example:
        >>> callback = LayerScores("encoder", pool="mean", scores=["effective_rank"])
        >>> callback.watcher.names
        ('effective_rank',)
    """

    def __init__(
        self,
        layer: str,
        scores: Iterable[str] = layers.DEFAULT_SCORES,
        *,
        stage: str = "evaluation",
        pool: str | layers.Pool | None = None,
        every: int = 1,
        log_every: int = 500,
        nonfinite: str = "drop",
    ) -> None:
        super().__init__()
        function = "transformers_.LayerScores"
        arguments.one_of(function, "stage", stage, STAGES)
        arguments.check(function, nonfinite=nonfinite)
        if log_every < 1:
            raise InputError(f"{function}: log_every: expected a positive number of steps; got {log_every}")
        self.stage = stage
        self.log_every = log_every
        self.watcher = layers.LayerWatcher(
            function=function,
            layer=layer,
            names=layers.check_names(scores, function=function),
            pool=layers.pooling(pool, function=function),
            every=every,
            nonfinite=nonfinite,
        )
        self._trainer: Any = None
        self._model: Any = None
        self._handle: torch.utils.hooks.RemovableHandle | None = None

    def attach(self, trainer: Any) -> LayerScores:
        """Adds the callback to a trainer, watches its model, and returns the callback.

        It comes before the trainer's other callbacks, so that one that stops early finds the scores.

        Raises:
            InputError: if the model has no such layer, or the callback is attached already.
        """
        if self._trainer is not None:
            raise InputError("transformers_.LayerScores.attach: trainer: this callback has one already; make another")
        self._watch(trainer.model)
        trainer.add_callback(self)
        callbacks = trainer.callback_handler.callbacks
        callbacks.insert(0, callbacks.pop())
        self._trainer = trainer
        return self

    def _watch(self, model: Any) -> None:
        training = self.stage == "train"
        if self._handle is not None:
            self._handle.remove()
        self._handle = self.watcher.attach(model, when=lambda: bool(model.training) == training)
        self._model = model

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Watches the trainer's model, of which ``model_init`` makes a new one for each training."""
        # A wrapper, such as FSDP's, has the watched model inside it.
        if self._trainer is not None and all(part is not self._model for part in self._trainer.model.modules()):
            self._watch(self._trainer.model)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Logs, for the stage ``"evaluation"``."""
        if self.stage == "evaluation":
            prefix = _prefix_of(metrics or {})
            found = self._take(f"{prefix}_")
            if found and metrics is not None:
                metrics.update(found)

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Forgets the rows seen while predicting, which must not count in the next evaluation."""
        if self.stage == "evaluation":
            self.watcher.reset()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Logs, for the stage ``"train"``, when it is time."""
        if self.stage == "train" and state.global_step % self.log_every == 0:
            self._take("")

    def _take(self, prefix: str) -> dict[str, float]:
        if self._trainer is None:
            raise InputError(
                "transformers_.LayerScores: expected callback.attach(trainer); got trainer.add_callback(callback), "
                "which does not let it log"
            )
        parts = [part for part in (self.watcher.layer.replace(".", "_"),) if part]
        found = {prefix + "_".join([*parts, name]): value for name, value in self.watcher.take().items()}
        if found:
            self._trainer.log(dict(found))
        return found


def _prefix_of(metrics: dict[str, Any]) -> str:
    """Returns the prefix of the metrics of an evaluation: ``eval``, or ``eval_<set>`` where there are several sets."""
    timing = next((name for name in metrics if name.endswith("_runtime")), "eval_runtime")
    return timing.removesuffix("_runtime")
