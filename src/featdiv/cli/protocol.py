"""``featdiv protocol``: published protocols, and why a number may differ from a paper's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featdiv.cli import flags, options, output

if TYPE_CHECKING:
    from featdiv.protocols import Protocol

app = typer.Typer(no_args_is_help=True, help="Published protocols, and why your number may differ from a paper's.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A protocol; see `featdiv protocol list`.")]


@app.command("list", short_help="The protocols there are.", cls=flags.Command)
def list_(json: options.Json = None) -> None:
    """List the protocols, with what each is."""
    from featdiv import protocols

    found = [protocols.get(name) for name in protocols.names()]
    if json != "-":
        rows = [[one.name, str(one.version), one.summary] for one in found]
        output.print_table(["protocol", "version", "summary"], rows)
    output.write_json([one.to_dict() for one in found], json)


@app.command(short_help="What a protocol prescribes, presumes, and gets wrong.", cls=flags.Command)
def show(name: Name, json: options.Json = None) -> None:
    """Show a protocol: parameters by function, what it presumes, known defects of the original, sources."""
    from featdiv.protocols import values

    protocol = _get(name)
    if json != "-":
        rows = [
            [function, parameter, values.shown(value)]
            for function, items in protocol.parameters.items()
            for parameter, value in items.items()
        ]
        output.print_table(["function", "parameter", "value"], rows, title=f"{protocol.identity}: {protocol.summary}")
        _print_section("presumes", [f"{key}: {text}" for key, text in protocol.presumes.items()])
        _print_section("known defects of the original", list(protocol.defects))
        _print_section("source", [f"{key}: {text}" for key, text in protocol.source.items()])
    output.write_json(protocol.to_dict(), json)


@app.command(short_help="Why two numbers may differ.", cls=flags.Command)
def diff(
    name: Name,
    other: Annotated[
        str, typer.Argument(metavar="OTHER|RESULT.json", help="Another protocol, or a result that --json wrote.")
    ],
    json: options.Json = None,
) -> None:
    """Where a result, or another protocol, departs from a protocol: why your number may differ from a paper's.

    What a result does not record, and what a protocol presumes beyond parameters, is listed too: check it by hand.
    """
    options.require_writable(json, "--json")
    protocol = _get(name)
    from featdiv import protocols

    content = _between(protocol, protocols.get(other)) if other in protocols.names() else _with_result(protocol, other)
    if json != "-":
        _print_difference(protocol, content)
    output.write_json(content, json)


def _get(name: str) -> Protocol:
    from featdiv import protocols

    if name not in protocols.names():
        raise typer.BadParameter(f"no protocol is named {name!r}; there are {', '.join(protocols.names())}")
    return protocols.get(name)


def _between(one: Protocol, other: Protocol) -> dict[str, Any]:
    """What differs between two protocols, function by function, and in what they presume."""
    shared = [function for function in one.parameters if function in other.parameters]
    return {
        "protocol": one.identity,
        "other": other.identity,
        "differences": [
            found for function in shared for found in _differences(one, other.parameters_of(function), function)
        ],
        "unrecorded": [
            f"{function}.{name}"
            for function in shared
            for name in one.unrecorded(other.parameters_of(function), function=function)
        ],
        "presumes": {
            key: {"protocol": text, "other": other.presumes.get(key, "not stated")}
            for key, text in one.presumes.items()
            if other.presumes.get(key) != text
        },
        "functions": {
            "protocol": [function for function in one.parameters if function not in shared],
            "other": [function for function in other.parameters if function not in shared],
        },
        "defects": list(one.defects),
    }


def _with_result(protocol: Protocol, path: str) -> dict[str, Any]:
    """What differs between a protocol and a result that a command wrote."""
    function, arguments = _read_result(path)
    if function not in protocol.parameters:
        raise typer.BadParameter(
            f"{path} holds a result of {function}; {protocol.name} prescribes {', '.join(protocol.parameters)}"
        )
    return {
        "protocol": protocol.identity,
        "other": path,
        "differences": _differences(protocol, arguments, function),
        "unrecorded": [f"{function}.{name}" for name in protocol.unrecorded(arguments, function=function)],
        "presumes": {key: {"protocol": text, "other": "not recorded"} for key, text in protocol.presumes.items()},
        "functions": {"protocol": [], "other": []},
        "defects": list(protocol.defects),
    }


def _read_result(path: str) -> tuple[str, dict[str, Any]]:
    import json

    from featdiv.errors import FormatError, SourceNotFound

    if not Path(path).is_file():
        raise SourceNotFound(f"featdiv protocol diff: {path!r} is neither a protocol nor a file")
    try:
        made = json.loads(Path(path).read_text(encoding="utf-8"))["provenance"]
        return str(made["function"]).rpartition(".")[2], dict(made["arguments"])
    except (ValueError, KeyError, TypeError):
        raise FormatError(
            f"featdiv protocol diff: {path}: expected a result that a featdiv command wrote with --json"
        ) from None


def _differences(protocol: Protocol, actual: Any, function: str) -> list[dict[str, Any]]:
    return [
        {
            "function": found.function,
            "parameter": found.parameter,
            "expected": found.expected,
            "actual": found.actual,
        }
        for found in protocol.differences(actual, function=function)
    ]


def _print_difference(protocol: Protocol, content: dict[str, Any]) -> None:
    from featdiv.protocols import values

    rows = [
        [found["function"], found["parameter"], values.shown(found["expected"]), values.shown(found["actual"])]
        for found in content["differences"]
    ]
    if rows:
        title = f"{content['other']} departs from {protocol.identity}"
        output.print_table(["function", "parameter", protocol.name, "other"], rows, title=title)
    else:
        typer.echo(f"{content['other']}: no recorded parameter departs from {protocol.identity}")
    _print_section("not recorded, to be checked by hand", content["unrecorded"])
    for side, functions in content["functions"].items():
        _print_section(f"only in {protocol.name if side == 'protocol' else content['other']}", functions)
    lines = [
        f"{key}: {texts['protocol']}"
        + ("" if texts["other"] == "not recorded" else f"\n    {content['other']}: {texts['other']}")
        for key, texts in content["presumes"].items()
    ]
    _print_section(f"what {protocol.name} presumes", lines)
    _print_section("known defects of the original", content["defects"])


def _print_section(title: str, lines: list[str]) -> None:
    if lines:
        typer.echo(f"\n{title}")
        for line in lines:
            typer.echo(f"  {line}")
