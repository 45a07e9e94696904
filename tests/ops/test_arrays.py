"""Arrays of other libraries, handed to ops: shared, in their stream, with the errors that others get."""

from __future__ import annotations

import contextlib
import sys
import types

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError
from featdiv.io.arrays import await_stream
from featdiv.ops import _arrays, _dispatch
from featdiv.ops.class_scatter import class_scatter, class_scatter_dense
from featdiv.ops.cross_gram import CrossSums, cross_gram
from featdiv.ops.eigvals_batched import eigvals_batched
from featdiv.ops.nearest_centroid import nearest_centroid
from featdiv.ops.pair_sums import pair_sums
from featdiv.ops.scatter import Sums, scatter
from featdiv.ops.topk import topk


class Foreign:
    """Speaks DLPack and nothing else."""

    def __init__(self, array):
        self.array = array
        self.device = types.SimpleNamespace(id=0)

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.fixture
def x():
    return np.random.default_rng(4).normal(size=(30, 5)).astype(np.float32)


def test_every_op_takes_them(x):
    there = Foreign(x)
    assert topk(there, there, k=3).indices.tolist() == topk(x, x, k=3).indices.tolist()
    assert pair_sums(there, other=there).exp_sums.tolist() == pair_sums(x, x).exp_sums.tolist()
    labels = np.arange(30) % 3
    want = class_scatter(x, labels, classes=3).scatters
    for given in (labels, Foreign(labels), torch.from_numpy(labels)):
        np.testing.assert_array_equal(class_scatter(there, given, classes=3).scatters, want)
    cubes = x.reshape(3, 10, 5)
    np.testing.assert_array_equal(class_scatter_dense(Foreign(cubes)).means, class_scatter_dense(cubes).means)
    sums, truth = Sums.zeros(5), Sums.zeros(5)
    scatter(there, sums)
    scatter(x, truth)
    np.testing.assert_array_equal(sums.gram, truth.gram)
    cross, straight = CrossSums.zeros(5, 5), CrossSums.zeros(5, 5)
    cross_gram(there, other=there, sums=cross)
    cross_gram(x, x, straight)
    np.testing.assert_array_equal(cross.gram, straight.gram)
    index = np.arange(24).reshape(2, 3, 4)
    found = nearest_centroid(there, Foreign(index), shots=2).nearest
    np.testing.assert_array_equal(found, nearest_centroid(x, index, shots=2).nearest)
    matrices = truth.symmetric_gram()[None]
    np.testing.assert_array_equal(eigvals_batched(Foreign(matrices)).values, eigvals_batched(matrices).values)


def test_nothing_is_copied(x, monkeypatch):
    seen = []
    backend = _dispatch.load("topk", "numpy")
    plain = backend.topk
    monkeypatch.setattr(backend, "topk", lambda *rows, **named: seen.extend(rows) or plain(*rows, **named))
    topk(Foreign(x), gallery=Foreign(x), k=1, backend="numpy")
    assert len(seen) == 2
    assert all(np.shares_memory(rows, x) for rows in seen)


def test_bfloat16_comes_as_a_tensor():
    rows = torch.ones(4, 3).to(torch.bfloat16)
    assert topk(Foreign(rows), Foreign(rows), k=1, backend="torch").values.tolist() == [[3.0]] * 4


def test_errors_are_those_of_other_rows(x):
    with pytest.raises(InputError, match="topk: gallery: expected shape"):
        topk(Foreign(x), Foreign(x[0]), k=1)
    x[7, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"gallery: .* the first in row 7"):
        topk(x[:2], Foreign(x), k=1)


def test_work_on_cupy_arrays_is_in_their_current_stream(x, monkeypatch):
    """A module that stands for CuPy, whose current stream has a known address."""
    current = []

    @contextlib.contextmanager
    def stream(chosen):
        current.append(chosen)
        yield
        current.pop()

    asked = []
    fake = types.ModuleType("cupy")
    fake.ndarray = Foreign
    fake.cuda = types.SimpleNamespace(
        get_current_stream=lambda device: asked.append(device) or types.SimpleNamespace(ptr=4096)
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda pointer, device: (pointer, str(device)))
    during = []

    @_arrays.takes_arrays
    def op(rows, *, other=None):
        during.append(list(current))
        return rows

    assert np.shares_memory(op(Foreign(x)), x)
    op(x, other=Foreign(x))
    op(x)
    assert during == [[(4096, "cuda:0")], [(4096, "cuda:0")], []]
    assert asked == [0, 0]
    assert current == []


def test_the_stream_of_a_cuda_array_interface_is_waited_for():
    waited = []
    cuda = types.SimpleNamespace(
        current_stream=lambda: types.SimpleNamespace(wait_stream=waited.append), ExternalStream=lambda number: number
    )
    await_stream(types.SimpleNamespace(cuda=cuda), None)
    await_stream(types.SimpleNamespace(cuda=cuda), 12)
    assert waited == [12]
