"""Compares two results of run.py, or two commits: how much faster or slower is the second?

Usage:
    python benchmarks/compare.py before.json after.json
    python benchmarks/compare.py main HEAD --op scatter              both are built and measured by these benchmarks
    python benchmarks/compare.py main HEAD --op scatter --workload scatter-float32 --repeats 9

Times are compared as they are and, since machines differ and one machine differs from hour to hour, also as multiples
of a baseline that ran in the same rounds: the last column is the one to trust.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from harness import refs, report

Entries = dict[tuple[str, str, str], dict[str, Any]]

_SCHEMA = 1
_MACHINE = ("cpu", "cores", "isa", "memory_bytes", "python", "versions", "blas", "environment")


def main(arguments: list[str] | None = None) -> int:
    """Prints the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="benchmarks/compare.py"
    )
    parser.add_argument("before", help="result of run.py --json, or a git ref")
    parser.add_argument("after", help="the same")
    parser.add_argument("--op", help="for git refs: what to measure, as for run.py, which gets all further arguments")
    options, further = parser.parse_known_args(arguments)
    files = [Path(name).is_file() for name in (options.before, options.after)]
    if files[0] != files[1]:
        parser.error(f"expected two files or two git refs; {options.before if files[0] else options.after} is a file")
    if all(files) and (options.op or further):
        parser.error(f"two results take no further arguments; got {' '.join(further) or '--op'}")
    if not all(files) and not options.op:
        parser.error(f"--op: two git refs are measured, so say what; {options.before!r} is no file")
    try:
        if all(files):
            before, after = (_load(Path(name)) for name in (options.before, options.after))
        else:
            before, after = refs.measured([options.before, options.after], [options.op, *further])
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(compared(before, after))
    return 0


def compared(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Returns the comparison of two results as Markdown."""
    old, new = _entries(before), _entries(after)
    rows = [_row(key, old, new) for key in new if key in old]
    differences = [
        f"- {name}: {before['machine'].get(name)} before, {after['machine'].get(name)} after"
        for name in _MACHINE
        if before["machine"].get(name) != after["machine"].get(name)
    ]
    commits = f"{before['machine']['commit']} before, {after['machine']['commit']} after."
    parts = [commits, "\n".join(differences), report.table(rows) if rows else "Nothing was measured in both."]
    only = [f"- only {when}: {', '.join(key)}" for key, when in _unmatched(old, new)]
    return "\n\n".join(part for part in [*parts, "\n".join(only)] if part)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise ValueError(f"{path}: expected a result of run.py --json, schema {_SCHEMA}")
    return content


def _entries(content: dict[str, Any]) -> Entries:
    """Returns (operation, workload, contender) to what was measured; small inputs go by another name."""
    return {
        (result["op"], result["name"] + " (quick)" * result["quick"], entry["name"]): {
            **entry,
            "baselines": result["baselines"],
        }
        for result in content["results"]
        for entry in result.get("contenders", [])
    }


def _row(key: tuple[str, str, str], old: Entries, new: Entries) -> dict[str, Any]:
    op, workload, contender = key
    before, after = old[key], new[key]
    row = {
        "operation": op,
        "workload": workload,
        "contender": contender,
        "seconds before": _median(before["seconds"], before["status"]),
        "seconds after": _median(after["seconds"], after["status"]),
        "after / before": None,
        "as multiples of a baseline": None,
    }
    if not before["seconds"] or not after["seconds"]:
        return row
    if before["n"] != after["n"]:
        return row | {"after / before": f"not the same rows: {before['n']:,} and {after['n']:,}"}
    row["after / before"] = statistics.median(after["seconds"]) / statistics.median(before["seconds"])
    # The last baseline owes the least to the code that changed.
    for base in reversed(after["baselines"]):
        if contender == base:
            break
        if before["ratios"].get(base) and after["ratios"].get(base):
            relative = statistics.median(after["ratios"][base]) / statistics.median(before["ratios"][base])
            return row | {"as multiples of a baseline": f"{relative:.3g} ({base})"}
    return row


def _median(seconds: list[float], status: str) -> str:
    return f"{statistics.median(seconds):.3g}" if seconds else status


def _unmatched(old: Entries, new: Entries) -> list[tuple[tuple[str, str, str], str]]:
    return [(key, "before") for key in old if key not in new] + [(key, "after") for key in new if key not in old]


if __name__ == "__main__":
    sys.exit(main())
