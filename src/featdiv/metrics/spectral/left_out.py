"""Spectra without each of a few parts of the rows in turn, for jackknife intervals; see `featdiv.stats.resampling`.

Leaving a part out needs the eigenvalues of S - S_j. Exactly, that is one eigendecomposition a part. To first order
the eigenvectors V of the whole serve: lambda_i - (V^T S_j V)_ii, one eigendecomposition in all. That gives the
variance but, being linear, knows nothing of the bias, which for a flat spectrum is many standard errors. The bias then
comes from complementary halves of the parts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.metrics import jackknife
from featdiv.metrics.spectral.eigenvalues import SOLVER_NOISE, Eigenvalues, both_raw
from featdiv.ops._blas import one_thread
from featdiv.stats import grouped, partition
from featdiv.stats.grouped import GroupedMoments
from featdiv.stats.moments import Moments
from featdiv.stats.partition import Partition

Float64Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What is left without each part in turn.

    Attributes:
        moments: moments of the rest.
        wanted: its eigenvalues, about the mean or zero as the whole's.
        uncentered: its eigenvalues about zero.
        halves: the same for complementary halves of the parts, A and B in turn; None where the parts are exact.
    """

    moments: list[Moments]
    wanted: list[Eigenvalues]
    uncentered: list[Eigenvalues]
    halves: LeftOut | None = None


def leave_one_out(
    total: Moments, parts: Sequence[Moments], wanted: Eigenvalues, uncentered: Eigenvalues, *, exact: bool
) -> LeftOut:
    """Returns the statistics without each part in turn.

    Args:
        total: moments of all rows.
        parts: moments of the parts.
        wanted: eigenvalues of the whole, as asked for.
        uncentered: eigenvalues of the whole about zero.
        exact: one decomposition a part; else first order in the eigenvectors of the whole.
    """
    rests = [grouped.without(total, part) for part in parts]
    if exact:
        return _left_out(rests, _exact(rests), wanted, uncentered)
    with one_thread(total.d):
        about_mean, about_zero = (np.linalg.eigh(matrix)[1] for matrix in (total.scatter, total.gram))
    pairs = [(_along(about_mean, rest.scatter), _along(about_zero, rest.gram)) for rest in rests]
    count = len(parts)
    halves = []
    for chosen in (range(0, count, 2), range(count // 2)):
        half = functools.reduce(Moments.merge, [parts[index] for index in chosen])
        halves += [half, grouped.without(total, half)]
    return dataclasses.replace(
        _left_out(rests, pairs, wanted, uncentered), halves=_left_out(halves, _exact(halves), wanted, uncentered)
    )


def _exact(moments: Sequence[Moments]) -> list[tuple[Float64Array, Float64Array]]:
    return [both_raw(part.scatter, part.mean, part.n) for part in moments]


def _left_out(
    rests: list[Moments],
    pairs: Sequence[tuple[Float64Array, Float64Array]],
    wanted: Eigenvalues,
    uncentered: Eigenvalues,
) -> LeftOut:
    about = [pair[0 if wanted.centered else 1] for pair in pairs]
    return LeftOut(
        moments=rests,
        wanted=[_eigenvalues(raw, rest, wanted) for raw, rest in zip(about, rests, strict=True)],
        uncentered=[_eigenvalues(pair[1], rest, uncentered) for pair, rest in zip(pairs, rests, strict=True)],
    )


def _along(vectors: Float64Array, matrix: Float64Array) -> Float64Array:
    return np.asarray(np.sort(np.einsum("ij,ij->j", vectors, matrix @ vectors)))


def _eigenvalues(raw: Float64Array, rest: Moments, whole: Eigenvalues) -> Eigenvalues:
    scale = rest.n - 1 if whole.centered else rest.n
    values = raw[::-1][: min(rest.n, rest.d)] / scale
    values[values < SOLVER_NOISE * values[0]] = 0.0
    return dataclasses.replace(whole, values=values, n=rest.n, total=float(raw.sum()) / scale)


def rests(
    found: GroupedMoments, parts: Partition, *, function: str, interval: str | None, center: bool
) -> jackknife.Rests:
    """Returns the eigenvalues without each part, for the interval of a score that stands alone.

    Args:
        found: moments of the parts.
        parts: how rows were dealt to them.
        function: public name for error messages.
        interval: ``"auto"``, ``"jackknife"`` or None.
        center: whether the score takes eigenvalues about the mean.

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    if interval is None or parts.no_interval:
        return jackknife.Rests(asked=interval, reason=parts.no_interval)
    total = found.total
    exact, reason = partition.affordable(total.n, total.d, len(found.parts), always=interval == "jackknife")
    if not reason:
        try:
            left = leave_one_out(total, found.parts, *Eigenvalues.both_of_moments(total), exact=exact)
        except NotEnoughData as error:
            reason = str(error)
    if reason:
        return jackknife.Rests(asked=interval, reason=reason)
    half = left.halves
    if center:
        return jackknife.Rests(asked=interval, without=left.wanted, halves=half.wanted if half else None)
    return jackknife.Rests(asked=interval, without=left.uncentered, halves=half.uncentered if half else None)
