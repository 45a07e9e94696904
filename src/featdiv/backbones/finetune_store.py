"""Runs on disk: the outcome of each, and the checkpoints from which an interrupted run goes on."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

from featdiv.backbones import cache
from featdiv.backbones.finetune_judge import Judgement
from featdiv.backbones.finetune_result import Point
from featdiv.errors import FormatError
from featdiv.io.writers import replacing
from featdiv.stats import budget

FORMAT = 2
"""Version of the files; part of the key of their folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run: a grid point, for how long, on what.

    Attributes:
        lr: peak learning rate.
        weight_decay: value of the grid.
        steps: steps of the schedule.
        seed: of classifier, order, augmentation and dropout.
        images: ``"train"`` or ``"both"`` (training and validation images together).
        rung: of the halving.
        stage: ``"search"`` or ``"final"``.
    """

    lr: float
    weight_decay: float
    steps: int
    seed: int
    images: str
    rung: int
    stage: str

    @property
    def id(self) -> str:
        """Short name of the run's files; the rung is left out, as it shapes nothing."""
        facts = [self.lr, self.weight_decay, self.steps, self.seed, self.images, self.stage]
        return cache.key_of({"run": facts})[:12]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What became of a run.

    Attributes:
        curve: evaluations on the validation images; empty for a final run.
        judgement: of the network at the end, or None where it diverged, or there is nothing to judge on.
        diverged: why it was given up, or empty.
        seconds: of training.
        images_at_once: that went through the network, where memory did not suffice for a batch; else None.
        state: weights at the end on the CPU, for runs whose weights are wanted.
    """

    curve: tuple[Point, ...]
    judgement: Judgement | None
    diverged: str
    seconds: float
    images_at_once: int | None = None
    state: dict[str, Any] | None = None


class Store:
    """The folder of a call; without one, nothing is kept.

    Args:
        folder: where runs are kept, or None.
        function: public name for messages.
    """

    def __init__(self, folder: Path | None, function: str) -> None:
        self.folder = folder
        self.function = function

    def describe(self, facts: dict[str, Any]) -> None:
        """Makes the folder and writes ``finetune.json``, what its runs have in common."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(self.folder / "finetune.json", json.dumps(facts, indent=2).encode() + b"\n")

    def _write(self, path: Path, content: bytes) -> None:
        """Writes a file whole, or not at all.

        Raises:
            DiskFull: if there is no room.
        """
        try:
            with replacing(str(path)) as handle:
                handle.write(content)
        except OSError as error:
            if error.errno not in cache.FULL:
                raise
            raise cache.DiskFull(
                f"{self.function}: out: {path.parent}: the disk is full ({error.strerror}) where {path.name} needs "
                f"{budget.size(len(content))}. Finished runs and the last checkpoint are kept; make room and call "
                "again, which goes on from there",
                needed=len(content),
            ) from None

    def _save(self, path: Path, content: Any) -> None:
        """Writes what ``torch.load(weights_only=True)`` reads."""
        import torch

        buffer = io.BytesIO()
        torch.save(content, buffer)
        self._write(path, buffer.getvalue())

    def weights_path(self, run: Run) -> Path | None:
        """Returns where the weights of a finished run lie."""
        return None if self.folder is None else self.folder / f"weights-{run.id}.pt"

    def finished(self, run: Run, keep: bool) -> Outcome | None:
        """Returns the outcome of a run that an earlier call finished, with its weights if they are wanted.

        Raises:
            FormatError: if its files are damaged.
        """
        if self.folder is None:
            return None
        path, weights = self.folder / f"run-{run.id}.json", self.folder / f"weights-{run.id}.pt"
        if not path.exists():
            return None
        try:
            outcome = _parsed(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{self.function}: out: {path}: damaged ({error}); delete it to train this run anew"
            ) from None
        if not keep or outcome.diverged:
            return outcome
        return dataclasses.replace(outcome, state=self._load(weights)) if weights.exists() else None

    def record(self, run: Run, outcome: Outcome) -> None:
        """Keeps what became of a run, its weights first, and removes its checkpoint."""
        if self.folder is None:
            return
        if outcome.state is not None:
            self._save(self.folder / f"weights-{run.id}.pt", outcome.state)
        self._write(self.folder / f"run-{run.id}.json", json.dumps(_plain(outcome), allow_nan=False).encode())
        self._checkpoint(run).unlink(missing_ok=True)

    def checkpoint(self, run: Run) -> dict[str, Any] | None:
        """Returns what an interrupted call left of a run.

        Raises:
            FormatError: if it is damaged.
        """
        if self.folder is None or not self._checkpoint(run).exists():
            return None
        return self._load(self._checkpoint(run))

    def save_checkpoint(self, run: Run, content: dict[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all."""
        if self.folder is not None:
            self._save(self._checkpoint(run), content)

    def _checkpoint(self, run: Run) -> Path:
        assert self.folder is not None
        return self.folder / f"checkpoint-{run.id}.pt"

    def _load(self, path: Path) -> dict[str, Any]:
        import torch

        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise FormatError(
                f"{self.function}: out: {path}: damaged ({reason}); delete it to train this run anew"
            ) from None
        return content


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "curve": [dataclasses.asdict(point) for point in outcome.curve],
        "judgement": None if outcome.judgement is None else outcome.judgement.to_dict(),
        "diverged": outcome.diverged,
        "seconds": outcome.seconds,
        "images_at_once": outcome.images_at_once,
    }


def _parsed(content: dict[str, Any]) -> Outcome:
    judgement = content["judgement"]
    return Outcome(
        curve=tuple(Point(**point) for point in content["curve"]),
        judgement=None if judgement is None else Judgement.from_dict(judgement),
        diverged=str(content["diverged"]),
        seconds=float(content["seconds"]),
        images_at_once=content["images_at_once"],
    )
