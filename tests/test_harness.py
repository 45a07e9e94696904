"""Proof that the harness can see red: wrong backends and broken statistics are planted, and must be caught."""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import numpy as np
import pytest

from featdiv.ops.cross_gram import CrossSums
from featdiv.ops.cross_gram import reference as cross_gram_reference
from featdiv.ops.scatter import numpy_, reference
from featdiv.stats import ClassMoments, Moments
from featdiv.testing import cases, laws
from featdiv.testing.compare import assert_cross_gram_backend, assert_scatter_backend

ROWS = cases.make("gaussian", 300, 9, dtype="float64", seed=4).rows


def truncated_to(bits: int):
    """A backend that splits by truncation and keeps that many bits of every entry."""

    def scatter(rows, sums, **arguments):
        mantissa, exponent = np.frexp(np.asarray(rows, dtype=np.float64))
        cut = np.ldexp(np.trunc(mantissa * 2.0**bits) / 2.0**bits, exponent)
        reference.scatter(cut, sums, **arguments)

    return scatter


def last_row_missing(rows, sums, **arguments):
    reference.scatter(rows[: len(rows) // 8 * 8], sums, **arguments)
    sums.n += len(rows) % 8


def one_entry_off(rows, sums, **arguments):
    reference.scatter(rows, sums, **arguments)
    sums.gram[2, 5] += 1.5e-6 * np.sqrt(sums.gram[2, 2] * sums.gram[5, 5])


def shift_forgotten(rows, sums, *, shift=None, **arguments):
    reference.scatter(rows, sums, **arguments)


def norm_sums_in_float16(rows, sums, **arguments):
    reference.scatter(rows, sums, **arguments)
    sums.weighted[:] = sums.weighted.astype(np.float16)


def scribbles_on_the_rows(rows, sums, **arguments):
    reference.scatter(rows, sums, **arguments)
    rows[0, 0] = 0.0


def unset_memory(rows, sums, **arguments):
    reference.scatter(rows, sums, **arguments)
    sums.gram[0] = np.empty(sums.gram.shape[1])


def through_float32_sums(rows, sums, **arguments):
    """Adds row after row in float32, as a kernel without float64 accumulators would."""
    reference.scatter(rows, sums, **arguments)
    z = np.asarray(rows, dtype=np.float32)
    gram = np.zeros(sums.gram.shape, dtype=np.float32)
    for row in z:
        gram += np.outer(row, row)
    sums.gram[:] = np.triu(gram)


@pytest.mark.parametrize("backend", [numpy_.scatter, reference.scatter], ids=["numpy", "reference"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_right_backends_pass(backend, precision):
    shift = ROWS.mean(axis=0)
    assert_scatter_backend(backend, ROWS + 50.0, shift=shift + 50.0, precision=precision)


@pytest.mark.parametrize(
    ("backend", "precision", "complaint"),
    [
        (truncated_to(18), "float32", "gram: (frobenius|entrywise) error"),
        (truncated_to(40), "float64", "gram: (frobenius|entrywise) error"),
        (last_row_missing, "float32", "gram: frobenius error"),
        (one_entry_off, "float32", "gram: entrywise error"),
        (shift_forgotten, "float32", "gram: frobenius error"),
        (norm_sums_in_float16, "float32", "weighted: off"),
        (scribbles_on_the_rows, "float32", "changed the rows"),
    ],
)
def test_wrong_backends_are_caught(backend, precision, complaint):
    with pytest.raises(AssertionError, match=complaint):
        assert_scatter_backend(backend, ROWS.copy(), shift=np.full(9, 0.25), precision=precision)


def cross_reference(left, right, sums, **arguments):
    cross_gram_reference.cross_gram(left, right, sums, **arguments)


def sides_confused(left, right, sums, **arguments):
    cross_reference(left, right, sums, **arguments)
    # As if each side were weighted by its own norms.
    own = CrossSums.zeros(len(sums.total), len(sums.total), norm_sums=True)
    cross_reference(left, left, own, **arguments)
    sums.weighted[:] = own.weighted


def cross_row_missing(left, right, sums, **arguments):
    shorter = (dataclasses.replace(side, rows=side.rows[:-1]) for side in (left, right))
    cross_reference(*shorter, sums, **arguments)
    sums.n += 1


def cross_entry_off(left, right, sums, **arguments):
    cross_reference(left, right, sums, **arguments)
    z, w = reference.transformed(left.rows, shift=left.shift), right.rows
    sums.gram[2, 1] += 1.5e-6 * np.linalg.norm(z[:, 2]) * np.linalg.norm(w[:, 1])


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        (cross_reference, None),
        (sides_confused, "weighted: off"),
        (cross_row_missing, "gram: entrywise error"),
        (cross_entry_off, "gram: entrywise error"),
    ],
)
def test_wrong_backends_of_cross_gram_are_caught(backend, complaint):
    outcome = pytest.raises(AssertionError, match=complaint) if complaint else contextlib.nullcontext()
    with outcome:
        assert_cross_gram_backend(backend, ROWS, ROWS[:, :4] ** 2, shifts=(np.full(9, 0.25), None))


def test_unset_memory_is_caught(nan_filled_scratch):
    with pytest.raises(AssertionError, match="gram: frobenius error inf"):
        assert_scatter_backend(unset_memory, ROWS)


def test_drifting_sums_are_caught():
    rows = cases.make("constant_magnitude", 3000, 6, dtype="float64").rows
    with pytest.raises(AssertionError, match="gram"):
        assert_scatter_backend(through_float32_sums, rows)


def test_a_wrong_backend_shows_in_the_laws(monkeypatch):
    def scatter(rows, sums, **arguments):
        # Wrong only in the tail of a tile, as a kernel with a bad mask would be.
        reference.scatter(rows[: len(rows) // 8 * 8], sums, **arguments)
        sums.n += len(rows) % 8

    monkeypatch.setattr(numpy_, "scatter", scatter)
    make = functools.partial(Moments.of, precision="float64", backend="numpy")
    with pytest.raises(AssertionError, match="law broken"):
        laws.check_laws(make, ROWS, empty=Moments.empty(9))


right_merge, right_save = Moments.merge, Moments.save


def naive_merge(self, other):
    """Forgets that the two means differ."""
    return dataclasses.replace(right_merge(self, other), scatter=self.scatter + other.scatter)


def uncentred_merge(self, other):
    """Goes through uncentred sums, which is right as long as the mean is small."""
    merged = right_merge(self, other)
    scatter = self.gram + other.gram - merged.n * np.outer(merged.mean, merged.mean)
    return dataclasses.replace(merged, scatter=scatter) if self.n and other.n else merged


def lopsided_merge(self, other):
    """Takes the mean of the left side for that of both."""
    return dataclasses.replace(right_merge(self, other), mean=self.mean if self.n else other.mean)


def rounding_merge(self, other):
    """Rounds to float32 on the way."""
    merged = right_merge(self, other)
    return dataclasses.replace(merged, scatter=merged.scatter.astype(np.float32).astype(np.float64))


def aliasing_merge(self, other):
    """Adds into the arrays of the left side."""
    merged = right_merge(self, other)
    if not (self.n and other.n):
        return merged
    for mine, new in ((self.mean, merged.mean), (self.scatter, merged.scatter)):
        mine.setflags(write=True)
        mine[...] = new
    return dataclasses.replace(merged, mean=self.mean, scatter=self.scatter)


def greedy_merge(self, other):
    """Counts an empty side as one row."""
    merged = right_merge(self, other)
    return dataclasses.replace(merged, n=merged.n + (self.n == 0))


def short_save(self, path):
    """Stores eight digits of the mean."""
    right_save(dataclasses.replace(self, mean=np.round(self.mean, 8)), path)


@pytest.mark.parametrize(
    ("method", "broken", "law"),
    [
        ("merge", naive_merge, "law broken: parts merge to the whole"),
        ("merge", uncentred_merge, "law broken: large mean"),
        ("merge", lopsided_merge, "law broken: parts merge to the whole"),
        ("merge", rounding_merge, "law broken: parts merge to the whole"),
        ("merge", aliasing_merge, "law broken"),
        ("merge", greedy_merge, "law broken: identity"),
        ("save", short_save, "law broken: save and load"),
        ("__add__", lambda self, other: self, r"law broken: \+ is merge"),
        ("__radd__", lambda self, zero: self, "law broken: sum is merge: 1 was added"),
        ("__radd__", lambda self, zero: self.merge(self), "law broken: sum is merge"),
        # Protocol 5, the default from Python 3.14 on, keeps read-only arrays read-only by itself; a deep copy does not.
        ("__setstate__", lambda self, state: self.__dict__.update(state), "law broken: (pickle|copy): made arrays"),
    ],
)
def test_broken_statistics_are_caught(monkeypatch, method, broken, law):
    monkeypatch.setattr(Moments, method, broken)
    if method == "merge":
        monkeypatch.setattr(Moments, "__add__", broken)
    with pytest.raises(AssertionError, match=law):
        laws.check_laws(functools.partial(Moments.of, precision="float64"), ROWS, empty=Moments.empty(9))


def test_a_merge_that_writes_into_its_peer_is_caught_by_that_law(monkeypatch):
    monkeypatch.setattr(Moments, "merge", aliasing_merge)
    with pytest.raises(AssertionError, match="law broken: peers untouched: the left peer was changed"):
        laws.check_peers_untouched(functools.partial(Moments.of, precision="float64"), ROWS, empty=Moments.empty(9))


def test_a_statistic_that_keeps_the_callers_buffer_is_caught():
    def make(rows) -> Moments:
        made = Moments.of(rows, precision="float64")
        return dataclasses.replace(made, mean=rows[0])

    with pytest.raises(
        AssertionError, match=r"inputs untouched: (the statistic keeps a view of the caller's buffer|.* changed)"
    ):
        laws.check_inputs_untouched(make, ROWS.copy())


def test_a_within_scatter_by_difference_is_caught():
    def make(rows, labels) -> ClassMoments:
        made = ClassMoments.of(rows, labels, precision="float64")
        shares = made.counts / made.n
        mean = shares @ made.means
        total = rows.T @ rows - made.n * np.outer(mean, mean)
        return dataclasses.replace(made, within=total - made.between())

    rows, labels = cases.labelled(120, 5, 4)
    laws.check_merge(make, rows, labels, rtol=1e-9)
    with pytest.raises(AssertionError, match="law broken: large mean"):
        laws.check_large_mean(make, rows, labels, empty=ClassMoments.empty(5))
