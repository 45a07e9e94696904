"""The memory budget: what a plan may use, agreed before work starts."""

from __future__ import annotations

import math
import os
import re

from featdiv.errors import BudgetExceeded
from featdiv.stats import arguments

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_DEFAULT_SHARE = 4
_ASSUMED_RAM = 4 * 2**30
_SIZES = ("bytes", "kB", "MB", "GB", "TB", "PB")


def budget_bytes(memory: int | float | str | None, *, function: str) -> int:
    """Returns the budget in bytes.

    Args:
        memory: bytes, text such as ``"2GB"`` or ``"512MiB"``, or None for a quarter of the machine's RAM.
        function: public name for the error message.

    Raises:
        InputError: if ``memory`` is not a positive amount.
    """
    if memory is None:
        return _physical_memory() // _DEFAULT_SHARE
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?i?)b?\s*", memory.lower())
        if match and match[2] in _UNITS:
            memory = float(match[1]) * _UNITS[match[2]]
    return int(arguments.number(function, "memory", memory, "bytes or text such as '2GB'", _is_amount))


def _is_amount(count: float) -> bool:
    return 0.0 < count < math.inf


def size(count: int) -> str:
    """Returns a number of bytes in the unit that leaves one to three digits before the point: ``"1.5 MB"``.

    Example:
        >>> size(640), size(48_600), size(2_000_000_000)
        ('640 bytes', '48.6 kB', '2 GB')
    """
    value, power = float(count), 0
    # 999.5 would be shown as 1e+03.
    while value >= 999.5 and power < len(_SIZES) - 1:
        value, power = value / 1000.0, power + 1
    return f"{value:.3g} {_SIZES[power]}"


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _ASSUMED_RAM


def require(needed: int, budget: int, *, function: str, what: str, advice: str) -> None:
    """Raises BudgetExceeded if ``needed`` bytes are more than ``budget``."""
    if needed > budget:
        raise BudgetExceeded(f"{function}: memory: {what} need {size(needed)}; the budget is {size(budget)}. {advice}")
