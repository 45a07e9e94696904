"""`FineTune`: what `featdiv.finetune` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv.results import Result

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation while a network is trained.

    Attributes:
        step: steps taken.
        seconds: of training until then, evaluations left out.
        lr: learning rate of the last step.
        train_loss: mean loss of the batches since the evaluation before.
        val_loss: mean cross-entropy on the validation images.
        accuracy: top-1 there; None where images have several classes.
        mean_per_class: mean over classes there; likewise.
        map: mean average precision there.
    """

    step: int
    seconds: float
    lr: float
    train_loss: float
    val_loss: float
    accuracy: float | None
    mean_per_class: float | None
    map: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run of the search, or of the final networks.

    Attributes:
        stage: ``"search"`` (on the training images, judged on validation) or ``"final"`` (judged on test).
        rung: of the successive halving, from 0; that of the last for a final run.
        lr: peak learning rate.
        weight_decay: value of the grid.
        coefficient: what the optimiser got: ``weight_decay / lr``, or ``weight_decay`` as it is.
        seed: of classifier, order, augmentation and dropout.
        steps: for which the schedule was made.
        value: the selection metric after the last step, on validation for the search and on test for a final run; None
            where the run diverged, or there is no test set.
        loss: mean cross-entropy on the same images.
        diverged: why and when it was given up; empty for a run that went through.
        seconds: of training.
        images_at_once: that went through the network in the end, their gradients added up to those of a batch, where
            the memory of the device did not suffice for all of them; None where it did.
    """

    stage: str
    rung: int
    lr: float
    weight_decay: float
    coefficient: float
    seed: int
    steps: int
    value: float | None
    loss: float | None
    diverged: str
    seconds: float
    images_at_once: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FineTune(Result):
    """Result of `finetune`.

    ``scores`` hold ``lr`` and ``weight_decay`` of the chosen point; on the validation images (prefix ``val_``), where
    the point was chosen, and on test (prefix ``test_``, mean over seeds) ``accuracy``, ``mean_per_class`` and ``map``;
    ``test_accuracy_sd`` (over seeds, with two or more); ``steps_to_90`` and ``seconds_to_90``, when the odds of a right
    answer first reached 90 % of their best on the validation images; ``seconds``, of all training; with ``baseline``,
    ``scratch_test_accuracy`` and ``gain_over_scratch``. Where images have several classes, only ``map`` is defined: the
    standard deviation and the comparison with the baseline (``test_map_sd``, ``scratch_test_map``) are of it, and there
    is no time to 90 % of the odds.

    Attributes:
        mode: ``"full"``, ``"frozen"`` or ``"scratch"``.
        trials: every run, in the order in which they were made.
        curve: evaluations of the chosen point's run on the training images, at full length.
        classes: names of the classes.
        per_class: class to accuracy (where images have several: average precision) on test, or on validation where
            there is no test set; mean over seeds.
        seeds: of the final networks that went through.
        predictions: (s, m) numbers of the classes that each of them gives to the test images; (s, m, c) 0 and 1 where
            images have several.
        test_labels: (m,) numbers of the classes that they have, or (m, c) 0 and 1; empty without a test set.
        module: the network of the first seed, in evaluation mode, on the CPU.
        weights: files with the weights of the final networks, one a seed; empty without ``out``.
        scratch: the same from random weights, where ``baseline`` was asked for.
    """

    mode: str
    trials: tuple[Trial, ...]
    curve: tuple[Point, ...]
    metric: str
    classes: tuple[str, ...]
    per_class: Mapping[str, float]
    seeds: tuple[int, ...]
    predictions: npt.NDArray[np.int64]
    test_labels: npt.NDArray[np.int64]
    module: torch.nn.Module
    weights: tuple[str, ...] = ()
    scratch: FineTune | None = None

    _array_fields: ClassVar[tuple[str, ...]] = (
        "mode",
        "trials",
        "curve",
        "metric",
        "classes",
        "per_class",
        "seeds",
        "predictions",
        "test_labels",
        "weights",
        "scratch",
    )

    @property
    def accuracy(self) -> float:
        """Top-1 on test, mean over seeds.

        Raises:
            NotEnoughData: if there were no test images.
        """
        return self.read("test_accuracy")

    @property
    def lr(self) -> float:
        """The learning rate that was chosen."""
        return self.read("lr")

    @property
    def weight_decay(self) -> float:
        """The value of the weight decay's grid that was chosen."""
        return self.read("weight_decay")

    @property
    def diverged(self) -> tuple[Trial, ...]:
        """The runs that were given up."""
        return tuple(trial for trial in self.trials if trial.diverged)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(s, m): whether each final network was right about each test image, for paired tests of two models."""
        return np.asarray(self.predictions == self.test_labels)

    def table(self) -> list[dict[str, Any]]:
        """Returns one dictionary for each run, the fields of `Trial`."""
        return [dataclasses.asdict(trial) for trial in self.trials]

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the learning curve of the chosen point, with the step at which 90 % of the best odds were reached."""
        from featdiv.backbones import finetune_plot

        return finetune_plot.curve(self, ax)

    def plot_grid(self, ax: Axes | None = None) -> Figure:
        """Draws the selection metric of each grid point at the rung that it reached; a cross marks a diverged run."""
        from featdiv.backbones import finetune_plot

        return finetune_plot.grid(self, ax)

    def cite(self) -> str:
        """Returns the sources of the procedure, one a line, and of featdiv itself."""
        from featdiv.metrics import catalogue

        return catalogue.citations([])

    def __repr__(self) -> str:
        shown = ("test_accuracy", "val_accuracy", "lr", "weight_decay")
        scores = ", ".join(f"{name}={self.scores[name]:.4g}" for name in shown if name in self.scores)
        lost = f", {len(self.diverged)} diverged" if self.diverged else ""
        return f"FineTune({self.mode}, {scores}, {len(self.trials)} runs{lost})"
