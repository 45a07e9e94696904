"""Near duplicates: pairs of rows that are almost the same, and how many rows they touch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.io.progress import Progress, check_progress
from featdiv.metrics.geometric import pairs
from featdiv.metrics.geometric.rows import Rows, read
from featdiv.ops.pair_sums import pair_sums
from featdiv.results import Result
from featdiv.stats import arguments
from featdiv.stats.resampling import Float64Array

TAU = 0.95
LISTED = 1 << 20
"""Close pairs that one pass lists; where there are more, rows are marked in a second pass."""

MOST_LISTED = 1 << 22
"""Pairs of a block of rows with all rows that the second pass holds at a time: 64 MiB."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NearDuplicates(Result):
    """Result of `near_duplicates`.

    Attributes:
        tau: cosine from which two rows count as near duplicates.
        examples: (k, 2) int64 pairs of row numbers, the first by row.
        nearest: (row, row, cosine) of the nearest pair.

    Example:
        >>> import featdiv, numpy as np
        >>> featdiv.near_duplicates(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).pairs
        1
    """

    tau: float
    examples: npt.NDArray[np.int64]
    nearest: tuple[int, int, float]

    _array_fields = ("tau", "examples", "nearest")

    @property
    def pairs(self) -> int:
        """Number of pairs with cosine >= tau."""
        return int(self.read("near_duplicate_pairs"))

    @property
    def rows(self) -> float:
        """Share of rows that have a near duplicate."""
        return self.read("near_duplicate_rows")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.6g}" for name, value in self.scores.items())
        return f"NearDuplicates(tau={self.tau}, {shown})"


def core(x: Float64Array, *, tau: float = TAU) -> float:
    """Returns the number of pairs with cosine >= tau, of rows in memory."""
    found = pairs.reduce(read(x, function="near_duplicates"), interval=None, **task(tau))
    return float(found.total.close or 0)


def task(tau: float = TAU, precision: str = "float32", backend: str = "auto") -> dict[str, Any]:
    """Returns the arguments of the pair op."""
    return {
        "rates": (),
        "measure": "cosine",
        "threshold": tau,
        "examples": LISTED,
        "precision": precision,
        "backend": backend,
    }


def check_threshold(tau: Any) -> float:
    """Returns tau; raises InputError unless it is a cosine."""
    return arguments.number("near_duplicates", "tau", tau, "a cosine from -1 to 1", lambda cos: -1.0 <= cos <= 1.0)


def check_examples(examples: Any) -> None:
    """Raises InputError unless that many pairs can be listed."""
    if not (isinstance(examples, (int, np.integer)) and 0 <= examples <= LISTED):
        raise InputError(f"near_duplicates: examples: expected 0 to {LISTED}; got {examples!r}")


def of_pairs(rows: Rows, found: pairs.Pairs, *, tau: float, examples: int, precision: str) -> NearDuplicates:
    """Returns the result of a pass over pairs that listed the close ones."""
    total = found.total
    assert total.nearest is not None
    close = total.close or 0
    if close == len(total.close_pairs):
        touched = len(np.unique(total.close_pairs))
    else:
        touched = _touched(rows, tau, precision=precision, backend=total.backend)
    listed = total.close_pairs[:examples]
    i, j, value = total.nearest
    if rows.index is not None:
        listed, i, j = rows.index[listed], int(rows.index[i]), int(rows.index[j])
    return NearDuplicates(
        scores={
            "near_duplicate_pairs": float(close),
            "near_duplicate_rows": touched / rows.n,
            "nearest_cosine": min(1.0, max(-1.0, value)),
        },
        tau=tau,
        examples=listed,
        nearest=(i, j, value),
        provenance=dataclasses.replace(
            rows.provenance,
            arguments={"tau": tau, "sample": rows.sampled},
            method="all pairs" if rows.sampled is None else "all pairs of a sample",
            precision=precision,
            backends={"pair_sums": total.backend},
        ),
    )


def _touched(rows: Rows, tau: float, *, precision: str, backend: str) -> int:
    """Returns how many rows have a close one, a block of rows against all at a time."""
    close = np.zeros(rows.n, dtype=bool)
    again = {"rates": (), "measure": "cosine", "threshold": tau, "precision": precision, "backend": backend}
    step = max(1, MOST_LISTED // rows.n)
    for start in range(0, rows.n, step):
        block = rows.values[start : start + step]
        m = int(block.shape[0])
        found = pair_sums(block, rows.values, examples=m * rows.n, **again)  # type: ignore[arg-type]
        others = found.close_pairs[found.close_pairs[:, 0] + start != found.close_pairs[:, 1]]
        close[start + np.unique(others[:, 0])] = True
    return int(close.sum())


def near_duplicates(
    x: Any,
    *,
    tau: float = TAU,
    examples: int = 10,
    sample: int | None = None,
    precision: str = "float32",
    backend: str = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> NearDuplicates:
    """Near duplicates: pairs i < j with cos(x_i, x_j) >= tau, and the share of rows that have such a partner.

    All pairs are compared; those within rounding of tau are computed again in float64.

    Args:
        x: rows (array, path, source).
        tau: cosine from which two rows count.
        examples: pairs to list, the first by row number.
        sample: how many rows to draw; None for all. A sample of a share s finds about s^2 of the pairs.
        precision: ``"float32"`` or ``"float64"`` products.
        backend: backend of the pair sums.
        memory: budget for the rows; None for a quarter of the RAM.
        seed: of the sample.
        progress: called with (rows done, rows in all) while rows are compared.

    Returns:
        A `NearDuplicates`: number of pairs, share of rows, cosine of the nearest pair, and examples. It has no
        intervals: counts of rare pairs and maxima are where resampling fails.

    Raises:
        NotEnoughData: if there are fewer than two rows.
        ZeroNormError: if a row is zero.
        InputError: if an argument is out of range.

    Complexity:
        n^2 d / 2 multiply-adds; memory O(n d). Three times that where more than a million pairs are close.

    Source:
        Abbas et al. 2023, who prune semantic duplicates by the cosine of embeddings.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1]])
        >>> found = featdiv.near_duplicates(x)
        >>> found.pairs, round(found.rows, 4), found.examples.tolist()
        (1, 0.6667, [[0, 2]])
    """
    check_progress(progress, function="near_duplicates")
    tau = check_threshold(tau)
    check_examples(examples)
    rows = read(x, function="near_duplicates", sample=sample, seed=seed, memory=memory)
    found = pairs.reduce(rows, interval=None, progress=progress, **task(tau, precision, backend))
    return of_pairs(rows, found, tau=tau, examples=examples, precision=precision)
