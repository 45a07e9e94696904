"""Roofline, stages, pictures and the comparison of two commits."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import planted
import pytest

import compare
import plot
from harness import machine, profiles, refs, report, roofline, session, stages
from harness.roofline import Work

PEAKS = {"float32": 100.0, "read bytes": 10.0}


@pytest.mark.parametrize(("operations", "moved", "seconds"), [(500.0, 1.0, 5.0), (1.0, 70.0, 7.0)])
def test_the_roofline_is_the_slower_of_arithmetic_and_memory(operations, moved, seconds):
    assert Work(operations=operations, bytes=moved).seconds(PEAKS) == seconds


@pytest.mark.parametrize(("products", "seconds"), [(None, 5.0), (6, 3.0), (20, 5.0)])
def test_other_units_make_the_roofline_higher_where_their_products_take_less(products, seconds):
    for unit, given in ((roofline.TILES, "tile_products"), (roofline.INTEGERS, "integer_products")):
        work = Work(operations=500.0, bytes=1.0, **{given: products})
        assert work.seconds(PEAKS | {unit: 1000.0}) == seconds
        assert work.seconds(PEAKS) == 5.0


def test_peaks_of_this_machine_are_measured():
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler is on PATH")
    found = roofline.peaks("float64", [roofline.TILES, roofline.INTEGERS])
    if not machine.has_flag("amx_bf16"):
        assert roofline.TILES not in found
    assert (roofline.INTEGERS in found) == (machine.has_flag("avx512_vnni") or machine.has_flag("avx_vnni"))
    # A vector holds eight times as many bytes as doubles.
    assert roofline.INTEGERS not in found or found[roofline.INTEGERS] > 2 * found["float64"]
    # No processor that runs this does less than 100 MFLOP/s, or more than 100 TFLOP/s.
    assert 1e8 < found["float64"] < 1e14
    assert 1e8 < found["read bytes"] < 1e13


def test_the_rate_of_tiles_is_measured_with_their_instructions():
    compiler = next((name for name in ("g++", "clang++") if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("no C++ compiler is on PATH")
    flags = ("-std=c++17", "-O1", "-mamx-tile", "-mamx-bf16", "-Wno-psabi", "-S", "-o", "-")
    result = subprocess.run([compiler, *flags, str(roofline._SOURCE)], capture_output=True, text=True, check=False)
    if "-mamx" in result.stderr:
        pytest.skip(f"{compiler} does not know AMX")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("tdpbf16ps") >= 6


def test_without_a_compiler_there_is_no_roofline_and_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(roofline, "_found", lambda command: False)
    roofline._library.cache_clear()
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler is on PATH"):
        roofline.peaks("float32")


@pytest.fixture(scope="module", autouse=True)
def _no_gpu():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(machine, "has_gpu", lambda: False)
        yield


@pytest.fixture(scope="module")
def loaded():
    return session.run_workload(planted.SUITE, "planted", "loaded", session.Options(repeats=2, gap=0.0))


@pytest.fixture(scope="module")
def entry(loaded):
    return next(entry for entry in loaded["contenders"] if entry["name"] == "from memory")


def test_what_is_loaded_before_the_clock_starts_is_no_part_of_time_or_memory(entry):
    assert entry["status"] == "timed"
    assert max(entry["seconds"]) < planted.LOADING
    assert entry["peak_private_bytes"] is None or entry["peak_private_bytes"] < planted.BALLAST


def test_a_contender_for_a_gpu_is_left_out_where_there_is_none(loaded):
    missing = next(entry for entry in loaded["contenders"] if entry["name"] == "on a GPU")
    assert (missing["status"], missing["reason"]) == ("skipped", "there is no CUDA device")


def test_the_prediction_stands_before_the_result_and_the_result_beside_it(loaded):
    limits = {"operations": 2e9, "bytes": 4e6, "unit": "float32", "memory": "read bytes", "seconds": 0.5}
    measured = loaded | {"roofline": limits | {"peaks": {"float32": 4e9, "read bytes": 1e10}}}
    section = report.workload(measured, planted.SUITE.workload("loaded"), planted.SUITE.baselines)
    assert "Prediction: 2 GFLOP at the measured 4 GFLOP/s (float32)" in section
    assert section.index("no less than **0.5 s**") < section.index("| contender")
    assert "% of roofline" in section
    on_tiles = limits | {"tile_products": 6, "peaks": {"float32": 4e9, roofline.TILES: 6e12, "read bytes": 1e10}}
    section = report.workload(loaded | {"roofline": on_tiles}, planted.SUITE.workload("loaded"), ())
    assert "(float32), or 6 times as many at 6,000 G a second (bfloat16 on tiles), and 4 MB" in section
    del on_tiles["peaks"][roofline.TILES]
    section = report.workload(loaded | {"roofline": on_tiles}, planted.SUITE.workload("loaded"), ())
    assert "(float32), no rate of bfloat16 on tiles (there is no AMX here that may be used), and 4 MB" in section
    on_integers = limits | {"integer_products": 2, "peaks": {"float32": 4e9, "read bytes": 1e10}}
    section = report.workload(loaded | {"roofline": on_integers}, planted.SUITE.workload("loaded"), ())
    assert "(float32), no rate of 8-bit integers (this processor has no VNNI), and 4 MB" in section
    on_integers["peaks"][roofline.INTEGERS] = 1e12
    section = report.workload(loaded | {"roofline": on_integers}, planted.SUITE.workload("loaded"), ())
    assert "(float32), or 2 times as many at 1,000 G a second (8-bit integers), and 4 MB" in section
    problem = report.workload(loaded | {"roofline": {"problem": "why not"}}, planted.JUDGED, ())
    assert "No roofline: why not." in problem


def test_stages_of_the_native_kernels_add_up_to_the_wall_time():
    from featdiv.ops import _native
    from featdiv.ops.scatter import Sums, scatter

    if _native.missing():
        pytest.skip(str(_native.missing()))
    contender = planted.contender(
        "featdiv", lambda rows: scatter(rows, Sums.zeros(64), backend="native"), load=lambda data: None
    )
    row = stages.of(contender, np.ones((20_000, 64), np.float32), "")
    parts = [float(row[name]) for name in row if name.endswith("/ threads") or name.startswith("elsewhere")]
    assert len(parts) == 4
    assert sum(parts) == pytest.approx(float(row["wall"]), rel=0.02)
    assert float(row["product / threads"]) > 0


def test_a_profile_is_of_own_contenders_alone(tmp_path):
    found = profiles.of_workload(planted.SUITE, "planted", "loaded", quick=True, traces=tmp_path)
    assert [row["contender"] for row in found["rows"]] == ["right", "from memory"]
    assert found["left out"] == ["on a GPU: there is no CUDA device"]


def _result(seconds: list[float], **changes) -> dict:
    entry = {"name": "featdiv.x", "seconds": seconds, "complete": True, "n": 3, **changes}
    return {
        "op": "sums",
        "name": "w",
        "summary": "s",
        "quick": False,
        "contenders": [entry],
        "roofline": {"seconds": 1.0},
    }


def test_a_picture_has_a_panel_for_each_workload_and_a_bar_for_each_contender(tmp_path):
    figure = plot.drawn([_result([1.0, 2.0, 9.0]), _result([3.0]), {"name": "t", "rows": []}, _result([])])
    assert [len(panel.patches) for panel in figure.axes] == [1, 1]
    assert [panel.patches[0].get_width() for panel in figure.axes] == [2.0, 3.0]
    plot.save(figure, tmp_path / "a.svg")
    assert "featdiv.x" in (tmp_path / "a.svg").read_text()


def test_results_without_a_time_are_not_drawn():
    with pytest.raises(ValueError, match="at least one contender with a time"):
        plot.drawn([_result([])])


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    root.mkdir()

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    (root / "setup.py").write_text("raise SystemExit('no compiler today')\n")
    git("add", "setup.py")
    git("commit", "-q", "-m", "first")
    return root, git


def test_a_commit_that_does_not_build_is_named_and_its_worktree_removed(repository):
    root, git = repository
    with pytest.raises(ValueError, match="HEAD does not build: no compiler today"):
        refs.measured(["HEAD", "HEAD"], ["scatter"], root=root)
    assert len(git("worktree", "list").splitlines()) == 1


def test_an_unknown_commit_is_refused_before_anything_is_built(repository):
    with pytest.raises(ValueError, match="no commit 'nowhere'"):
        refs.measured(["HEAD", "nowhere"], ["scatter"], root=repository[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["HEAD", "HEAD~1"], "--op: two git refs are measured"),
        (["HEAD", __file__], "expected two files or two git refs"),
        ([__file__, __file__, "--op", "scatter"], "two results take no further arguments"),
    ],
)
def test_compare_says_what_it_wants(arguments, message, capsys):
    with pytest.raises(SystemExit):
        compare.main(arguments)
    assert message in capsys.readouterr().err
