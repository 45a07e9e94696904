"""The vote of neighbours, for every number of neighbours and every weighting, from one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.stats.neighbours import Neighbours

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

VOTES = ("exp", "uniform")
TEMPERATURE = 0.07
"""Of Wu et al. 2018, DINO and DINOv2."""

_BLOCK_ENTRIES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """How neighbours vote.

    Attributes:
        k: how many of them.
        vote: ``"exp"`` or ``"uniform"``.
        temperature: of ``"exp"``; None for ``"uniform"``.
    """

    k: int
    vote: str
    temperature: float | None = None


def rules(k: Sequence[int], votes: Sequence[str], temperatures: Sequence[float]) -> tuple[Rule, ...]:
    """Returns every combination, the numbers of neighbours ascending."""
    weighting: list[tuple[str, float | None]] = []
    for vote in dict.fromkeys(votes):
        weighting += (
            [(vote, temperature) for temperature in dict.fromkeys(temperatures)] if vote == "exp" else [(vote, None)]
        )
    return tuple(Rule(k=number, vote=vote, temperature=value) for number in sorted(set(k)) for vote, value in weighting)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """What the vote says of some queries.

    Attributes:
        rule: how the neighbours voted.
        predicted: (m,) class of most votes.
        rank: (m,) number of classes that have more votes than the true one, or -1 where it has none.
    """

    rule: Rule
    predicted: Int64Array
    rank: Int64Array

    def correct(self, top: int = 1) -> int:
        """Returns for how many queries the true class is among the ``top`` classes."""
        return int(((self.rank >= 0) & (self.rank < top)).sum())


def tally(neighbours: Neighbours, codes: Int64Array, truth: Int64Array, wanted: Sequence[Rule]) -> list[Tally]:
    """Returns the outcome of every rule.

    A class has the sum of the weights of the neighbours that belong to it: 1 each for ``"uniform"``, exp(s / T) for
    ``"exp"``, s the cosine, or -|x - y|^2 / 2 (which differs from the cosine of unit rows by a constant). Equal sums
    are decided by the larger sum of s, then by the lower class.

    Args:
        neighbours: of m queries in a gallery of n rows.
        codes: (n,) class of each row of the gallery, 0 to c - 1.
        truth: (m,) class of each query.
        wanted: the rules.

    Raises:
        InputError: if a rule wants more neighbours than there are, or the classes do not fit the table.

    Complexity:
        O(m k log k) for each k; memory O(m) for each rule beside blocks of about a million neighbours, whatever the
        number of classes.

    Example:
        >>> import numpy as np
        >>> near = Neighbours.of(np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]]), k=3)
        >>> codes = np.array([0, 0, 1, 1])
        >>> [t.predicted.tolist() for t in tally(near, codes, codes, rules([1, 3], ["uniform"], []))]
        [[0, 1, 0, 1], [1, 1, 0, 0]]
    """
    _check(neighbours, codes, truth, wanted)
    predicted = [np.empty(neighbours.n, np.int64) for _ in wanted]
    rank = [np.empty(neighbours.n, np.int64) for _ in wanted]
    for rows, number, segments, weights in _weighed(neighbours, codes, wanted):
        predicted[number][rows] = segments.winners(weights)
        rank[number][rows] = segments.ranks(weights, truth[rows])
    return [Tally(rule=rule, predicted=predicted[number], rank=rank[number]) for number, rule in enumerate(wanted)]


def accuracy(
    neighbours: Neighbours, codes: Int64Array, *, k: int, vote: str = "exp", temperature: float = TEMPERATURE
) -> float:
    """Returns the share of rows whose neighbours vote for their own class: a leave-one-out accuracy.

    Args:
        neighbours: of the rows among one another.
        codes: (n,) class of each row, 0 to c - 1.
        k: how many of the neighbours vote.
        vote: ``"exp"`` or ``"uniform"``.
        temperature: of ``"exp"``.
    """
    if not neighbours.leave_one_out:
        raise InputError("knn_vote.accuracy: neighbours: expected those of a leave-one-out search")
    (found,) = tally(neighbours, codes, codes, rules([k], [vote], [temperature]))
    return found.correct() / neighbours.n


def shares(neighbours: Neighbours, codes: Int64Array, classes: int, rule: Rule) -> npt.NDArray[np.float32]:
    """Returns (m, c) shares of the votes, each row of which sums to one."""
    out = np.zeros((neighbours.n, classes), dtype=np.float32)
    for rows, _, segments, weights in _weighed(neighbours, codes, [rule]):
        total = np.add.reduceat(weights, segments.row_starts)
        out[rows][segments.row, segments.label] = weights / total[segments.row]
    return out


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Segments:
    """The classes that the first k neighbours of each query of a block belong to, queries ascending, then classes.

    Attributes:
        row: (s,) query of the block.
        label: (s,) class.
        similarity: (s,) sum over the neighbours of that class.
        row_starts: (b,) first entry of each query.
    """

    row: Int64Array
    label: Int64Array
    similarity: Float64Array
    row_starts: Int64Array

    def winners(self, weights: Float64Array) -> Int64Array:
        """Returns the class of most votes for each query."""
        first = weights == np.maximum.reduceat(weights, self.row_starts)[self.row]
        similarity = np.where(first, self.similarity, -np.inf)
        first &= similarity == np.maximum.reduceat(similarity, self.row_starts)[self.row]
        place = np.flatnonzero(first)
        # Classes ascend within a query: the first of those left has the lowest.
        _, chosen = np.unique(self.row[place], return_index=True)
        return self.label[place[chosen]]

    def ranks(self, weights: Float64Array, truth: Int64Array) -> Int64Array:
        """Returns how many classes come before the true one, or -1 where it has no vote."""
        own = np.flatnonzero(self.label == truth[self.row])
        weight, similarity = np.full(len(truth), -np.inf), np.full(len(truth), -np.inf)
        weight[self.row[own]], similarity[self.row[own]] = weights[own], self.similarity[own]
        weight, similarity = weight[self.row], similarity[self.row]
        before = (self.similarity > similarity) | ((self.similarity == similarity) & (self.label < truth[self.row]))
        before = (weights > weight) | ((weights == weight) & before)
        rank = np.add.reduceat(before.astype(np.int64), self.row_starts)
        voted = np.zeros(len(truth), dtype=bool)
        voted[self.row[own]] = True
        return np.where(voted, rank, -1)


def _weighed(
    neighbours: Neighbours, codes: Int64Array, wanted: Sequence[Rule]
) -> Iterator[tuple[slice, int, _Segments, Float64Array]]:
    """Yields (queries, number of the rule, classes voted for, their weights) for blocks of queries."""
    widest = max(rule.k for rule in wanted)
    step = max(1, _BLOCK_ENTRIES // widest)
    for start in range(0, neighbours.n, step):
        rows = slice(start, min(start + step, neighbours.n))
        labels = codes[neighbours.indices[rows, :widest]]
        values = neighbours.values[rows, :widest].astype(np.float64)
        similarity = values if neighbours.distance == "cosine" else -0.5 * values**2
        for k in sorted({rule.k for rule in wanted}):
            segments, place, starts = _segmented(labels[:, :k], similarity[:, :k])
            for number, rule in enumerate(wanted):
                if rule.k != k:
                    continue
                if rule.temperature is None:
                    weights = np.diff(starts, append=len(place)).astype(np.float64)
                else:
                    # The nearest weighs one, so that nothing overflows whatever the temperature.
                    each = np.exp((similarity[:, :k] - similarity[:, :1]) / rule.temperature)
                    weights = np.add.reduceat(each.ravel()[place], starts)
                yield rows, number, segments, weights


def _segmented(labels: Int64Array, similarity: Float64Array) -> tuple[_Segments, Int64Array, Int64Array]:
    """Returns the classes of each row, the (b k) entries in the order of class, and where each class starts in it."""
    b, k = labels.shape
    bits = max(1, int(k - 1).bit_length())
    # Class and place in one number: one plain sort groups the classes and keeps the near before the far.
    keys = np.sort((labels << bits) | np.arange(k), axis=1)
    place = ((keys & ((1 << bits) - 1)) + k * np.arange(b)[:, None]).ravel()
    label = keys >> bits
    new = np.ones((b, k), dtype=bool)
    new[:, 1:] = label[:, 1:] != label[:, :-1]
    starts = np.flatnonzero(new)
    row = starts // k
    segments = _Segments(
        row=row,
        label=label.ravel()[starts],
        similarity=np.add.reduceat(similarity.ravel()[place], starts),
        row_starts=np.searchsorted(row, np.arange(b)),
    )
    return segments, place, starts


def _check(neighbours: Neighbours, codes: Int64Array, truth: Int64Array, wanted: Sequence[Rule]) -> None:
    if codes.shape != (neighbours.n_gallery,):
        raise InputError(
            f"knn_vote: codes: expected one class for each of {neighbours.n_gallery} rows of the gallery; got shape "
            f"{codes.shape}"
        )
    if truth.shape != (neighbours.n,):
        raise InputError(
            f"knn_vote: truth: expected one class for each of {neighbours.n} queries; got shape {truth.shape}"
        )
    for rule in wanted:
        if not 1 <= rule.k <= neighbours.k:
            raise InputError(f"knn_vote: k: expected 1 to {neighbours.k}, the neighbours found; got {rule.k}")
        if rule.vote not in VOTES:
            raise InputError(f"knn_vote: vote: expected one of {', '.join(map(repr, VOTES))}; got {rule.vote!r}")
        if rule.temperature is not None and not rule.temperature > 0.0:
            raise InputError(f"knn_vote: temperature: expected a positive number; got {rule.temperature}")
