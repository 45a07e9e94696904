from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from featdiv.io.casting import cast
from featdiv.io.dtypes import ITEMSIZE

INTEGERS = [name for name in ITEMSIZE if "int" in name]
FLOATS = ["float64", "float32", "float16"]


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("target", [*INTEGERS, *FLOATS, "bfloat16"])
def test_integers_survive_exactly_or_are_counted(source, target):
    """Checked with Python's own exact numbers, at every boundary of the two types."""
    info = np.iinfo(source)
    edges = {0, 1, -1, 5, info.min, info.max, info.min + 1, info.max - 1}
    for bits in (7, 8, 11, 15, 16, 24, 31, 32, 53, 63):
        edges |= {2**bits + step for step in (-1, 0, 1, 2)} | {-(2**bits) + step for step in (-1, 0, 1)}
    values = sorted(edge for edge in edges if info.min <= edge <= info.max)
    x = np.array(values, dtype=source).reshape(-1, 1)
    for row, value in enumerate(values):
        result = cast(x[row : row + 1], target)
        if target == "bfloat16":
            stored = torch.from_numpy(result.bits).view(torch.bfloat16).double().item()
        else:
            stored = result.bits[0, 0].item()
        representable = _representable(value, target)
        assert result.lost == (0 if representable else 1), value
        if representable:
            assert Fraction(stored) == value


def _representable(value: int, target: str) -> bool:
    if "int" in target:
        return np.iinfo(target).min <= value <= np.iinfo(target).max
    digits, top = {"float64": (53, 1024), "float32": (24, 128), "float16": (11, 16), "bfloat16": (8, 128)}[target]
    size = abs(value)
    low = size & -size
    return size == 0 or (size.bit_length() <= top and size.bit_length() - low.bit_length() < digits)


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", INTEGERS)
def test_floats_to_integers(source, target):
    info = np.iinfo(target)
    values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1e-30,
        np.nan,
        np.inf,
        -np.inf,
        127.0,
        128.0,
        255.0,
        256.0,
        2.0**31,
        2.0**63,
        2.0**64,
    ]
    with np.errstate(over="ignore"):
        x = np.array(values).astype(source).reshape(-1, 1)
    for row in range(len(values)):
        value = float(x[row, 0])
        fits = np.isfinite(value) and value == int(value) and info.min <= int(value) <= info.max
        result = cast(x[row : row + 1], target)
        assert result.lost == (0 if fits else 1), value
        if fits:
            assert int(result.bits[0, 0]) == int(value)


def test_floats_lose_only_by_overflow():
    x = np.array([[1.0, 1e-9], [65504.0, 65520.0], [np.inf, np.nan], [-1e5, 0.1]])
    result = cast(x, "float16")
    assert (result.lost, result.first, result.example) == (2, 1, 65520.0)
    np.testing.assert_array_equal(
        result.bits, np.array([[1, 0], [65504, np.inf], [np.inf, np.nan], [-np.inf, 0.1]], "f2")
    )
    assert cast(np.array([[np.inf, np.nan]]), "float32").lost == 0
    assert cast(np.array([[1e39]]), "float32").lost == 1
    assert cast(np.array([[3.39e38]]), "bfloat16").lost == 0
    assert cast(np.array([[3.4e38]], np.float32), "bfloat16").lost == 1


@pytest.mark.parametrize("target", ["float32", "float64", "bfloat16"])
def test_from_bfloat16_is_exact(target):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    result = cast(x, target)
    assert result.lost == 0
    found = torch.from_numpy(result.bits)
    assert torch.equal(found.view(torch.bfloat16) if target == "bfloat16" else found.to(torch.bfloat16), x)


def test_the_same_type_is_not_copied():
    x = np.ones((3, 2), np.float32)
    assert np.shares_memory(cast(x, "float32").bits, x)
    assert cast(x[:, ::-1], "float32").bits.flags.c_contiguous
