"""Mean cosine and mean squared cosine."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import InputError, NotEnoughData
from featdiv.metrics.spectral import mean_cosine, mean_squared_cosine

CASES = {
    "off centre": lambda rng: rng.normal(size=(150, 7)) + 0.5,
    "fewer rows than features": lambda rng: rng.normal(size=(20, 90)),
    "unequal norms": lambda rng: rng.normal(size=(150, 7)) * np.exp(4.0 * rng.normal(size=(150, 1))),
    "two rows": lambda rng: rng.normal(size=(2, 5)),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_mean_over_all_pairs(case, moments_of):
    x = CASES[case](np.random.default_rng(22))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = (u @ u.T)[np.triu_indices(len(x), 1)]
    assert mean_cosine.core(moments_of(x, "l2")) == pytest.approx(pairs.mean(), rel=1e-10, abs=1e-13)
    assert mean_squared_cosine.core(moments_of(x, "l2")) == pytest.approx(np.mean(pairs**2), rel=1e-10)
    assert float(featdiv.mean_cosine(x)) == pytest.approx(pairs.mean(), rel=1e-4, abs=1e-6)
    assert float(featdiv.mean_squared_cosine(x)) == pytest.approx(np.mean(pairs**2), rel=1e-4)


def test_known_directions(moments_of):
    antipodal = np.array([[1.0, 0.0], [-1.0, 0.0]] * 10)  # of 190 pairs 90 agree and 100 are opposite
    assert mean_cosine.core(moments_of(antipodal, "l2")) == pytest.approx(-1.0 / 19.0)
    assert mean_squared_cosine.core(moments_of(antipodal, "l2")) == pytest.approx(1.0)
    orthogonal = np.eye(8)
    assert mean_cosine.core(moments_of(orthogonal, "l2")) == pytest.approx(0.0, abs=1e-15)
    assert mean_squared_cosine.core(moments_of(orthogonal, "l2")) == pytest.approx(0.0, abs=1e-15)


def test_a_tight_frame_meets_the_bound_of_welch(moments_of):
    angles = np.pi * np.arange(12) / 12
    frame = np.column_stack([np.cos(angles), np.sin(angles)])
    assert mean_squared_cosine.core(moments_of(frame, "l2")) == pytest.approx((12 / 2 - 1) / 11)


@pytest.mark.parametrize("name", ["mean_cosine", "mean_squared_cosine"])
def test_what_has_no_unit_rows_is_refused(name, rows, moments_of, eigenvalues):
    function = getattr(featdiv, name)
    with pytest.raises(InputError, match=rf"{name}: x: expected moments of rows with norm one; got moments of rows as"):
        function(moments_of(rows))
    with pytest.raises(InputError, match="got Eigenvalues, which do not hold the means and directions"):
        function(eigenvalues([0.5, 0.5], centered=False, unit_rows=True))


@pytest.mark.parametrize("name", ["mean_cosine", "mean_squared_cosine"])
def test_one_row_makes_no_pair(name, rows):
    with pytest.raises(NotEnoughData, match=f"{name}: a pair needs 2 rows; got 1"):
        getattr(featdiv, name)(rows[:1])
