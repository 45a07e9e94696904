"""Runs the benchmarks: correctness first, then time.

Usage:
    python benchmarks/run.py spectrum                            every workload and table of `featdiv.spectrum`
    python benchmarks/run.py spectrum --workload npy-200k        one of them
    python benchmarks/run.py all --json results.json             everything, also as JSON for compare.py
    python benchmarks/run.py scatter --plot scatter.svg          also as a picture
    python benchmarks/run.py scatter --profile                   where the time goes, stage by stage
    python benchmarks/run.py --list                              what there is
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import plot
from harness import machine, profiles, registry, report, session

SCHEMA = 1


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        for op, module in registry.SUITES.items():
            print(_listing(op, registry.load(module)))
        return 0
    if options.op is None:
        parser.error("name an operation, or use --list")
    ops = list(registry.SUITES) if options.op == "all" else [options.op]
    suites = {op: registry.load(registry.SUITES[op]) for op in ops}
    _check_names(parser, options, suites)
    settings = session.Options(
        repeats=2 if options.quick else options.repeats,
        gap=0.05 if options.quick else options.gap,
        cap=min(options.cap, 20.0) if options.quick else options.cap,
        quick=options.quick,
        peers=_peers(options.peers),
    )
    # Ended from outside, a run removes its files and processes like one that is interrupted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if importlib.util.find_spec("featdiv") is None:
        parser.error(f"featdiv is not installed for {sys.executable}: pip install -e .")
    facts = machine.describe()
    print(report.machine(facts), end="\n\n", flush=True)
    if options.profile:
        for op, suite in suites.items():
            _profile(op, suite, options)
        return 0
    results = [result for op, suite in suites.items() for result in _run(op, suite, options.workload, settings)]
    if options.json:
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        _write(Path(options.json), {"schema": SCHEMA, "when": when, "machine": facts, "results": results})
    if options.plot:
        plot.save(plot.drawn(results), Path(options.plot))
    wrong = [
        f"{result['name']}: {entry['name']}"
        for result in results
        for entry in result.get("contenders", [])
        if entry["status"] == "failed" and entry["name"].startswith("featdiv")
    ]
    if wrong:
        print(f"featdiv itself failed: {'; '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _run(op: str, suite: registry.Suite, chosen: list[str], settings: session.Options) -> list[dict[str, Any]]:
    module = registry.SUITES[op]
    print(f"## {op}", end="\n\n", flush=True)
    results = []
    for workload in suite.workloads:
        if not chosen or workload.name in chosen:
            result = session.run_workload(suite, module, workload.name, settings)
            print(report.workload(result, workload, suite.baselines), end="\n\n", flush=True)
            results.append({"op": op, **result})
    for table in suite.tables:
        if not chosen or table.name in chosen:
            result = session.run_table(suite, module, table.name, settings)
            print(f"### {table.name}: {table.summary}\n\n{report.table(result['rows'])}", end="\n\n", flush=True)
            results.append({"op": op, **result})
    return results


def _profile(op: str, suite: registry.Suite, options: argparse.Namespace) -> None:
    print(f"## {op}: milliseconds by stage", end="\n\n", flush=True)
    for workload in suite.workloads:
        if options.workload and workload.name not in options.workload:
            continue
        found = profiles.of_workload(
            suite, registry.SUITES[op], workload.name, quick=options.quick, traces=Path(options.traces)
        )
        parts = [f"### {workload.name}: {workload.summary}"]
        parts += ["**Quick run on small inputs: the times mean nothing.**"] if found["quick"] else []
        parts += [report.table(found["rows"])] if found["rows"] else []
        parts += ["\n".join(f"- left out: {reason}" for reason in found["left out"])] if found["left out"] else []
        print("\n\n".join(parts), end="\n\n", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="benchmarks/run.py"
    )
    parser.add_argument("op", nargs="?", choices=[*registry.SUITES, "all"], help="operation")
    parser.add_argument("--list", action="store_true", help="list workloads, tables and contenders")
    parser.add_argument(
        "--workload", action="append", default=[], metavar="NAME", help="run only this one (may be repeated)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default %(default)s)")
    parser.add_argument(
        "--peers", default="all", metavar="NAMES", help="all, none, or contenders separated by ';' (default all)"
    )
    parser.add_argument("--json", metavar="OUT", help="also write everything measured to this file")
    parser.add_argument("--plot", metavar="OUT", help="also draw everything measured: .svg, .png or .pdf")
    parser.add_argument("--profile", action="store_true", help="time by stage of featdiv's own contenders, no rounds")
    parser.add_argument(
        "--traces",
        default="traces",
        metavar="DIR",
        help="with --profile, where traces of a GPU go (default %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="small inputs, two rounds: does everything run?")
    parser.add_argument(
        "--cap", type=float, default=120.0, help="seconds that one run of a peer may take (default %(default)s)"
    )
    parser.add_argument(
        "--gap", type=float, default=0.3, help="idle seconds before each timed run (default %(default)s)"
    )
    return parser


def _peers(text: str) -> frozenset[str] | None:
    if text == "all":
        return None
    return frozenset() if text == "none" else frozenset(name.strip() for name in text.split(";"))


def _check_names(
    parser: argparse.ArgumentParser, options: argparse.Namespace, suites: dict[str, registry.Suite]
) -> None:
    known = [one.name for suite in suites.values() for one in (*suite.workloads, *suite.tables)]
    unknown = [name for name in options.workload if name not in known]
    if unknown:
        parser.error(f"--workload: no {unknown[0]!r} here; there are {', '.join(known)}")
    peers = [
        contender.name
        for suite in suites.values()
        for workload in suite.workloads
        for contender in workload.contenders
        if contender.peer
    ]
    unknown = sorted((_peers(options.peers) or frozenset()) - set(peers))
    if unknown:
        parser.error(f"--peers: no {unknown[0]!r} here; there are {'; '.join(dict.fromkeys(peers))}")
    if options.repeats < 1:
        parser.error(f"--repeats: expected at least 1; got {options.repeats}")


def _listing(op: str, suite: registry.Suite) -> str:
    lines = [op]
    for workload in suite.workloads:
        lines.append(f"  {workload.name:14} {workload.summary}")
        lines.append(f"  {'':14}   {'; '.join(contender.name for contender in workload.contenders)}")
    lines += [f"  {table.name:14} {table.summary} (table)" for table in suite.tables]
    return "\n".join(lines)


def _write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main())
