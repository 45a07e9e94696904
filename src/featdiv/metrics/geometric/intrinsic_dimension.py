"""Intrinsic dimension: how many coordinates the rows need near any one of them, from distances to neighbours."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from featdiv import io
from featdiv.errors import BackendUnavailable, FeatdivError, InputError, NotEnoughData, RowError
from featdiv.io.progress import Progress, check_progress
from featdiv.metrics.geometric import neighbour_distances
from featdiv.metrics.geometric.neighbour_distances import Distances
from featdiv.metrics.geometric.rows import Rows, read
from featdiv.results import Interval, Score
from featdiv.stats import arguments, resampling
from featdiv.stats.neighbours import Neighbours
from featdiv.stats.resampling import Float64Array

DEFINITIONS = ("twonn", "mle")
DISCARD = 0.1
RANGE = (10, 20)
LEAST_ROWS = 10


def core(x: Float64Array, *, definition: str = "twonn") -> float:
    """Returns the intrinsic dimension of rows in memory."""
    rows = read(x, function="intrinsic_dimension")
    near = search(rows, wanted(definition, RANGE))
    return estimate(neighbour_distances.of(rows, near).values, definition)


def wanted(definition: str, k: tuple[int, int]) -> int:
    """Returns the neighbours of each row that a definition takes."""
    return 2 if definition == "twonn" else k[1]


def estimate(
    distances: Float64Array, definition: str = "twonn", *, discard: float = DISCARD, k: tuple[int, int] = RANGE
) -> float:
    """Returns the dimension from ascending distances of rows to their neighbours; see `intrinsic_dimension`.

    Args:
        distances: (m, k) float64; rows whose nearest neighbour lies at distance zero are left out.
        definition: ``"twonn"`` or ``"mle"``.
        discard: for ``"twonn"``: share of the largest ratios to leave out.
        k: for ``"mle"``: first and last number of neighbours.

    Raises:
        NotEnoughData: if fewer than 10 rows are left, or all their neighbours are equally far.
    """
    distances = distances[distances[:, 0] > 0.0]
    if len(distances) < LEAST_ROWS:
        raise NotEnoughData(
            f"it needs at least {LEAST_ROWS} rows whose nearest neighbour is another point; got {len(distances)}"
        )
    if definition == "twonn":
        return _twonn(distances, discard)
    logs = np.log(distances[:, : k[1]])
    found = []
    for last in range(k[0], k[1] + 1):
        mean = float((logs[:, last - 1] - logs[:, : last - 1].mean(axis=1)).mean())
        if mean <= 0.0:
            raise NotEnoughData(f"all {last} neighbours of every row are equally far, which no dimension explains")
        found.append(1.0 / mean)
    return float(np.mean(found))


def _twonn(distances: Float64Array, discard: float) -> float:
    ratios = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    n = len(ratios)
    kept = min(n - 1, int(n * (1.0 - discard)))
    x, y = ratios[:kept], -np.log1p(-np.arange(1, kept + 1) / n)
    square = float(x @ x)
    if square <= 0.0:
        raise NotEnoughData("the two nearest neighbours of every row are equally far, which no dimension explains")
    return float(x @ y) / square


def search(rows: Rows, k: int, *, backend: str = "auto", memory: Any = None, progress: Any = None) -> Neighbours:
    """Returns the k nearest other rows of every row by Euclidean distance; errors speak of the score."""
    if rows.n <= k:
        raise NotEnoughData(f"{rows.function}: x: {k} neighbours need at least {k + 1} rows; got {rows.n}")
    try:
        return Neighbours.of(
            io.open(rows.values), k=k, distance="l2", backend=backend, memory=memory, progress=progress
        )
    except RowError as error:
        message = str(error).replace("Neighbours.of: gallery", f"{rows.function}: x")
        first = error.first_row if rows.index is None else int(rows.index[error.first_row])
        raise type(error)(message, count=error.count, first_row=first) from None
    except BackendUnavailable:
        raise
    except FeatdivError as error:
        raise type(error)(str(error).replace("Neighbours.of: gallery", f"{rows.function}: x")) from None


def check(function: str, definition: str, discard: Any, k: Any) -> tuple[int, int]:
    """Returns the range of neighbours; raises InputError if an argument cannot be used."""
    arguments.one_of(function, "definition", definition, DEFINITIONS)
    arguments.number(function, "discard", discard, "a share in [0, 1)", lambda share: 0.0 <= share < 1.0)
    ends = (k, k) if isinstance(k, (int, np.integer)) else k
    usable = isinstance(ends, (tuple, list)) and all(isinstance(end, (int, np.integer)) for end in ends)
    if not (usable and len(ends) == 2 and 2 <= ends[0] <= ends[1]):
        raise InputError(
            f"{function}: k: expected a number of neighbours, or (first, last) with 2 <= first <= last; got {k!r}"
        )
    return int(ends[0]), int(ends[1])


def scored(
    rows: Rows,
    neighbours: Neighbours,
    *,
    definition: str,
    discard: float = DISCARD,
    k: tuple[int, int] = RANGE,
    interval: str | None = "auto",
) -> Score:
    """Returns the score that a table of neighbours gives."""
    try:
        distances = neighbour_distances.of(rows, neighbours)
        value = estimate(distances.values, definition, discard=discard, k=k)
    except NotEnoughData as error:
        raise NotEnoughData(f"{rows.function}: {error}") from None
    notes = list(rows.provenance.notes)
    if distances.copies:
        those = "row that equals an earlier one was" if distances.copies == 1 else "rows that equal an earlier one were"
        notes.append(f"{distances.copies} {those} left out")
    found, reason = None, ""
    if interval is not None:
        found, reason = _interval(rows, distances, value, definition, discard=discard, k=k)
    if reason and interval == "jackknife":
        raise InputError(f"{rows.function}: interval: 'jackknife' cannot be had here: {reason}")
    if reason:
        notes.append(f"no interval: {reason}")
    chosen: dict[str, Any] = {"discard": discard} if definition == "twonn" else {"k": list(k)}
    return Score(
        name="intrinsic_dimension",
        scores={"intrinsic_dimension": value},
        intervals={"intrinsic_dimension": found} if found else {},
        details={"copies": distances.copies, **chosen} | ({"sample": rows.sampled} if rows.sampled is not None else {}),
        provenance=dataclasses.replace(
            rows.provenance,
            definition=definition,
            arguments={**chosen, "sample": rows.sampled, "interval": interval},
            method="all neighbours" if rows.sampled is None else "all neighbours in a sample",
            precision="float64",
            backends={"neighbours": neighbours.backend},
            notes=tuple(notes),
        ),
    )


def _interval(
    rows: Rows, distances: Distances, value: float, definition: str, **options: Any
) -> tuple[Interval | None, str]:
    """Returns (jackknife over rows, their neighbours kept; why there is none)."""
    buckets, kind = neighbour_distances.buckets(rows, distances)
    count = int(buckets.max()) + 1
    if count < resampling.LEAST_GROUPS:
        return None, f"a jackknife needs at least {resampling.LEAST_GROUPS} {kind}; got {count}"
    try:
        without = np.array([estimate(distances.values[buckets != b], definition, **options) for b in range(count)])
    except NotEnoughData as error:
        return None, str(error)
    shares = np.bincount(buckets, minlength=count) / len(buckets)
    _, error_ = resampling.jackknife(value, without, shares)
    found = resampling.symmetric(value, error_, groups=count, method="jackknife", estimand=f"expected at n={rows.n}")
    return found, ""


def intrinsic_dimension(
    x: Any,
    *,
    definition: str = "twonn",
    discard: float = DISCARD,
    k: int | tuple[int, int] = RANGE,
    neighbours: Neighbours | None = None,
    groups: Any = None,
    interval: str | None = "auto",
    sample: int | None = None,
    backend: str = "auto",
    memory: int | float | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Score:
    """Intrinsic dimension: the dimension of the sheet that rows lie on locally, from distances to neighbours.

    With T_j the Euclidean distance of a row to its j-th neighbour. Definitions:

    * ``"twonn"``: mu = T_2/T_1 has the distribution F(mu) = 1 - mu^-d where the density is constant over two
      neighbours. The slope, through the origin, of -ln(1 - F) on ln mu over the sorted rows, F = i/n, without the
      ``discard`` share of the largest ratios.
    * ``"mle"``: for each number of neighbours k in the range, 1 / mean over rows of
      (1/(k - 1)) sum_(j < k) ln(T_k/T_j), then the mean over k. It averages inverses (MacKay & Ghahramani), because
      the mean of the estimates of single rows, as first published, is biased upwards.

    Both underestimate high dimensions: n rows fill d dimensions only if n grows as exp(d).

    Args:
        x: rows (array, path, source).
        definition: one of the above.
        discard: for ``"twonn"``: share of the largest ratios to leave out, 0.1 as published.
        k: for ``"mle"``: number of neighbours, or first and last of a range, 10 to 20 as published.
        neighbours: `Neighbours` of all rows by ``distance="l2"``, made elsewhere; None to search.
        groups: (n,) group ids: the jackknife leaves out whole groups.
        interval: ``"auto"`` (95 % jackknife over rows, their neighbours kept, where there are rows enough),
            ``"jackknife"`` (always, or an error that says why there is none), or None for no interval.
        sample: how many rows to draw; None for all. Fewer rows mean a coarser scale; the result says "sample".
        backend: backend of the search.
        memory: budget; None for a quarter of the RAM.
        seed: of the sample.
        progress: called with (rows done, rows in all) while rows are compared.

    Returns:
        A `Score`; ``details`` holds ``copies``, the rows that equal an earlier one. They are left out, also as
        neighbours: a point that is there twice would be two neighbours at one distance.

    Raises:
        NotEnoughData: if there are fewer than 10 different rows, or not more than k.
        InputError: if an argument cannot be used.

    Complexity:
        n^2 d multiply-adds for the search; memory O(n (d + k)).

    Source:
        Facco et al. 2017; Levina & Bickel 2005, equation 8, averaged as by MacKay & Ghahramani 2005.

    Example:
        >>> import featdiv, numpy as np
        >>> plane = np.random.default_rng(0).random((4000, 2)) @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
        >>> round(float(featdiv.intrinsic_dimension(plane)))
        2
    """
    check_progress(progress, function="intrinsic_dimension")
    k = check("intrinsic_dimension", definition, discard, k)
    arguments.one_of("intrinsic_dimension", "interval", interval, ("auto", "jackknife", None))
    rows = read(x, function="intrinsic_dimension", groups=groups, sample=sample, seed=seed, memory=memory)
    needed = wanted(definition, k)
    if neighbours is None:
        neighbours = search(rows, needed, backend=backend, memory=memory, progress=progress)
    elif (
        not (neighbours.leave_one_out and neighbours.distance == "l2" and neighbours.n_gallery == rows.n)
        or neighbours.k < needed
    ):
        raise InputError(
            f"intrinsic_dimension: neighbours: expected {needed} or more of each of {rows.n} rows among the others by "
            f"distance='l2'; got {neighbours.k} of {neighbours.n} rows by {neighbours.distance!r}"
        )
    return scored(rows, neighbours.head(needed), definition=definition, discard=discard, k=k, interval=interval)
