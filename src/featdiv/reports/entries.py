"""What a report is made of: results, each with the name of its model, from Python or from JSON files.

Every result is rendered from what its `Result.to_dict` gives, so that a page made from files is the page made from
the results themselves. The dictionary names its kind under ``"type"`` (the class: ``"Spectrum"``) and the version of
its layout under ``"schema"``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from featdiv.errors import FormatError, InputError, SourceNotFound
from featdiv.results import SCHEMA_VERSION, Result

LARGEST_FILE = 512 << 20
"""Bytes of a JSON file beyond which it is taken for something else."""


STEPS = {
    "Spectrum": "spectrum",
    "Diversity": "diversity",
    "Transferability": "transferability",
    "FilterDiversity": "filter diversity",
    "Directions": "directions",
    "Comparison": "similarity",
}
"""Kind of a result within a ranking to the step of the ranking that made it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One result of a report.

    Attributes:
        name: the model that it is about, or, of several models, what the result is called.
        kind: name of its class.
        content: what `Result.to_dict` gives.
        seconds: how long it took, or None where nobody measured.
    """

    name: str
    kind: str
    content: Mapping[str, Any]
    seconds: float | None = None

    @property
    def scores(self) -> Mapping[str, float | None]:
        """Name to value; None where it is undefined."""
        found: Mapping[str, float | None] = self.content["scores"]
        return found

    @property
    def undefined(self) -> Mapping[str, str]:
        """Name to the reason why that score has no value."""
        found: Mapping[str, str] = self.content.get("undefined", {})
        return found

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How the result was made."""
        found: Mapping[str, Any] = self.content["provenance"]
        return found

    @property
    def notes(self) -> Sequence[str]:
        """Remarks that a reader of the numbers should know."""
        found: Sequence[str] = self.provenance.get("notes", ())
        return found

    def interval(self, score: str) -> tuple[float | None, float | None]:
        """Returns the ends of a score's interval, or twice None."""
        found = self.content.get("intervals", {}).get(score)
        return (None, None) if found is None else (found["low"], found["high"])


def gather(results: Any, *, seconds: Mapping[str, float] | None = None) -> list[Entry]:
    """Returns the results of a report, each with a name.

    Args:
        results: a result; several; or a mapping from model names to a result or several; mappings may be among
            several. A dictionary as `Result.to_dict` gives it, or the path of a JSON file with one, stands for one.
        seconds: name of a model to the time that its results took.

    Raises:
        InputError: if something else is given, or nothing.
        FormatError: if a file or dictionary does not hold a result, or one of another version.
        SourceNotFound: if there is no such file.
    """
    entries = [
        Entry(name=name or _default_name(content, origin), kind=str(content["type"]), content=content)
        for name, content, origin in _contents(results)
    ]
    if not entries:
        raise InputError("featdiv.report: results: expected at least one result; got none")
    entries = _told_apart([one for entry in entries for one in (entry, *_within(entry))])
    timed = dict(seconds or {})
    return [dataclasses.replace(entry, seconds=timed.get(entry.name, entry.seconds)) for entry in entries]


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the result that a JSON file holds, as a dictionary.

    Raises:
        SourceNotFound: if there is no such file.
        FormatError: if it does not hold a result.
    """
    where = f"featdiv.report: {os.fspath(path)}"
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        raise SourceNotFound(f"{where}: there is no such file") from None
    if size > LARGEST_FILE:
        raise FormatError(f"{where}: expected the JSON of one result; got {size:,} bytes")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: expected JSON, as --json and Result.to_json write it; {error}") from None
    return checked(content, where)


def checked(content: Any, where: str) -> dict[str, Any]:
    """Returns the content if it is the dictionary of a result.

    Raises:
        FormatError: if it is not, or its layout is of another version.
    """
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        got = "an object without 'type'" if isinstance(content, dict) else type(content).__name__
        raise FormatError(f"{where}: expected what Result.to_dict gives, with its class under 'type'; got {got}")
    if content.get("schema") != SCHEMA_VERSION:
        raise FormatError(
            f"{where}: expected schema {SCHEMA_VERSION}; got {content.get('schema')!r}. Make the result again with "
            "this version of featdiv"
        )
    for key in ("scores", "provenance"):
        if not isinstance(content.get(key), dict):
            raise FormatError(f"{where}: expected an object under {key!r}; got {type(content.get(key)).__name__}")
    return content


def _within(entry: Entry) -> Iterable[Entry]:
    """Yields the results that a ranking holds: those of its models, and how alike they are."""
    if entry.kind != "Ranking":
        return
    where = f"featdiv.report: {entry.name}"
    times = {(step["model"], step["step"]): step.get("seconds") for step in entry.content.get("steps") or ()}
    for model, parts in (entry.content.get("parts") or {}).items():
        for part in parts:
            content = checked(part, f"{where}: parts of {model}")
            kind = str(content["type"])
            step = f"what {content['other']} lacks" if content.get("other") else STEPS.get(kind, "")
            yield Entry(name=model, kind=kind, content=content, seconds=times.get((model, step)))
    similarity = entry.content.get("similarity")
    if similarity is not None:
        content = checked(similarity, f"{where}: similarity")
        kind, name = str(content["type"]), "all models"
        yield Entry(name=name, kind=kind, content=content, seconds=times.get((name, STEPS.get(kind, ""))))


def _contents(results: Any) -> Iterable[tuple[str | None, dict[str, Any], str]]:
    """Yields (name or None, dictionary, where it comes from)."""
    if _is_one(results):
        yield None, *_content(results)
    elif isinstance(results, Mapping):
        for name, given in results.items():
            for one in [given] if _is_one(given) else _several(given, f"results[{name!r}]"):
                yield str(name), *_content(one)
    else:
        for one in _several(results, "results"):
            if isinstance(one, Mapping) and "type" not in one:
                yield from _contents(one)
            else:
                yield None, *_content(one)


def _is_one(given: Any) -> bool:
    return isinstance(given, (Result, str, os.PathLike)) or (isinstance(given, dict) and "type" in given)


def _several(given: Any, where: str) -> Iterable[Any]:
    if isinstance(given, Iterable) and not isinstance(given, (Mapping, bytes)):
        return given
    raise InputError(
        f"featdiv.report: {where}: expected results, their dictionaries or JSON files; got {type(given).__name__}"
    )


def _content(one: Any) -> tuple[dict[str, Any], str]:
    if isinstance(one, Result):
        return one.to_dict(), ""
    if isinstance(one, (str, os.PathLike)):
        return load(one), PurePath(one).stem
    if isinstance(one, dict):
        return checked(one, "featdiv.report: results"), ""
    raise InputError(f"featdiv.report: results: expected a result, its dictionary or a file; got {type(one).__name__}")


def _default_name(content: Mapping[str, Any], origin: str) -> str:
    """Returns the stem of the source of the rows; where there are several sources, that of the file, or the kind."""
    if content["type"] == "Ranking":
        return "ranking"
    source = content["provenance"].get("source")
    if isinstance(source, str) and source and ";" not in source and not source.startswith("array "):
        return PurePath(source).stem or source
    return origin or str(content["type"])


def _told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries with a number behind the name where two of one kind share it."""
    seen: dict[tuple[str, str, Any], int] = {}
    named = []
    for entry in entries:
        # Directions that a model has and one or another lacks are different things.
        identity = (entry.kind, entry.name, entry.content.get("other"))
        count = seen[identity] = seen.get(identity, 0) + 1
        named.append(entry if count == 1 else dataclasses.replace(entry, name=f"{entry.name} ({count})"))
    return named
