"""Reading labelled sources: chunks, drift, scales, element types, labels, budgets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv import io
from featdiv.errors import BudgetExceeded, InputError, NonFiniteError, ZeroNormError
from featdiv.stats import ClassMoments, class_states
from featdiv.testing import cases
from featdiv.testing.compare import PROVENANCE, Errors, assert_close_statistic


def within(x, labels) -> np.ndarray:
    x = np.asarray(x, dtype=np.longdouble)
    scatter = np.zeros((x.shape[1],) * 2, dtype=np.longdouble)
    for label in np.unique(labels):
        z = x[labels == label] - x[labels == label].mean(axis=0)
        scatter += np.einsum("ni,nj->ij", z, z)
    return scatter


def chunked(rows, labels, size, **arguments) -> ClassMoments:
    with io.open(rows, labels=labels, chunk_rows=size) as source:
        return ClassMoments.from_source(source, **arguments)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("size", [1, 7, 100, 299, 300])
def test_chunk_size_changes_nothing(per_class, size):
    rows, labels = cases.labelled(300, 9, 30, offset=1e3)
    whole = ClassMoments.of(rows, labels, precision="float64", per_class=per_class)
    parts = chunked(rows, labels, size, precision="float64", per_class=per_class)
    assert_close_statistic(parts, whole, 1e-12)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_classes_that_move_through_the_file(per_class, precision):
    random = np.random.default_rng(5)
    rows, labels = cases.labelled(1200, 6, 3, between=1.0)
    # One row of each class first, then all of them far away, then two hundred more places.
    rows[3:] += 1e6
    rows[600:] += np.repeat(1e3 * random.normal(size=(200, 6)), 3, axis=0)
    labels[:3] = [0, 1, 2]
    moments = chunked(rows, labels, 50, precision=precision, per_class=per_class)
    error = Errors.of(moments.within, within(rows, labels))
    assert max(error.frobenius, error.entrywise) <= (moments.error_bound if precision == "float32" else 1e-12)


def test_drift_is_read_again_about_its_own_means(monkeypatch):
    rows = np.random.default_rng(6).normal(size=(2001, 5))
    # The pilot of the class comes from the one row of the first chunk, far from all the others.
    rows[1:] += 1e5
    labels = np.zeros(2001, dtype=int)

    def stream():
        yield rows[:1], labels[:1]
        yield rows[1:], labels[1:]

    truth = within(rows, labels)
    error = Errors.of(ClassMoments.from_source(stream(), backend="numpy").within, truth)
    assert max(error.frobenius, error.entrywise) <= 1e-6
    monkeypatch.setattr(class_states, "_DRIFT_ABOVE", np.inf)
    left_alone = Errors.of(ClassMoments.from_source(stream(), backend="numpy").within, truth)
    assert left_alone.entrywise > 3e-6


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("per_class", [False, True])
def test_columns_of_extreme_scale(scale, precision, per_class):
    rows, labels = cases.labelled(400, 4, 3)
    scaled = rows * [scale, 1.0, 1.0, scale]
    moments = chunked(scaled, labels, 90, precision=precision, per_class=per_class)
    back = 1.0 / np.array([scale, 1.0, 1.0, scale])
    error = Errors.of(moments.within * back * back[:, None], within(rows, labels))
    assert max(error.frobenius, error.entrywise) <= (2e-6 if precision == "float32" else 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int16", "int64"])
def test_element_types(dtype):
    rows, labels = cases.labelled(500, 6, 4, within=8.0, between=20.0, offset=100.0 if dtype == "uint8" else 0.0)
    rows = np.clip(np.round(rows), 0 if dtype == "uint8" else -127, 127).astype(dtype)
    moments = ClassMoments.of(rows, labels)
    error = Errors.of(moments.within, within(rows.astype(np.float64), labels))
    assert max(error.frobenius, error.entrywise) <= 1e-6
    assert moments.dtype == dtype


def test_bfloat16():
    rows, labels = cases.labelled(500, 6, 4)
    tensor = torch.from_numpy(rows).to(torch.bfloat16)
    for per_class in (False, True):
        moments = ClassMoments.of(tensor, labels, per_class=per_class)
        error = Errors.of(moments.within, within(tensor.double().numpy(), labels))
        assert max(error.frobenius, error.entrywise) <= 1e-6
        assert moments.dtype == "bfloat16"


@pytest.mark.parametrize("per_class", [False, True])
def test_normalised_rows(per_class):
    rows, labels = cases.labelled(500, 6, 4, offset=3.0)
    rows *= np.exp(np.random.default_rng(1).normal(size=(500, 1)) * 20)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    moments = chunked(rows, labels, 64, normalize="l2", precision="float64", per_class=per_class)
    error = Errors.of(moments.within, within(unit, labels))
    assert max(error.frobenius, error.entrywise) <= 1e-12
    assert moments.normalize == "l2"


def test_many_classes_of_one_or_two_rows():
    rows, _ = cases.labelled(4000, 3, 1, offset=5.0)
    labels = np.random.default_rng(2).integers(0, 3000, size=4000)
    moments = chunked(rows, labels, 700, precision="float64")
    assert moments.c == len(set(labels.tolist()))
    error = Errors.of(moments.within, within(rows, labels))
    assert max(error.frobenius, error.entrywise) <= 1e-12


@pytest.mark.parametrize("per_class", [False, True])
def test_labels_that_arrive_with_the_chunks(per_class):
    rows, labels = cases.labelled(600, 5, 9)
    names = np.array([f"class {label * 37 % 11}" for label in range(9)])[labels]
    order = np.argsort(-labels, kind="stable")
    rows, names = rows[order], names[order]

    def stream():
        for start in range(0, 600, 64):
            yield rows[start : start + 64], names[start : start + 64]

    moments = ClassMoments.from_source(stream(), precision="float64", per_class=per_class)
    assert_close_statistic(moments, ClassMoments.of(rows, names, precision="float64", per_class=per_class), 1e-12)


def test_ignored_labels_are_left_out_and_counted():
    rows, labels = cases.labelled(300, 5, 4)
    labels[::7] = -1
    rows[0] = np.nan
    known = labels != -1
    moments = chunked(rows, labels, 40, ignore=-1, precision="float64")
    assert moments.dropped == int((~known).sum())
    assert_close_statistic(
        moments,
        ClassMoments.of(rows[known], labels[known], precision="float64"),
        1e-12,
        skip=(*PROVENANCE, "dropped"),
    )
    with pytest.raises(InputError, match=r"labels: expected a class for every row; got -1.*ignore=-1"):
        ClassMoments.of(rows, labels)


def test_all_rows_ignored_is_the_identity():
    moments = ClassMoments.of(np.eye(3), [-1, -1, -1], ignore=-1)
    assert (moments.n, moments.c, moments.dropped) == (0, 0, 3)


@pytest.mark.parametrize("per_class", [False, True])
def test_nonfinite_rows_are_named_or_dropped(per_class):
    rows, labels = cases.labelled(300, 5, 4)
    rows[217, 3], rows[217, 4], rows[260, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(NonFiniteError, match=r"ClassMoments\.from_source: x: .*in row 217") as caught:
        chunked(rows, labels, 100, per_class=per_class)
    assert (caught.value.count, caught.value.first_row) == (3, 217)
    moments = chunked(rows, labels, 100, nonfinite="drop", precision="float64", per_class=per_class)
    good = np.isfinite(rows).all(axis=1)
    assert moments.dropped == 2
    direct = ClassMoments.of(rows[good], labels[good], precision="float64", per_class=per_class)
    assert_close_statistic(moments, direct, 1e-12, skip=(*PROVENANCE, "dropped"))


def test_row_numbers_count_rows_that_were_ignored():
    rows, labels = cases.labelled(300, 5, 4)
    labels[:50] = -1
    rows[217, 3] = np.nan
    with pytest.raises(NonFiniteError) as caught:
        chunked(rows, labels, 100, ignore=-1)
    assert caught.value.first_row == 217


def test_zero_rows_cannot_be_normalised():
    rows, labels = cases.labelled(300, 5, 4)
    rows[123] = 0.0
    with pytest.raises(ZeroNormError, match=r"row 123"):
        chunked(rows, labels, 100, normalize="l2")


def test_the_budget_is_checked_before_rows_are_read():
    rows, labels = cases.labelled(200, 50, 100)
    rows[0] = np.nan
    message = r"scatters of 100 classes of 50 features need \d\.?\d* MB.*per_class=False"
    with pytest.raises(BudgetExceeded, match=message):
        ClassMoments.of(rows, labels, per_class=True, memory="1MB")
    with pytest.raises(BudgetExceeded, match=r"moments of 100 classes of 50 features"):
        ClassMoments.of(rows, labels, memory=1000)


def test_the_budget_holds_for_classes_that_turn_up_later():
    rows, labels = cases.labelled(200, 50, 100)
    stream = ((rows[k : k + 10], np.sort(labels)[k : k + 10]) for k in range(0, 200, 10))
    with pytest.raises(BudgetExceeded, match=r"classes of 50 features"):
        ClassMoments.from_source(stream, per_class=True, memory="1MB")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0, 1.0], "expected integers or strings; got dtype float64"),
        ([[1, 0], [0, 1], [0, 1]], r"expected a 1-D array, one value for each row; got shape \(3, 2\)"),
        ([0, 1], r"labels: expected 3 entries, one for each row; got 2"),
    ],
)
def test_labels_that_cannot_be_used(labels, message):
    with pytest.raises(InputError, match=message):
        ClassMoments.of(np.eye(3), np.array(labels))


def test_rows_without_labels_are_refused():
    with pytest.raises(InputError, match=r"labels: expected a label for every row; the source has none"):
        ClassMoments.from_source(np.eye(3))


def test_unknown_arguments_are_refused():
    with pytest.raises(InputError, match=r"ClassMoments\.from_source: precision: expected one of"):
        ClassMoments.of(np.eye(3), [0, 1, 1], precision="half")
    with pytest.raises(InputError, match=r"memory: expected bytes"):
        ClassMoments.of(np.eye(3), [0, 1, 1], memory="lots")


def test_progress_counts_rows():
    seen = []
    chunked(np.eye(10), np.arange(10) % 3, 4, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_spot_checks_report_an_error_that_is_small_and_not_zero():
    rows, labels = cases.labelled(4000, 20, 4)
    moments = ClassMoments.of(rows, labels)
    assert 1e-10 < moments.measured_error < 1e-6
