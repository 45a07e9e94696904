"""A progress bar on stderr, shown where a person is looking."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Report = Callable[[int, int | None], None]


@contextlib.contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[Report | None]:
    """Yields the ``progress=`` callable of one run, or None where stderr is no terminal or ``quiet`` is set.

    The bar counts rows, with their rate and the time that is left; where the number of rows is unknown it has no end.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)

        def report(rows_done: int, rows_total: int | None) -> None:
            progress.update(task, completed=rows_done, total=rows_total)

        yield report
