"""How well a network does on labelled images: top-1, mean per class, average precision, cross-entropy."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.backbones import forward
from featdiv.backbones.finetune_division import Pool
from featdiv.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

METRICS = ("accuracy", "mean_per_class", "map")

HELD_BYTES = 256 << 20
"""Prepared images that are kept from one evaluation to the next."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """A network on labelled images.

    Attributes:
        loss: mean cross-entropy.
        accuracy: share of images whose largest logit is that of their class; None where images have several classes.
        mean_per_class: mean of that share over the classes that have images; likewise.
        map: mean over the same classes of the average precision of "is it this class", by its probability.
        per_class: (c,) accuracy of each class, or its average precision where images have several; NaN for one
            without images.
        predictions: (m,) classes of the largest logits, or (m, c) whether a class has a probability above a half.
    """

    loss: float
    accuracy: float | None
    mean_per_class: float | None
    map: float
    per_class: npt.NDArray[np.float64]
    predictions: npt.NDArray[np.int64]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of `METRICS` that are defined."""
        return tuple(name for name in METRICS if getattr(self, name) is not None)

    def value(self, metric: str) -> float:
        """Returns one of ``metrics``."""
        return float(getattr(self, metric))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values."""
        shares = [None if np.isnan(share) else share for share in self.per_class.tolist()]
        return {**dataclasses.asdict(self), "per_class": shares, "predictions": self.predictions.tolist()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Judgement:
        """Makes it from plain values."""
        shares = [np.nan if share is None else share for share in content["per_class"]]
        return cls(
            **{
                **content,
                "per_class": np.array(shares, dtype=np.float64),
                "predictions": np.array(content["predictions"], dtype=np.int64),
            }
        )


def judged(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Judgement:
    """Judges (m, c) logits against (m,) classes, or a (m, c) table of 0 and 1; of equal logits the first counts.

    O(m c log m). With a table, a class has the probability 1 / (1 + exp(-logit)) by itself.

    Example:
        >>> import numpy as np
        >>> from featdiv.backbones.finetune_judge import judged
        >>> found = judged(np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]], dtype=np.float32), np.array([0, 1, 1]))
        >>> round(found.accuracy, 4), found.mean_per_class, round(found.map, 4)
        (0.6667, 0.75, 1.0)
    """
    from scipy.special import log_softmax

    if labels.ndim == 2:
        return _judged_each(logits, labels)
    m, c = logits.shape
    with warnings.catch_warnings():
        # Logits of a diverged network overflow; the loss, which is NaN then, says so.
        warnings.simplefilter("ignore", RuntimeWarning)
        logs = log_softmax(logits.astype(np.float64), axis=1)
    counts = np.bincount(labels, minlength=c)
    predictions = logits.argmax(axis=1).astype(np.int64)
    right = np.bincount(labels[predictions == labels], minlength=c)
    there = counts > 0
    shares = np.full(c, np.nan)
    shares[there] = right[there] / counts[there]
    finite = bool(np.isfinite(logits).all())
    precisions = _precisions(logs, labels[:, None] == np.arange(c)) if finite else np.full(c, np.nan)
    return Judgement(
        loss=float(-logs[np.arange(m), labels].mean()) if finite else np.nan,
        accuracy=float(right.sum() / m),
        mean_per_class=float(shares[there].mean()),
        map=float(precisions[there].mean()),
        per_class=shares,
        predictions=predictions,
    )


def _judged_each(logits: npt.NDArray[np.float32], table: npt.NDArray[np.int64]) -> Judgement:
    values = logits.astype(np.float64)
    finite = bool(np.isfinite(logits).all())
    precisions = _precisions(values, table) if finite else np.full(table.shape[1], np.nan)
    known = ~np.isnan(precisions)
    return Judgement(
        # softplus(-z) where the class is there, softplus(z) where it is not.
        loss=float(np.logaddexp(0.0, np.where(table, -values, values)).mean()) if finite else np.nan,
        accuracy=None,
        mean_per_class=None,
        map=float(precisions[known].mean()) if known.any() else np.nan,
        per_class=precisions,
        predictions=(logits > 0).astype(np.int64),
    )


def _precisions(scores: npt.NDArray[np.float64], table: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the average precision of each class, NaN for one without images."""
    from featdiv.probes.linear_scores import average_precision

    columns = table.astype(np.int64)
    return np.array([average_precision(scores[:, j], columns[:, j]) for j in range(columns.shape[1])])


class Judge:
    """Judges networks on the same images.

    Args:
        pool: the images.
        transform: of the evaluation.
        classes: of the network.
        device: where to run.
        autocast: as in training.
        batch_size: images at a time.
        workers: processes that decode.
        function: public name for messages.
    """

    def __init__(
        self,
        pool: Pool,
        transform: Any,
        *,
        classes: int,
        device: str,
        autocast: str | None,
        batch_size: int,
        workers: int,
        function: str,
    ) -> None:
        self.pool = pool
        self.classes = classes
        self.device = device
        self.autocast = autocast
        self.function = function
        self._items = forward.Prepared(pool, transform, range(len(pool)), function)  # type: ignore[arg-type]
        self._batch_size = batch_size
        self._workers = workers
        self._held: list[torch.Tensor] | None = None
        self._room = forward.Room(device, function)

    def __call__(self, network: nn.Module) -> Judgement:
        """Judges a network; leaves it in evaluation mode.

        Raises:
            InputError: if it does not give one logit a class.
        """
        import torch

        # What a loader draws must not shift the dropout of the steps that follow.
        with torch.random.fork_rng(devices=[]):
            return judged(self._logits(network).numpy(), self.pool.labels)

    def _logits(self, network: nn.Module) -> torch.Tensor:
        import torch

        network.eval()
        rows: list[torch.Tensor] = []
        held: list[torch.Tensor] | None = []
        room = HELD_BYTES
        for batch in self._batches():
            if self._held is None and held is not None:
                room -= batch.numel() * batch.element_size()
                held = [*held, batch] if room >= 0 else None
            logits = self._forward(network, batch)
            if getattr(logits, "ndim", 0) != 2 or logits.shape[1] != self.classes:
                shape = tuple(getattr(logits, "shape", ()))
                raise InputError(
                    f"{self.function}: model: expected {self.classes} logits an image; {type(network).__name__} gives "
                    f"{shape or type(logits).__name__} for {len(batch)} images"
                )
            rows.append(logits)
        if self._held is None:
            self._held = held or None
        return torch.cat(rows)

    def _forward(self, network: nn.Module, batch: torch.Tensor) -> Any:
        """Returns what the network gives, on the CPU, if it is a tensor; in parts where memory does not suffice."""
        import torch

        def compute(size: int) -> Any:
            with torch.inference_mode(), forward.precision(self.autocast, self.device):
                parts = [network(part.to(self.device, non_blocking=True)) for part in batch.split(size)]
            if not all(isinstance(part, torch.Tensor) for part in parts):
                return parts[0]
            return (parts[0] if len(parts) == 1 else torch.cat(parts)).float().cpu()

        return self._room.run(len(batch), batch.shape[1:], compute)

    def _batches(self) -> Any:
        if self._held is not None:
            return iter(self._held)
        return forward.batches(self._items, batch_size=self._batch_size, workers=self._workers, device=self.device)
