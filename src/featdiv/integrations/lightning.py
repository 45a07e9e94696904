"""A Lightning callback that logs scores of a named layer: `LayerScores`.

It is for ``lightning.pytorch``; the package ``pytorch_lightning`` has a Callback class of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from featdiv._optional import require
from featdiv.errors import InputError
from featdiv.integrations import layers
from featdiv.stats import arguments

Callback: Any = require("lightning.pytorch", extra="lightning", needed_by="featdiv.integrations.lightning").Callback

FUNCTION = "lightning.LayerScores"
STAGES = ("validation", "train", "test")


class LayerScores(Callback):  # type: ignore[misc]
    """Logs scores of the output of a layer, once an epoch, exact over all its batches and ranks.

    Logged as ``<prefix>/<layer>/<score>`` at the end of the epoch of the stage; the layer is left out where it is
    the whole model. Rows of several loaders of a stage count together. A score that is undefined for the rows seen (too
    few, constant) is not logged, and a layer that none went through is a warning. The sanity check before training is
    passed over. Under DDP, rows that the distributed sampler repeats to make ranks even count twice. In a compiled
    model, ``torch.compile`` breaks its graph at the layer.

    Args:
        layer: name of the layer, as ``pl_module.named_modules()`` gives it: ``"backbone"``, ``"encoder.norm"``.
        scores: names of scores in the catalogue that come from moments of rows.
        stage: ``"validation"``, ``"train"`` or ``"test"``.
        pool: how to make (b, d) rows of an output: None where it has that shape, ``"mean"`` over tokens (b, t, d)
            or positions (b, d, h, w), ``"first"`` token, or a function.
        every: watch one forward pass in so many.
        nonfinite: ``"drop"`` leaves rows with NaN or infinity out, ``"raise"`` raises at the end of the epoch.
        prefix: of the names; another one for each stage of the same layer.

    Raises:
        InputError: if an argument is wrong; for the layer, or if two callbacks of a trainer would log under the same
            name, when the run starts.

    Complexity:
        m d^2 multiply-adds in float64 for m rows, some hundreds at a time, without waiting for the device; O(d^3)
        an epoch.

    Example:
        >>> callback = LayerScores("backbone", scores=["effective_rank", "rankme"])
        >>> callback.watcher.layer
        'backbone'
    """

    def __init__(
        self,
        layer: str,
        scores: Iterable[str] = layers.DEFAULT_SCORES,
        *,
        stage: str = "validation",
        pool: str | layers.Pool | None = None,
        every: int = 1,
        nonfinite: str = "drop",
        prefix: str = "featdiv",
    ) -> None:
        super().__init__()
        function = FUNCTION
        arguments.one_of(function, "stage", stage, STAGES)
        arguments.check(function, nonfinite=nonfinite)
        self.stage = stage
        self.watcher = layers.LayerWatcher(
            function=function,
            layer=layer,
            names=layers.check_names(scores, function=function),
            pool=layers.pooling(pool, function=function),
            every=every,
            nonfinite=nonfinite,
        )
        self._prefix = "/".join(filter(None, (prefix, layer)))
        self._handle: torch.utils.hooks.RemovableHandle | None = None
        self._watching = False

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuses a second callback that logs under the same names."""
        for other in trainer.callbacks:
            if other is not self and isinstance(other, LayerScores):
                shared = set(self.logged_names()) & set(other.logged_names())
                if shared:
                    raise InputError(
                        f"{FUNCTION}: prefix: two callbacks of the trainer log {sorted(shared)[0]!r}; pass one of them "
                        "another prefix="
                    )

    def logged_names(self) -> tuple[str, ...]:
        """Returns the names under which scores are logged."""
        return tuple(f"{self._prefix}/{name}" for name in self.watcher.names)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Puts the hook in place before anything is compiled."""
        if self.stage != "test":
            self._attach(pl_module)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Starts watching, for the stage ``"train"``."""
        if self.stage == "train":
            self._start(pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Logs, for the stage ``"train"``."""
        if self.stage == "train":
            self._log(pl_module)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Starts watching, for the stage ``"validation"``."""
        if self.stage == "validation" and not trainer.sanity_checking:
            self._start(pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Logs, for the stage ``"validation"``."""
        if self.stage == "validation" and not trainer.sanity_checking:
            self._log(pl_module)

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Starts watching, for the stage ``"test"``."""
        if self.stage == "test":
            self._start(pl_module)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Logs, for the stage ``"test"``."""
        if self.stage == "test":
            self._log(pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Takes the hook off."""
        self._detach()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Takes the hook off."""
        self._detach()

    def _attach(self, pl_module: Any) -> None:
        # A validation may come in the middle of an epoch of training.
        self._handle = self.watcher.attach(
            pl_module, when=lambda: self._watching and (self.stage != "train" or bool(pl_module.training))
        )

    def _detach(self) -> None:
        self._watching = False
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _start(self, pl_module: Any) -> None:
        if self._handle is None:
            self._attach(pl_module)
        self.watcher.reset()
        self._watching = True

    def _log(self, pl_module: Any) -> None:
        self._watching = False
        # Every rank has the same numbers already: there is nothing to synchronise.
        pl_module.log_dict({f"{self._prefix}/{name}": value for name, value in self.watcher.take().items()})
