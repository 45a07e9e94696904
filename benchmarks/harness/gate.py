"""The gate: a contender that is less accurate than it claims is not timed."""

from __future__ import annotations

from collections.abc import Mapping


def violations(errors: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    """Returns in words which limits are broken; an error that is missing or NaN breaks its limit.

    Args:
        errors: name to error against the float64 reference.
        limits: name to the largest error that the claimed class of accuracy allows; at least one.

    Raises:
        ValueError: if there are no limits.
    """
    if not limits:
        raise ValueError("gate: expected at least one limit; a class of accuracy without any would let everything pass")
    broken = []
    for name, limit in limits.items():
        if name not in errors:
            broken.append(f"{name}: not answered")
        elif not errors[name] <= limit:
            broken.append(f"{name}: error {errors[name]:.1e}, {limit:.0e} claimed")
    return broken
