"""Errors of `open` in the words of the function that a user called: its name, and its names of the arguments."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from featdiv.errors import InputError

_MADE_BY_OPEN = re.compile(r"featdiv\.open: (source|labels|ids|groups): ")


@contextlib.contextmanager
def called_by(function: str, **arguments: str) -> Iterator[None]:
    """Puts a function and its arguments into errors that `featdiv.open` raises meanwhile.

    Args:
        function: that was called.
        arguments: what it calls ``source``, ``labels``, ``ids`` and ``groups``, where that is something else.

    Raises:
        InputError: what `featdiv.open` raised, of the same type, under these names.

    Example:
        >>> import featdiv
        >>> with called_by("cka", source="other"):
        ...     featdiv.open("nowhere.npy")
        Traceback (most recent call last):
        ...
        featdiv.errors.SourceNotFound: cka: other: no such file or directory: nowhere.npy
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        if found := _MADE_BY_OPEN.match(message):
            own = arguments.get(found[1], found[1])
            error.args = (f"{function}: {own}: {message[found.end() :]}", *error.args[1:])
        raise
