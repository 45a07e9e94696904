"""Arguments that a message names are flags in the shell, where the command has them."""

from __future__ import annotations

import numpy as np
import pytest
import typer

from featdiv.cli import flags
from featdiv.cli.app import commands


def leaf(*names):
    found = commands()
    for name in names:
        found = found.commands[name]
    return found


@pytest.mark.parametrize(
    ("names", "message", "shown"),
    [
        (("spectrum",), "Use nonfinite='drop' to leave them out.", "Use --nonfinite drop to leave them out."),
        (("knn",), "Use ignore=-1 to leave them out.", "Use --ignore -1 to leave them out."),
        (("probe", "linear"), "pass seed=3, then", "pass --seed 3, then"),
        (("spectrum",), "no flag of it: t='x', whatever=3", "no flag of it: t='x', whatever=3"),
        (("spectrum",), "pass interval=None", "pass interval=None"),
        (("spectrum",), "name it with key=, or raise memory=.", "name it with --key, or raise --memory."),
        (("knn",), "k=5 uniform is undefined", "k=5 uniform is undefined"),
    ],
)
def test_messages(names, message, shown):
    assert flags.in_shell(message, leaf(*names)) == shown


def test_switches_are_named_where_they_are_turned_on():
    app = typer.Typer()

    @app.command(cls=flags.Command)
    def run(fast: bool = typer.Option(False, "--fast"), tidy: bool = True) -> None: ...

    command = typer.main.get_command(app)
    assert flags.in_shell("fast=True, fast=False, tidy=True", command) == "--fast, fast=False, tidy=True"


@pytest.mark.parametrize("command", [["spectrum"], ["probe", "linear"]])
def test_a_command_says_its_own_flag(run, tmp_path, command):
    x = np.ones((20, 3), np.float32)
    x[3, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "labels.npy", np.arange(20) % 2)
    labels = ["--labels", str(tmp_path / "labels.npy")] if "probe" in command else []
    result = run(*command, str(tmp_path / "x.npy"), *labels)
    assert result.exit_code == 1
    assert "row 3" in result.stderr
    assert "nonfinite='drop'" not in result.stderr
    assert ("--nonfinite drop" in result.stderr) == ("nonfinite" in {p.name for p in leaf(*command).params})


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("featdiv.open: source: no such file or directory: x.npy", "no such file or directory: x.npy"),
        ("featdiv.open: labels: no such file: y.npy", "labels: no such file: y.npy"),
        ("open it with featdiv.open: source: x", "open it with featdiv.open: source: x"),
    ],
)
def test_nobody_in_a_shell_called_open(message, shown):
    assert flags.in_shell(message, leaf()) == shown
