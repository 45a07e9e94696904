"""Options for the rows that a probe learns from and is judged on, and opening what they name."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from featdiv.cli import options

if TYPE_CHECKING:
    from featdiv.io import Embeddings

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH", help="Training rows: a file, or the shards of one set.", show_default=False),
]
Train = Annotated[str | None, typer.Option(metavar="PATH", help="Training rows, in the place of PATH.")]
OtherLabels = Annotated[
    str | None, typer.Option(metavar="FILE|COLUMN", help="Their labels; default: the column named by --labels.")
]
OtherGroups = Annotated[
    str | None, typer.Option(metavar="FILE|COLUMN", help="Their groups; default: the column named by --groups.")
]
Groups = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|COLUMN",
        help="Group of each row (video, patient, document): intervals and splits keep groups whole.",
    ),
]
Test = Annotated[str | None, typer.Option(metavar="PATH", help="Rows to judge on.")]
Ignore = Annotated[str | None, typer.Option(metavar="LABEL", help="Leave out rows with this label, such as -1.")]
Holdout = Annotated[
    float | None, typer.Option(metavar="SHARE", help="Hold out this share of every class, and judge on it.")
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeRows:
    """What the options say of rows.

    Attributes:
        paths: training rows, or none where ``train`` names them.
        train: the same, by option.
        labels: their labels, or None for those that an extraction wrote beside them.
        groups: their groups, or None.
        val: (path, labels, groups) of the rows to choose on, of which labels and groups default to those of train.
        test: the same of the rows to judge on.
        holdout: share of the training rows to judge on in the place of ``test``.
        key: entry or column that holds the rows.
        seed: of the hold-out.
    """

    paths: list[str] | None
    train: str | None
    labels: str | None
    groups: str | None = None
    val: tuple[str | None, str | None, str | None] = (None, None, None)
    test: tuple[str | None, str | None, str | None] = (None, None, None)
    holdout: float | None = None
    key: str | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuses options that do not go together, before anything is read.

        Raises:
            typer.BadParameter: naming them.
        """
        if bool(self.paths) == (self.train is not None):
            raise typer.BadParameter("expected the training rows once: as PATH or with --train")
        if self.test[0] is not None and self.holdout is not None:
            raise typer.BadParameter("--holdout: expected one set of rows; with --test there is nothing to hold out")
        for name, (path, labels, groups) in (("val", self.val), ("test", self.test)):
            for what, given in (("labels", labels), ("groups", groups)):
                if path is None and given is not None:
                    raise typer.BadParameter(f"--{name}-{what}: expected --{name} with it")

    @contextlib.contextmanager
    def opened(self, function: str) -> Iterator[tuple[Embeddings, dict[str, Embeddings]]]:
        """Opens the training rows, and by name ``val`` and ``test``, those there are; what is held out is in memory."""
        with contextlib.ExitStack() as stack:
            paths = [self.train] if self.train is not None else self.paths or []
            rows = stack.enter_context(options.open_source(paths, key=self.key, labels=self.labels, groups=self.groups))
            require_labels(rows)
            sides = {
                name: stack.enter_context(
                    options.open_source(
                        [path], key=self.key, labels=labels or self.labels, groups=groups or self.groups
                    )
                )
                for name, (path, labels, groups) in (("val", self.val), ("test", self.test))
                if path is not None
            }
            for name, side in sides.items():
                require_labels(side, option=f"--{name}-labels")
            if self.holdout is not None:
                rows, sides["test"] = split(rows, self.holdout, seed=self.seed, function=function)
            yield rows, sides


def require_labels(source: Embeddings, *, option: str = "--labels") -> None:
    """Refuses rows for which no labels were given, and none found beside them.

    Raises:
        typer.BadParameter: naming the option.
    """
    if source.labels is None:
        raise typer.BadParameter(f"{option}: expected the labels of the rows: a file, or a column beside them")


def split(source: Embeddings, share: float, *, seed: int, function: str) -> tuple[Embeddings, Embeddings]:
    """Returns (training rows, rows held out), about that share of every class, groups whole, in memory."""
    import featdiv
    from featdiv.probes import holdout

    labels, groups = source.labels, source.groups
    assert labels is not None
    parts = holdout.split(labels, share, seed=seed, function=function, groups=groups)
    train, test = (
        featdiv.open(source.take(part), labels=labels[part], groups=None if groups is None else groups[part])
        for part in parts
    )
    return train, test


def numbers(text: str, option: str, *, whole: bool = False) -> list[float]:
    """Returns the numbers, separated by commas, that an option was given.

    Raises:
        typer.BadParameter: if some are none.
    """
    try:
        return [int(part) if whole else float(part) for part in text.split(",")]
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        raise typer.BadParameter(f"{option}: expected {kind} separated by commas; got {text!r}") from None
