from __future__ import annotations

import numpy as np
import pytest
import torch

from featdiv import InputError, Moments
from featdiv.integrations import packed
from featdiv.testing.compare import assert_close_statistic


def moments(state, **kwargs):
    return packed.to_moments(state, function="here", **kwargs)


@pytest.mark.parametrize("normalize", [None, "l2"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32"])
def test_a_batch_is_its_moments(rows, normalize, dtype):
    x = (10 * rows).to(getattr(torch, dtype))
    got = moments(packed.of_rows(x, normalize=normalize), normalize=normalize)
    assert_close_statistic(got, Moments.of(x.double(), precision="float64", normalize=normalize), 1e-12)
    assert got.error_bound == 1e-14


@pytest.mark.parametrize("sizes", [[500], [1, 499], [100, 1, 1, 398], [250, 250]])
def test_batches_add_up(rows, sizes):
    state = packed.empty(45)
    for batch in rows.split(sizes):
        state = packed.added(state, packed.of_rows(batch))
    assert_close_statistic(moments(state), Moments.of(rows.double(), precision="float64"), 1e-12)


def test_adding_is_the_merge_of_moments(rows):
    first, second = packed.of_rows(rows[:120]), packed.of_rows(rows[120:] + 50.0)
    assert_close_statistic(moments(packed.added(first, second)), moments(first).merge(moments(second)), 1e-14)


def buffered(batches):
    """Returns the rows that a buffer yields, copied when they are due, and how many there were each time."""
    buffer, due = packed.Buffer(), []
    for batch in batches:
        due += [rows.clone() for rows in buffer.add(batch)]
    due += [rows.clone() for rows in buffer.drained()]
    assert list(buffer.drained()) == []
    return torch.cat([rows.double() for rows in due]), [len(rows) for rows in due]


def test_a_buffer_yields_all_rows_in_order_and_many_at_a_time(rows):
    got, sizes = buffered(rows.split([100, 100, 100, 1, 99, 100]))
    assert torch.equal(got, rows.double())
    assert sizes == [200, 200, 100]


def test_large_batches_pass_a_buffer_by(rows):
    got, sizes = buffered([rows[:100], rows[100:400], rows[400:]])
    assert sizes == [300, 200]
    assert torch.equal(got, torch.cat([rows[100:400], rows[:100], rows[400:]]).double())


def test_a_buffer_starts_anew_where_the_type_changes(rows):
    halves = rows[100:200].half()
    got, sizes = buffered([rows[:100], halves, rows[200:300]])
    assert sizes == [100, 100, 100]
    assert torch.equal(got, torch.cat([rows[:100].double(), halves.double(), rows[200:300].double()]))


def test_rows_that_change_later_have_been_copied(rows):
    buffer, batch = packed.Buffer(), rows[:50].clone()
    assert list(buffer.add(batch)) == []
    batch.zero_()
    [waiting] = buffer.drained()
    assert torch.equal(waiting, rows[:50])


def test_a_buffer_that_is_cleared_is_empty(rows):
    buffer = packed.Buffer()
    assert list(buffer.add(rows[:50])) == []
    buffer.clear()
    assert list(buffer.drained()) == []


def test_a_buffer_outlives_inference_mode(rows):
    buffer = packed.Buffer()
    with torch.inference_mode():
        assert list(buffer.add(rows[:50] + 0.0)) == []
    assert list(buffer.add(rows[50:100].clone().requires_grad_())) == []
    [waiting] = buffer.drained()
    assert torch.equal(waiting, rows[:100])
    assert not waiting.requires_grad


def test_zeros_are_neutral_on_both_sides(rows):
    state = packed.of_rows(rows)
    for left, right in ((packed.empty(45), state), (state, packed.empty(45))):
        torch.testing.assert_close(packed.added(left, right), state, rtol=1e-15, atol=0.0)
        torch.testing.assert_close(packed.merged(torch.stack([left, right])), state, rtol=1e-15, atol=1e-12)
    nothing = packed.added(packed.empty(45), packed.empty(45))
    assert torch.equal(nothing, packed.empty(45))


def test_merging_keeps_the_order_and_the_leading_shape(rows):
    states = torch.stack([packed.of_rows(part) for part in rows.split(100)])
    expected = Moments.empty(45)
    for part in rows.split(100):
        expected = expected.merge(moments(packed.of_rows(part)))
    assert_close_statistic(moments(packed.merged(states)), expected, 0.0)
    stacked = packed.merged(torch.stack([states, states.flip(0)]))  # two ranks, a window of five
    assert stacked.shape == states.shape
    both = torch.cat([rows[:100], rows[400:]]).double()
    assert_close_statistic(moments(stacked[0]), Moments.of(both, precision="float64"), 1e-12)


def test_the_inputs_stay_as_they_were(rows):
    before = rows.clone()
    first, second = packed.of_rows(rows[:100]), packed.of_rows(rows[100:])
    copies = first.clone(), second.clone()
    packed.added(first, second)
    packed.merged(torch.stack([first, second]))
    assert torch.equal(rows, before)
    assert torch.equal(first, copies[0])
    assert torch.equal(second, copies[1])


def test_autocast_does_not_reach_the_products(rows):
    expected = packed.of_rows(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (rows.T @ rows).dtype == torch.bfloat16  # what would happen
        state = packed.added(packed.of_rows(rows[:100]), packed.of_rows(rows[100:]))
    assert_close_statistic(moments(state), moments(expected), 1e-12)


def test_no_graph_is_kept(rows):
    state = packed.of_rows(rows.clone().requires_grad_())
    assert not state.requires_grad
    assert not packed.added(state, state).requires_grad


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_normalising_survives_extreme_scales(rows, scale):
    got = packed.of_rows(rows.double() * scale, normalize="l2")
    torch.testing.assert_close(got, packed.of_rows(rows.double(), normalize="l2"), rtol=1e-12, atol=1e-12)


def test_rows_that_cannot_be_used_are_counted(rows):
    x = rows.clone()
    x[7, 3], x[9, 0], x[9, 1] = torch.nan, torch.inf, torch.nan
    state = packed.added(packed.of_rows(x[:8]), packed.of_rows(x[8:]))
    with pytest.raises(InputError, match=r"here: rows: expected finite values; 2 rows held NaN or infinity"):
        moments(state)
    kept = torch.cat([rows[:7], rows[8:9], rows[10:]]).double()
    assert_close_statistic(moments(state, nonfinite="drop"), Moments.of(kept, precision="float64"), 1e-12)
    with pytest.raises(InputError, match="2 rows held NaN"):
        moments(packed.merged(torch.stack([packed.of_rows(x[:8]), packed.of_rows(x[8:])])))


def test_rows_of_norm_zero_cannot_be_normalised(rows):
    x = rows.clone()
    x[[3, 4]] = 0.0
    with pytest.raises(InputError, match="2 have norm zero"):
        moments(packed.of_rows(x, normalize="l2"), normalize="l2")
    assert moments(packed.of_rows(x)).n == 500


def test_squares_that_overflow_are_refused(rows):
    with pytest.raises(InputError, match="here: rows: expected values whose squares float64 can hold"):
        moments(packed.of_rows(rows.double() * 1e200))


@pytest.mark.parametrize("d", [1, 2, 3, 45, 2048])
def test_the_number_of_features_is_read_off_the_size(d):
    assert packed.features_of(torch.empty(7, packed.empty(d).numel())) == d


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 4)), "expected a torch.Tensor of shape"),
        (torch.zeros(3), r"got \(3,\) of torch.float32"),
        (torch.zeros(2, 3, 4), r"Pool tokens and positions first, for example rows.mean\(dim=1\)"),
        (torch.zeros(3, 4, dtype=torch.complex64), "expected a real tensor"),
        (torch.zeros(3, 5), "here: rows: expected d=4 features; got d=5"),
    ],
)
def test_what_are_no_rows_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        packed.check_rows(rows, function="here", d=4)


@pytest.mark.gpu
def test_on_a_gpu_the_host_does_not_wait(rows):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_gpu = rows.cuda()
    state = packed.empty(45, "cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for normalize in (None, "l2"):
            state, buffer = packed.empty(45, "cuda"), packed.Buffer()
            for batch in on_gpu.split(100):
                for due in buffer.add(batch):
                    state = packed.added(state, packed.of_rows(due, normalize=normalize))
            for due in buffer.drained():
                state = packed.added(state, packed.of_rows(due, normalize=normalize))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = Moments.of(rows.double(), precision="float64", normalize="l2")
    assert_close_statistic(moments(state, normalize="l2"), expected, 1e-11)
