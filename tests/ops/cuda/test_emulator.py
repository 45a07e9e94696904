"""The emulator itself: each part does what a device does, and each fault that it is there for is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

PROBES = Path(__file__).with_name("emulator") / "probes.cuh"
CPU = torch.device("cpu")


def play(emulator, name, *arguments, grid=1, threads=32, shared_bytes=0):
    emulator.launch(
        PROBES, name, grid=(grid,), threads=threads, arguments=arguments, device=CPU, shared_bytes=shared_bytes
    )


def test_kernels_are_found_by_name(emulator):
    assert {"sum_tree", "tickets", "product_float64"} <= set(emulator.kernels(PROBES))


@pytest.mark.parametrize("backwards", [False, True])
def test_blocks_barriers_and_static_shared_memory(emulator, backwards):
    emulator.backwards = backwards
    numbers = torch.arange(192.0, dtype=torch.float64)
    out = torch.zeros(3, dtype=torch.float64)
    play(emulator, "sum_tree", numbers, out, grid=3, threads=64)
    assert out.tolist() == numbers.reshape(3, 64).sum(1).tolist()


def test_a_race_shows_in_the_order_of_threads(emulator):
    numbers = torch.arange(64.0, dtype=torch.float64)
    found = []
    for emulator.backwards in (False, True):
        out = torch.zeros(1, dtype=torch.float64)
        play(emulator, "sum_race", numbers, out, threads=64)
        found.append(float(out))
    assert found[0] != found[1]


def test_shared_memory_begins_as_nan(emulator):
    out = torch.zeros(32, dtype=torch.float64)
    play(emulator, "unset_shared", out, shared_bytes=256)
    assert out.isnan().all()


def test_barriers_that_not_all_reach(emulator):
    out = torch.zeros(32, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"thread 0 waits at __syncthreads\(\) of line \d+ for threads that never"):
        play(emulator, "half_a_barrier", out)
    with pytest.raises(RuntimeError, match=r"reached __syncthreads\(\) of line \d+ while others wait at that of line"):
        play(emulator, "two_barriers", out)


def test_shuffles_and_votes(emulator):
    out = torch.zeros(64, dtype=torch.int32)
    play(emulator, "shuffles", out, threads=64)
    assert out.tolist() == [100000 + 3000 + 496] * 64


def test_atomics_hand_out_each_number_once(emulator):
    counter, out = torch.zeros(1, dtype=torch.int32), torch.zeros(96, dtype=torch.int32)
    play(emulator, "tickets", counter, out, grid=3)
    assert out.sort().values.tolist() == list(range(96))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("eager", [False, True])
def test_products_of_small_integers_are_exact(emulator, dtype, eager):
    emulator.eager = eager
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-30, 30, shape, generator=generator) for shape in ((16, 16), (16, 8)))
    moved = [each.to(getattr(torch, dtype)).contiguous() for each in (a.T, b)]
    out = torch.zeros(16, 8)
    play(emulator, f"product_{dtype}", *moved, out, shared_bytes=768)
    assert torch.equal(out, (a @ b).float())


def test_sums_of_products_are_cut_off_towards_zero(emulator):
    """1 + 15 of 2^-25: a rounded sum would be above 1; each addend is cut off one bit below float32."""
    a, b = (torch.zeros(shape, dtype=torch.bfloat16) for shape in ((16, 16), (16, 8)))
    a[0] = 2.0**-25
    a[0, 0] = 1.0
    b[:] = 1.0
    out = torch.zeros(16, 8)
    play(emulator, "product_bfloat16", a.T.contiguous(), b, out, shared_bytes=768)
    assert (out[0] == 1.0).all()
    assert (out[1:] == 0.0).all()


def test_products_in_float64(emulator):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(8, 4)), random.normal(size=(4, 8))
    out = torch.zeros(8, 8, dtype=torch.float64)
    play(emulator, "product_float64", torch.from_numpy(a), torch.from_numpy(b), out)
    np.testing.assert_allclose(out.numpy(), a @ b, rtol=1e-14)


def test_copies_that_are_not_waited_for_have_not_come(emulator):
    a, b, out = torch.ones(16, 16).bfloat16(), torch.ones(16, 8).bfloat16(), torch.zeros(16, 8)
    play(emulator, "product_too_early", a, b, out, shared_bytes=768)
    assert out.isnan().all()


def test_misaligned_addresses(emulator):
    with pytest.raises(RuntimeError, match="load_matrices: an address that is not aligned to 16 bytes"):
        play(emulator, "misaligned", torch.zeros(32, dtype=torch.int16), shared_bytes=256)


def test_arguments_of_other_types_are_refused(emulator):
    numbers = torch.zeros(64, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="parameter 1 is pointer to float64; given pointer to float32"):
        play(emulator, "sum_tree", numbers, numbers.float(), threads=64)
    with pytest.raises(RuntimeError, match="parameter 1 is int64; given int32"):
        play(emulator, "one_too_far", numbers, np.int32(3))
    with pytest.raises(RuntimeError, match="has 2 parameters; 1 given"):
        play(emulator, "sum_tree", numbers)
    with pytest.raises(RuntimeError, match="not one that a device takes"):
        play(emulator, "sum_tree", numbers, numbers, threads=33)


def test_addresses_out_of_bounds_are_found(emulator):
    out = torch.zeros(8, dtype=torch.float64)
    play(emulator, "one_too_far", out, np.int64(7))
    assert out.tolist() == [1.0] * 8
    with pytest.raises(RuntimeError, match="thread 8: reached for byte 64 of an argument's memory of 64 bytes"):
        play(emulator, "one_too_far", torch.zeros(8, dtype=torch.float64), np.int64(8))
    with pytest.raises(RuntimeError, match="wrote outside of an argument's memory of 56 bytes"):
        play(emulator, "one_too_far", torch.zeros(7, dtype=torch.float64), np.int64(7))
    with pytest.raises(RuntimeError, match="reached for byte 256 of dynamic shared memory of 256 bytes"):
        play(emulator, "one_too_far_shared", torch.zeros(32, dtype=torch.float64), shared_bytes=256)
    with pytest.raises(RuntimeError, match="no argument of the kernel, or a null pointer"):
        play(emulator, "one_too_far", None, np.int64(0))


def test_addresses_before_the_first_are_found(emulator):
    emulator.eager = True
    with pytest.raises(RuntimeError, match="reached for byte -8 of an argument's memory of 64 bytes"):
        play(emulator, "one_too_early", torch.zeros(8, dtype=torch.float64))


def test_views_are_written_through(emulator):
    whole = torch.zeros(3, 8, dtype=torch.float64)
    play(emulator, "one_too_far", whole[1], np.int64(7))
    assert whole.tolist() == [[0.0] * 8, [1.0] * 8, [0.0] * 8]
