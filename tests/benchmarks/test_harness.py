"""The harness lets no wrong contender through, runs what it promises, and reports what it saw."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys

import planted
import pytest

import compare
from harness import gate, machine, report, session
from harness.worker import Worker, WorkerError

FAST = session.Options(repeats=2, gap=0.0, cap=1.0)


@pytest.fixture(scope="module")
def judged() -> dict[str, dict]:
    """What the harness says of each contender of the planted workload."""
    result = session.run_workload(planted.SUITE, "planted", "judged", FAST)
    return {entry["name"]: entry for entry in result["contenders"]} | {"": result}


def test_the_gate_times_a_right_contender(judged):
    assert judged["right"]["status"] == "timed"
    assert len(judged["right"]["seconds"]) == FAST.repeats
    assert judged["right"]["errors"]["sums"] < 1e-9
    assert judged["right"]["notes"] == ["by numpy"]


def test_the_gate_catches_a_wrong_contender_and_shows_its_error_instead_of_a_time(judged):
    entry = judged["wrong"]
    assert entry["status"] == "failed"
    assert entry["reason"] == "not as accurate as claimed (float64): sums: error 1.0e-03, 1e-09 claimed"
    assert entry["errors"]["sums"] == pytest.approx(1e-3)
    assert entry["seconds"] == []
    assert entry["ratios"] == {}
    section = report.workload(judged[""], planted.JUDGED, planted.SUITE.baselines)
    row = next(line for line in section.splitlines() if line.startswith("| wrong  "))
    assert "| failed " in row
    assert "| 1.0e-03 " in row


def test_the_same_error_passes_where_no_more_is_claimed(judged):
    assert judged["wrong but modest"]["status"] == "timed"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("not a number", "sums: error nan, 1e-09 claimed"),
        ("silent", "sums: not answered"),
        ("raises", "RuntimeError: out of luck"),
        ("dies", "died with exit code 3"),
    ],
)
def test_a_contender_without_a_usable_answer_fails_with_the_reason(judged, name, reason):
    assert judged[name]["status"] == "failed"
    assert reason in judged[name]["reason"]


def test_a_peer_that_is_not_installed_is_skipped_with_the_reason(judged):
    assert judged["not installed"]["status"] == "skipped"
    assert judged["not installed"]["reason"] == "no_such_module_anywhere is not installed"


def test_ratios_are_taken_round_by_round(judged):
    own, base = judged["wrong but modest"], judged["right"]
    expected = [a / b for a, b in zip(own["seconds"], base["seconds"], strict=True)]
    assert own["ratios"]["right"] == expected


def test_the_share_of_the_machine_is_operations_over_time_over_rate(judged):
    seconds = judged["right"]["seconds"][0]
    operations = planted.ROWS * planted.FEATURES
    assert judged["right"]["share_of_rate"][0] == pytest.approx(operations / seconds / 1e9)


def test_targets_are_judged(judged):
    section = report.workload(judged[""], planted.JUDGED, planted.SUITE.baselines)
    assert "Target, wrong but modest ≤ 1e+09 x right: met" in section
    assert "Target, wrong ≤ 1e+09 x right: not measured." in section


def test_a_slow_contender_gets_fewer_rows_and_its_ratio_is_a_bound():
    options = session.Options(repeats=1, gap=0.0, cap=0.3, peers=frozenset({"slow"}))
    result = session.run_workload(planted.SUITE, "planted", "limited", options)
    entries = {entry["name"]: entry for entry in result["contenders"]}
    slow = entries["slow"]
    assert slow["status"] == "timed"
    assert slow["n"] < planted.ROWS
    assert not slow["complete"]
    assert slow["notes"][0].endswith("of the 40,000 rows only: it would take more than 0.3 s")
    section = report.workload(result, planted.SUITE.workload("limited"), planted.SUITE.baselines)
    assert "| ≥ " in next(line for line in section.splitlines() if line.startswith("| slow"))


def test_the_time_of_all_rows_follows_by_law_where_there_is_one():
    options = session.Options(repeats=1, gap=0.0)
    result = session.run_workload(planted.SUITE, "planted", "lawful", options)
    right, slow = result["contenders"]
    # A second for every 60,000 rows: all of them take 0.67 s or more, of which the workload's own cap allows 0.25 s.
    assert 0 < slow["n"] < planted.ROWS
    assert slow["scale"] == pytest.approx(planted.ROWS / slow["n"])
    assert right["scale"] == 1.0
    section = report.workload(result, planted.SUITE.workload("lawful"), planted.SUITE.baselines)
    line = next(line for line in section.splitlines() if line.startswith("| slow"))
    found = re.search(r"≥ ([\d.e+]+); ([\d.e+]+) by n\^1 ", line)
    assert float(found[2]) == pytest.approx(float(found[1]) * slow["scale"], rel=0.02)
    assert f"at least 1 x the time of right: met, {found[2]} by n^1 from {slow['n']:,} rows." in section
    assert "at least 1e+09 x the time of right: **missed**" in section


@pytest.mark.parametrize(
    ("costs", "limit", "law", "rows"),
    [
        ([1.0, 2.0], 8.0, None, 8_000),  # a second for every 1,000 rows
        ([1.5, 2.0], 4.0, None, 6_000),  # half a second for every 1,000, and one to begin with
        ([2.0, 2.0], 4.0, None, float("inf")),
        ([0.0, 2.0], 8.0, 1.0, 8_000),
        ([0.0, 2.0], 8.0, 2.0, 4_000),
        ([0.0, 2.0], 1.0, 1.0, 1_000),
    ],
)
def test_rows_that_a_limit_allows(costs, limit, law, rows):
    """From the costs of 1,000 and 2,000 rows."""
    assert session._largest(1_000, costs, limit, law) == pytest.approx(rows)


def test_a_contender_that_is_slower_than_its_trial_promised_is_stopped_and_gets_half_the_rows():
    options = session.Options(repeats=1, gap=0.0, cap=0.25, peers=frozenset({"deceptive"}))
    result = session.run_workload(planted.SUITE, "planted", "limited", options)
    entry = result["contenders"][-1]
    assert (entry["name"], entry["status"], entry["n"]) == ("deceptive", "timed", planted.ROWS // 2)
    assert entry["notes"][0] == "stopped after 0.5 s on 40,000 rows, and tried again on 20,000"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how much memory is private")
def test_private_memory_is_watched_from_outside():
    options = session.Options(repeats=1, gap=0.0, peers=frozenset({"heavy"}))
    result = session.run_workload(planted.SUITE, "planted", "limited", options)
    entries = {entry["name"]: entry for entry in result["contenders"]}
    assert set(entries) == {"right", "heavy"}
    # The rows themselves are 2.6 MB.
    assert planted.BALLAST <= entries["heavy"]["peak_private_bytes"] <= planted.BALLAST + (16 << 20)
    assert entries["right"]["peak_private_bytes"] <= 16 << 20


def test_a_workload_that_cannot_be_made_is_skipped_with_the_reason():
    result = session.run_workload(planted.SUITE, "planted", "absent", FAST)
    assert result["skipped"] == "its file is not there"
    assert "Skipped: its file is not there." in report.workload(result, planted.JUDGED, ())


def test_a_table_is_computed_and_shown():
    result = session.run_table(planted.SUITE, "planted", "table", session.Options(quick=True))
    assert report.table(result["rows"]).splitlines()[2] == "| only one | 0.5   |"


def test_a_job_that_takes_too_long_is_stopped():
    with Worker("planted") as worker:
        worker.ask("rate", None)
        with pytest.raises(WorkerError, match=r"stopped after 0\.2 s"):
            worker.ask("contend", "limited", "slow", planted.Data(path="", n=10**6, d=1, dtype=""), False, limit=0.2)


def test_no_process_is_left_behind(judged):
    assert multiprocessing.active_children() == []


def test_a_class_of_accuracy_without_limits_is_refused():
    with pytest.raises(ValueError, match="at least one limit"):
        gate.violations({"sums": 0.0}, {})


def test_the_machine_is_described():
    facts = machine.describe()
    assert facts["cores"] >= 1
    assert facts["versions"]["numpy"]
    assert f"{facts['cores']} cores" in report.machine(facts)


def test_a_busy_machine_is_pointed_out():
    facts = machine.describe() | {"busy_cores": 1.5}
    assert "the machine was not idle" in report.machine(facts)
    assert "the machine was not idle" not in report.machine(facts | {"busy_cores": 0.05})


def _measured(seconds: list[float], ratios: list[float], *, n: int = 100, cpu: str = "one") -> dict:
    entry = {"name": "x", "status": "timed", "n": n, "seconds": seconds, "ratios": {"base": ratios}}
    result = {"op": "sums", "name": "w", "quick": False, "n": n, "baselines": ["base"], "contenders": [entry]}
    return {"machine": {"cpu": cpu, "commit": "c"}, "results": [result]}


def test_compare_gives_ratios_of_medians_and_of_paired_ratios():
    shown = compare.compared(_measured([1.0, 2.0, 9.0], [4.0]), _measured([3.0, 4.0, 5.0], [2.0], cpu="two"))
    cells = [cell.strip() for cell in shown.splitlines()[-1].split("|")[1:-1]]
    assert cells == ["sums", "w", "x", "2", "4", "2", "0.5 (base)"]
    assert "- cpu: one before, two after" in shown


def test_compare_does_not_compare_different_numbers_of_rows():
    shown = compare.compared(_measured([1.0], [1.0]), _measured([1.0], [1.0], n=50))
    assert "not the same rows: 100 and 50" in shown


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how busy its cores are")
def test_a_core_that_works_is_seen():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            assert machine.busy_cores(seconds=0.5) > 0.3
        finally:
            process.kill()
