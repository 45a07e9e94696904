"""The command ``featdiv``: every command is a thin reading of arguments around one public function.

Results go to stdout, everything else (progress, warnings, messages) to stderr. Exit codes: 0 done, 1 the data
or the machine cannot do it, 2 wrong usage, 3 a check failed, 130 interrupted.

Nothing heavier than typer is imported before a command runs, so that ``featdiv --help`` is immediate.
"""

from __future__ import annotations


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    from featdiv.cli.app import app

    app(prog_name="featdiv")
