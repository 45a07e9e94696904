"""Repeated stratified folds that all models share, and stratified samples of labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData

Int64Array = npt.NDArray[np.int64]


def stratified_folds(
    labels: npt.ArrayLike, *, folds: int = 5, repeats: int = 1, seed: int = 0, function: str = "stratified_folds"
) -> Int64Array:
    """Returns the fold of each row, (repeats, n), the classes spread as evenly as they divide.

    The rows of a class, shuffled, are dealt to the folds one by one, and each class goes on where the last one ended:
    the sizes of two folds differ by one row at most, and so do their numbers of rows of one class. A class of fewer
    rows than folds has no row in some folds, and at most one in any. Since it has two at least, some are left to learn
    from whichever fold is held out.

    Args:
        labels: (n,) label of each row.
        folds: number of folds, at least 2.
        repeats: number of independent divisions.
        seed: of the shuffling. A division depends on it, on its number and on the labels, not on how many there are.
        function: public name for the error messages.

    Raises:
        InputError: if ``folds`` is below 2 or ``repeats`` below 1, or labels are not one a row.
        NotEnoughData: if there is one class, a class of one row, or fewer rows than folds.

    Example:
        >>> from featdiv.studies.folds import stratified_folds
        >>> (fold,) = stratified_folds(["cat"] * 4 + ["dog"] * 4, folds=2)
        >>> sorted(fold[:4].tolist()), sorted(fold[4:].tolist())
        ([0, 0, 1, 1], [0, 0, 1, 1])
    """
    for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
        if not _whole(value, least):
            raise InputError(f"{function}: {name}: expected a whole number of at least {least}; got {value!r}")
    codes, classes, counts = _coded(labels, function)
    if len(classes) < 2:
        raise NotEnoughData(f"{function}: labels: expected at least two classes; all rows are {classes[0]!r}")
    single = classes[counts < 2]
    if len(single):
        shown = ", ".join(map(repr, single[:5].tolist())) + (" and others" if len(single) > 5 else "")
        raise NotEnoughData(
            f"{function}: labels: expected at least 2 rows of each class, one to learn from and one to judge on; "
            f"{len(single)} of {len(classes)} classes have one: {shown}. Leave them out, or add images"
        )
    if len(codes) < folds:
        raise NotEnoughData(f"{function}: folds: expected at most {len(codes)}, the rows; got {folds}")
    found = np.empty((repeats, len(codes)), np.int64)
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        order = rng.permutation(len(codes))
        order = order[np.argsort(codes[order], kind="stable")]
        found[repeat, order] = (np.arange(len(codes)) + rng.integers(folds)) % folds
    return found


def stratified_sample(
    labels: npt.ArrayLike, n: int, *, seed: int = 0, function: str = "stratified_sample"
) -> Int64Array:
    """Returns ``n`` ascending rows, of each class its share, rounded, but two at least where it has two.

    Args:
        labels: (rows,) label of each row.
        n: rows to draw; all rows where there are no more.
        seed: of the draw.
        function: public name for the error messages.

    Raises:
        InputError: if ``n`` is less than two rows a class.

    Example:
        >>> from featdiv.studies.folds import stratified_sample
        >>> rows = stratified_sample([0] * 80 + [1] * 20, 10)
        >>> len(rows), int((rows >= 80).sum())
        (10, 2)
    """
    codes, classes, counts = _coded(labels, function)
    if not _whole(n, 2 * len(classes)):
        raise InputError(
            f"{function}: limit: expected at least {2 * len(classes)}, two images of each of {len(classes)} classes; "
            f"got {n!r}"
        )
    if n >= len(codes):
        return np.arange(len(codes), dtype=np.int64)
    wanted = np.minimum(counts, 2)
    # The class that is furthest below its share gets the next row.
    share = n * counts / len(codes)
    for _ in range(int(n - wanted.sum())):
        wanted[np.argmax(np.where(wanted < counts, share - wanted, -np.inf))] += 1
    order = np.random.default_rng(seed).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    place = np.arange(len(codes)) - starts[codes[order]]
    return np.sort(order[place < wanted[codes[order]]]).astype(np.int64)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= least


def _coded(labels: npt.ArrayLike, function: str) -> tuple[Int64Array, npt.NDArray[Any], Int64Array]:
    """Returns the number of each row's class, the classes, and how many rows each has."""
    values = np.asarray(labels)
    if values.ndim != 1 or not values.size:
        raise InputError(f"{function}: labels: expected one for each row; got shape {values.shape}")
    classes, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return codes.reshape(-1).astype(np.int64), classes, counts.astype(np.int64)
