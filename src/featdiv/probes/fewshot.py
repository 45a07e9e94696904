"""`fewshot_probe`: accuracy of the nearest centroid in many small random tasks."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterable, Sequence
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
_ROWS = 8192
_STORED = {"bfloat16": "uint16"}
"""A type of the same width where NumPy lacks one."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FewshotProbe(Result):
    """Result of `fewshot_probe`; ``scores`` hold ``"1_shot"``, ``"5_shot"``, … each with its interval.

    Attributes:
        shots: support rows of each class, ascending; those there is data for.
        ways: classes of an episode.
        queries: query rows of each class.
        accuracies: (s, e) accuracy of every episode.
        eligible: (s,) classes that have rows enough for each of ``shots``.
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

    An episode draws ``ways`` classes, and of each ``shots`` rows, whose mean is the centroid, and ``queries`` other
    rows to classify. All episodes are drawn at once, with a generator of their own for each number of shots, and
    judged in batches.

    Args:
        x: rows (array on any device, path, source that can be read by index). An array is used where it lies; a file
            is read whole, in its own type. Distances are taken in float32.
        labels: one integer or string for each row; None where ``x`` carries them.
        shots: support rows of each class, one number or several.
        ways: classes of an episode.
        queries: query rows of each class.
        episodes: how many to draw for each number of shots.
        protocol: name of a published protocol, such as ``"ericsson2021"``, whose values take the place of defaults.
        normalize: ``"l2"`` to divide each row by its norm first.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        seed: of the draws; the row order changes them, their law stays.
        memory: budget for the rows, in bytes or as text; None for a quarter of the RAM.

    Returns:
        A frozen `FewshotProbe`: mean accuracies, with mean ± 1.96 std/sqrt(episodes). The intervals say how well the
        mean over episodes of these rows is known, not what other rows would give. Classes with fewer than shots +
        queries rows are left out (``eligible`` counts the others); with fewer than ``ways`` of them, the score is
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
    notes: tuple[str, ...] = ()
    if protocol is not None:
        given = {"shots": shots, "ways": ways, "queries": queries, "episodes": episodes}
        defaults = {name: inspect.signature(fewshot_probe).parameters[name].default for name in given}
        resolution = protocols.get(protocol).resolve(FUNCTION, given, defaults)
        shots, ways, queries, episodes = resolution.arguments.values()
        notes = resolution.notes
    wanted = sorted({positive(k, f"{FUNCTION}: shots") for k in (shots if isinstance(shots, Iterable) else [shots])})
    if not wanted:
        raise InputError(f"{FUNCTION}: shots: expected at least one number; got none")
    queries, ways = positive(queries, f"{FUNCTION}: queries"), positive(ways, f"{FUNCTION}: ways")
    episodes = positive(episodes, f"{FUNCTION}: episodes")
    for name, value, least in (("ways", ways, 2), ("episodes", episodes, 2)):
        if value < least:
            raise InputError(f"{FUNCTION}: {name}: expected at least {least}; got {value}")
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
    able = {k: np.flatnonzero(counts >= k + queries) for k in wanted}
    undefined = {
        f"{k}_shot": f"{ways} classes with at least {k + queries} rows are needed; {len(classes)} of {len(counts)} "
        "have them. Lower ways, shots or queries"
        for k, classes in able.items()
        if len(classes) < ways
    }
    judged, backends = {}, {}
    for k, classes in able.items():
        if len(classes) >= ways:
            # A stream of its own for each number of shots: asking for more of them changes none.
            random = np.random.default_rng([seed, k])
            drawn = Episodes.draw(
                counts[classes], ways=ways, shots=k, queries=queries, episodes=episodes, random=random
            )
            drawn = dataclasses.replace(drawn, classes=classes[drawn.classes])
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
            arguments={
                "shots": wanted,
                "ways": ways,
                "queries": queries,
                "episodes": episodes,
                "normalize": normalize,
            },
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
        ways=ways,
        queries=queries,
        accuracies=np.array(list(judged.values())),
        eligible=tuple(len(able[k]) for k in judged),
    )


def _judged(
    rows: Any, order: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], drawn: Episodes
) -> tuple[Float64Array, str]:
    """Returns the accuracy of every episode, and the backend that found it; errors speak of the rows of the probe."""
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
    for part in np.array_split(np.flatnonzero(found.codes >= 0), max(1, len(rows) // _ROWS)):
        rows[part] = found.take(part)
    return rows


def _by_class(found: LabelledRows) -> npt.NDArray[np.int64]:
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
