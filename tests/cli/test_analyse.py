from __future__ import annotations

import json
import math

import numpy as np
import pytest

import featdiv


def scores(result):
    return json.loads(result.stdout)["scores"]


def test_spectrum_prints_what_is_known_on_paper(run, isotropic):
    result = run("spectrum", isotropic)
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line)
    assert lines["effective_rank"].split()[0] == "4"
    assert lines["stable_rank"].split()[0] == "4"


def test_json_alone_on_stdout(run, stretched):
    result = run("spectrum", stretched, "--json", "-")
    assert result.exit_code == 0
    found = scores(result)
    share = np.array([3, 1, 1, 1]) / 6
    assert found["effective_rank"] == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-6)
    assert found["participation_ratio"] == pytest.approx(12**2 / 84, rel=1e-6)
    assert found["stable_rank"] == pytest.approx(12 / 9, rel=1e-6)


def test_json_file_holds_the_result_of_the_same_call(run, stretched, tmp_path):
    result = run("spectrum", stretched, "--json", "out.json", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["provenance"]["n"] == 128
    assert written["scores"] == featdiv.spectrum(str(stretched)).to_dict()["scores"]


def test_several_files_are_the_shards_of_one_set(run, tmp_path):
    rows = np.random.default_rng(0).normal(size=(300, 5))
    np.save(tmp_path / "a.npy", rows[:100])
    np.save(tmp_path / "b.npy", rows[100:])
    found = scores(run("spectrum", "a.npy", "b.npy", "--json", "-", "--precision", "float64"))
    singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    assert found["participation_ratio"] == pytest.approx((singular**2).sum() ** 2 / (singular**4).sum(), rel=1e-9)


def test_uncentred_and_normalised(run, tmp_path):
    rows = np.random.default_rng(0).normal(size=(300, 5)) + 3.0
    np.save(tmp_path / "x.npy", rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = scores(run("spectrum", "x.npy", "--no-center", "--normalize", "l2", "--json", "-"))
    squared = np.linalg.svd(unit, compute_uv=False) ** 2
    assert found["stable_rank"] == pytest.approx(squared.sum() / squared[0], rel=1e-5)


@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_per_class_has_a_line_for_each_label(run, tmp_path, isotropic, stretched):
    np.save(tmp_path / "both.npy", np.concatenate([np.load(isotropic), np.load(stretched)]))
    (tmp_path / "labels.txt").write_text("round\n" * 128 + "long\n" * 128)
    result = run("spectrum", "both.npy", "--labels", "labels.txt", "--per-class")
    assert result.exit_code == 0
    table = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    assert table["class"] == ["n", "effective_rank", "rankme", "participation_ratio", "stable_rank"]
    assert table["round"][0] == "128"
    assert float(table["round"][1]) == pytest.approx(4.0, rel=1e-5)
    assert float(table["long"][3]) == pytest.approx(144 / 84, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--per-class"], "--labels: expected the labels of the rows"),
        (["--labels", "labels.txt"], "--labels goes with --per-class"),
    ],
)
def test_labels_and_per_class_belong_together(run, isotropic, arguments, message):
    result = run("spectrum", isotropic, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_picture(run, isotropic, tmp_path):
    result = run("spectrum", isotropic, "--plot", "out.png")
    assert result.exit_code == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "wrote out.png" in result.stderr


def test_wrong_values_are_wrong_usage(run, isotropic):
    for arguments in (
        ["--precision", "tf32"],
        ["--method", "magic"],
        ["--normalize", "l1"],
        ["--memory", "much"],
        ["--backend", "fast"],
        ["--json", "nowhere/out.json"],
    ):
        result = run("spectrum", isotropic, *arguments)
        assert result.exit_code == 2, arguments
        assert arguments[0] in result.stderr


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((50, 3)), "constant"),
        (np.arange(10.0), "2-D"),
        (np.where(np.eye(50, 3) > 0, np.nan, 1.0), "NaN"),
    ],
    ids=["constant", "one-dimensional", "nan"],
)
def test_bad_data_is_one_line_and_exit_code_1(run, tmp_path, rows, message):
    np.save(tmp_path / "bad.npy", rows)
    result = run("spectrum", "bad.npy")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_rows_with_nan_can_be_dropped(run, tmp_path, isotropic):
    rows = np.concatenate([np.load(isotropic), [[np.nan, 0, 0, 0]]])
    np.save(tmp_path / "holes.npy", rows)
    assert scores(run("spectrum", "holes.npy", "--nonfinite", "drop", "--json", "-"))["effective_rank"] == (
        pytest.approx(4.0, rel=1e-6)
    )


def test_merged_moments_of_shards_give_the_spectrum_of_the_whole(run, tmp_path):
    rows = np.random.default_rng(1).normal(size=(400, 6)) * [5, 4, 3, 2, 1, 1]
    np.save(tmp_path / "whole.npy", rows)
    for i, part in enumerate(np.split(rows, [150, 250])):
        np.save(tmp_path / f"part{i}.npy", part)
        arguments = ["--precision", "float64", "--method", "gram", "--save-moments", f"part{i}.npz"]
        assert run("spectrum", f"part{i}.npy", *arguments).exit_code == 0
    merged = run("merge", "part0.npz", "part1.npz", "part2.npz", "-o", "all.npz")
    assert merged.exit_code == 0
    assert "400 rows of 6 features, from 3 files" in merged.stderr
    assert "rows of 6 features, from 1 file\n" in run("merge", "part0.npz", "-o", "one.npz").stderr
    assert run("spectrum", "all.npz").stdout.startswith("400 × 6 float64, from moments by ")
    assert run("diversity", "all.npz", "--metrics", "rankme").stdout.startswith("400 × 6 float64, from a statistic\n")
    refused = run("knn", "all.npz", "--labels", "y.npy")
    assert refused.exit_code == 1
    assert "all.npz: it holds a statistic that featdiv saved, such as Moments, and no rows" in refused.stderr
    assert "Moments.load: path: no such file: gone.npz" in run("merge", "gone.npz", "-o", "x.npz").stderr
    whole = scores(run("spectrum", "whole.npy", "--precision", "float64", "--method", "gram", "--json", "-"))
    parts = scores(run("spectrum", "all.npz", "--json", "-"))
    undefined = {name for name, value in whole.items() if value is None}
    assert undefined == {name for name, value in parts.items() if value is None}
    for name in whole.keys() - undefined:
        assert parts[name] == pytest.approx(whole[name], rel=1e-9), name


def test_merge_refuses_the_same_rows_twice(run, tmp_path, isotropic):
    run("spectrum", isotropic, "--save-moments", "a.npz", "--method", "gram")
    (tmp_path / "copy.npz").write_bytes((tmp_path / "a.npz").read_bytes())
    result = run("merge", "a.npz", "copy.npz", "-o", "all.npz")
    assert result.exit_code == 1
    assert "copy.npz holds the moments of the same rows as a.npz" in result.stderr
    assert not (tmp_path / "all.npz").exists()


def test_merge_names_the_file_that_does_not_fit(run, tmp_path, isotropic):
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(100, 7)))
    run("spectrum", isotropic, "--save-moments", "a.npz", "--method", "gram")
    run("spectrum", "wide.npy", "--save-moments", "b.npz", "--method", "gram")
    result = run("merge", "a.npz", "b.npz", "-o", "all.npz")
    assert result.exit_code == 1
    assert "featdiv merge: b.npz: Moments.merge: other: expected d=4 features; got d=7" in result.stderr


def test_merge_refuses_embeddings(run, isotropic):
    result = run("merge", isotropic, "-o", "all.npz")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr


def test_moments_have_no_labels(run, isotropic):
    run("spectrum", isotropic, "--save-moments", "a.npz", "--method", "gram")
    result = run("spectrum", "a.npz", "--labels", "x.npy", "--per-class")
    assert result.exit_code == 2
    assert "a.npz holds moments" in result.stderr
