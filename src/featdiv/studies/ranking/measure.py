"""One model: its features, scores and probes, each a step that is kept when it is done."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.analyses.principal.run import directions
from featdiv.backbones.extract import extract
from featdiv.backbones.features import Features
from featdiv.backbones.images import Images
from featdiv.backbones.models import Model, load_model
from featdiv.errors import FeatdivError, SmallSampleWarning
from featdiv.studies.ranking import crossvalidation, scores
from featdiv.studies.ranking.candidates import Candidate
from featdiv.studies.ranking.crossvalidation import Judgement
from featdiv.studies.ranking.failures import reason
from featdiv.studies.ranking.store import Step, Store

Int64Array = npt.NDArray[np.int64]
Tick = Callable[[str, int], None]
"""Takes what is being done for the model, and the images of its steps that are done."""

EXTRACTION = "features"
DIRECTIONS = "directions"
EXTREMES = 5
"""Images at each end of a direction."""
SHARD_ROWS = 256
"""Images that a kill can cost; a multiple of the usual batches, so that a shard is the same batches in any call."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is done for every model.

    Attributes:
        data: the images, all labelled.
        labels: (n,) numbers of their classes.
        folds: (repeats, n) fold of each image.
        scores: step to the names that it is asked for.
        probes: names of the probes.
        interval: intervals of the scores: ``"auto"`` where they are valid, or None.
        directions: how many leading directions of each model are shown; 0 for none.
        features: folder of the features; None to keep them in memory.
        seed: of every random choice.
        memory: budget in bytes.
    """

    data: Images
    labels: Int64Array
    folds: Int64Array
    scores: Mapping[str, tuple[str, ...]]
    probes: tuple[str, ...]
    interval: str | None
    directions: int
    features: Path | None
    seed: int
    memory: int

    @property
    def steps(self) -> int:
        """Number of steps for each model."""
        return 1 + len(self.scores) + len(self.probes) + bool(self.directions)

    def division(self) -> str:
        """Returns a hash of the folds."""
        return hashlib.blake2b(self.folds.astype("<i8").tobytes(), digest_size=12).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was found out about a model.

    Attributes:
        name: the model.
        values: score to value, None where it is undefined.
        bounds: score to the ends of its 95 % interval, where it has one.
        undefined: score to the reason why it has no value.
        judgements: probe to who was right where.
        parts: results that were computed on the way, as dictionaries.
        features: the features; None where they were not kept.
        facts: what shaped the features, as plain JSON values.
        notes: remarks on what could not be had.
    """

    name: str
    values: Mapping[str, float | None]
    bounds: Mapping[str, tuple[float, float]]
    undefined: Mapping[str, str]
    judgements: Mapping[str, Judgement]
    parts: tuple[Mapping[str, Any], ...]
    features: Features | None
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def measure(candidate: Candidate, plan: Plan, store: Store, tick: Tick) -> Measured:
    """Takes all steps for a model.

    Raises:
        FeatdivError: whatever keeps its features from being extracted, or the first probe from being made.
    """
    n = len(plan.data)
    model = load_model(candidate.model, **candidate.loading)
    features = _extracted(candidate, plan, store, lambda done: tick("extracting features", done))
    values: dict[str, float | None] = {}
    bounds: dict[str, tuple[float, float]] = {}
    undefined: dict[str, str] = {}
    judgements: dict[str, Judgement] = {}
    parts: list[Mapping[str, Any]] = []
    notes: list[str] = []
    facts = {"extraction": features.extraction, "rows": features.fingerprint, "seed": plan.seed}
    done = n
    for probe in plan.probes:
        tick(f"{probe} probe", done)
        settings = {**facts, **crossvalidation.SETTINGS[probe], "folds": plan.division()}
        try:
            judgements[probe] = _judged(candidate.name, probe, features, plan, store, settings)
        except FeatdivError as error:
            if probe == plan.probes[0]:
                raise
            values[probe], undefined[probe] = None, reason(error)
        else:
            values[probe] = float(judgements[probe].correct.mean())
        done += n
    for step, names in plan.scores.items():
        tick(step, done)
        try:
            content = _scored(candidate.name, step, names, features, model, plan, store, facts)
        except FeatdivError as error:
            undefined.update(dict.fromkeys(names, reason(error)))
            values.update(dict.fromkeys(names))
        else:
            parts.append(content)
            notes += [note for note in content["provenance"]["notes"] if note.startswith("gbc: ")]
            for name in scores.columns(step, names, content):
                values[name] = content["scores"].get(name)
                interval = content["intervals"].get(name)
                if values[name] is None:
                    undefined[name] = content["undefined"].get(name, "the result has no such score")
                elif interval is not None:
                    bounds[name] = interval["low"], interval["high"]
        done += n
    if plan.directions:
        tick(DIRECTIONS, done)
        try:
            parts.append(_directed(candidate.name, features, plan, store, facts))
        except FeatdivError as error:
            notes.append(f"no directions: {reason(error)}")
        done += n
    tick("done", done)
    return Measured(
        name=candidate.name,
        values=values,
        bounds=bounds,
        undefined=undefined,
        judgements=judgements,
        parts=tuple(parts),
        features=features,
        facts={"extraction": features.extraction},
        notes=tuple(notes),
    )


def _extracted(candidate: Candidate, plan: Plan, store: Store, report: Callable[[int], None]) -> Features:
    import time

    fresh = 0
    first: int | None = None

    def progress(done: int, total: int | None) -> None:
        nonlocal fresh, first
        first = done if first is None else first
        fresh = done - first
        report(done)

    started = time.perf_counter()
    features = extract(
        candidate.model,
        plan.data,
        out=plan.features,
        shard_rows=SHARD_ROWS,
        progress=progress,
        **{name: value for name, value in candidate.arguments.items() if name != "shard_rows"},
    )
    seconds = round(time.perf_counter() - started, 3)
    store.steps.append(Step(model=candidate.name, step=EXTRACTION, seconds=seconds, cached=fresh == 0))
    return features


def _judged(name: str, probe: str, features: Features, plan: Plan, store: Store, facts: Mapping[str, Any]) -> Judgement:
    def compute() -> dict[str, Any]:
        judge = crossvalidation.PROBES[probe]
        return judge(features, plan.labels, plan.folds, seed=plan.seed, memory=plan.memory).to_dict()

    return Judgement.from_dict(store.step(name, f"{probe} probe", facts, compute))


def _scored(
    name: str,
    step: str,
    names: tuple[str, ...],
    features: Features,
    model: Model,
    plan: Plan,
    store: Store,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    if step == "filter diversity":
        # Of the weights alone: other images change nothing.
        facts = {"weights": model.weights_hash()}
        names = ()
    else:
        facts = {**facts, "interval": plan.interval}

    def compute() -> dict[str, Any]:
        with warnings.catch_warnings():
            # The results carry the same remark among their notes.
            warnings.simplefilter("ignore", SmallSampleWarning)
            found = scores.compute(
                step,
                names,
                features,
                plan.labels,
                model,
                interval=plan.interval,
                seed=plan.seed,
                memory=plan.memory,
            )
        if step == "filter diversity":
            found = {**found, "layers": []}
        return found

    return store.step(name, step, {**facts, "names": list(names), "version": __version__}, compute)


def _directed(name: str, features: Features, plan: Plan, store: Store, facts: Mapping[str, Any]) -> dict[str, Any]:
    def compute() -> dict[str, Any]:
        k = min(plan.directions, features.d)
        return directions(features, plan.data, k=k, extremes=EXTREMES).to_dict()

    settings = {**facts, "k": plan.directions, "extremes": EXTREMES}
    return store.step(name, DIRECTIONS, settings, compute)
