"""The few-shot form of the kNN probe: a few training rows of every class vote, drawn again and again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.probes.knn_labels import Labelled
from featdiv.probes.knn_result import Cell, KnnProbe, joined, mean_accuracy
from featdiv.probes.knn_vote import Int64Array, Rule, tally
from featdiv.results import Interval, Provenance
from featdiv.stats.neighbours import Neighbours

_FUNCTION = "knn_probe"
_LEVEL = 0.95


def probe(
    gallery: Labelled,
    queries: Labelled | None,
    *,
    per_class: int,
    seeds: int | Sequence[int],
    fitting: Callable[[int], tuple[tuple[Rule, ...], dict[str, str]]],
    search: Callable[..., Neighbours],
    provenance: Provenance,
) -> KnnProbe:
    """Returns the mean over draws of ``per_class`` training rows of every class.

    Args:
        gallery: rows to draw from.
        queries: rows to classify; None for those that were not drawn.
        per_class: rows of each class.
        seeds: number of draws, or their seeds.
        fitting: number of rows that vote -> (rules that they are enough for, reasons against the others).
        search: (gallery, queries, k) -> neighbours.
        provenance: of the probe.

    Raises:
        NotEnoughData: if a class has too few rows.
    """
    numbers: tuple[Any, ...] = (
        tuple(seeds) if isinstance(seeds, Sequence) else tuple(range(positive(seeds, f"{_FUNCTION}: seeds")))
    )
    if not numbers or any(isinstance(s, bool) or not isinstance(s, (int, np.integer)) or s < 0 for s in numbers):
        raise InputError(f"{_FUNCTION}: seeds: expected their number, or whole numbers of at least 0; got {seeds!r}")
    _check_counts(gallery, per_class, draws_only=queries is not None)
    c = len(gallery.classes)
    wanted, undefined = fitting(per_class * c)
    results = np.empty((3, len(numbers), len(wanted)))
    asked = gallery if queries is None else queries
    for place, seed in enumerate(numbers):
        drawn = draw(gallery.codes, per_class, seed)
        if queries is None:
            asked = gallery.subset(np.setdiff1d(np.arange(gallery.n), drawn))
        voters = gallery.subset(drawn)
        table = search(voters.source, asked.source, wanted[-1].k)
        counts = np.bincount(asked.codes, minlength=c)
        for number, found in enumerate(tally(table, voters.codes, asked.codes, wanted)):
            results[:, place, number] = (
                found.correct() / asked.n,
                found.correct(5) / asked.n,
                mean_accuracy(found, asked.codes, counts),
            )
    top1, top5, per = results.mean(axis=1)
    cells = tuple(
        Cell(
            k=rule.k,
            vote=rule.vote,
            temperature=rule.temperature,
            top1=float(top1[number]),
            top5=float(top5[number]),
            mean_per_class=float(per[number]),
            interval=_interval(results[0, :, number]),
        )
        for number, rule in enumerate(wanted)
    )
    arguments = {**provenance.arguments, "per_class": per_class, "seeds": numbers}
    notes = (*provenance.notes, *table.notes)
    return KnnProbe(
        scores={cell.name: cell.top1 for cell in cells},
        undefined=undefined,
        intervals={cell.name: cell.interval for cell in cells if cell.interval is not None},
        provenance=dataclasses.replace(
            provenance, method="few-shot", arguments=arguments, backends={"neighbours": table.backend}, notes=notes
        ),
        cells=cells,
        classes=gallery.classes,
        counts=counts.astype(np.int64),
        best_by="evaluated",
        near_duplicates=0,
        per_class_limit=per_class,
        draws=results[0],
    )


def draw(codes: Int64Array, per_class: int, seed: int) -> Int64Array:
    """Returns ascending rows: ``per_class`` of every class, without replacement."""
    order = np.random.default_rng(seed).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    _, starts = np.unique(codes[order], return_index=True)
    return np.sort((order[starts[:, None] + np.arange(per_class)]).ravel()).astype(np.int64)


def _check_counts(gallery: Labelled, per_class: int, *, draws_only: bool) -> None:
    counts = np.bincount(gallery.codes)
    short = counts < per_class
    if short.any():
        raise NotEnoughData(
            f"{_FUNCTION}: per_class: expected {per_class} training rows of every class; "
            f"{joined(gallery.classes[short].tolist())} have fewer, down to {int(counts.min())}"
        )
    if not draws_only and not (counts > per_class).any():
        raise NotEnoughData(f"{_FUNCTION}: per_class: drawing {per_class} of every class leaves no rows to classify")


def _interval(values: npt.NDArray[np.float64]) -> Interval | None:
    """Returns Student's interval of the mean over draws; None for one draw."""
    count = len(values)
    if count < 2:
        return None
    from scipy.stats import t

    error = float(values.std(ddof=1)) / math.sqrt(count)
    half = float(t.ppf(0.5 + _LEVEL / 2, count - 1)) * error
    mean = float(values.mean())
    return Interval(
        low=max(0.0, mean - half),
        high=min(1.0, mean + half),
        level=_LEVEL,
        standard_error=error,
        method="Student",
        estimand="mean over draws of the training rows",
        groups=count,
    )
