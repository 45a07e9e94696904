"""The labelled rows of a probe: rows with the label to ignore are left out; otherwise, a label of -1 is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NotEnoughData
from featdiv.stats import arguments, budget
from featdiv.stats.class_labels import refuse_missing


def without(
    source: io.Embeddings, labels: npt.NDArray[Any], *, ignore: int | str | None, memory: int, function: str
) -> tuple[io.Embeddings, npt.NDArray[Any]]:
    """Returns rows and labels without those to be ignored; where some are left out, the others are held in memory.

    Args:
        source: the rows.
        labels: (n,) integers or strings.
        ignore: the label of rows to leave out.
        memory: budget in bytes.
        function: public name, with the side, for error messages.

    Raises:
        InputError: for the label -1 unless it is ignored, or if the rows to keep cannot be picked.
        NotEnoughData: if no row is left.
        BudgetExceeded: if the rows that are left do not fit the budget.
    """
    arguments.check_ignore(function, ignore)
    if ignore is None:
        refuse_missing(labels, function=function)
        return source, labels
    kept = np.flatnonzero(labels != ignore)
    dropped = len(labels) - len(kept)
    if not dropped:
        return source, labels
    if not len(kept):
        raise NotEnoughData(f"{function}: expected labelled rows; all {len(labels)} have the label ignored")
    if source.one_pass or source.n is None:
        raise InputError(
            f"{function}: ignore: expected rows that can be picked by index; this source is read only once. "
            "featdiv.convert writes it to a file"
        )
    budget.require(
        len(kept) * source.row_bytes,
        memory,
        function=function,
        what=f"the {len(kept)} rows that are not ignored",
        advice="Write them to a file of their own, or raise memory=",
    )
    groups: dict[str, Any] = {} if source.groups is None else {"groups": source.groups[kept]}
    taken = io.open(source.take(kept), labels=labels[kept], **groups).replaced(
        description=f"{source.description} without {dropped} ignored rows", extraction=source.extraction
    )
    return taken, labels[kept]
