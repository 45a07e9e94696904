"""Mutual nearest neighbours: how many neighbours of a row are the same in both representations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.similarity.inputs import make_score
from featdiv.metrics.similarity.rows import checked, resolve_rows
from featdiv.results import Provenance, Score
from featdiv.stats.neighbours import Neighbours


def prepare(rows: npt.NDArray[Any], *, name: str, k: int = 10) -> npt.NDArray[np.int64]:
    """Returns the (n, k) ascending indices of the neighbours of every row, by cosine.

    Raises:
        NotEnoughData: if there are not more than k rows.
        ZeroNormError: if a row has norm zero.
    """
    _require_rows(len(rows), k)
    unit = checked(rows, name=name, function="mutual_knn", normalize="l2")
    return np.sort(Neighbours.of(unit, k=k).indices, axis=1)


def core(x: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Returns the mean share of neighbours that two tables have in common; see `mutual_knn`."""
    return float(common(x, other).mean() / x.shape[1])


def common(x: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the (n,) numbers of common entries of the rows of two tables, each row without repeats."""
    both = np.sort(np.concatenate([x, other], axis=1), axis=1)
    return np.asarray((both[:, 1:] == both[:, :-1]).sum(axis=1))


def details(n: int, k: int) -> Mapping[str, Any]:
    """Returns what two independent representations would give."""
    return {"k": k, "noise": k / (n - 1)}


def mutual_knn(x: Any, other: Any = None, *, k: int = 10) -> Score:
    """Mutual kNN: the mean over rows of |N_x(i) ∩ N_y(i)| / k, N(i) the k rows nearest to row i by cosine.

    Exact for all rows: every row is compared with every other. Ties go to the lower index. Independent representations
    give k/(n - 1), so that values compare at equal n only.

    Args:
        x: rows (array, path, source), or their `Neighbours`, leave-one-out by cosine, found before.
        other: the same rows in another representation, or their `Neighbours`.
        k: neighbours of each row.

    Returns:
        A `Score` between 0 and 1; ``details`` hold k and the value to expect of independent representations.

    Raises:
        NotEnoughData: if there are not more than k rows.
        ZeroNormError: if a row has norm zero.
        InputError: if the two do not hold the same rows.

    Complexity:
        n^2 (d_x + d_y) multiply-adds, none for `Neighbours`; memory O(n (d_x + d_y + k)).

    Source:
        Huh et al. 2024, section 2 and appendix A.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 8))
        >>> featdiv.mutual_knn(x, 5.0 * x[:, ::-1], k=3).value
        1.0
    """
    k = positive(k, "mutual_knn: k")
    if isinstance(x, Neighbours) or isinstance(other, Neighbours):
        return _of_tables(x, other, k)
    rows = resolve_rows(x, other, function="mutual_knn")
    n = len(rows.rows["x"])
    _require_rows(n, k, where="mutual_knn: ")
    return rows.score(prepare, core, parameters={"k": k}, details=details(n, k))


def _require_rows(n: int, k: int, *, where: str = "") -> None:
    if n <= k:
        raise NotEnoughData(f"{where}k={k} neighbours need at least {k + 1} rows; got {n}. Ask for fewer")


def _of_tables(x: Any, other: Any, k: int) -> Score:
    for name, table in (("x", x), ("other", other)):
        if not isinstance(table, Neighbours):
            raise InputError(
                f"mutual_knn: {name}: expected Neighbours, as the other side is; got {type(table).__name__}"
            )
        if not table.leave_one_out or table.distance != "cosine" or table.n != x.n:
            raise InputError(
                f"mutual_knn: {name}: expected leave-one-out neighbours of {x.n} rows by cosine; got {table.n} rows by "
                f"{table.distance}, leave_one_out={table.leave_one_out}"
            )
        if table.k < k:
            raise NotEnoughData(f"mutual_knn: {name}: expected at least k={k} neighbours of each row; got {table.k}")
    provenance = Provenance(
        function="featdiv.mutual_knn",
        version=__version__,
        backends={"neighbours": x.backend},
        method="neighbours",
        arguments={"other_d": other.d},
        n=x.n,
        d=x.d,
        fingerprint=x.fingerprints.get("gallery"),
        extraction=x.extractions.get("gallery"),
        passes=0,
    )
    tables = [np.sort(table.head(k).indices, axis=1) for table in (x, other)]
    return make_score("mutual_knn", core(*tables), provenance, parameters={"k": k}, details=details(x.n, k))
