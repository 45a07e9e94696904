"""Fréchet distance of two Gaussians with the moments of two sets of rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.jackknife import Rests
from featdiv.metrics.spectral.eigenvalues import SOLVER_NOISE, Float64Array
from featdiv.metrics.spectral.inputs import Resolved, resolve_moments
from featdiv.ops._blas import one_thread
from featdiv.results import Interval, Score
from featdiv.stats import Moments, partition, resampling


def core(moments: Moments, other: Moments) -> float:
    """Returns the Fréchet distance of two moments; see `frechet_distance`."""
    if moments.d != other.d:
        raise InputError(f"frechet_distance: other: expected d={moments.d} features, as x has; got d={other.d}")
    if moments.normalize != other.normalize:
        raise InputError(
            f"frechet_distance: other: expected moments made with normalize={moments.normalize!r}, as those of x; got "
            f"normalize={other.normalize!r}"
        )
    for side in (moments, other):
        if side.n < 2:
            raise NotEnoughData(f"a covariance needs at least 2 rows; got {side.n}")
    delta = moments.mean - other.mean
    traces = float(np.trace(moments.covariance)) + float(np.trace(other.covariance))
    return max(0.0, float(delta @ delta) + traces - 2.0 * _fidelity(moments, other))


def _fidelity(moments: Moments, other: Moments) -> float:
    """Returns Tr (S1 S2)^1/2, as the sum of singular values of S1^1/2 S2^1/2.

    The square root of the product S1 S2 loses half of the digits where it is near singular, and may come out
    complex; singular values of the product of the roots do neither. In the eigenbases V1, V2 the product is
    L1^1/2 (V1^T V2) L2^1/2 up to rotations, which do not change singular values.
    """
    import scipy.linalg

    roots1, vectors1 = _root(moments.covariance)
    roots2, vectors2 = _root(other.covariance)
    if not (roots1.size and roots2.size):
        return 0.0
    product = vectors1.T @ vectors2
    product *= roots1[:, None]
    product *= roots2
    return float(scipy.linalg.svdvals(product, check_finite=False).sum())


def _root(covariance: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Returns square roots of the eigenvalues that are not rounding, and their eigenvectors as columns."""
    import scipy.linalg

    with one_thread(len(covariance)):
        values, vectors = scipy.linalg.eigh(covariance, check_finite=False, driver="evd")
    kept = (values > SOLVER_NOISE * values[-1]) & (values > 0.0)
    return np.sqrt(values[kept]), vectors[:, kept]


def frechet_distance(
    x: Any,
    other: Any,
    *,
    normalize: str | None = None,
    precision: str = "float64",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
    other_groups: Any = None,
) -> Score:
    """Fréchet distance: |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2).

    The squared 2-Wasserstein distance of the Gaussians with these means and (unbiased) covariances. On the
    pool features of Inception v3 it is the FID. Its expected value exceeds the population value by a term of
    order d^2/n: compare only distances at equal n, or intervals, which are corrected for it.

    Args:
        x: `Moments`, a `Spectrum` with moments, or rows (array, path, source).
        other: the same, of other rows with the same features.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only. float64 by default, since a small distance
            is a difference of large traces.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where there are rows enough;
            ``"jackknife"`` for one, or an error that says why there is none. For two sets of rows, of which parts are
            left out in turn.
        groups: (n,) group of each row of x (video, patient, document): the jackknife leaves whole groups out.
        other_groups: the same for other.

    Returns:
        A `Score` of at least 0, in the squared units of the features.

    Raises:
        NotEnoughData: if one of the two has fewer than two rows.
        InputError: if the two differ in d or in normalisation, or hold no moments.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`, and as much for each part of an interval.

    Source:
        Heusel et al. 2017, equation 6; Dowson & Landau 1982.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[0.0], [2.0]])  # mean 1, variance 2
        >>> y = np.array([[0.0], [4.0]])  # mean 2, variance 8
        >>> round(float(featdiv.frechet_distance(x, y)), 6)  # 1 + (sqrt(8) - sqrt(2))^2
        3.0
    """
    arguments: dict[str, Any] = {
        "normalize": normalize,
        "precision": precision,
        "backend": backend,
        "interval": interval,
    }
    first = resolve_moments(x, function="frechet_distance", groups=groups, **arguments)
    second = resolve_moments(other, function="frechet_distance", argument="other", groups=other_groups, **arguments)
    made = second.provenance
    # The interval below leaves out parts of both sets of rows; what was prepared for x alone is not used.
    alone = dataclasses.replace(first, rests=Rests())
    score = alone.score(lambda moments: core(moments, second.statistic))
    provenance = dataclasses.replace(
        score.provenance,
        arguments={**score.provenance.arguments, "other": made.source, "other_n": made.n},
        notes=(*score.provenance.notes, *made.notes),
    )
    if interval is None:
        return dataclasses.replace(score, provenance=provenance)
    found = _interval(float(score), first, second)
    if isinstance(found, str):
        if interval == "jackknife":
            raise partition.refused("frechet_distance", found)
        provenance = dataclasses.replace(provenance, notes=(*provenance.notes, f"no interval: {found}"))
        return dataclasses.replace(score, provenance=provenance)
    return dataclasses.replace(score, provenance=provenance, intervals={"frechet_distance": found})


def _interval(value: float, first: Resolved[Moments], second: Resolved[Moments]) -> Interval | str:
    """Returns the interval, or why there is none."""
    for argument, side in (("x", first), ("other", second)):
        if side.rests.reason:
            return f"{argument}: {side.rests.reason}"
    x, other = first.statistic, second.statistic
    values = (
        np.array([core(rest, other) for rest in first.rests.without]),
        np.array([core(x, rest) for rest in second.rests.without]),
    )
    shares = tuple(
        np.array([1.0 - rest.n / side.statistic.n for rest in side.rests.without]) for side in (first, second)
    )
    found = resampling.of_two_samples(value, values, (shares[0], shares[1]), n=(x.n, other.n), d=x.d)
    return dataclasses.replace(found, low=max(0.0, found.low), high=max(0.0, found.high))
