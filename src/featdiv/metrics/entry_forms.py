"""What the catalogue entries of all families have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featdiv.metrics.entry import TRANSFORMATIONS, Bounds, Definition, Metric, Source

NEITHER = "neither high nor low is better as such"

ROTATIONS = ("row permutation", "feature permutation", "rotation")
ABOUT_THE_MEAN = (*ROTATIONS, "translation", "isotropic scaling")
DIRECTIONS = (*ROTATIONS, "isotropic scaling", "row scaling")


def zero(n: int, d: int) -> float:
    """The bound 0."""
    return 0.0


def one(n: int, d: int) -> float:
    """The bound 1."""
    return 1.0


def minus_one(n: int, d: int) -> float:
    """The bound -1."""
    return -1.0


SHARE_BOUNDS = Bounds(text="0 <= value <= 1", lower=zero, upper=one)
CORRELATION_BOUNDS = Bounds(text="-1 <= value <= 1", lower=minus_one, upper=one)
NOT_NEGATIVE = Bounds(text="0 <= value", lower=zero)


def metric(
    name: str,
    *,
    family: str,
    bounds: Bounds | Mapping[str, Bounds],
    definitions: Definition | tuple[Definition, ...],
    invariances: tuple[str, ...],
    module: str = "",
    **fields: Any,
) -> Metric:
    """Returns an entry; every transformation that is not an invariance is a contrast.

    Args:
        name: of the metric; its function has it too.
        family: the package that it is in.
        bounds: of its one score, or score name to bounds.
        definitions: one or several.
        invariances: what leaves it unchanged.
        module: where it is, if not in the module of its name.
        **fields: the others of `Metric`.
    """
    path = f"featdiv.metrics.{family}.{module or name}"
    return Metric(
        name=name,
        family=family,
        function=f"{path}.{name}",
        core=f"{path}.core",
        bounds={name: bounds} if isinstance(bounds, Bounds) else bounds,
        definitions=definitions if isinstance(definitions, tuple) else (definitions,),
        invariances=invariances,
        contrasts=tuple(change for change in TRANSFORMATIONS if change not in invariances),
        **fields,
    )


def only(formula: str, source: Source) -> Definition:
    """Returns the definition of a metric that has one formula only."""
    return Definition(name="default", formula=formula, source=source)
