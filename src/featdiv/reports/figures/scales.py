"""Scales: from numbers to places in a picture, and the ticks that a reader needs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Protocol

from featdiv.reports.numbers import MINUS, SUPERSCRIPTS, shown

MOST_DECIMALS = 5
"""Ticks closer together are labelled by powers of ten."""

TINIEST = 1e-300

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale(Protocol):
    """What a chart asks of a scale."""

    def __call__(self, value: float) -> float:
        """Returns the place of a value."""

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Returns values with their labels, at most ``most``, all within the domain."""


@dataclasses.dataclass(frozen=True)
class Linear:
    """Equal differences are equally far apart.

    Attributes:
        low: least value of the domain.
        high: greatest value.
        start: place of ``low``.
        stop: place of ``high``.
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Returns the place of a value.

        Example:
            >>> Linear(0.0, 10.0, 100.0, 200.0)(5.0)
            150.0
        """
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Returns round values in the domain with their labels.

        Example:
            >>> [label for _, label in Linear(0.0, 1.0, 0.0, 1.0).ticks(6)]
            ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']
        """
        step = tick_step(self.high - self.low, most)
        digits = _digits(step)
        slack = 1e-9 * (self.high - self.low)
        first = math.ceil((self.low - slack) / step)
        last = math.floor((self.high + slack) / step)
        values = [index * step + 0.0 for index in range(first, last + 1)]
        if digits > MOST_DECIMALS:
            return [(value, shown(value)) for value in values]
        return [(value, f"{value:,.{digits}f}".replace("-", MINUS)) for value in values]


@dataclasses.dataclass(frozen=True)
class Log:
    """Equal ratios are equally far apart; the domain is positive. Attributes as those of `Linear`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Returns the place of a value.

        Example:
            >>> Log(1.0, 100.0, 0.0, 200.0)(10.0)
            100.0
        """
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, most: int = 8) -> list[tuple[float, str]]:
        """Returns powers of ten in the domain with their labels; where it holds few, also 2 and 5 times them.

        Example:
            >>> [label for _, label in Log(1.0, 30.0, 0.0, 1.0).ticks(6)]
            ['1', '2', '5', '10', '20']
            >>> [label for _, label in Log(1e-6, 1.0, 0.0, 1.0).ticks(4)]
            ['10⁻⁶', '10⁻⁴', '10⁻²', '1']
        """
        slack = 1e-9
        first = math.floor(math.log10(self.low) - slack)
        last = math.ceil(math.log10(self.high) + slack)
        decades = [power for power in range(first, last + 1) if self._holds(10.0**power)]
        fine = [
            factor * 10.0**power
            for power in range(first, last + 1)
            for factor in (1, 2, 5)
            if self._holds(factor * 10.0**power)
        ]
        if len(decades) < 3 and len(fine) <= most:
            if len(fine) < 2:
                return [tick for tick in Linear(self.low, self.high, 0.0, 1.0).ticks(most) if tick[0] > 0.0]
            return [(value, self._label(value)) for value in fine]
        every = max(1, math.ceil(len(decades) / most))
        return [(10.0**power, self._label(10.0**power)) for power in decades if power % every == 0]

    def _label(self, value: float) -> str:
        if self.low >= 1e-3 and self.high < 1e5:
            return f"{value:,g}"
        power = math.floor(math.log10(value) + 1e-9)
        if power == 0:
            return f"{value:g}"
        factor = f"{value / 10.0**power:.0f}"
        return f"{'' if factor == '1' else f'{factor}×'}10{str(power).translate(SUPERSCRIPTS)}"

    def _holds(self, value: float) -> bool:
        return self.low * (1.0 - 1e-9) <= value <= self.high * (1.0 + 1e-9)


def tick_step(width: float, most: int) -> float:
    """Returns the least round step that cuts ``width`` into fewer than ``most`` parts."""
    least = width / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1.0 - 1e-9))


def domain(values: Iterable[float], *, zero: bool = False, margin: float = 0.04) -> tuple[float, float]:
    """Returns a range that holds all values, never empty, with a margin at the ends that are not zero.

    Example:
        >>> domain([2.0, 4.0], zero=True, margin=0.25)
        (0.0, 5.0)
        >>> domain([3.0, 3.0], margin=0.0)
        (2.5, 3.5)
    """
    found = list(values)
    low, high = min(found), max(found)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    largest = max(abs(low), abs(high))
    # Differences of rounding alone are no range; what is next to nothing at all has none.
    if high - low <= 1e-12 * largest or largest < TINIEST:
        half = 0.5 if largest < TINIEST else min(0.5, largest / 2.0)
        low, high = low - half, high + half
    room = margin * (high - low)
    return (low if zero and low == 0.0 else low - room, high if zero and high == 0.0 else high + room)


def _digits(step: float) -> int:
    digits = max(0, -math.floor(math.log10(step)))
    return digits if math.isclose(step * 10**digits, round(step * 10**digits)) else digits + 1
