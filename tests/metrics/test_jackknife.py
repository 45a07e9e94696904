"""Intervals of scores that stand alone: those of the analyses, and what cannot have one."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.errors import InputError
from featdiv.stats import Moments


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((6000, 48)) * np.arange(1, 49) ** -0.7 + 0.3


OF_SPECTRUM = ["effective_rank", "rankme", "participation_ratio", "stable_rank", "spectral_entropy", "alpha_req"]
OF_UNIT_ROWS = ["vendi", "mean_cosine", "mean_squared_cosine"]


def assert_same(found, other):
    assert found is not None
    for name in ("low", "high", "standard_error"):
        assert getattr(found, name) == pytest.approx(getattr(other, name), rel=1e-9), name
    assert (found.method, found.estimand, found.groups) == (other.method, other.estimand, other.groups)


@pytest.mark.parametrize("groups", [None, np.arange(6000) // 50])
def test_intervals_are_those_of_the_spectrum(rows, groups):
    arguments = {"precision": "float64", "interval": "jackknife", "groups": groups}
    whole = featdiv.spectrum(rows, method="gram", **arguments)
    unit = featdiv.spectrum(rows, method="gram", normalize="l2", **arguments)
    for name in OF_SPECTRUM:
        assert_same(getattr(featdiv, name)(rows, **arguments).interval, whole.intervals[name])
    for name in OF_UNIT_ROWS:
        assert_same(getattr(featdiv, name)(rows, **arguments).interval, unit.intervals[name])


@pytest.mark.parametrize("name", ["isoscore", "coding_rate", "redundancy"])
def test_intervals_are_those_of_the_table(rows, name):
    table = featdiv.diversity(rows, metrics=[name], interval="jackknife")
    assert_same(getattr(featdiv, name)(rows, precision="float64", interval="jackknife").interval, table.intervals[name])


def test_an_interval_holds_for_the_parameters_of_the_call(rows):
    debiased = featdiv.participation_ratio(rows, definition="debiased", interval="auto", precision="float64")
    p = np.arange(1, 49) ** -1.4
    truth = p.sum() ** 2 / (p**2).sum()
    assert truth in debiased.interval
    assert debiased.value in debiased.interval
    assert debiased.provenance.arguments["interval"] == "auto"
    uncentred = featdiv.effective_rank(rows, center=False, interval="auto").interval
    centred = featdiv.effective_rank(rows, interval="auto").interval
    assert uncentred.high < centred.low


def test_without_asking_there_is_none_and_one_reading_into_one_part(rows, monkeypatch):
    from featdiv.stats import grouped

    read, buckets = grouped.read, []
    monkeypatch.setattr(grouped, "read", lambda *args, **kw: buckets.append(kw["buckets"]) or read(*args, **kw))
    assert featdiv.effective_rank(rows).interval is None
    assert featdiv.effective_rank(rows, interval="auto").interval is not None
    assert buckets == [1, 20]


def test_groups_keep_an_interval_honest():
    patients = np.random.default_rng(2).standard_normal((300, 6)) * np.arange(1, 7)
    order = np.random.default_rng(3).permutation(6000)
    rows, ids = np.repeat(patients, 20, axis=0)[order], np.repeat(np.arange(300), 20)[order]
    naive = featdiv.effective_rank(rows, interval="jackknife").interval
    whole = featdiv.effective_rank(rows, interval="jackknife", groups=ids).interval
    assert whole.standard_error > 3.0 * naive.standard_error


def test_what_cannot_have_an_interval_says_why(rows):
    few = featdiv.effective_rank(rows[:800], interval="auto")
    assert few.interval is None
    assert any("needs at least 5 slabs of 256 rows; got 800 rows" in note for note in few.provenance.notes)
    with pytest.raises(InputError, match=r"effective_rank: interval: 'jackknife' cannot be had here: .* 800 rows"):
        featdiv.effective_rank(rows[:800], interval="jackknife")
    with pytest.raises(
        InputError, match="rankme: interval: expected one of 'auto', 'jackknife', None; got 'bootstrap'"
    ):
        featdiv.rankme(rows, interval="bootstrap")
    with pytest.raises(InputError, match=r"vendi: interval: expected None .* kernel of your own"):
        featdiv.vendi(rows[:50], kernel=lambda a, b: np.exp(-((a[:, None] - b) ** 2).sum(2)), interval="auto")


def test_flat_spectra_have_no_interval_of_what_depends_on_the_leading_direction():
    flat = np.random.default_rng(4).standard_normal((3000, 20))
    assert featdiv.stable_rank(flat, interval="auto").interval is None
    assert featdiv.vendi(flat, q=np.inf, interval="auto").interval is None
    assert featdiv.vendi(flat, q=2.0, interval="auto").interval is not None
    with pytest.raises(InputError, match="stable_rank: interval: 'jackknife' cannot be had here"):
        featdiv.stable_rank(flat, interval="jackknife")


def test_statistics_cannot_be_divided(rows):
    moments = Moments.of(rows)
    found = featdiv.effective_rank(moments, interval="auto")
    assert found.interval is None
    assert "no interval: x is Moments, one part that cannot be divided" in found.provenance.notes
    with pytest.raises(InputError, match="effective_rank: interval: 'jackknife' needs rows; x is Moments"):
        featdiv.effective_rank(moments, interval="jackknife")
    with pytest.raises(InputError, match="mean_cosine: groups: expected None with Moments"):
        featdiv.mean_cosine(Moments.of(rows, normalize="l2"), groups=np.zeros(6000))


def test_a_spectrum_brings_its_own(rows):
    spectrum = featdiv.spectrum(rows, interval="jackknife")
    for interval in (None, "auto", "jackknife"):
        assert featdiv.effective_rank(spectrum, interval=interval).interval is spectrum.intervals["effective_rank"]
    with pytest.raises(InputError, match="'jackknife'"):
        featdiv.participation_ratio(spectrum, definition="debiased", interval="jackknife")


def test_rows_that_come_once_have_intervals_too(rows):
    many = np.tile(rows, (3, 1))
    once = featdiv.effective_rank((many[start : start + 500] for start in range(0, 18_000, 500)), interval="jackknife")
    assert once.interval.groups == 9  # slabs of 2,048 rows, since their number is not known at the start
    assert once.value in once.interval
