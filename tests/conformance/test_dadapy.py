"""DADApy: the intrinsic dimension of two neighbours, and shared neighbours; and what copies of rows do to it.

It wants NumPy 1, so these tests run in an environment of their own: ``pip install 'numpy<2' dadapy``.
"""

from __future__ import annotations

import numpy as np
import pytest

import featdiv

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")


@pytest.fixture
def data(load):
    return load("dadapy").Data


@pytest.mark.parametrize("discard", [0.1, 0.3])
def test_twonn(rows, data, agree, discard):
    theirs = data(rows).compute_id_2NN(algorithm="base", mu_fraction=1.0 - discard)[0]
    # Its slope comes out of an iteration.
    agree(featdiv.intrinsic_dimension(rows, discard=discard), theirs, rel=1e-7)


def test_its_error_of_all_rows_is_zero(data):
    """A plane: its estimate scatters by 0.04 from draw to draw, whatever the error printed beside it."""
    plane = np.random.default_rng(48).random((4000, 2)) @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    value, error, _ = data(plane).compute_id_2NN()
    ours = featdiv.intrinsic_dimension(plane)
    assert (error, float(ours)) == (0.0, pytest.approx(value, rel=1e-7))
    assert 0.02 < ours.intervals["intrinsic_dimension"].standard_error < 0.06


@pytest.mark.filterwarnings("ignore:There are points with neighbours at 0 distance:UserWarning")
def test_copies_of_rows_stop_its_fit(data):
    # A fifth of the rows twice: their first distance is 0 and their ratio infinite, more than the tenth left out.
    plane = np.random.default_rng(49).random((2000, 2)) @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    copied = np.concatenate([plane, plane[:400]])
    with pytest.raises(ValueError, match="infs or NaNs"):
        data(copied).compute_id_2NN()
    ours = featdiv.intrinsic_dimension(copied)
    print(f"featdiv {float(ours):.12g}, the peer none, in truth 2")
    assert float(ours) == pytest.approx(2.0, abs=0.15)
    assert ours.details["copies"] == 400


@pytest.mark.parametrize("k", [1, 10])
def test_neighbours_in_common(rows, data, agree, k):
    random = np.random.default_rng(50)
    other = rows @ random.normal(size=(60, 30)) + random.normal(size=(400, 30))
    sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (rows, other)]
    # Among rows of norm one, the nearest are those of the largest cosine.
    theirs = data(sides[0]).return_data_overlap(coordinates=sides[1], k=k)
    agree(featdiv.mutual_knn(rows, other, k=k), theirs, rel=1e-12)
