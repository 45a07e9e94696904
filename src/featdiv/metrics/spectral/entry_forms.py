"""What the catalogue entries of the spectral metrics have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featdiv.metrics.entry import TRANSFORMATIONS, Bounds, Definition, Metric, Source

HIGHER = "higher is more diverse"
LOWER = "lower is more diverse"
NEITHER = "neither high nor low is better as such"
DIMENSIONS = "dimensions"

ROTATIONS = ("row permutation", "feature permutation", "rotation")
ABOUT_THE_MEAN = (*ROTATIONS, "translation", "isotropic scaling")
ABOUT_ZERO = (*ROTATIONS, "isotropic scaling")
COSINES = (*ROTATIONS, "isotropic scaling", "row scaling")
COUNT = "it is a count, for which the jackknife fails"
LARGEST = "featdiv.metrics.spectral.stable_rank.jackknife_problem"


def one(n: int, d: int) -> float:
    """The bound 1."""
    return 1.0


def zero(n: int, d: int) -> float:
    """The bound 0."""
    return 0.0


def rank(n: int, d: int) -> float:
    """The bound min(n, d)."""
    return float(min(n, d))


DIMENSION_BOUNDS = Bounds(text="1 <= value <= min(n, d)", lower=one, upper=rank)
SHARE_BOUNDS = Bounds(text="0 <= value <= 1", lower=zero, upper=one)


def metric(
    name: str,
    *,
    bounds: Bounds | Mapping[str, Bounds],
    definitions: Definition | tuple[Definition, ...],
    invariances: tuple[str, ...],
    needs: str = "eigenvalues",
    module: str = "",
    **fields: Any,
) -> Metric:
    """Returns an entry; every transformation that is not an invariance is a contrast."""
    path = f"featdiv.metrics.spectral.{module or name}"
    return Metric(
        name=name,
        family="spectral",
        function=f"{path}.{name}",
        core=f"{path}.core",
        needs=needs,
        bounds={name: bounds} if isinstance(bounds, Bounds) else bounds,
        definitions=definitions if isinstance(definitions, tuple) else (definitions,),
        invariances=invariances,
        contrasts=tuple(change for change in TRANSFORMATIONS if change not in invariances),
        **fields,
    )


def only(formula: str, source: Source) -> Definition:
    """Returns the definition of a metric that has one formula only."""
    return Definition(name="default", formula=formula, source=source)
