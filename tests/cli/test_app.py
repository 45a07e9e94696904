from __future__ import annotations

import os
import pty
import subprocess
import sys

import numpy as np
import pytest

import featdiv
from featdiv.cli.app import commands

COMMANDS = (
    "spectrum",
    "merge",
    "diversity",
    "compare",
    "directions",
    "transferability",
    "knn",
    "correlate",
    "report",
    "check",
    "rank-models",
    "extract",
    "finetune",
    "info",
    "convert",
    "metrics",
    "doctor",
    "demo",
    "probe",
    "protocol",
)


def test_version(run):
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout == f"featdiv {featdiv.__version__}\n"


def test_help_lists_every_command_in_whole_words(run):
    listed = run("--help").stdout.partition("Commands:")[2]
    assert tuple(line.split()[0] for line in listed.strip().splitlines()) == COMMANDS
    assert "..." not in listed


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    options = [parameter for parameter in commands().commands[command].params if parameter.name != "help"]
    assert all(parameter.help for parameter in options)


@pytest.mark.parametrize("arguments", [["--help"], ["spectrum", "--help"], ["--version"], ["check", "x.npy"]])
def test_help_and_wrong_usage_load_nothing_heavy(arguments):
    code = (
        "import sys\nfrom featdiv.cli import main\n"
        f"sys.argv = ['featdiv', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = run.stdout.rpartition("loaded:")[2].split()
    assert "typer" in loaded
    assert not {"torch", "numpy", "scipy", "sklearn", "matplotlib", "rich", "pandas"} & set(loaded)


def test_no_command_is_wrong_usage(run):
    assert run().exit_code == 2


def test_unknown_command_is_wrong_usage(run):
    result = run("spectre")
    assert result.exit_code == 2
    assert "No such command 'spectre'" in result.stderr


def test_missing_file_is_one_line_without_a_traceback(run):
    result = run("spectrum", "nowhere.npy")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("featdiv: error: ")
    assert "nowhere.npy" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_of_the_system_names_the_file_first(run, isotropic, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "moments.npz")

    monkeypatch.setattr(featdiv.Moments, "save", full)
    result = run("spectrum", isotropic, "--save-moments", "moments.npz", "--quiet")
    assert result.exit_code == 1
    assert result.stderr == "featdiv: error: moments.npz: No space left on device\n"


def test_an_error_that_nobody_foresaw_keeps_its_traceback(run, isotropic, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(featdiv, "spectrum", broken, raising=False)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run("spectrum", isotropic)


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line_on_stderr(run, tmp_path):
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(12, 8)))
    result = run("spectrum", "few.npy", "--json", "-")
    assert result.exit_code == 0
    assert "featdiv: warning: featdiv.spectrum:" in result.stderr
    assert "warning" not in result.stdout
    assert ".py:" not in result.stderr


INTERRUPTED_RUN = """
import os, signal, sys
import featdiv.analyses
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background has it ignored
def interrupted(source, **arguments):
    next(iter(source.chunks(8)))
    os.kill(os.getpid(), signal.SIGINT)
    import time
    time.sleep(60)
featdiv.spectrum = interrupted
from featdiv.cli import main
outputs = ["--json", "out.json", "--save-moments", "out.npz", "--plot", "out.png"]
sys.argv = ["featdiv", "spectrum", "rows.npy", *outputs]
main()
"""


def test_ctrl_c_exits_130_and_leaves_no_file(tmp_path):
    np.save(tmp_path / "rows.npy", np.eye(64))
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_RUN], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 130
    assert "interrupted" in run.stderr
    assert "Traceback" not in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npy"]


def test_a_terminal_gets_a_drawn_table_and_a_pipe_plain_columns(isotropic):
    command = [sys.executable, "-m", "featdiv", "spectrum", str(isotropic), "--quiet"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert piped.splitlines()[1].split()[:2] == ["score", "value"]
    assert "─" not in piped
    assert "\x1b" not in piped

    reader, writer = pty.openpty()
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.DEVNULL) as process:
        os.close(writer)
        drawn = b""
        while chunk := _read(reader):
            drawn += chunk
        assert process.wait() == 0
    os.close(reader)
    assert "─" in drawn.decode()
    assert "effective_rank" in drawn.decode()


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux reports the closed end of a pseudo-terminal so
        return b""


def test_module_runs_as_the_command_does():
    run = subprocess.run([sys.executable, "-m", "featdiv", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"featdiv {featdiv.__version__}\n"


def test_commands_are_registered_under_their_own_names():
    assert set(commands().commands) == set(COMMANDS)
