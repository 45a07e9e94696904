"""Directions that one representation has and another lacks.

Ridge regression predicts x from the other representation, on each part of the rows from a fit to the rest. With S the
scatter of x in a part, C the cross scatter from other to x, T the scatter of other and W the weights, what is left is

    R = S - W^T C - C^T W + W^T T W

summed over the parts. Its leading eigenvectors are the directions in which x varies most beyond what the other side
tells; along a unit vector v the other side explains 1 - v^T R v / v^T S v.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.similarity.linear_predictivity import LEAST_PARTS, ridge
from featdiv.stats import CrossMoments
from featdiv.stats.moments import Float64Array


def residual(parts: Sequence[CrossMoments], *, x: str = "x", other: str = "other") -> Float64Array:
    """Returns the (d, d) scatter of x about its out-of-sample prediction from other.

    Raises:
        NotEnoughData: if there are fewer than two parts, or other is constant.
    """
    if len(parts) < LEAST_PARTS:
        raise NotEnoughData(
            f"directions: ridge regression is tested on parts left out; the rows make {len(parts)} part"
        )
    left = np.zeros((parts[0].moments(x).d,) * 2)
    for place, part in enumerate(parts):
        rest = [*parts[:place], *parts[place + 1 :]]
        train = rest[0]
        for further in rest[1:]:
            train = train.merge(further)
        weights = ridge(train, x=other, other=x).weights
        side, target = part.moments(other), part.moments(x)
        shared = weights.T @ part.cross(other, x)
        left += target.scatter - shared - shared.T + weights.T @ side.scatter @ weights
        # The part is predicted from the means of the rest, not from its own.
        gap = (target.mean - train.moments(x).mean) - weights.T @ (side.mean - train.moments(other).mean)
        left += part.n * np.outer(gap, gap)
    return left
