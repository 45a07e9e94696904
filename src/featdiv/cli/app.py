"""The typer application: the list of commands, and how errors, warnings and Ctrl-C are shown."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from featdiv.cli import (
    analyse,
    catalogue,
    check,
    compare,
    correlate,
    data,
    demo,
    directions,
    diversity,
    doctor,
    extract,
    finetune,
    flags,
    knn,
    output,
    probe,
    protocol,
    rank,
    report,
    transferability,
)
from featdiv.errors import FeatdivError

BAD_DATA = 1
INTERRUPTED = 130


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    output.warned.append(str(message))
    output.remark("featdiv: warning", str(message))


def _described(error: FeatdivError | OSError) -> str:
    """Returns a message of featdiv as it is, and one of the system with its file first."""
    if isinstance(error, FeatdivError) or error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


class _Commands(TyperGroup):
    """Turns errors that a user can meet into a line on stderr and an exit code; a bug keeps its traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        # Typer puts groups before commands.
        return sorted(super().list_commands(ctx), key=lambda name: isinstance(self.commands[name], TyperGroup))

    def invoke(self, ctx: Any) -> Any:
        try:
            output.warned.clear()
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except (FeatdivError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            output.remark("featdiv: error", _described(error))
            raise typer.Exit(BAD_DATA) from None
        except KeyboardInterrupt:
            output.say("featdiv: interrupted; no file was left half-written")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from featdiv import __version__

        typer.echo(f"featdiv {__version__}")
        raise typer.Exit


@app.callback()
def featdiv(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """What is in these features, and how well will they transfer?"""


for _command, _summary in (
    (analyse.spectrum, "Effective rank, RankMe and more, from one pass."),
    (analyse.merge, "Merge the moments of shards."),
    (diversity.diversity, "How diverse features are: a table."),
    (compare.compare, "How alike models are: CKA and more."),
    (directions.directions, "What leading directions show, by images."),
    (transferability.transferability, "How well features should transfer."),
    (knn.knn, "Which class a row's nearest neighbours have."),
    (correlate.correlate, "What goes with what over models."),
    (report.report, "One HTML page from results."),
    (check.check, "Fail where a score misses its limit."),
    (rank.rank_models, "Which model to take, and how sure."),
    (extract.extract, "Images through a network: features."),
    (finetune.finetune, "Train a network; say how well it does."),
    (data.info, "What a file of embeddings is."),
    (data.convert, "Write embeddings in another format or type."),
    (catalogue.metrics, "List the metrics with their sources."),
    (doctor.doctor, "What runs on this machine, and why not."),
    (demo.demo, "The main job on scikit-learn's digits."),
):
    app.command(short_help=_summary, cls=flags.Command)(_command)
app.add_typer(probe.app, name="probe", short_help="Classifiers on features: linear, ridge, fewshot.")
app.add_typer(protocol.app, name="protocol", short_help="Published protocols: list, show, diff.")


def commands() -> Any:
    """Returns the command tree, for the reference in the documentation."""
    return typer.main.get_command(app)
