from __future__ import annotations

import pickle

import numpy as np
import pytest

from featdiv import BudgetExceeded, CrossMoments, FormatError, InputError, Moments
from featdiv.stats.cross_moments_norms import CrossNormSums
from featdiv.testing import cases, laws
from featdiv.testing.compare import assert_close_statistic

SIZES = {"m0": 5, "m1": 4, "m2": 2}


def models(n=90, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) * np.arange(1, 6)
    y = x[:, :3] @ rng.normal(size=(3, 4)) + rng.normal(size=(n, 4))
    return x, y, rng.normal(size=(n, 2)) ** 2


def exact(*rows, **arguments):
    return CrossMoments.of({f"m{i}": x for i, x in enumerate(rows)}, precision="float64", **arguments)


def by_hand(*rows):
    """(joint scatter, weighted, fourth) from the definitions, on rows about their mean in extended precision."""
    blocks = [np.asarray(x, dtype=np.longdouble) for x in rows]
    blocks = [x - x.mean(axis=0) for x in blocks]
    joint = np.concatenate(blocks, axis=1)
    squares = np.stack([(x * x).sum(axis=1) for x in blocks], axis=1)
    weighted = np.einsum("na,nj->aj", squares, joint)
    return np.einsum("ni,nj->ij", joint, joint), weighted, np.einsum("na,nb->ab", squares, squares)


def assert_is(statistic, truth, rtol):
    scatter, weighted, fourth = truth
    scale = np.sqrt(np.outer(scatter.diagonal(), scatter.diagonal()))
    assert (abs(statistic.joint.scatter - scatter) <= rtol * scale).all()
    # |sum k_a z_j| is at most sqrt(F_aa S_jj).
    assert (
        abs(statistic.norm_sums.weighted - weighted) <= rtol * np.sqrt(np.outer(fourth.diagonal(), scatter.diagonal()))
    ).all()
    assert (
        abs(statistic.norm_sums.fourth - fourth) <= rtol * np.sqrt(np.outer(fourth.diagonal(), fourth.diagonal()))
    ).all()


def test_it_keeps_the_laws():
    laws.check_laws(exact, *models(), empty=CrossMoments.empty(SIZES))


def test_it_keeps_the_laws_for_unit_rows():
    laws.check_laws(
        lambda *rows: exact(*rows, normalize="l2"),
        *models(),
        empty=CrossMoments.empty(SIZES, normalize="l2"),
        translates=False,
    )


def test_float64_is_the_definition():
    rows = models(2000)
    assert_is(exact(*rows), by_hand(*rows), 1e-12)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
def test_float32_keeps_its_bound_far_from_zero(offset):
    x = cases.make("gaussian", 4000, 24, offset=offset).rows
    y = cases.make("relu", 4000, 16, seed=1, offset=offset).rows
    statistic = CrossMoments.of({"x": x, "y": y})
    assert statistic.joint.error_bound == 1e-6
    assert_is(statistic, by_hand(x, y), 4e-6 if offset else 1e-6)


def test_sorted_rows_that_leave_the_shift_behind():
    x, y = models(3000)[:2]
    drift = np.linspace(0.0, 1e5, 3000)[:, None]
    chunked = (x + drift)[:, :], (y - drift)[:, :]
    statistic = CrossMoments.of({"a": [*np.array_split(chunked[0], 30)], "b": chunked[1]}, precision="float64")
    assert_is(statistic, by_hand(*chunked), 1e-12)


def test_models_of_extreme_and_different_scale():
    x, y = models()[:2]
    plain, scaled = exact(x, y), exact(x * 2.0**-300, y * 2.0**200)
    assert np.array_equal(scaled.cross("m0", "m1") * 2.0**100, plain.cross("m0", "m1"))
    product = scaled.norm_sums.fourth[0, 1] * 2.0**200
    assert product == pytest.approx(plain.norm_sums.fourth[0, 1], rel=1e-13)


def test_values_whose_fourth_powers_overflow_are_refused():
    x, y = models()[:2]
    with pytest.raises(InputError, match="fourth powers float64 can hold"):
        exact(x, y * 2.0**300)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "float64"])
def test_element_types_mix(dtype):
    x = cases.make("counts" if "int" in dtype else "gaussian", 300, 6, dtype=dtype).rows
    y = cases.make("gaussian", 300, 3, seed=1).rows
    wide = x.astype(np.float64) if isinstance(x, np.ndarray) else x.double().numpy()
    assert_is(CrossMoments.of({"x": x, "y": y}), by_hand(wide, y), 2e-6)


def test_one_model_is_moments_with_norm_sums():
    x = models()[0]
    alone = exact(x).moments("m0")
    assert_close_statistic(alone, Moments.of(x, norm_sums=True, precision="float64"), 1e-12)


def test_blocks_by_name():
    x, y, w = models()
    whole = exact(x, y, w)
    centred = [part - part.mean(axis=0) for part in (x, y, w)]
    assert whole.cross("m2", "m0") == pytest.approx(centred[2].T @ centred[0])
    assert_close_statistic(whole.moments("m1"), Moments.of(y, norm_sums=True, precision="float64"), 1e-12)
    expected = CrossMoments.of({"m2": w, "m0": x}, precision="float64")
    assert_close_statistic(whole.select("m2", "m0"), expected, 1e-12)
    with pytest.raises(InputError, match="no model is named 'm9'; there are m0, m1, m2"):
        whole.cross("m0", "m9")


def test_without_undoes_merging():
    parts = [exact(*(x[s] + 100.0 for x in models())) for s in (slice(0, 30), slice(30, 90))]
    assert_close_statistic((parts[0] + parts[1]).without(parts[0]), parts[1], 1e-11)


def test_moved_by_hand():
    sums = CrossNormSums.zeros((2, 1)).moved(np.array([3.0, 4.0, 2.0]), 1, np.zeros((3, 3)), (2, 1))
    assert sums.weighted.tolist() == [[75.0, 100.0, 50.0], [12.0, 16.0, 8.0]]
    assert sums.fourth.tolist() == [[625.0, 100.0], [100.0, 16.0]]


def test_chunks_of_different_size_line_up():
    x, y = models()[:2]
    streams = {"m0": iter(np.array_split(x, 7)), "m1": iter(np.array_split(y, 4))}
    assert_close_statistic(CrossMoments.of(streams, precision="float64"), exact(x, y), 1e-12)


def test_nonfinite_rows_name_the_model_and_the_row():
    x, y = models()[:2]
    y = y.copy()
    y[17, 2] = np.nan
    with pytest.raises(
        InputError, match=r"from_sources: b: expected finite rows; got 1 NaN.*the first in row 17"
    ) as caught:
        CrossMoments.of({"a": x, "b": y})
    assert caught.value.first_row == 17
    dropped = CrossMoments.from_sources({"a": x, "b": y}, nonfinite="drop", precision="float64")
    kept = np.arange(90) != 17
    assert_close_statistic(dropped, CrossMoments.of({"a": x[kept], "b": y[kept]}, precision="float64"), 1e-12)


def test_zero_rows_cannot_be_normalised():
    x, y = models()[:2]
    y = y.copy()
    y[3] = 0.0
    with pytest.raises(InputError, match=r"b: normalize='l2' expected rows of non-zero norm.*the first is row 3"):
        CrossMoments.of({"a": x, "b": y}, normalize="l2")


def test_zero_rows_are_placed_among_those_that_were_not_dropped():
    x, y = (side.copy() for side in models()[:2])
    x[2, 0] = np.nan
    y[7] = 0.0
    with pytest.raises(InputError, match=r"b: normalize='l2' .*got 1 zero rows by row 90, the first is row 7\."):
        CrossMoments.from_sources({"a": x, "b": y}, normalize="l2", nonfinite="drop")


def test_memory_is_refused_before_reading():
    x = np.ones((2, 3000))
    with pytest.raises(BudgetExceeded, match=r"second moments of 2 models of 6000 features in all need .* GB"):
        CrossMoments.from_sources({"a": x, "b": x}, memory="200MB")


def test_no_models_and_names_that_are_not_text():
    with pytest.raises(InputError, match="expected a mapping from names to rows; got an empty one"):
        CrossMoments.of({})
    with pytest.raises(InputError, match="expected a mapping from names to rows; got ndarray"):
        CrossMoments.of(np.eye(3))
    with pytest.raises(InputError, match="expected names that are text; got 1"):
        CrossMoments.of({1: np.eye(3)})


def test_a_one_pass_source_cannot_come_twice():
    from featdiv import open as open_source

    once = open_source(iter([np.eye(3)]))
    with pytest.raises(InputError, match="can be read only once is given twice"):
        CrossMoments.of({"a": once, "b": once})


def test_merge_says_what_does_not_fit():
    a = exact(*models()[:2])
    with pytest.raises(InputError, match=r"expected the models m0 \(5 features\), m1 \(4 features\); got m0 \(5"):
        a.merge(exact(models()[0], models()[2]))
    with pytest.raises(InputError, match="expected CrossMoments; got Moments"):
        a.merge(a.joint)


def test_shapes_that_do_not_fit_are_refused():
    joint = Moments.empty(3)
    with pytest.raises(InputError, match="names: expected different names"):
        CrossMoments(names=("a", "a"), sizes=(1, 2), joint=joint, norm_sums=CrossNormSums.zeros((1, 2)))
    with pytest.raises(InputError, match="joint moments of 4 features"):
        CrossMoments(names=("a", "b"), sizes=(2, 2), joint=joint, norm_sums=CrossNormSums.zeros((1, 2)))
    with pytest.raises(InputError, match="sizes: expected the features of each of 2 models"):
        CrossMoments(names=("a", "b"), sizes=(3,), joint=joint, norm_sums=CrossNormSums.zeros((3,)))


def test_arrays_are_read_only_even_after_pickling():
    statistic = exact(*models())
    for one in (statistic, pickle.loads(pickle.dumps(statistic))):
        for array in (one.joint.scatter, one.norm_sums.weighted, one.norm_sums.fourth, one.cross("m0", "m1")):
            with pytest.raises(ValueError, match="read-only"):
                array[0, 0] = 1.0


def test_a_file_of_something_else_is_refused(tmp_path):
    exact(*models()).joint.save(tmp_path / "moments.npz")
    with pytest.raises(FormatError, match=r"expected a file of CrossMoments; .* holds Moments"):
        CrossMoments.load(tmp_path / "moments.npz")
    exact(*models()).save(tmp_path / "cross.npz")
    content = dict(np.load(tmp_path / "cross.npz"))
    content["names"] = np.array(["a", "a", "b"])
    np.savez(tmp_path / "cross.npz", **content)
    with pytest.raises(FormatError, match="names: expected 3 different texts"):
        CrossMoments.load(tmp_path / "cross.npz")
