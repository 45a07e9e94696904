from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from featdiv.errors import FormatError
from featdiv.stats.neighbours import Neighbours


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_files_round_trip(tmp_path, rng):
    pytest.importorskip("faiss")
    x = rng.normal(size=(200, 6)).astype(np.float32)
    for near in (Neighbours.of(x, k=4), Neighbours.of(x, x[:9], k=4, distance="l2", index="IVF4,Flat:nprobe=4")):
        near = dataclasses.replace(near, extractions={"gallery": {"model": "vit", "notes": []}, "queries": None})
        near.save(tmp_path / "near.npz")
        back = Neighbours.load(tmp_path / "near.npz")
        for field in ("n_gallery", "d", "distance", "leave_one_out", "backend", "index", "recall", "notes"):
            assert getattr(back, field) == getattr(near, field), field
        assert dict(back.fingerprints) == dict(near.fingerprints)
        assert dict(back.extractions) == dict(near.extractions)
        np.testing.assert_array_equal(back.indices, near.indices)
        np.testing.assert_array_equal(back.values, near.values)


def test_damaged_files_are_refused(tmp_path, rng):
    near = Neighbours.of(rng.normal(size=(20, 6)), k=4)
    path = tmp_path / "near.npz"
    near.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"Neighbours\.load: path: .*damaged"):
        Neighbours.load(path)
    path.write_bytes(whole)
    with np.load(path) as archive:
        entries = dict(archive)
    np.savez(path, **{**entries, "indices": entries["indices"] + 10})
    with pytest.raises(FormatError, match="indices: expected rows 0 to 19"):
        Neighbours.load(path)
    np.savez(path, **{**entries, "values": entries["values"][:, ::-1]})
    with pytest.raises(FormatError, match="values: expected neighbours from near to far"):
        Neighbours.load(path)
