from __future__ import annotations

import json
import subprocess
import sys

import featdiv
from featdiv.cli import doctor
from featdiv.ops import _dispatch


def test_report_has_every_op_backend_and_package(run):
    result = run("doctor", "--json", "-")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["versions"]["featdiv"] == featdiv.__version__
    on_cpu = {(entry["op"], entry["backend"]) for entry in report["backends"] if entry["device"] == "cpu"}
    wanted = {(op, name) for op, names in _dispatch.OPS.items() for name in names if name in _dispatch.ORDER["cpu"]}
    assert wanted <= on_cpu
    assert {entry["package"] for entry in report["packages"]} == set(doctor.OPTIONAL)


def test_a_backend_that_cannot_run_says_why(monkeypatch):
    monkeypatch.setattr(_dispatch, "unsupported_reason", lambda request, name: f"no {request.dtype} today")
    entries = doctor.backends()
    assert {entry["state"] for entry in entries} == {"no"}
    assert entries[0]["reason"] == "no bfloat16 today; no float16 today; no float32 today"


def test_a_backend_that_runs_some_types_names_them(monkeypatch):
    monkeypatch.setattr(
        _dispatch,
        "unsupported_reason",
        lambda request, name: None if request.dtype == "float32" else "too small",
    )
    assert {(entry["state"], entry["reason"]) for entry in doctor.backends()} == {("works for float32", "too small")}


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(doctor, "OPTIONAL", {"package_that_is_not_there": "arrow"})
    assert doctor.packages() == [
        {
            "package": "package_that_is_not_there",
            "extra": "arrow",
            "state": "missing; pip install 'featdiv[arrow]'",
        }
    ]


def test_environment_variables_that_change_results_are_shown(run, monkeypatch):
    monkeypatch.setenv("FEATDIV_BACKEND", "numpy")
    assert "FEATDIV_BACKEND" in run("doctor").stdout


def test_a_missing_core_package_is_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "CORE", ("numpy", "package-that-is-not-there"))
    found = doctor.versions()
    assert found["package-that-is-not-there"] == "missing; pip install package-that-is-not-there"
    assert found["numpy"][0].isdigit()


def test_without_torch_it_says_what_still_runs():
    program = "import sys; sys.modules['torch'] = None; from featdiv.cli import app; app.app(['doctor', '--json', '-'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["machine"]["gpus"] == "unknown: torch is not installed"
    found = {(entry["op"], entry["backend"]): entry for entry in report["backends"] if entry["device"] == "cpu"}
    assert found["scatter", "numpy"]["state"] == "works"
    assert found["scatter", "torch"]["state"] == "no"
    assert found["scatter", "torch"]["reason"] == "torch is not installed; run: pip install torch"
