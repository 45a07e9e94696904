"""What a ranking would take: its extractions, and its fine-tuning, from a few batches and steps of each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featdiv.backbones.estimate import Estimate
from featdiv.backbones.estimate import estimate as extraction_estimate
from featdiv.backbones.finetune_estimate import FineTuneEstimate
from featdiv.backbones.finetune_estimate import estimate as run_estimate
from featdiv.errors import FeatdivError
from featdiv.studies.folds import stratified_folds
from featdiv.studies.ranking import finetuning as finetuning_of
from featdiv.studies.ranking.candidates import FUNCTION, candidates
from featdiv.studies.ranking.measure import SHARD_ROWS
from featdiv.studies.ranking.run import labelled_images


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankingEstimate:
    """What the costly steps of a ranking would take; scores and probes are not in it.

    Attributes:
        features: model to its extraction.
        tuning: model to one of its fine-tuning runs; empty where none is asked for.
        runs: fine-tuning runs, at most.
        failed: model to the reason why it would fail.
    """

    features: Mapping[str, Estimate]
    tuning: Mapping[str, FineTuneEstimate]
    runs: int
    failed: Mapping[str, str]

    @property
    def tuning_seconds(self) -> float:
        """Of all fine-tuning runs; which models get them is known when they are ranked, so that each counts alike."""
        return self._of_tuning("seconds")

    @property
    def seconds(self) -> float:
        """Of extractions and fine-tuning."""
        return sum(one.seconds for one in self.features.values()) + self.tuning_seconds

    @property
    def bytes(self) -> int:
        """Of features, and of the checkpoints of fine-tuning."""
        return sum(one.bytes for one in self.features.values()) + round(self._of_tuning("bytes"))

    def _of_tuning(self, name: str) -> float:
        values = [getattr(one, name) for one in self.tuning.values()]
        return self.runs * float(np.mean(values)) if values else 0.0


def estimate(
    models: Any,
    data: Any,
    *,
    folds: int,
    split: str | None,
    limit: int | None,
    seed: int,
    pretrained: bool,
    extraction: Mapping[str, Any],
    finetune: str | int | None,
    finetuning: Mapping[str, Any],
    out: str | None,
) -> RankingEstimate:
    """Times a few batches, and a few training steps, of each model; writes nothing.

    The arguments are those of `featdiv.rank_models`.

    Raises:
        InputError: as `featdiv.rank_models` does.
    """
    if finetune is not None:
        finetuning_of.check(finetune, finetuning)
    every = candidates(models, {"pretrained": pretrained, **extraction})
    opened = labelled_images(data, split=split, limit=limit, seed=seed)
    labels = np.asarray(opened.labels, dtype=np.int64)
    held = stratified_folds(labels, folds=folds, repeats=1, seed=seed, function=FUNCTION)[0] == 0
    folder = None if out is None else Path(out).expanduser()
    features: dict[str, Estimate] = {}
    tuning: dict[str, FineTuneEstimate] = {}
    failed: dict[str, str] = {}
    for one in every:
        try:
            features[one.name] = extraction_estimate(
                one.model,
                opened,
                out=None if folder is None else folder / "features",
                **{"shard_rows": SHARD_ROWS, **one.arguments},
            )
            if finetune is not None:
                tuning[one.name] = run_estimate(
                    one.model,
                    opened.subset(~held),
                    test=opened.subset(held),
                    seed=seed,
                    out=None if folder is None else folder / "finetune",
                    **finetuning_of.arguments_of(one, finetuning),
                )
        except FeatdivError as error:
            failed[one.name] = str(error)
    return RankingEstimate(
        features=features, tuning=tuning, runs=finetuning_of.most_runs(finetune, len(tuning)), failed=failed
    )
