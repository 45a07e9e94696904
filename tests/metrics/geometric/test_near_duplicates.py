from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import InputError
from featdiv.metrics.geometric import near_duplicates


@pytest.fixture
def x():
    """Orthogonal rows; row 7 comes three times (two pairs of neighbours and one across), row 2 twice, scaled."""
    x = np.eye(60)
    x[30] = 2.0 * x[7]
    x[41] = 0.1 * x[7]
    x[50] = 9.0 * x[2]
    return x


def test_planted_copies_are_found(x):
    found = featdiv.near_duplicates(x)
    assert found.examples.tolist() == [[2, 50], [7, 30], [7, 41], [30, 41]]
    assert (found.pairs, found.rows) == (4, 5 / 60)
    assert found.read("nearest_cosine") == 1.0


def test_examples_are_the_first_ones(x):
    found = featdiv.near_duplicates(x, examples=2)
    assert found.examples.tolist() == [[2, 50], [7, 30]]
    assert (found.pairs, found.rows) == (4, 5 / 60)


def test_rows_are_marked_in_a_second_pass_where_pairs_are_too_many_to_list(x, monkeypatch):
    monkeypatch.setattr(near_duplicates, "LISTED", 3)
    monkeypatch.setattr(near_duplicates, "MOST_LISTED", 7 * 60)
    found = featdiv.near_duplicates(x, examples=3)
    assert (found.pairs, found.rows) == (4, 5 / 60)


def test_the_threshold_itself_counts():
    x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    assert featdiv.near_duplicates(x, tau=0.8).pairs == 1
    assert featdiv.near_duplicates(x, tau=0.6).pairs == 2
    assert featdiv.near_duplicates(x, tau=0.81).pairs == 0


def test_a_sample_names_rows_of_the_source(x):
    found = featdiv.near_duplicates(x, sample=55, seed=1)
    assert "sample" in found.provenance.method
    listed = [[2, 50], [7, 30], [7, 41], [30, 41]]
    assert all(pair in listed for pair in found.examples.tolist())
    assert len(found.examples) == found.pairs > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tau": 1.5}, "near_duplicates: tau: expected a cosine from -1 to 1; got 1.5"),
        ({"examples": -1}, "near_duplicates: examples: expected 0 to"),
    ],
)
def test_arguments_out_of_range(x, arguments, message):
    with pytest.raises(InputError, match=message):
        featdiv.near_duplicates(x, **arguments)
