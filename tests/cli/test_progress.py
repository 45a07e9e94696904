"""The bar of a long step: rate and time left on a terminal, nothing elsewhere."""

from __future__ import annotations

import io
import sys

import rich.console

from featdiv.cli.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(monkeypatch):
    """Returns what stands for stderr; not as a fixture, since pytest puts its own there when a test begins."""
    terminal = Terminal()
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_it_counts_with_rate_and_time_left(monkeypatch):
    terminal = watched(monkeypatch)
    now = [1000.0]
    monkeypatch.setattr(rich.console, "monotonic", lambda: now[0])
    with progress_bar("extracting", unit="images") as report:
        for done in range(0, 101, 20):
            report(done, 400)
            now[0] += 2.0
        report(120, 400, "2/3 resnet18: linear probe")
    shown = terminal.getvalue()
    # Twenty every two seconds, 280 to go.
    assert "extracting" in shown
    assert "120 images" in shown
    assert "10/s" in shown
    assert "0:00:28" in shown
    assert "2/3 resnet18: linear probe" in shown


def test_nothing_is_shown_where_nobody_looks(monkeypatch):
    terminal = watched(monkeypatch)
    with progress_bar("extracting", quiet=True) as report:
        assert report is None
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    with progress_bar("extracting") as report:
        assert report is None
    assert terminal.getvalue() == ""
