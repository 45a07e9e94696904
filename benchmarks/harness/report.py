"""Markdown of what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from harness.registry import Target, Workload
from harness.roofline import INTEGERS, TILES

MOST_BUSY_CORES = 0.1
"""What a machine may do beside a benchmark and still be called idle."""


def machine(facts: dict[str, Any]) -> str:
    """Returns the paragraph on the machine."""
    memory = f", {facts['memory_bytes'] / 2**30:.0f} GiB" if facts["memory_bytes"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    lines = [
        f"- {facts['cpu']}, {facts['cores']} cores ({' '.join(facts['isa']) or 'no vector flags known'}){memory}, "
        f"{facts['system']}",
        f"- Python {facts['python']}, {versions}; BLAS {facts['blas']}; commit {facts['commit']}",
    ]
    if facts["environment"]:
        lines.append("- " + ", ".join(f"{name}={value}" for name, value in facts["environment"].items()))
    if (facts["busy_cores"] or 0.0) > MOST_BUSY_CORES:
        busy = f"{facts['busy_cores']} cores were busy before the run"
        lines.append(f"- **the machine was not idle: {busy}; do not quote these times**")
    elif facts["busy_cores"] is not None:
        lines.append(f"- {facts['busy_cores']} cores were busy before the run")
    return "\n".join(lines)


def workload(result: dict[str, Any], definition: Workload, baselines: Sequence[str]) -> str:
    """Returns the section on a workload."""
    title = f"### {result['name']}: {result['summary']}"
    if "skipped" in result:
        return f"{title}\n\nSkipped: {result['skipped']}."
    rate = statistics.median(result["rates"])
    lead = f"{result['n']:,} x {result['d']} {result['dtype']}; measured BLAS rate {rate / 1e9:.0f} GFLOP/s."
    if result["quick"]:
        lead += " **Quick run on small inputs: the times mean nothing.**"
    present = {entry["name"] for entry in result["contenders"]}
    baselines = [base for base in baselines if base in present]
    rows = [_row(entry, baselines, (result.get("roofline") or {}).get("seconds")) for entry in result["contenders"]]
    parts = [title, lead]
    parts += [_prediction(result["roofline"])] if result.get("roofline") else []
    parts += [table(rows)]
    parts += [_notes(result["contenders"])] if _notes(result["contenders"]) else []
    parts += ["\n".join(judged)] if (judged := [_judge(target, result) for target in definition.targets]) else []
    return "\n\n".join(parts)


def _prediction(limits: dict[str, Any]) -> str:
    if "problem" in limits:
        return f"No roofline: {limits['problem']}."
    peaks, unit, memory = limits["peaks"], limits["unit"], limits["memory"]
    others = ""
    for name, products, lack in (
        (TILES, limits.get("tile_products"), "there is no AMX here that may be used"),
        (INTEGERS, limits.get("integer_products"), "this processor has no VNNI"),
    ):
        if products is not None and name in peaks:
            others += f", or {products} times as many at {peaks[name] / 1e9:,.0f} G a second ({name})"
        elif products is not None:
            others += f", no rate of {name} ({lack})"
    others += "," if others else ""
    return (
        f"Prediction: {limits['operations'] / 1e9:,.3g} GFLOP at the measured {peaks[unit] / 1e9:,.0f} GFLOP/s "
        f"({unit}){others} and {limits['bytes'] / 1e6:,.3g} MB at {peaks[memory] / 1e9:,.1f} GB/s ({memory}): "
        f"no less than **{limits['seconds']:.3g} s**."
    )


def _row(entry: dict[str, Any], baselines: Sequence[str], limit: float | None) -> dict[str, str]:
    share = [100 * value for value in entry["share_of_rate"]]
    row = {
        "contender": entry["name"],
        "accuracy": entry["accuracy"],
        "rows": f"{entry['n']:,}",
        "seconds, median [quartiles]": spread(entry["seconds"]) if entry["seconds"] else entry["status"],
    }
    for base in baselines:
        row[f"time / {base}"] = _ratio(entry, base)
    peak = entry["peak_private_bytes"]
    row["peak private memory"] = f"{peak / 1e6:,.0f} MB" if peak is not None else "–"
    if limit is not None:
        row["% of roofline"] = f"{100 * limit / statistics.median(entry['seconds']):.0f}" if entry["seconds"] else "–"
    row["% of BLAS rate"] = f"{statistics.median(share):.0f}" if share else "–"
    return row | {f"error of {name}": number(error) for name, error in entry["errors"].items()}


def _ratio(entry: dict[str, Any], base: str) -> str:
    ratios = entry["ratios"].get(base)
    if not ratios:
        return "1" if entry["name"] == base and entry["seconds"] else "–"
    # Fewer rows than the baseline did: with all of them, it would have taken longer still.
    if entry["complete"]:
        return spread(ratios)
    least = statistics.median(ratios)
    by_law = f"; {least * entry['scale']:.3g} by n^{entry['law']:g}" if entry.get("law") else ""
    return f"≥ {least:.3g}{by_law}"


def _notes(entries: Iterable[dict[str, Any]]) -> str:
    lines = []
    for entry in entries:
        said = ([entry["reason"]] if entry["reason"] else []) + entry["notes"]
        if said:
            lines.append(f"- {entry['name']}: {entry['status'] + ': ' if entry['reason'] else ''}{'; '.join(said)}")
    return "\n".join(lines)


def _judge(target: Target, result: dict[str, Any]) -> str:
    entry = next((entry for entry in result["contenders"] if entry["name"] == target.contender), None)
    values = [] if entry is None else entry["ratios"].get(target.to, [])
    if target.figure == "ratio":
        value = statistics.median(values) if values else None
        wanted, shown = f"≤ {target.limit:.3g} x {target.to}", f"{value:.2f}" if value is not None else ""
    elif target.figure == "slower":
        value = statistics.median(values) * entry["scale"] if entry is not None and values else None
        wanted = f"at least {target.limit:.3g} x the time of {target.to}"
        shown = "" if value is None or entry is None else f"{value:.3g}{_by_law(entry)}"
    else:
        value = None if entry is None else entry[target.figure]
        wanted, shown = f"peak private memory ≤ {target.limit / 1e6:.0f} MB", f"{(value or 0) / 1e6:.0f} MB"
    if value is None:
        return f"Target, {target.contender} {wanted}: not measured."
    met = value >= target.limit if target.figure == "slower" else value <= target.limit
    return f"Target, {target.contender} {wanted}: {'met' if met else '**missed**'}, {shown}."


def _by_law(entry: dict[str, Any]) -> str:
    return "" if entry["complete"] else f" by n^{entry['law']:g} from {entry['n']:,} rows"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a Markdown table of rows, whose columns are the union of their keys in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[shown(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    lines = [columns, ["-" * width for width in widths], *cells]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def shown(value: Any) -> str:
    """Returns a cell."""
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Returns a number in few digits."""
    if math.isnan(value):
        return "nan"
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < 1e-2 else f"{value:.4g}"


def spread(values: Sequence[float]) -> str:
    """Returns median and quartiles; of one value, the value."""
    if len(values) == 1:
        return f"{values[0]:.3g} (once)"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"
