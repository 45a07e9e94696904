"""Mutual nearest neighbours: how many neighbours of a row are the same in both representations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.similarity.neighbours import nearest
from featdiv.metrics.similarity.rows import checked, resolve_rows
from featdiv.results import Score


def prepare(rows: npt.NDArray[Any], *, name: str, k: int = 10) -> npt.NDArray[np.int32]:
    """Returns the (n, k) ascending indices of the neighbours of every row, by cosine.

    Raises:
        NotEnoughData: if there are not more than k rows.
        ZeroNormError: if a row has norm zero.
    """
    if len(rows) <= k:
        raise NotEnoughData(f"{k} neighbours need at least {k + 1} rows; got {len(rows)}")
    return nearest(checked(rows, name=name, function="mutual_knn", normalize="l2"), k)


def core(x: npt.NDArray[np.int32], other: npt.NDArray[np.int32]) -> float:
    """Returns the mean share of neighbours that two tables have in common; see `mutual_knn`."""
    return float(common(x, other).mean() / x.shape[1])


def common(x: npt.NDArray[np.int32], other: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Returns the (n,) numbers of common entries of the rows of two tables, each row without repeats."""
    both = np.sort(np.concatenate([x, other], axis=1), axis=1)
    return np.asarray((both[:, 1:] == both[:, :-1]).sum(axis=1))


def details(n: int, k: int) -> Mapping[str, Any]:
    """Returns what two independent representations would give."""
    return {"k": k, "noise": k / (n - 1)}


def mutual_knn(x: Any, other: Any = None, *, k: int = 10) -> Score:
    """Mutual kNN: the mean over rows of |N_x(i) n N_y(i)| / k, N(i) the k rows nearest to row i by cosine.

    Exact for all rows: every row is compared with every other. Ties go to the lower index. Independent representations
    give k/(n - 1), so that values compare at equal n only.

    Args:
        x: rows (array, path, source).
        other: the same rows in another representation.
        k: neighbours of each row.

    Returns:
        A `Score` between 0 and 1; ``details`` hold k and the value to expect of independent representations.

    Raises:
        NotEnoughData: if there are not more than k rows.
        ZeroNormError: if a row has norm zero.
        InputError: if the two do not hold the same rows.

    Complexity:
        n^2 (d_x + d_y) multiply-adds; memory O(n (d_x + d_y + k)).

    Source:
        Huh et al. 2024, section 2 and appendix A.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 8))
        >>> featdiv.mutual_knn(x, 5.0 * x[:, ::-1], k=3).value
        1.0
    """
    k = positive(k, "mutual_knn: k")
    rows = resolve_rows(x, other, function="mutual_knn")
    return rows.score(prepare, core, parameters={"k": k}, details=details(len(rows.rows["x"]), k))
