from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv.errors import InputError, NonFiniteError
from featdiv.stats.class_tiles import Centring, class_sums, pilots_of
from featdiv.testing import cases


def test_class_sums_by_hand():
    z = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert class_sums(z, np.array([2, 0, 2]), 3).tolist() == [[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]


def test_a_pilot_is_the_mean_of_the_first_eight_rows():
    rows, labels = cases.labelled(3000, 4, 700)
    wanted = np.arange(700) % 3 != 1
    pilots = pilots_of(rows, labels, wanted, normalize=None)
    truth = [rows[labels == label][:8].mean(axis=0) for label in np.flatnonzero(wanted)]
    assert np.allclose(pilots, truth, rtol=1e-13, atol=1e-13)


def test_the_pilot_of_equal_rows_is_that_row():
    rows = np.full((7, 3), 0.1)
    assert (pilots_of(rows, np.zeros(7, dtype=int), np.array([True]), normalize=None) == 0.1).all()


@pytest.mark.parametrize("normalize", [None, "l2"])
@pytest.mark.parametrize("scale", [1.0, 1e-60])
def test_rows_on_a_device_are_centred_as_on_the_host(normalize, scale):
    rows, labels = cases.labelled(500, 6, 40)
    rows *= scale
    pilots = pilots_of(rows, labels, np.ones(40, dtype=bool), normalize=normalize)
    centring = Centring.for_rows(rows, labels, pilots, normalize=normalize, precision="float32")
    assert (centring.exponent is not None) == (scale != 1.0 and normalize is None)
    on_host, on_device = np.zeros((40, 6)), np.zeros((40, 6))
    z = centring.tile(rows, slice(0, 500), pilots, labels, on_host)
    # The route of CUDA tensors, which needs no CUDA to be right. It brings the rows in order of class.
    there = centring._on_device(torch.from_numpy(rows), pilots, labels, on_device)
    assert np.allclose(on_device, on_host, rtol=1e-12, atol=1e-12 * np.abs(on_host).max())
    assert np.allclose(there.numpy(), z[np.argsort(labels, kind="stable")], rtol=1e-6, atol=1e-12)


def test_rows_on_a_device_that_are_not_finite():
    rows = torch.ones(4, 2, dtype=torch.float64)
    rows[2, 1] = torch.nan
    centring = Centring(normalize=None, exponent=None, dtype="float64")
    with pytest.raises(NonFiniteError, match="the first in row 2"):
        centring._on_device(rows, np.zeros((1, 2)), np.zeros(4, dtype=int), np.zeros((1, 2)))


def test_differences_beyond_float64_are_refused():
    rows = np.array([[-1.7e308], [1.7e308]])
    centring = Centring(normalize=None, exponent=None, dtype="float64")
    with pytest.raises(InputError, match="differences float64 can hold"):
        centring.tile(rows, slice(0, 2), rows[1:], np.zeros(2, dtype=int), np.zeros((1, 1)))
