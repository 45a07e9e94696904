from __future__ import annotations

import pytest

from featdiv import InputError, Moments
from featdiv.integrations import scores


@pytest.mark.parametrize("name", ["effective_rank", "rankme", "participation_ratio", "stable_rank", "alpha_req"])
def test_values_by_singular_values(rows, truth, name):
    moments = Moments.of(rows.double(), precision="float64")
    found, undefined = scores.values([name], moments)
    assert not undefined
    assert found == {name: pytest.approx(truth(rows, name), rel=1e-9)}
    assert scores.value(name, moments) == pytest.approx(found[name], rel=1e-9)


def test_several_scores_at_once_are_those_one_by_one(rows):
    moments = Moments.of(rows, normalize="l2", precision="float64")
    names = ["vendi", "mean_cosine", "mean_squared_cosine"]
    found, _ = scores.values(names, moments)
    assert list(found) == names
    for name in names:
        assert found[name] == pytest.approx(scores.value(name, moments), rel=1e-9)


def test_what_is_undefined_is_named_and_does_not_stop_the_rest(rows):
    found, undefined = scores.values(["alpha_req", "effective_rank"], Moments.of(rows[:, :12].double()))
    assert list(found) == ["effective_rank"]
    assert "a power law needs at least 10 eigenvalues" in undefined["alpha_req"]
    found, undefined = scores.values(["effective_rank", "rankme"], Moments.of(rows[:1]))
    assert not found
    assert set(undefined) == {"effective_rank", "rankme"}


@pytest.mark.parametrize(
    ("name", "normalize"), [("rankme", None), ("redundancy", None), ("vendi", "l2"), ("mean_cosine", "l2")]
)
def test_how_rows_are_to_be_normalised(name, normalize):
    assert scores.normalize_of(name, argument="here") == normalize


def test_scores_of_other_things_are_refused():
    with pytest.raises(InputError, match=r"here: 'frechet_distance' needs two moments, .* one of effective_rank"):
        scores.normalize_of("frechet_distance", argument="here")
    with pytest.raises(InputError, match=r"^here: no metric is named 'rankmee'; did you mean rankme\?$"):
        scores.normalize_of("rankmee", argument="here")
