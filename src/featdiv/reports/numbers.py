"""Numbers, durations and names as a reader sees them."""

from __future__ import annotations

import math
from typing import Any

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "\N{MINUS SIGN}"


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: float, digits: int = 4) -> str:
    """Returns a number with that many significant digits; whole numbers whole, tiny and huge ones as powers of ten.

    Example:
        >>> shown(0.123456), shown(1234.0), shown(-0.00000123), shown(1797)
        ('0.1235', '1,234', '−1.23×10⁻⁶', '1,797')
    """
    value = float(value)
    if not math.isfinite(value):
        return "undefined"
    if value == 0.0:
        return "0"
    # Rounding may carry into the next power of ten.
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if exponent < -4 or exponent > 6:
        mantissa = f"{value / 10.0**exponent:.{digits - 1}f}".rstrip("0").rstrip(".")
        text = f"{mantissa}×10{str(exponent).translate(SUPERSCRIPTS)}"
    elif value == int(value):
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return text.replace("-", MINUS)


def span(low: float, high: float, digits: int = 4) -> str:
    """Returns an interval.

    Example:
        >>> span(0.25, 1.5), span(39.0, 40.5)
        ('0.250 – 1.500', '39.00 – 40.50')
    """
    largest = max(abs(low), abs(high))
    if not 1e-3 <= largest < 1e7:
        return f"{shown(low, digits)} – {shown(high, digits)}"
    # As many decimals as the larger end needs: both ends are read against one another.
    decimals = max(0, digits - 1 - int(f"{largest:.{digits - 1}e}".partition("e")[2]))
    return f"{low:,.{decimals}f} – {high:,.{decimals}f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Returns a time span.

    Example:
        >>> duration(0.25), duration(75), duration(7384)
        ('250 ms', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60.0:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def words(name: str) -> str:
    """Returns a score's name as words.

    Example:
        >>> words("effective_rank")
        'effective rank'
    """
    return name.replace("_", " ")
