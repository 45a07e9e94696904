"""What the cores of similarity take: two sides, each with what is computed once for it, and their cross scatter."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.ops._blas import one_thread
from featdiv.stats import CrossMoments, Moments
from featdiv.stats.moments import Float64Array

ROUNDING = float(np.finfo(np.float64).eps)


def taken(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that a function accepts, by name."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in given.items() if name in known}


def require_variance(name: str, trace: float) -> None:
    """Raises NotEnoughData if the squared norms of centred rows add up to nothing."""
    if not trace > 0.0:
        raise NotEnoughData(f"the rows of {name} are all the same")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One representation: its moments, and what follows from them alone.

    Attributes:
        name: of the model.
        moments: its second moments.
        fourth: sum of the fourth powers of the norms of its centred rows.
    """

    name: str
    moments: Moments
    fourth: float

    @functools.cached_property
    def trace(self) -> float:
        """Sum of squared norms of the centred rows."""
        return float(np.trace(self.moments.scatter))

    @functools.cached_property
    def square(self) -> float:
        """Squared Frobenius norm of the scatter, which equals that of the centred n x n kernel."""
        scatter = self.moments.scatter
        return float(np.einsum("ij,ij->", scatter, scatter))

    @functools.cached_property
    def components(self) -> tuple[Float64Array, Float64Array]:
        """Descending eigenvalues of the scatter above its numerical noise, (r,), and eigenvectors, (d, r).

        Raises:
            NotEnoughData: if the rows are constant.
        """
        import scipy.linalg

        self.require_variance()
        with one_thread(self.moments.d):
            values, vectors = scipy.linalg.eigh(self.moments.scatter, check_finite=False, driver="evd")
        noise = max(self.moments.d * ROUNDING, self.moments.error_bound)
        kept = values > noise * values[-1]
        return values[kept][::-1], vectors[:, kept][:, ::-1]

    def require_variance(self) -> None:
        """Raises NotEnoughData if every row is the same."""
        require_variance(self.name, self.trace)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two representations of the same n rows.

    Attributes:
        n: rows.
        x: one side.
        other: the other.
        cross: (d_x, d_other) sum over rows of (x - mean)(y - mean)^T.
        product: sum over rows of the product of the squared norms of the centred x and y.
    """

    n: int
    x: Side
    other: Side
    cross: Float64Array
    product: float

    @property
    def d(self) -> int:
        """Features of the first side."""
        return self.x.moments.d

    @property
    def normalize(self) -> str | None:
        """How each model's rows were normalised."""
        return self.x.moments.normalize


class Models:
    """The sides and pairs of a `CrossMoments`; what belongs to one side is computed once for all its pairs.

    Args:
        moments: the statistic.
    """

    def __init__(self, moments: CrossMoments) -> None:
        self.moments = moments
        self._sides: dict[str, Side] = {}

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.moments.n

    def side(self, name: str) -> Side:
        """Returns one model."""
        if name not in self._sides:
            moments = self.moments.moments(name)
            fourth = moments.norm_sums.fourth if moments.norm_sums is not None else 0.0
            self._sides[name] = Side(name=name, moments=moments, fourth=fourth)
        return self._sides[name]

    def pair(self, name: str, other: str) -> Pair:
        """Returns two models."""
        places = self.moments.position(name), self.moments.position(other)
        return Pair(
            n=self.moments.n,
            x=self.side(name),
            other=self.side(other),
            cross=self.moments.cross(name, other),
            product=float(self.moments.norm_sums.fourth[places]),
        )
