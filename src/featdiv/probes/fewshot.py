"""`fewshot_probe`: accuracy of the nearest centroid in many small random tasks."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv import __version__, protocols
from featdiv.errors import InputError, NonFiniteError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.labelled.inputs import dropped_note, opened
from featdiv.metrics.labelled.rows import LabelledRows
from featdiv.probes.fewshot_episodes import Episodes, accuracies
from featdiv.results import Interval, Provenance, Result
from featdiv.stats import ClassMoments, arguments, budget
from featdiv.stats.moments import Float64Array

FUNCTION = "fewshot_probe"
LEVEL = 0.95
_QUANTILE = 1.96
_NORMALISED_ROWS = 8192
"""Rows that are normalised at a time."""
_STORED = {"bfloat16": "uint16"}
"""A type of the same width where NumPy lacks one."""

Int64Array = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FewshotProbe(Result):
    """Result of `fewshot_probe`; ``scores`` hold ``"1_shot"``, ``"5_shot"``, … each with its interval.

    Attributes:
        shots: numbers of support rows of each class, ascending, as far as there are rows enough.
        ways: classes of an episode.
        queries: query rows of each class.
        accuracies: (s, e) accuracy of every episode.
        eligible: (s,) for each of ``shots``, how many classes have rows enough.
    """

    shots: tuple[int, ...]
    ways: int
    queries: int
    accuracies: Float64Array
    eligible: tuple[int, ...]

    _array_fields: ClassVar[tuple[str, ...]] = ("shots", "ways", "queries", "eligible")

    def table(self) -> list[dict[str, float]]:
        """Returns one dictionary for each number of shots: shots, accuracy, low, high, classes."""
        lines = []
        for shots, classes in zip(self.shots, self.eligible, strict=True):
            name = f"{shots}_shot"
            interval = self.intervals[name]
            lines.append(
                {
                    "shots": shots,
                    "accuracy": self.scores[name],
                    "low": interval.low,
                    "high": interval.high,
                    "classes": classes,
                }
            )
        return lines

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4f}" for name, value in self.scores.items())
        return f"FewshotProbe({self.ways}-way: {shown})"


def fewshot_probe(
    x: Any,
    labels: Any = None,
    *,
    shots: int | Sequence[int] = (1, 5, 20, 50),
    ways: int = 5,
    queries: int = 15,
    episodes: int = 600,
    protocol: str | None = None,
    normalize: str | None = None,
    ignore: int | str | None = None,
    seed: int = 0,
    memory: int | float | str | None = None,
) -> FewshotProbe:
    """Few-shot probe: mean accuracy of the nearest centroid over random episodes, by squared Euclidean distance.

    An episode draws ``ways`` classes. From each it draws ``shots`` rows, whose mean is the centroid of the class, and
    ``queries`` other rows to classify. All episodes are drawn at once, with a generator of their own for each number
    of shots, and judged in batches.

    Args:
        x: rows (array on any device, path, source that can be read by index). An array is not copied; a file is read
            whole, in its own type. Distances are computed in float32.
        labels: one integer or string for each row; None where ``x`` carries them.
        shots: support rows of each class, one number or several.
        ways: classes of an episode.
        queries: query rows of each class.
        episodes: how many to draw for each number of shots.
        protocol: name of a published protocol, such as ``"ericsson2021"``, whose values take the place of defaults.
        normalize: ``"l2"`` to divide each row by its norm first.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        seed: of the draws. Rows in another order give other episodes, drawn from the same distribution.
        memory: budget for the rows, in bytes or as text; None for a quarter of the RAM.

    Returns:
        A frozen `FewshotProbe`: mean accuracies, with the interval mean ± 1.96 std/sqrt(episodes). It says how well
        the mean over episodes of these rows is known, not what other rows would give. Classes with fewer than shots +
        queries rows are left out (``eligible`` counts the others); where fewer than ``ways`` remain, the score is
        undefined.

    Raises:
        NotEnoughData: if no number of shots has enough classes.
        InputError: if an argument cannot be used, labels are missing, or the source can be read only once.
        BudgetExceeded: if the rows do not fit the budget.

    Complexity:
        O(episodes ways (shots + ways queries) d); no memory beyond an array's own on a CPU, n d entries for a file.

    Source:
        Snell et al. 2017 for the classifier; Ericsson et al. 2021, section 3.1, for the protocol.

    Example:
        >>> import featdiv, numpy as np
        >>> labels = np.repeat(np.arange(6), 30)
        >>> x = 9.0 * np.eye(6)[labels] + np.random.default_rng(0).normal(size=(180, 6))
        >>> probe = featdiv.fewshot_probe(x, labels, shots=(1, 5))
        >>> probe.scores["5_shot"] >= probe.scores["1_shot"] > 0.9
        True
    """
    given: dict[str, Any] = {"shots": shots, "ways": ways, "queries": queries, "episodes": episodes}
    notes: tuple[str, ...] = ()
    if protocol is not None:
        defaults = {name: inspect.signature(fewshot_probe).parameters[name].default for name in given}
        resolution = protocols.get(protocol).resolve(FUNCTION, given, defaults)
        given, notes = dict(resolution.arguments), resolution.notes
    design = _Design.checked(**given)
    arguments.one_of(FUNCTION, "normalize", normalize, (None, "l2"))
    arguments.check_seed(FUNCTION, seed)
    if isinstance(x, ClassMoments):
        raise InputError(f"{FUNCTION}: x: expected labelled rows; got ClassMoments, which no longer hold them")
    limit = budget.budget_bytes(memory, function=FUNCTION)
    with opened(x, labels, function=FUNCTION) as source:
        found = LabelledRows.of(source, function=FUNCTION, ignore=ignore, normalize=normalize)
        assert source.n is not None
        rows = _rows(found, limit)
    counts = found.counts
    order = _by_class(found)
    eligible = {k: np.flatnonzero(counts >= k + design.queries) for k in design.shots}
    undefined = design.undefined(eligible, classes=len(counts))
    judged, backends = {}, {}
    for k, classes in eligible.items():
        if len(classes) >= design.ways:
            drawn = design.drawn(k, counts, classes, seed)
            judged[k], backends["nearest_centroid"] = _judged(rows, order, counts, drawn)
    if not judged:
        raise NotEnoughData(f"{FUNCTION}: {next(iter(undefined.values()))}")
    return FewshotProbe(
        scores={f"{k}_shot": float(values.mean()) for k, values in judged.items()},
        undefined=undefined,
        intervals={f"{k}_shot": _interval(values) for k, values in judged.items()},
        provenance=Provenance(
            function=f"featdiv.{FUNCTION}",
            version=__version__,
            definition=None if protocol is None else protocols.get(protocol).identity,
            arguments={**dataclasses.asdict(design), "normalize": normalize},
            method="nearest centroid",
            precision="float32",
            n=int(counts.sum()),
            d=int(rows.shape[1]),
            backends=backends,
            seed=seed,
            passes=1,
            notes=(*notes, *dropped_note(found.dropped)),
            dtype=source.dtype,
            source=source.description,
            fingerprint=source.fingerprint,
            extraction=source.extraction,
        ),
        shots=tuple(judged),
        ways=design.ways,
        queries=design.queries,
        accuracies=np.array(list(judged.values())),
        eligible=tuple(len(eligible[k]) for k in judged),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Design:
    """What episodes are made of, and how many are drawn for each number of shots."""

    shots: list[int]
    ways: int
    queries: int
    episodes: int

    @classmethod
    def checked(cls, *, shots: Any, ways: Any, queries: Any, episodes: Any) -> _Design:
        """Returns the design, its numbers of shots ascending and each once.

        Raises:
            InputError: if a number is too small, or there are no shots.
        """
        several = shots if isinstance(shots, Iterable) else [shots]
        wanted = sorted({positive(k, f"{FUNCTION}: shots") for k in several})
        if not wanted:
            raise InputError(f"{FUNCTION}: shots: expected at least one number; got none")
        queries, ways = positive(queries, f"{FUNCTION}: queries"), positive(ways, f"{FUNCTION}: ways")
        episodes = positive(episodes, f"{FUNCTION}: episodes")
        for name, value in (("ways", ways), ("episodes", episodes)):
            if value < 2:
                raise InputError(f"{FUNCTION}: {name}: expected at least 2; got {value}")
        return cls(shots=wanted, ways=ways, queries=queries, episodes=episodes)

    def undefined(self, eligible: Mapping[int, Int64Array], *, classes: int) -> dict[str, str]:
        """Returns the scores for which too few of the ``classes`` have rows enough, with the reason."""
        return {
            f"{k}_shot": f"{self.ways} classes with at least {k + self.queries} rows are needed; {len(found)} of "
            f"{classes} have them. Lower ways, shots or queries"
            for k, found in eligible.items()
            if len(found) < self.ways
        }

    def drawn(self, shots: int, counts: Int64Array, classes: Int64Array, seed: int) -> Episodes:
        """Returns the episodes for one number of shots, drawn from the eligible ``classes``."""
        # A stream of its own for each number of shots: asking for more of them changes none.
        random = np.random.default_rng([seed, shots])
        episodes = Episodes.draw(
            counts[classes], ways=self.ways, shots=shots, queries=self.queries, episodes=self.episodes, random=random
        )
        return dataclasses.replace(episodes, classes=classes[episodes.classes])


def _judged(rows: Any, order: Int64Array, counts: Int64Array, drawn: Episodes) -> tuple[Float64Array, str]:
    """Returns the accuracy of every episode, and the backend that found it; errors name the probe and its argument."""
    try:
        return accuracies(rows, order, counts, drawn)
    except NonFiniteError as error:
        raise NonFiniteError(
            f"{FUNCTION}: x: expected finite rows; got {error.count} NaN or infinite entries, the first in row "
            f"{error.first_row}. Leave such rows out.",
            count=error.count,
            first_row=error.first_row,
        ) from None
    except InputError as error:
        raise InputError(str(error).replace("nearest_centroid: rows", f"{FUNCTION}: x")) from None


def _rows(found: LabelledRows, limit: int) -> Any:
    """Returns all rows: an array as it is, a file's in the type in which it is stored, normalised ones in float32."""
    source = found.source
    assert source.n is not None
    if found.normalize is None and source.format == "array":
        return next(iter(source.chunks(source.n))).rows
    width = 4 if found.normalize is not None else int(np.dtype(_STORED.get(source.dtype, source.dtype)).itemsize)
    budget.require(
        width * source.n * source.d,
        limit,
        function=FUNCTION,
        what=f"{source.n} rows of {source.d} features of {width} bytes",
        advice="Raise memory=, or pass a sample of the rows.",
    )
    if found.normalize is None:
        return source.take(np.arange(source.n))
    rows = np.empty((source.n, source.d), dtype=np.float32)
    for part in np.array_split(np.flatnonzero(found.codes >= 0), max(1, len(rows) // _NORMALISED_ROWS)):
        rows[part] = found.take(part)
    return rows


def _by_class(found: LabelledRows) -> Int64Array:
    """Returns the rows that count, class after class."""
    # A stable sort of short integers is a radix sort.
    codes = found.codes.astype(np.int16) if len(found.classes) < np.iinfo(np.int16).max else found.codes
    return np.argsort(codes, kind="stable")[found.dropped :]


def _interval(values: Float64Array) -> Interval:
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return Interval(
        low=mean - _QUANTILE * error,
        high=mean + _QUANTILE * error,
        level=LEVEL,
        standard_error=error,
        method="mean ± 1.96 standard errors over episodes",
        estimand="mean over episodes of these rows",
        groups=len(values),
    )
