"""How far to shrink a covariance towards a multiple of the identity."""

from __future__ import annotations

import numpy as np

from featdiv.stats.moments import Float64Array


def ledoit_wolf(scatter: Float64Array, n: int, fourth: float) -> float:
    """Returns the Ledoit-Wolf share of the identity, between 0 and 1.

    With S = scatter/n and m = Tr S / d it is min(b, delta)/delta, delta = |S - m I|_F^2 and
    b = (sum_i |x_i - mean|^4 / n - |S|_F^2) / n. One feature is a multiple of the identity already: there it is 0.

    Args:
        scatter: (d, d) scatter about the mean.
        n: rows.
        fourth: sum over rows of |x_i - mean|^4.

    Source:
        Ledoit & Wolf 2004, lemmas 3.2 to 3.4.
    """
    if len(scatter) == 1:
        return 0.0
    covariance = scatter / n
    square = float(np.vdot(covariance, covariance))
    spread = square - float(np.trace(covariance)) ** 2 / len(covariance)
    if not spread > 1e-15 * square:
        return 1.0
    return float(np.clip((fourth / n - square) / n / spread, 0.0, 1.0))


def oracle_approximating(scatter: Float64Array, degrees: int) -> float:
    """Returns the share of the identity by the oracle approximating shrinkage, which moments alone give.

    With S = scatter/degrees: min(1, ((1 - 2/d) Tr S^2 + (Tr S)^2) / ((degrees + 1 - 2/d) (Tr S^2 - (Tr S)^2/d))).

    Source:
        Chen et al. 2010, equation 23.
    """
    d = len(scatter)
    square = float(np.vdot(scatter, scatter))
    trace = float(np.trace(scatter)) ** 2
    spread = square - trace / d
    if not spread > 1e-15 * square:
        return 1.0
    return float(min(1.0, ((1.0 - 2.0 / d) * square + trace) / ((degrees + 1.0 - 2.0 / d) * spread)))
