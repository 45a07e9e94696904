"""How close is close enough: one rule, and one table behind it.

A backend's error against float64 may be a small multiple of the error that plain torch makes on the same
numbers in the same element type, plus a floor for that type and length of sum; and it may never exceed the
bound that the precision promises. Nothing here is tuned to a backend, and nothing is looser in one place
than in another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.ops._dispatch import PRECISIONS
from featdiv.ops.cross_gram import CrossSums, Side
from featdiv.ops.scatter import Sums

MULTIPLE = 3.0
"""How many times plain torch's error a backend may make."""

ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Element type to the relative error of rounding to it: the floor for a sum of one term."""

WORKING = {"float64": "float64", "float32": "float32", "mixed": "bfloat16", "bfloat16": "bfloat16"}
"""Precision to the element type in which plain torch works."""

PROVENANCE = ("error_bound", "measured_error", "dtype", "backend", "extraction")
"""Fields of statistics that say how they were made, not what the rows are."""

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Errors:
    """Relative errors of a matrix of second moments.

    Attributes:
        frobenius: |got - exact|_F / |exact|_F.
        entrywise: largest |got_ij - exact_ij| / sqrt(exact_ii exact_jj).
    """

    frobenius: float
    entrywise: float

    @classmethod
    def of(cls, got: Array, exact: Array) -> Errors:
        """Measures ``got`` against ``exact``; a wrong zero is infinitely wrong."""
        difference = np.abs(np.asarray(got, dtype=np.longdouble) - exact)
        scale = np.sqrt(np.outer(exact.diagonal(), exact.diagonal()))
        norm = float(np.sqrt((np.asarray(exact, dtype=np.longdouble) ** 2).sum()))
        with np.errstate(divide="ignore", invalid="ignore"):
            entries = np.where(difference == 0.0, 0.0, difference / scale)
            whole = float(np.sqrt((difference**2).sum())) / norm if norm else float(difference.max(initial=0.0))
        return cls(frobenius=_nan_is_wrong(whole), entrywise=_nan_is_wrong(float(entries.max(initial=0.0))))


def _nan_is_wrong(error: float) -> float:
    return math.inf if math.isnan(error) else error


def tolerance(precision: str, *, terms: int, plain: float) -> float:
    """Returns the error that is allowed.

    Args:
        precision: key of `PRECISIONS`.
        terms: length of the sums.
        plain: error of plain torch on the same numbers, in the element type of that precision.
    """
    floor = ROUNDING[WORKING[precision]] * (1.0 + math.sqrt(math.log2(max(terms, 1))))
    return min(PRECISIONS[precision], MULTIPLE * plain + floor)


def exact_second_moments(z: Array) -> Array:
    """Returns z^T z of float64 rows in extended precision (80 bits where the platform has them)."""
    wide = np.asarray(z, dtype=np.longdouble)
    product: Array = np.einsum("ni,nj->ij", wide, wide)
    return product


def plain_second_moments(z: Array, dtype: str) -> Array:
    """Returns z^T z as plain torch computes it in an element type, on the CPU."""
    return _plain_product(z, z, dtype)


def assert_scatter_backend(
    scatter: Callable[..., Any],
    rows: Any,
    *,
    shift: Array | None = None,
    exponent: Array | None = None,
    normalize: str | None = None,
    precision: str = "float32",
    context: str = "",
) -> None:
    """Requires of a scatter backend what its contract says, on these rows.

    Args:
        scatter: the backend's function; adds to `Sums` as `featdiv.ops.scatter.scatter` does.
        rows: (m, d) array or CPU tensor; compared, so keep m d^2 below 1e8.
        shift: as the backend takes it.
        exponent: as the backend takes it.
        normalize: as the backend takes it.
        precision: as the backend takes it.
        context: words for the failure message.

    Raises:
        AssertionError: if the counts, sums or products are off, or the rows were changed.
    """
    z = _z(rows, shift=shift, exponent=exponent, normalize=normalize)
    before = _bytes(rows)
    m, d = z.shape
    sums = Sums.zeros(d, norm_sums=True)
    scatter(rows, sums, shift=shift, exponent=exponent, precision=precision, normalize=normalize)
    assert _bytes(rows) == before, f"{context}: the backend changed the rows"
    assert sums.n == m, f"{context}: n: expected {m}; got {sums.n}"
    exact = exact_second_moments(z)
    upper = np.triu(sums.gram)
    got = Errors.of(upper + np.triu(upper, 1).T, exact)
    plain = Errors.of(plain_second_moments(z, WORKING[precision]), exact)
    for name in ("frobenius", "entrywise"):
        error = getattr(got, name)
        allowed = tolerance(precision, terms=m, plain=getattr(plain, name))
        assert error <= allowed, (
            f"{context}: gram: {name} error {error:.3g} against float64; plain torch in "
            f"{WORKING[precision]} makes {getattr(plain, name):.3g}, allowed are {allowed:.3g}"
        )
    squares = (z.astype(np.longdouble) ** 2).sum(axis=1)
    allowed = tolerance(precision, terms=m, plain=plain.entrywise)
    vectors = {
        "total": (sums.total, z.sum(axis=0), np.sqrt(m * exact.diagonal())),
        "weighted": (sums.weighted, squares @ z, (squares * np.sqrt(squares)).sum()),
        "fourth": (sums.fourth, (squares**2).sum(), (squares**2).sum()),
    }
    for name, (value, truth, scale) in vectors.items():
        off = np.abs(np.asarray(value, dtype=np.longdouble) - truth) > allowed * scale
        assert not off.any(), f"{context}: {name}: off by more than {allowed:.3g} of its scale: got {value}"


def assert_cross_gram_backend(
    cross_gram: Callable[..., Any],
    rows: Any,
    other: Any,
    *,
    shifts: tuple[Array | None, Array | None] = (None, None),
    exponents: tuple[Array | None, Array | None] = (None, None),
    normalize: str | None = None,
    precision: str = "float32",
    context: str = "",
) -> CrossSums:
    """Requires of a cross_gram backend what its contract says, on these rows; returns the sums.

    Args:
        cross_gram: the backend's function; adds to `CrossSums` as `featdiv.ops.cross_gram.cross_gram` does.
        rows: (m, p) array or CPU tensor.
        other: (m, q) array or CPU tensor; compared, so keep m p q below 1e8.
        shifts: of either, as the backend takes them.
        exponents: likewise.
        normalize: as the backend takes it.
        precision: as the backend takes it.
        context: words for the failure message.

    Raises:
        AssertionError: if the counts, sums or products are off, or the rows were changed.
    """
    both, before = (rows, other), (_bytes(rows), _bytes(other))
    z, w = (
        _z(each, shift=shift, exponent=exponent, normalize=normalize)
        for each, shift, exponent in zip(both, shifts, exponents, strict=True)
    )
    sums = CrossSums.zeros(z.shape[1], w.shape[1], norm_sums=True)
    left, right = (
        Side(rows=each, shift=shift, exponent=exponent)
        for each, shift, exponent in zip(both, shifts, exponents, strict=True)
    )
    cross_gram(left, right, sums, precision=precision, normalize=normalize)
    assert (_bytes(rows), _bytes(other)) == before, f"{context}: the backend changed the rows"
    assert sums.n == len(z), f"{context}: n: expected {len(z)}; got {sums.n}"
    k, other_k = ((each.astype(np.longdouble) ** 2).sum(axis=1) for each in (z, w))
    exact = np.einsum("ni,nj->ij", z.astype(np.longdouble), w.astype(np.longdouble))
    scale = np.sqrt(np.outer((z.astype(np.longdouble) ** 2).sum(axis=0), (w.astype(np.longdouble) ** 2).sum(axis=0)))
    plain = _plain_product(z, w, WORKING[precision])
    worst, off = (
        _nan_is_wrong(float((np.abs(found - exact) / np.where(scale > 0.0, scale, 1.0)).max()))
        for found in (plain, sums.gram)
    )
    allowed = tolerance(precision, terms=len(z), plain=worst)
    assert off <= allowed, (
        f"{context}: gram: entrywise error {off:.3g} against float64; plain torch in {WORKING[precision]} makes "
        f"{worst:.3g}, allowed are {allowed:.3g}"
    )
    vectors = {
        "total": (sums.total, z.sum(axis=0), np.abs(z).sum(axis=0)),
        "other_total": (sums.other_total, w.sum(axis=0), np.abs(w).sum(axis=0)),
        "weighted": (sums.weighted, other_k @ z, other_k @ np.abs(z)),
        "other_weighted": (sums.other_weighted, k @ w, k @ np.abs(w)),
        "fourth": (sums.fourth, k @ other_k, k @ other_k),
    }
    for name, (value, truth, size) in vectors.items():
        far = ~(np.abs(np.asarray(value, dtype=np.longdouble) - truth) <= allowed * size)
        assert not far.any(), f"{context}: {name}: off by more than {allowed:.3g} of its size: got {value}"
    return sums


def _plain_product(z: Array, w: Array, dtype: str) -> Array:
    import torch

    left, right = (torch.from_numpy(np.array(each, dtype=np.float64)).to(getattr(torch, dtype)) for each in (z, w))
    product: Array = (left.T @ right).to(torch.float64).numpy()
    return product


def _z(rows: Any, *, shift: Array | None, exponent: Array | None, normalize: str | None) -> Array:
    """The contract's z in float64, written apart from the op's own oracle."""
    x: Array = rows.astype(np.float64) if isinstance(rows, np.ndarray) else rows.double().numpy()
    if normalize == "l2":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    if shift is not None:
        x = x - shift
    return x if exponent is None else x * 2.0 ** exponent.astype(np.float64)


def _bytes(rows: Any) -> bytes:
    if isinstance(rows, np.ndarray):
        return rows.tobytes()
    import torch

    return bytes(rows.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())


def assert_close_statistic(a: Any, b: Any, rtol: float, *, skip: tuple[str, ...] = PROVENANCE) -> None:
    """Requires two statistics to hold the same, field by field.

    Integers, labels and texts must be equal. A matrix of second moments S is compared entry by entry against
    sqrt(S_ii S_jj); a mean against its size and the standard deviation of its column; other numbers against
    the largest of their array. With ``rtol=0`` everything must be equal.

    Args:
        a: a statistic (a dataclass).
        b: another of the same class.
        rtol: relative tolerance.
        skip: names of fields that may differ.

    Raises:
        AssertionError: naming each field that differs, where it differs most, by how much, what was allowed.
    """
    assert type(a) is type(b), f"expected {type(a).__name__}; got {type(b).__name__}"
    complaints = list(_differences(a, b, rtol, type(a).__name__, skip))
    assert not complaints, "the statistics differ:\n  " + "\n  ".join(complaints)


def _differences(a: Any, b: Any, rtol: float, path: str, skip: tuple[str, ...]) -> Iterator[str]:
    for field in dataclasses.fields(a):
        if field.name in skip:
            continue
        name = f"{path}.{field.name}"
        left, right = getattr(a, field.name), getattr(b, field.name)
        if dataclasses.is_dataclass(left) and type(left) is type(right):
            yield from _differences(left, right, rtol, name, skip)
        elif isinstance(left, (np.ndarray, float)) and isinstance(right, (np.ndarray, float)):
            yield from _array_difference(np.asarray(left), np.asarray(right), rtol, name, a)
        elif left != right:
            yield f"{name}: {left!r} against {right!r}"


def _array_difference(left: Array, right: Array, rtol: float, name: str, owner: Any) -> Iterator[str]:
    if left.shape != right.shape:
        yield f"{name}: shape {left.shape} against {right.shape}"
        return
    if left.dtype.kind != "f" or right.dtype.kind != "f" or rtol == 0.0:
        if not np.array_equal(left, right):
            first = [int(i[0]) for i in np.nonzero(np.atleast_1d(left != right))]
            yield f"{name}: not equal, first at {first}"
        return
    if not left.size:
        return
    with np.errstate(invalid="ignore", over="ignore"):
        excess = np.abs(left - right) - rtol * _scale(left, right, name, owner)
    excess = np.where(np.isnan(excess), np.where(left == right, -1.0, np.inf), excess)
    if (excess > 0.0).any():
        where = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), left.shape))
        scale = np.broadcast_to(_scale(left, right, name, owner), left.shape)[where]
        yield (
            f"{name}{list(where)}: {float(left[where])!r} against {float(right[where])!r}, "
            f"{abs(left[where] - right[where]):.3g} apart; allowed are {rtol:.3g} x {float(scale):.3g}"
        )


def _scale(left: Array, right: Array, name: str, owner: Any) -> Array:
    largest = np.maximum(np.abs(left), np.abs(right))
    if left.ndim >= 2 and left.shape[-1] == left.shape[-2] and not name.endswith("means"):
        diagonal = np.sqrt(np.einsum("...ii->...i", largest))
        products: Array = diagonal[..., :, None] * diagonal[..., None, :]
        return products
    matrix: Any = owner.within if hasattr(owner, "within") else getattr(owner, "scatter", None)
    if name.endswith(("mean", "means")) and matrix is not None and owner.n:
        spread: Array = largest + np.sqrt(np.abs(matrix.diagonal()) / owner.n)
        return spread
    return np.asarray(largest.max())
