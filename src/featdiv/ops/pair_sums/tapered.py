"""Whether rows may be tapered before they are multiplied: small principal components rounded to bytes.

A sample of rows says what that would do to S = sum exp(-t |x_i - x_j|^2) over pairs of rows x in the basis. Rounding
at random adds an error of mean zero and variance v_ik = u^2 f (1 - f) to entry x_ik, where u is what its integer stands
for and f the fraction of x_ik / u. Then ln S has, to second order,

    variance  sum_ik v_ik (2 t sum_j w_ij x_jk)^2 / S^2,        w_ij = exp(-t |x_i - x_j|^2),
    mean      ln(1 + b),  b = (2 t)^2 / 2 sum_{i != j} w_ij sum_k v_ik x_jk^2 / S,

of which the second is taken off the sums. Both are read off rows that had no part in choosing the basis: those that had
lie closer to its leading columns than others do.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from featdiv.ops._blas import one_thread

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

LEAST_ROWS = 1 << 14
"""Fewer rows are compared soon enough, and a sample of them says less."""

ROWS_PER_FEATURE = 32
"""So many more rows than features make little of the time that the basis takes."""

FEATURES = (64, 2048)
"""With fewer, sums take as long as products; with more, a sample does not tell small directions, and the basis takes
memory."""

DEVIATION = 2.5e-7
"""Largest standard deviation of ln S that is accepted: four of them are 1e-6."""

BIAS = 4e-6
"""Largest bias that is: a sample tells it to a few per cent."""

WORDS = 0.75
"""Share of the words of 16-bit rows from which on tapered rows are not worth it."""

_SAMPLE_ROWS = 3072
_HELD_OUT = slice(1, None, 3)
_LEAD_STEP = 16
# As in csrc/core/tapered.h and rounded.h.
_LARGEST_BYTE, _LARGEST_INTEGER, _LARGEST_NORM, _FINER = 126.0, 32766.0, 46300.0, 16.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Taper:
    """How to taper rows.

    Attributes:
        basis: (d, d) float32 orthonormal columns, by falling size of the rows along them.
        lead: columns that keep 16 bits.
        bias: what rounding adds to the sum of each rate, relative.
        deviation: standard deviation of the logarithm of a sum that is left, the largest of all rates.
    """

    basis: Float32Array
    lead: int
    bias: Float64Array
    deviation: float


def choose(sample: Float64Array, n: int, rates: tuple[float, ...]) -> Taper | None:
    """Returns how to taper rows, or None where they had better keep 16 bits.

    Args:
        sample: some of the rows, evenly spaced, as they are compared, less their mean. Without finite products there is
            no way to taper them.
        n: number of all rows.
        rates: values of t.
    """
    d = sample.shape[1]
    if not worthwhile(n, d) or not rates:
        return None
    fitted = np.delete(sample, _HELD_OUT, axis=0)
    scatter = fitted.T @ fitted
    if not np.isfinite(scatter).all():
        return None
    with one_thread(d):
        _, vectors = np.linalg.eigh(scatter)
    basis = np.ascontiguousarray(vectors[:, ::-1], dtype=np.float32)
    rows = sample[_HELD_OUT].astype(np.float32) @ basis
    weighted = [_Weighted(rows, rate) for rate in rates]
    if not all(one.total > 0.0 for one in weighted):
        return None
    for lead in range(0, d, _LEAD_STEP):
        if lead / 2 + (d - lead) / 4 > WORDS * d / 2:
            return None
        variances = _variances(rows, lead)
        deviation = max(one.deviation(variances, n) for one in weighted)
        bias = np.array([one.bias(variances) for one in weighted])
        if deviation <= DEVIATION and bias.max() <= BIAS:
            return Taper(basis=basis, lead=lead, bias=bias, deviation=deviation)
    return None


def worthwhile(n: int, d: int) -> bool:
    """Whether tapering n rows of d features would pay."""
    return n >= max(LEAST_ROWS, ROWS_PER_FEATURE * d) and FEATURES[0] <= d <= FEATURES[1]


def sample_step(n: int) -> int:
    """Returns the distance between rows of the sample of n rows."""
    return max(1, n // _SAMPLE_ROWS)


class _Weighted:
    """The pairs of a sample, weighted by their terms."""

    def __init__(self, rows: Float32Array, rate: float) -> None:
        m, d = rows.shape
        squares = rows * rows
        norms = squares.sum(axis=1)
        weights = np.exp(-rate * np.maximum(norms[:, None] + norms[None, :] - 2.0 * (rows @ rows.T), 0.0))
        np.fill_diagonal(weights, 0.0)
        self.rate, self.m = rate, m
        self.total = float(weights.sum(dtype=np.float64)) / 2.0
        sums = weights @ np.concatenate([rows, squares], axis=1)
        pulls, self.squares = sums[:, :d] ** 2, sums[:, d:]
        # The square of a sum over a sample holds the variance of its terms beside the square of what it stands for.
        scatter = (weights * weights) @ squares - pulls / m
        self.pulls = np.maximum(pulls - scatter * (m / (m - 1)), 0.0)

    def deviation(self, variances: Float32Array, n: int) -> float:
        """Returns the standard deviation of ln S over all n rows: each error counts in the pairs of its row."""
        sampled = 4.0 * self.rate**2 * float(np.vdot(variances, self.pulls)) / self.total**2
        return math.sqrt(sampled * self.m / n)

    def bias(self, variances: Float32Array) -> float:
        """Returns b, which is the same over a sample."""
        return 2.0 * self.rate**2 * float(np.vdot(variances, self.squares)) / self.total


def _variances(rows: Float32Array, lead: int) -> Float32Array:
    """Returns what rounding at random does to each entry."""
    unit = np.abs(rows[:, lead:]).max(axis=1) / _LARGEST_BYTE
    if lead:
        leading = np.abs(rows[:, :lead]).max(axis=1) / _LARGEST_INTEGER
        norms = np.sqrt((rows[:, :lead] ** 2).sum(axis=1)) / (_LARGEST_NORM - math.sqrt(lead))
        unit = np.maximum(unit, _FINER * np.maximum(leading, norms))
    units = np.repeat(np.maximum(unit, np.finfo(np.float32).tiny)[:, None], rows.shape[1], axis=1)
    units[:, :lead] /= _FINER
    fraction = rows / units
    fraction -= np.floor(fraction)
    variances: Float32Array = units**2 * fraction * (1.0 - fraction)
    return variances
