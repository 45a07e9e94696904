from __future__ import annotations

import json

import numpy as np


def test_info_of_a_file(run, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(60, dtype=np.float16).reshape(20, 3))
    np.save(tmp_path / "y.npy", np.repeat([0, 1], 10))
    result = run("info", "x.npy", "--labels", "y.npy", "--json", "-")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert (facts["rows"], facts["features"], facts["dtype"], facts["bytes"]) == (20, 3, "float16", 120)
    assert facts["labels"] == "20, 2 distinct"
    assert facts["ids"] is None
    assert facts["fingerprint"].startswith("sampled-blake2b:")


def test_info_prints_a_table(run, isotropic):
    result = run("info", isotropic)
    assert result.exit_code == 0
    facts = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert facts["rows"] == "128"
    assert facts["labels"] == "none"


def test_convert_to_shards_of_another_type_keeps_the_rows(run, tmp_path):
    rows = np.random.default_rng(0).normal(size=(25, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    result = run("convert", "x.npy", "out", "--dtype", "float16", "--shard-rows", "10", "--format", "npy")
    assert result.exit_code == 0, result.stderr
    shards = sorted((tmp_path / "out").glob("*.npy"))
    assert [np.load(shard).shape for shard in shards] == [(10, 4), (10, 4), (5, 4)]
    np.testing.assert_array_equal(np.concatenate([np.load(shard) for shard in shards]), rows.astype(np.float16))


def test_convert_to_a_type_that_does_not_exist(run, isotropic, tmp_path):
    result = run("convert", isotropic, "out.npy", "--dtype", "float12")
    assert result.exit_code == 1
    assert "float12" in result.stderr
    assert not (tmp_path / "out.npy").exists()
