"""The images to learn from, to choose on and to judge on, with their classes in one numbering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featdiv.backbones.image_labels import present_in
from featdiv.backbones.images import Images, images
from featdiv.errors import InputError, NotEnoughData
from featdiv.probes import holdout as holding

HELD_BYTES = 1 << 30
"""Decoded images that are kept in memory, where no workers decode them."""


class Pool:
    """Labelled images of one or two data sets, with the labels in the numbering of the classifier.

    Args:
        parts: the images.
        labels: (n,) numbers of classes of all of them, or a (n, c) table of 0 and 1.
        keep: whether to keep what has been decoded, up to `HELD_BYTES`.
    """

    def __init__(self, parts: Sequence[Images], labels: npt.NDArray[np.int64], *, keep: bool) -> None:
        self.parts = tuple(parts)
        self.labels = labels
        self.starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        self._keep = keep
        self._kept: dict[int, Any] = {}
        self._room = HELD_BYTES

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        label = self.labels[row]
        if row in self._kept:
            return self._kept[row], label
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        image, _ = self.parts[part][row - int(self.starts[part])]
        if self._keep:
            size = image.numel() * image.element_size() if hasattr(image, "numel") else 3 * image.width * image.height
            if size <= self._room:
                self._room -= size
                self._kept[row] = image
        return image, label

    @property
    def fingerprint(self) -> str:
        """Fingerprints of the parts, one after the other."""
        return " + ".join(part.fingerprint for part in self.parts)

    @property
    def description(self) -> str:
        """Where the images come from."""
        return " + ".join(part.description for part in self.parts)


class Division(NamedTuple):
    """The images of one call.

    Attributes:
        train: to learn from while the grid point is chosen.
        val: to choose it on.
        both: the two together.
        test: to judge on, once; None where there are none.
        classes: names, in the order of the classifier's outputs.
        chosen_on: ``"val"`` or ``"holdout"``.
    """

    train: Pool
    val: Pool
    both: Pool
    test: Pool | None
    classes: tuple[str, ...]
    chosen_on: str


def divide(data: Any, *, val: Any, test: Any, holdout: float, seed: int, keep: bool, function: str) -> Division:
    """Opens the images and divides them.

    Raises:
        InputError: if images have no label, there is one class, or validation or test have a class that train lacks.
        NotEnoughData: if no image would be left to choose on.
    """
    opened = images(data)
    given = {"val": None if val is None else images(val), "test": None if test is None else images(test)}
    train = opened
    if opened.splits:
        if "train" not in opened.splits:
            raise InputError(
                f"{function}: data: expected a split 'train' to learn from; {opened.description} has "
                f"{', '.join(opened.splits)}"
            )
        train = opened.split("train")
        for name, part in given.items():
            if part is None and name in opened.splits:
                given[name] = opened.split(name)
    present = _classes(train, function)
    labels = _targets(train, "data", present, function)
    chosen_on = "val" if given["val"] is not None else "holdout"
    if given["val"] is None:
        kept, out = holding.split(_strata(labels), holdout, seed=seed, function=function)
        part = train.subset(out)
        learn, own, judged = train.subset(kept), labels[kept], labels[out]
    else:
        part = given["val"]
        learn, own, judged = train, labels, _matched(part, "val", train, present, function)
    tested = None
    if given["test"] is not None:
        tested = Pool([given["test"]], _matched(given["test"], "test", train, present, function), keep=keep)
    together = Pool([learn, part], np.concatenate([own, judged]), keep=keep)
    return Division(
        Pool([learn], own, keep=keep), Pool([part], judged, keep=keep), together, tested, present, chosen_on
    )


def _classes(train: Images, function: str) -> tuple[str, ...]:
    """Returns the names of the classes that images to learn from have, in the order of their numbers."""
    labels = _labels(train, "data", function)
    present = tuple(train.classes[label] for label in present_in(labels))
    least = 1 if train.multilabel else 2
    if len(present) < least:
        said = f"all {len(train)} in {train.description} are {present[0]!r}" if present else "no image has any"
        words = "images of two classes or more to learn from" if least == 2 else "images that have classes"
        raise InputError(f"{function}: data: expected {words}; {said}")
    return present


def _strata(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns what a held-out share is taken of: the class; of several, the rarest; -1 for images without any."""
    if labels.ndim == 1:
        return labels
    counts = np.where(labels > 0, labels.sum(axis=0), np.iinfo(np.int64).max)
    return np.where(labels.any(axis=1), counts.argmin(axis=1), -1)


def _labels(part: Images, argument: str, function: str) -> npt.NDArray[np.int64]:
    if len(part) == 0:
        raise NotEnoughData(f"{function}: {argument}: expected images; {part.description} has none")
    unlabelled = len(part) if part.labels is None else 0 if part.multilabel else int((part.labels < 0).sum())
    if part.labels is None or unlabelled:
        raise InputError(
            f"{function}: {argument}: expected a label for each image; {unlabelled} of {len(part)} in "
            f"{part.description} have none"
        )
    return part.labels


def _targets(part: Images, argument: str, classes: Sequence[str], function: str) -> npt.NDArray[np.int64]:
    """Returns labels in the numbering of the classifier; classes that it does not have must not occur."""
    labels = _labels(part, argument, function)
    number = {name: index for index, name in enumerate(classes)}
    if part.multilabel:
        table = np.zeros((len(labels), len(classes)), dtype=np.int64)
        for column, name in enumerate(part.classes):
            if name in number:
                table[:, number[name]] = labels[:, column]
        return table
    return np.array([number.get(name, -1) for name in part.classes], dtype=np.int64)[labels]


def _matched(
    part: Images, argument: str, train: Images, classes: Sequence[str], function: str
) -> npt.NDArray[np.int64]:
    labels = _labels(part, argument, function)
    if part.multilabel and not labels.any():
        raise NotEnoughData(f"{function}: {argument}: none of the {len(part)} images in {part.description} has a class")
    if part.multilabel != train.multilabel:
        kinds = {True: "may have several classes", False: "have one class"}
        raise InputError(
            f"{function}: {argument}: images of {part.description} {kinds[part.multilabel]}, those to learn from "
            f"{kinds[train.multilabel]}"
        )
    lacking = sorted({part.classes[label] for label in present_in(labels)} - set(classes))
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise InputError(
            f"{function}: {argument}: {part.description} has classes that the training images lack: "
            f"{', '.join(map(repr, lacking[:5]))}{more}; training has {', '.join(map(repr, classes[:5]))}"
            f"{' …' if len(classes) > 5 else ''}. Leave them out, or add images of them to learn from"
        )
    return _targets(part, argument, classes, function)
