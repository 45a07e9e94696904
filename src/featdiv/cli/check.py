"""``featdiv check``: a gate for continuous integration and training scripts against collapsed features.

The rule: the *value* decides, its interval does not. A requirement holds if the value of the score
satisfies it; a drop is measured from the baseline's value to the new value. Where the interval reaches
across the limit, the line says "uncertain": another sample of the same features could have decided
otherwise; more rows narrow it. A score that is undefined for the data never passes.
"""

from __future__ import annotations

import dataclasses
import json as json_module
import operator
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from featdiv.cli import options, output
from featdiv.errors import FormatError, SourceNotFound

CHECK_FAILED = 3

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
DROP_SCORES = ("effective_rank", "rankme")
"""Scores that ``--max-drop`` compares unless ``--score`` names others."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """One requirement: the score of that name stands in this relation to the limit."""

    score: str
    relation: str
    limit: float
    text: str

    def holds(self, value: float) -> bool:
        """Returns whether a value satisfies the requirement; NaN never does."""
        return bool(OPERATORS[self.relation](value, self.limit))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one requirement."""

    requirement: str
    score: str
    value: float | None
    low: float | None
    high: float | None
    passed: bool
    uncertain: bool
    reason: str


def parse_requirement(text: str) -> Limit:
    """Reads ``NAME>=NUMBER`` with one of >=, <=, >, <.

    Raises:
        typer.BadParameter: if it reads otherwise.

    Example:
        >>> parse_requirement("effective_rank >= 200")
        Limit(score='effective_rank', relation='>=', limit=200.0, text='effective_rank>=200')
    """
    match = re.fullmatch(r"\s*(\w+(?:\([^)]*\))?)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*", text)
    try:
        if match is None:
            raise ValueError
        return Limit(match[1], match[2], float(match[3]), f"{match[1]}{match[2]}{match[3]}")
    except ValueError:
        raise typer.BadParameter(
            f"--require: expected NAME>=NUMBER (or <=, >, <), such as 'effective_rank>=200'; got {text!r}"
        ) from None


def parse_drop(text: str) -> float:
    """Reads ``10%`` or ``0.1`` as a share between 0 and 1.

    Raises:
        typer.BadParameter: if it is not one.

    Example:
        >>> parse_drop("10%"), parse_drop("0.25")
        (0.1, 0.25)
    """
    percent = text.strip().endswith("%")
    try:
        share = float(text.strip().removesuffix("%")) / (100.0 if percent else 1.0)
    except ValueError:
        share = -1.0
    if not 0.0 <= share < 1.0:
        raise typer.BadParameter(f"--max-drop: expected a share such as 10% or 0.1; got {text!r}")
    return share


def drop_limits(baseline: Mapping[str, Any], names: tuple[str, ...], share: float) -> list[Limit]:
    """Returns the requirement ``value >= (1 - share) * baseline`` for each score.

    Raises:
        FormatError: if the baseline lacks one of the scores, or it is undefined there.
    """
    limits = []
    for name in names:
        value = baseline["scores"].get(name)
        if value is None:
            raise FormatError(f"featdiv check: --baseline: it holds no value of {name!r}; name others with --score")
        limit = value - share * abs(value)
        limits.append(Limit(name, ">=", limit, f"{name}>={output.number(limit)} (baseline {output.number(value)})"))
    return limits


def judge(limit: Limit, scores: Mapping[str, Any]) -> Verdict:
    """Decides one requirement on a result in the form of `featdiv.Result.to_dict`.

    Raises:
        typer.BadParameter: if the result has no score of that name.
    """
    if limit.score not in scores["scores"]:
        known = ", ".join(scores["scores"])
        raise typer.BadParameter(f"no score named {limit.score!r}; there are: {known}")
    value = scores["scores"][limit.score]
    if value is None:
        reason = scores["undefined"].get(limit.score, "not finite")
        return Verdict(limit.text, limit.score, None, None, None, False, False, f"undefined: {reason}")
    interval = scores["intervals"].get(limit.score) or {}
    low, high = interval.get("low"), interval.get("high")
    passed = limit.holds(value)
    uncertain = any(end is not None and limit.holds(end) != passed for end in (low, high))
    reason = "the interval reaches across the limit: uncertain" if uncertain else ""
    return Verdict(limit.text, limit.score, value, low, high, passed, uncertain, reason)


def read_result(path: str, option: str) -> dict[str, Any]:
    """Reads JSON that ``featdiv spectrum --json`` wrote.

    Raises:
        FormatError: if the file holds anything else.
        SourceNotFound: if there is no such file.
    """
    if not Path(path).exists():
        raise SourceNotFound(f"featdiv check: {option}: no such file: {path}")
    try:
        content = json_module.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content["scores"], dict) and content["schema"] == 1:
            return content
    except (ValueError, KeyError):
        pass
    raise FormatError(f"featdiv check: {option}: expected a result that `featdiv spectrum --json` wrote; got {path!r}")


def check(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="What `featdiv spectrum` reads, or one .json that `featdiv spectrum --json` wrote.",
            show_default=False,
        ),
    ],
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME>=NUMBER", help="A requirement, with >=, <=, > or <; may be repeated."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="FILE.json", help="An earlier result to compare with; needs --max-drop."),
    ] = None,
    max_drop: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Largest allowed fall from the baseline: 10% or 0.1.")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Scores that --max-drop compares; default {' and '.join(DROP_SCORES)}."),
    ] = None,
    key: options.Key = None,
    normalize: Annotated[
        options.Normalize | None, typer.Option(help="Divide each row by its Euclidean norm first.")
    ] = None,
    groups: options.Groups = None,
    precision: Annotated[
        options.Precision, typer.Option(help="Arithmetic of the products.")
    ] = options.Precision.FLOAT32,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Fail (exit code 3) where a score misses its limit or falls too far below a baseline.

    The value of the score decides. Where its confidence interval reaches across the limit, the line says
    "uncertain": another sample of the same features could have decided otherwise. An undefined score fails.
    """
    if not require and baseline is None:
        raise typer.BadParameter("nothing to check: give --require, or --baseline with --max-drop")
    if (baseline is None) != (max_drop is None):
        raise typer.BadParameter("--baseline and --max-drop belong together")
    if score and baseline is None:
        raise typer.BadParameter("--score: expected beside --baseline, with which these scores are compared")
    is_result = len(paths) == 1 and paths[0].endswith(".json")
    if is_result and (key or normalize or groups or precision is not options.Precision.FLOAT32):
        raise typer.BadParameter(f"{paths[0]} is a result: --key, --normalize, --groups and --precision go with rows")
    options.require_writable(json, "--json")
    limits = [parse_requirement(text) for text in require or ()]
    share = parse_drop(max_drop) if max_drop is not None else 0.0
    if baseline is not None:
        names = tuple(score or DROP_SCORES)
        limits += drop_limits(read_result(baseline, "--baseline"), names, share)

    if is_result:
        result = read_result(paths[0], "PATH")
    else:
        from featdiv.cli.analyse import run_spectrum

        result = run_spectrum(
            paths,
            key=key,
            groups=groups,
            quiet=quiet,
            normalize=normalize.value if normalize else None,
            precision=precision.value,
        ).to_dict()
    verdicts = [judge(limit, result) for limit in limits]
    if json != "-":
        print_verdicts(verdicts)
        say_outside(verdicts, result["intervals"])
    passed = all(verdict.passed for verdict in verdicts)
    content = {"passed": passed, "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts]}
    output.write_json(content, json)
    if not passed:
        raise typer.Exit(CHECK_FAILED)


def say_outside(verdicts: list[Verdict], intervals: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints why a value lies outside its own interval, where one does and the result says how that was made."""
    from featdiv.results import Interval

    values = {verdict.score: verdict.value for verdict in verdicts if verdict.value is not None}
    told = {name: intervals[name] for name in values if "method" in intervals.get(name, {})}
    output.beneath(values, {name: Interval(**interval) for name, interval in told.items()})


def print_verdicts(verdicts: list[Verdict]) -> None:
    """Prints one line for each requirement."""
    rows = []
    for verdict in verdicts:
        value = "" if verdict.value is None else output.measured(verdict.value)
        interval = ""
        if verdict.low is not None and verdict.high is not None:
            interval = output.between(verdict.low, verdict.high)
        rows.append(["pass" if verdict.passed else "FAIL", verdict.requirement, value, interval, verdict.reason])
    output.print_table(["", "requirement", "value", "95 % interval", ""], rows, right=(2,))
