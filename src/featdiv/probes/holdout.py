"""Splitting labelled rows: a share of every class held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.stats import arguments


def split(
    labels: npt.NDArray[Any], share: float, *, seed: int, function: str, groups: Any = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the ascending rows to learn from, and those to judge on: about ``share`` of every class.

    At least one row of every class is left to learn from; a class of one row is not judged on. With groups, the same
    holds for the classes of their first rows.

    Args:
        labels: (n,) labels.
        share: of the rows that is held out, above 0 and below 1.
        seed: of the draw.
        function: public name for the error message.
        groups: (n,) group of each row, integers or strings: groups stay whole, and it is they that are drawn, each
            counting for the class of its first row. None for rows that are independent.

    Raises:
        InputError: if the share is not between 0 and 1.
        NotEnoughData: if no row would be held out.

    Example:
        >>> import numpy as np
        >>> train, test = split(np.repeat(["a", "b"], [8, 4]), 0.25, seed=0, function="demo")
        >>> len(train), len(test), int((test < 8).sum())
        (9, 3, 2)
    """
    share = arguments.number(function, "holdout", share, "a share between 0 and 1", lambda value: 0.0 < value < 1.0)
    if groups is not None:
        first, unit = units(groups)
        try:
            _, drawn = split(labels[first], share, seed=seed, function=function)
        except NotEnoughData as error:
            raise NotEnoughData(str(error).replace(" rows is none", " groups is none")) from None
        held_out = np.isin(unit, drawn)
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    order = np.random.default_rng(seed).permutation(len(labels))
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    codes = codes.reshape(-1)
    order = order[np.argsort(codes[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    place = np.arange(len(labels)) - starts[codes[order]]
    held = np.minimum(np.round(share * counts), counts - 1)
    out = place < held[codes[order]]
    if not out.any():
        raise NotEnoughData(
            f"{function}: holdout: {share:g} of classes of up to {int(counts.max())} rows is none. Hold out a larger "
            "share, or name the rows to judge on"
        )
    return np.sort(order[~out]).astype(np.int64), np.sort(order[out]).astype(np.int64)


def units(groups: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the first row of each group, in the order of the names of the groups, and the (n,) group of each row."""
    _, first, unit = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    return first.astype(np.int64), unit.reshape(-1).astype(np.int64)
