"""What the emulator does of compute capability 9.0: operands placed by descriptors, bulk copies, barriers in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

PROBES = Path(__file__).with_name("emulator") / "probes.cuh"
FAULTS = (
    *("none", "no_begin", "no_commit", "no_wait", "invisible_barrier", "other_parity", "too_many_bytes"),
    *("warps_differ", "lanes_differ", "second_arrival", "misaligned_copy", "out_of_bounds"),
    *("prepared_nowhere", "store_unseen", "misaligned_store"),
)
"""As `WarpgroupFault` in the probes."""

SWIZZLED = {1: 128, 2: 64, 3: 32}
"""Bits 62 and 63 of a descriptor to the bytes of a row within which units of 16 bytes are permuted."""


def descriptor(mode: int, leading: int, stride: int) -> np.int64:
    bits = (leading >> 4) << 16 | (stride >> 4) << 32 | mode << 62
    return np.array(bits, np.uint64).view(np.int64)[()]


def placed(matrix: np.ndarray, mode: int, leading: int, stride: int) -> np.ndarray:
    """Lays out 16 rows of features, feature by feature, as the PTX manual's canonical layouts say.

    In units of 16 bytes (8 features), with rows of w units: ((w, groups), (8, 2)) : ((1, leading), (w, stride)), where
    the unit's number within its row is xored with the number of the 128 bytes that it is in. Unpermuted:
    ((1, groups), (8, 2)) : ((1, stride), (1, leading)).
    """
    width = SWIZZLED[mode] // 16 if mode else 1
    next_group, next_rows = (leading, stride) if mode else (stride, leading)
    out = np.zeros(16384, np.uint16)
    for row in range(16):
        for unit in range(matrix.shape[1] // 8):
            at = unit // width * next_group + unit % width * 16 + row // 8 * next_rows + row % 8 * width * 16
            if mode:
                at ^= (at // 128 % width) * 16
            out[at // 2 : at // 2 + 8] = matrix[row, 8 * unit : 8 * unit + 8]
    return out[: (out.nonzero()[0].max() + 8) // 8 * 8]


def play(emulator, *, mode=1, leading=2048, stride=1024, start=0, fault="none", threads=128):
    random = np.random.default_rng(0)
    a, b = (random.integers(1, 30, size=(16, features)) for features in (64, 128))
    bits = [torch.from_numpy(each).bfloat16().view(torch.int16).numpy().view(np.uint16) for each in (a, b)]
    first, second = (placed(each, mode, leading, stride) for each in bits)
    operands = torch.from_numpy(np.concatenate([first, second]).view(np.int16)).view(torch.bfloat16)
    out = torch.zeros(64, 128)
    sizes = (np.int32(2 * len(first)), np.int32(2 * len(second)))
    how = (descriptor(mode, leading, stride), np.int32(start), np.int32(FAULTS.index(fault)))
    emulator.launch(
        *(PROBES, "product_of_a_warpgroup"),
        grid=(1,),
        threads=threads,
        arguments=(operands, *sizes, *how, out),
        device=torch.device("cpu"),
        shared_bytes=24 << 10,
    )
    return out.numpy(), a.T @ b


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("mode", "leading", "stride"),
    [(1, 2048, 1024), (1, 4096, 2048), (2, 1024, 512), (3, 512, 256), (0, 2048, 128)],
)
def test_a_product_of_small_integers_in_every_layout(emulator, mode, leading, stride, eager):
    emulator.eager = emulator.backwards = eager
    got, truth = play(emulator, mode=mode, leading=leading, stride=stride)
    np.testing.assert_array_equal(got, truth)


@pytest.mark.parametrize("fault", ["no_wait", "no_commit"])
@pytest.mark.parametrize("eager", [False, True])
def test_sums_that_nobody_waited_for_are_nan(emulator, fault, eager):
    emulator.eager = eager
    with pytest.raises(RuntimeError, match="a warp ended with products that nobody waited for"):
        play(emulator, fault=fault)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no_begin", r"without products_begin\(\) since their sums were touched"),
        ("invisible_barrier", r"barriers_prepared\(\) has not shown it the barrier"),
        ("too_many_bytes", r"waits at barrier_wait\(\) of line 0 for threads that never come"),
        ("warps_differ", "warps of a warpgroup give other descriptors"),
        ("lanes_differ", "lanes of a warp give other descriptors"),
        ("second_arrival", "barrier_arrive: more arrivals than the barrier was prepared for"),
        ("misaligned_copy", "copy_bulk: an address or a size that is no multiple of 16 bytes"),
        ("out_of_bounds", "copy_bulk: reaches byte .* of dynamic shared memory of 24576 bytes"),
        ("prepared_nowhere", "barrier_announce: there is no barrier at this address"),
        ("store_unseen", r"a thread ended without operands_stored\(\) after a store"),
        ("misaligned_store", "store_operand: an address that is no multiple of 8 bytes"),
    ],
)
def test_faults_are_told(emulator, fault, words):
    with pytest.raises(RuntimeError, match=words):
        play(emulator, fault=fault)


def test_a_phase_that_is_over_too_soon_leaves_what_was_there(emulator):
    got, _ = play(emulator, fault="other_parity")
    assert np.isnan(got).any()
    emulator.eager = True
    with pytest.raises(RuntimeError, match="for threads that never come"):
        play(emulator, fault="other_parity")


def test_a_pattern_begins_at_a_multiple_of_its_size(emulator):
    with pytest.raises(RuntimeError, match="a pattern that does not begin at a multiple of its size"):
        play(emulator, start=128)


def test_fewer_warps_than_a_warpgroup(emulator):
    with pytest.raises(RuntimeError, match="a product of a warpgroup of fewer than four warps"):
        play(emulator, threads=96)
