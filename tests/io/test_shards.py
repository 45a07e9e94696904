from __future__ import annotations

import numpy as np
import pytest
import torch

import featdiv


@pytest.fixture
def folder(tmp_path, x):
    """Twelve shards of different sizes, whose natural order is not that of their names."""
    bounds = [0, 1, 10, 12, 30, 31, 44, 50, 61, 70, 71, 99, 101]
    for index in range(12):
        np.save(tmp_path / f"shard{index}.npy", x[bounds[index] : bounds[index + 1]])
    return tmp_path


@pytest.mark.parametrize("rows", [1, 7, 13, 64, None])
def test_a_directory_is_read_in_natural_order(folder, x, rows, all_rows):
    source = featdiv.open(folder)
    assert (source.n, source.d, source.dtype, source.shards, source.format) == (101, 7, "float32", 12, "npy")
    np.testing.assert_array_equal(all_rows(source, rows), x)


def test_chunks_span_shards(folder):
    assert [len(chunk.rows) for chunk in featdiv.open(folder).chunks(40)] == [40, 40, 21]


def test_take_crosses_shards(folder, x):
    index = [100, 0, 31, 31, 5, 99, 12]
    np.testing.assert_array_equal(featdiv.open(folder).take(index), x[index])
    assert featdiv.open(folder).take([]).shape == (0, 7)


@pytest.mark.parametrize("shards", [1, 12])
def test_all_rows_are_taken_without_a_second_copy_of_them(tmp_path, shards):
    import tracemalloc

    x = np.arange(600_000, dtype=np.float32).reshape(-1, 200)
    for index, part in enumerate(np.array_split(x, shards)):
        np.save(tmp_path / f"shard{index}.npy", part)
    source = featdiv.open(tmp_path)
    tracemalloc.start()
    taken = source.take(np.arange(len(x)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(taken, x)
    np.testing.assert_array_equal(source.take(np.arange(7, 2_900)), x[7:2_900])
    assert peak < 1.2 * x.nbytes


def test_a_bad_row_is_found_in_its_file(folder, x):
    x[31, 2] = np.nan
    np.save(folder / "shard5.npy", x[31:44])
    place = r"the first in row 31, row 0 of .*shard5\.npy\."
    for call in (
        featdiv.spectrum,
        featdiv.sparsity,
        lambda rows: featdiv.ClassMoments.of(rows, np.arange(101) % 3),
        lambda rows: featdiv.Neighbours.of(rows, k=2),
        lambda rows: featdiv.CrossMoments.of({"rows": rows, "other": np.ones((101, 2))}),
    ):
        with pytest.raises(featdiv.NonFiniteError, match=place) as raised:
            call(featdiv.open(folder))
        assert raised.value.first_row == 31
    with pytest.raises(featdiv.NonFiniteError, match=r"row 31, row 1 of shard 1\."):
        featdiv.spectrum([x[:30], x[30:]])


def test_globs_lists_and_manifests(folder, x, all_rows):
    names = [f"shard{index}.npy" for index in range(12)]
    (folder / "some.txt").write_text("# a comment\n\n" + "\n".join(names[:2]) + "\n")
    (folder / "some.json").write_text('["shard0.npy", "' + str(folder / "shard1.npy") + '"]')
    np.testing.assert_array_equal(all_rows(featdiv.open(str(folder / "shard?.npy"))), x[:71])
    np.testing.assert_array_equal(all_rows(featdiv.open(folder / "*.npy")), x)
    np.testing.assert_array_equal(all_rows(featdiv.open([str(folder / name) for name in names])), x)
    np.testing.assert_array_equal(all_rows(featdiv.open([folder / names[1], folder / names[0]])), np.r_[x[1:10], x[:1]])
    np.testing.assert_array_equal(all_rows(featdiv.open(folder / "some.txt")), x[:10])
    np.testing.assert_array_equal(all_rows(featdiv.open(folder / "some.json")), x[:10])


def test_a_manifest_in_a_directory_decides(folder, x, all_rows):
    (folder / "manifest.txt").write_text("shard1.npy\nshard0.npy\n")
    np.testing.assert_array_equal(all_rows(featdiv.open(folder)), np.r_[x[1:10], x[:1]])


def test_a_list_of_arrays_can_be_read_again(x, all_rows):
    source = featdiv.open([x[:30], x[30:31], x[31:]])
    assert (source.n, source.one_pass) == (101, False)
    for rows in (None, 5):
        np.testing.assert_array_equal(all_rows(source, rows), x)


def test_a_list_of_bfloat16_tensors(x):
    tensor = torch.from_numpy(x).to(torch.bfloat16)
    source = featdiv.open([tensor[:30], tensor[30:]])
    assert torch.equal(torch.cat([chunk.rows.clone() for chunk in source.chunks(20)]), tensor)
    assert torch.equal(source.take([100, 3]), tensor[[100, 3]])


def test_mixed_kinds_in_a_list(folder, x, all_rows):
    np.savez_compressed(folder / "a.npz", x[:20])
    torch.save(torch.from_numpy(x[20:50]), folder / "b.pt")
    np.save(folder / "c.npy", x[50:])
    source = featdiv.open([folder / "a.npz", folder / "b.pt", folder / "c.npy"])
    np.testing.assert_array_equal(all_rows(source, 16), x)
    np.testing.assert_array_equal(source.take([60, 10, 30]), x[[60, 10, 30]])


def test_labels_of_every_shard(tmp_path, x):
    for index, part in enumerate(np.array_split(np.arange(101), 3)):
        np.savez(tmp_path / f"{index}.npz", z=x[part], y=part)
    source = featdiv.open(tmp_path, labels="y")
    np.testing.assert_array_equal(source.labels, np.arange(101))


def test_an_empty_shard_is_fine_among_others(tmp_path, x, all_rows):
    for index, part in enumerate((x[:50], x[:0], x[50:])):
        np.save(tmp_path / f"{index}.npy", part)
    np.testing.assert_array_equal(all_rows(featdiv.open(tmp_path), 20), x)
    np.save(tmp_path / "0.npy", x[:0])
    np.save(tmp_path / "2.npy", x[:0])
    with pytest.raises(featdiv.InputError, match="expected at least one row, got none"):
        featdiv.open(tmp_path)


def test_many_shards_do_not_exhaust_file_handles(tmp_path, all_rows):
    resource = pytest.importorskip("resource")
    x = np.random.default_rng(0).normal(size=(300, 2))
    for index in range(300):
        np.save(tmp_path / f"{index}.npy", x[index : index + 1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 100), hard))
    try:
        source = featdiv.open(tmp_path)
        np.testing.assert_array_equal(all_rows(source, 7), x)
        np.testing.assert_array_equal(source.take(np.arange(299, -1, -1)), x[::-1])
        assert source.fingerprint is not None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_shards_that_disagree(folder, x):
    np.save(folder / "shard5.npy", np.zeros((3, 8), np.float32))
    with pytest.raises(
        featdiv.InputError, match=r"shard5\.npy is n x 8 float32 .*, but .*shard0\.npy is n x 7 float32"
    ):
        featdiv.open(folder)
    np.save(folder / "shard5.npy", np.zeros((3, 7)))
    with pytest.raises(
        featdiv.InputError, match=r"shard5\.npy is n x 7 float64 .*, but .*shard0\.npy is n x 7 float32"
    ):
        featdiv.open(folder)


def test_a_damaged_shard_is_named(folder):
    (folder / "shard7.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(featdiv.FormatError, match=r"shard7\.npy: the file ends within the \.npy header"):
        featdiv.open(folder)
