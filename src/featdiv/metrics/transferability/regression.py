"""`LinearMoments`: all that a linear model of targets given features needs to know about the rows.

Labels are targets too: one column for each class, 1 in its rows and 0 elsewhere. Their products with the
features are class means and counts, so `ClassMoments` hold them already. Numbers as targets take a reading of
rows and targets side by side.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from featdiv import __version__, io
from featdiv.errors import InputError, NotEnoughData, RowError
from featdiv.ops.scatter import reference
from featdiv.results import Provenance
from featdiv.stats import ClassMoments, Moments, grouped
from featdiv.stats.moments import Float64Array

_ROWS = 8192


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LinearMoments:
    """Second moments of features and targets about their means.

    Attributes:
        n: number of rows.
        mean: (d,) mean of the features.
        scatter: (d, d) scatter of the features about it.
        target_mean: (t,) mean of the targets.
        cross: (d, t) sum over rows of (x - mean)(y - target_mean)^T.
        target_scatter: (t,) sum over rows of (y - target_mean)^2.
    """

    n: int
    mean: Float64Array
    scatter: Float64Array
    target_mean: Float64Array
    cross: Float64Array
    target_scatter: Float64Array

    @property
    def d(self) -> int:
        """Number of features."""
        return len(self.mean)

    @property
    def t(self) -> int:
        """Number of targets: classes, or columns of numbers."""
        return len(self.target_mean)

    @classmethod
    def of_classes(cls, classes: ClassMoments) -> LinearMoments:
        """Returns the moments of features and one-hot labels."""
        counts = classes.counts.astype(np.float64)
        mean = classes.mean
        return cls(
            n=classes.n,
            mean=mean,
            scatter=classes.within + classes.between(),
            target_mean=counts / classes.n,
            cross=((classes.means - mean) * counts[:, None]).T,
            target_scatter=counts * (1.0 - counts / classes.n),
        )

    @classmethod
    def of_joint(cls, joint: Moments, d: int) -> LinearMoments:
        """Returns the moments of features and targets from the `Moments` of both side by side, d features first."""
        return cls(
            n=joint.n,
            mean=joint.mean[:d],
            scatter=joint.scatter[:d, :d],
            target_mean=joint.mean[d:],
            cross=joint.scatter[:d, d:],
            target_scatter=np.diagonal(joint.scatter)[d:].copy(),
        )

    def gram(self) -> Float64Array:
        """Returns the (d, d) second moment of the features about zero."""
        return self.scatter + self.n * np.outer(self.mean, self.mean)

    def cross_gram(self) -> Float64Array:
        """Returns the (d, t) products of features and targets about zero."""
        return self.cross + self.n * np.outer(self.mean, self.target_mean)

    def target_gram(self) -> Float64Array:
        """Returns the (t,) sums of squares of the targets."""
        return self.target_scatter + self.n * self.target_mean**2


def check_targets(targets: Any, n: int | None, *, function: str) -> Float64Array:
    """Returns targets as (n, t) float64.

    Raises:
        InputError: if they are no numbers, not one row for each row of the features, or not finite.
        NotEnoughData: if a target is the same for every row.
    """
    if hasattr(targets, "detach"):
        targets = targets.detach().cpu().numpy()
    array = np.asarray(targets)
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2) or (array.ndim == 2 and not array.shape[1]):
        raise InputError(
            f"{function}: targets: expected numbers of shape (n,) or (n, t); got dtype {array.dtype} of shape "
            f"{array.shape}. Classes are given as labels="
        )
    if n is not None and len(array) != n:
        raise InputError(f"{function}: targets: expected one for each of {n} rows; got {len(array)}")
    columns: Float64Array = array.astype(np.float64).reshape(len(array), -1)
    if not np.isfinite(columns).all():
        row = int(np.flatnonzero(~np.isfinite(columns).all(axis=1))[0])
        raise InputError(f"{function}: targets: expected finite numbers; got NaN or infinity in row {row}")
    if len(columns) and not np.ptp(columns, axis=0).all():
        column = int(np.flatnonzero(np.ptp(columns, axis=0) == 0.0)[0])
        raise NotEnoughData(f"{function}: target {column} is the same for every row; there is nothing to predict")
    return columns


def blocks_with_targets(
    source: io.Embeddings, targets: Float64Array, *, function: str, normalize: str | None = None
) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Yields (rows, targets) in float64, a few thousand at a time.

    Raises:
        RowError: for rows of no use, with their place in the source.
        InputError: if there are more rows or fewer than targets.
    """
    seen = 0
    for chunk in source.chunks():
        for start in range(0, int(chunk.rows.shape[0]), _ROWS):
            rows = chunk.rows[start : start + _ROWS]
            at = chunk.start + start
            try:
                block = reference.transformed(rows, normalize=normalize)
            except RowError as error:
                raise grouped.located(error, rows, at, normalize, function, source=source) from None
            if at + len(block) > len(targets):
                break
            yield block, targets[at : at + len(block)]
        seen = chunk.start + int(chunk.rows.shape[0])
    if seen != len(targets):
        raise InputError(f"{function}: targets: expected one for each of {seen} rows; got {len(targets)}")


def read_targets(
    x: Any, targets: Any, *, function: str, normalize: str | None = None
) -> tuple[LinearMoments, Provenance]:
    """Reads rows and targets once, in float64.

    Raises:
        InputError: if ``x`` holds no rows, or the targets do not fit them.
        NotEnoughData: if a target does not vary.
    """
    if isinstance(x, (ClassMoments, Moments)):
        raise InputError(
            f"{function}: x: expected rows with targets=; got {type(x).__name__}, which has no place for targets"
        )
    if normalize not in (None, "l2"):
        raise InputError(f"{function}: normalize: expected None or 'l2'; got {normalize!r}")
    with grouped.opened(x, function=function) as source:
        columns = check_targets(targets, source.n, function=function)
        d, t = source.d, columns.shape[1]
        parts = (
            _moments(np.concatenate(pair, axis=1))
            for pair in blocks_with_targets(source, columns, function=function, normalize=normalize)
        )
        joint = functools.reduce(Moments.merge, parts, Moments.empty(d + t))
        if joint.n < 2:
            raise NotEnoughData(f"{function}: it needs at least 2 rows; got {joint.n}")
        provenance = Provenance(
            function=f"featdiv.{function}",
            version=__version__,
            arguments={"normalize": normalize, "targets": t},
            method="moments of rows and targets",
            precision="float64",
            dtype=source.dtype,
            n=joint.n,
            d=d,
            source=source.description,
            fingerprint=source.fingerprint,
            extraction=source.extraction,
            passes=1,
        )
    return LinearMoments.of_joint(joint, d), provenance


def _moments(rows: Float64Array) -> Moments:
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(n=len(rows), mean=mean, scatter=centred.T @ centred)
