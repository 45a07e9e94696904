"""Telling a caller how far the work is: what ``progress=`` takes, checked before work starts."""

from __future__ import annotations

from collections.abc import Callable

from featdiv.errors import InputError

Progress = Callable[[int, "int | None"], None]


def check_progress(progress: object, *, function: str, told: str = "rows done, rows in all or None") -> None:
    """Raises InputError unless ``progress`` is None or can be called.

    Args:
        progress: what was given.
        function: public name for the message.
        told: what it will be called with.
    """
    if progress is not None and not callable(progress):
        raise InputError(
            f"{function}: progress: expected None or a function that is called with ({told}), such as print; "
            f"got {progress!r}"
        )
