"""A progress bar on stderr, shown where a person is looking."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol


class Report(Protocol):
    """A callback that is told how much is done, of how much, and, where that changes on the way, what is being done."""

    def __call__(self, done: int, total: int | None, what: str | None = None, /) -> None:
        """Moves the bar."""


@contextlib.contextmanager
def progress_bar(what: str, *, quiet: bool = False, unit: str = "rows") -> Iterator[Report | None]:
    """Yields the ``progress=`` callable of one run, or None where stderr is no terminal or ``quiet`` is set.

    The bar counts rows, or another ``unit``, with their rate and the time that is left; where their number is unknown
    it has no end.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.{0 if task.speed >= 10 else 1}f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed:,.0f}} {unit}"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)

        def report(done: int, total: int | None, what: str | None = None, /) -> None:
            progress.update(task, completed=done, total=total, description=what)

        yield report
