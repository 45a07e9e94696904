"""Choosing the rows among the named entries of a file, and checking that they are (n, d)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from featdiv.errors import InputError
from featdiv.io.dtypes import ITEMSIZE

SHOWN = 12
"""Entries that a message lists at most."""

SAVED_STATISTIC = frozenset(("format", "schema", "version"))
"""Entries of every file that `Moments.save` and its like write."""


class Entry(NamedTuple):
    """A named array in a file: its shape and type, as far as a choice needs them."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name!r} {'x'.join(map(str, self.shape)) or 'scalar'} {self.dtype}"


def choose(entries: Sequence[Entry], key: Any, where: str) -> Entry:
    """Returns the entry that ``key`` names, or without a key the only one that is 2-D and numeric.

    Raises:
        InputError: if there is no such entry, or the choice is not clear; the message lists the entries.
    """
    if key is None:
        candidates = [entry for entry in entries if len(entry.shape) == 2 and entry.dtype in (*ITEMSIZE, "bool")]
        if len(candidates) == 1:
            return candidates[0]
        if not entries:
            raise InputError(f"{where}: it holds no arrays")
        if len(entries) == 1:
            check_shape(entries[0].shape, f"{where}[{entries[0].name!r}]")
        if {entry.name for entry in entries} >= SAVED_STATISTIC:
            raise InputError(f"{where}: it holds a statistic that featdiv saved, such as Moments, and no rows")
        if not candidates:
            raise InputError(f"{where}: it holds no 2-D numeric array; expected rows (n, d), got {listing(entries)}")
        listed = listing(entries)
        raise InputError(
            f"{where}: it holds {len(candidates)} 2-D arrays; say which to read with key=, one of: {listed}"
        )
    if not isinstance(key, str):
        raise InputError(f"{where}: key: expected the name of one entry, got {key!r}; it holds {listing(entries)}")
    for entry in entries:
        if entry.name == key:
            return entry
    raise InputError(f"{where}: key: no entry {key!r}{suggestion(key, entries)}; it holds {listing(entries)}")


def listing(entries: Sequence[Entry]) -> str:
    """Returns names, shapes and types, cut short where there are many."""
    shown = ", ".join(map(str, entries[:SHOWN]))
    return shown + (f", and {len(entries) - SHOWN} more" if len(entries) > SHOWN else "") if entries else "nothing"


def suggestion(key: str, entries: Sequence[Entry]) -> str:
    """Returns ``"; did you mean ...?"`` or nothing."""
    near = difflib.get_close_matches(key, [entry.name for entry in entries], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_shape(shape: Sequence[int], where: str) -> tuple[int, int]:
    """Returns (n, d).

    Raises:
        InputError: unless there are two dimensions.
    """
    if len(shape) == 2:
        return int(shape[0]), int(shape[1])
    got = f"expected 2-D rows (n, d), got {len(shape)}-D shape {tuple(shape)}"
    if len(shape) == 3:
        advice = (
            "Where the middle axis holds tokens, reduce it first (pool=, or x.mean(axis=1)); "
            "for a batch of problems call featdiv.spectra(x)"
        )
    elif len(shape) == 1:
        advice = "One feature per row is x.reshape(-1, 1), one row is x.reshape(1, -1)"
    else:
        advice = "Flatten or pool all axes but the first"
    raise InputError(f"{where}: {got}. {advice}")


def refuse_key(key: Any, where: str, kind: str) -> None:
    """Raises InputError if a key was given for a source that holds a single unnamed array."""
    if key is not None:
        raise InputError(f"{where}: key: {kind} holds one unnamed array; leave key= out, got {key!r}")
