"""One model: its features, scores and probes, each a step that is kept when it is done."""

from __future__ import annotations

import dataclasses
import hashlib
import time
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
"""Images whose features a kill can cost; a multiple of usual batch sizes, so that no batch lies in two shards."""


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
    model = load_model(candidate.model, **candidate.loading)
    features = _extracted(candidate, plan, store, lambda done: tick("extracting features", done))
    steps = _Steps(candidate.name, model, features, plan, store, tick)
    for probe in plan.probes:
        steps.judge(probe)
    for step, names in plan.scores.items():
        steps.score(step, names)
    if plan.directions:
        steps.direct()
    return steps.measured()


def _extracted(candidate: Candidate, plan: Plan, store: Store, report: Callable[[int], None]) -> Features:
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


class _Steps:
    """The steps of one model after its features were extracted, and what they have found so far."""

    def __init__(self, name: str, model: Model, features: Features, plan: Plan, store: Store, tick: Tick) -> None:
        self.name, self.model, self.features = name, model, features
        self.plan, self.store, self.tick = plan, store, tick
        self.facts = {"extraction": features.extraction, "rows": features.fingerprint, "seed": plan.seed}
        self.done = len(plan.data)
        self.values: dict[str, float | None] = {}
        self.bounds: dict[str, tuple[float, float]] = {}
        self.undefined: dict[str, str] = {}
        self.judgements: dict[str, Judgement] = {}
        self.parts: list[Mapping[str, Any]] = []
        self.notes: list[str] = []

    def judge(self, probe: str) -> None:
        """Judges the features by a probe.

        Raises:
            FeatdivError: if the first probe, by which models are ranked, cannot be made.
        """
        self._begin(f"{probe} probe")
        settings = {**self.facts, **crossvalidation.SETTINGS[probe], "folds": self.plan.division()}
        try:
            content = self.store.step(self.name, f"{probe} probe", settings, lambda: self._judgement(probe))
        except FeatdivError as error:
            if probe == self.plan.probes[0]:
                raise
            self.values[probe], self.undefined[probe] = None, reason(error)
        else:
            self.judgements[probe] = Judgement.from_dict(content)
            self.values[probe] = float(self.judgements[probe].correct.mean())

    def _judgement(self, probe: str) -> dict[str, Any]:
        plan = self.plan
        judge = crossvalidation.PROBES[probe]
        return judge(self.features, plan.labels, plan.folds, seed=plan.seed, memory=plan.memory).to_dict()

    def score(self, step: str, names: tuple[str, ...]) -> None:
        """Computes the scores that one call gives, and keeps those that were asked for."""
        self._begin(step)
        try:
            facts = {**self._shaping(step, names), "version": __version__}
            content = self.store.step(self.name, step, facts, lambda: self._scores(step, names))
        except FeatdivError as error:
            self.undefined.update(dict.fromkeys(names, reason(error)))
            self.values.update(dict.fromkeys(names))
            return
        self.parts.append(content)
        self.notes += [note for note in content["provenance"]["notes"] if note.startswith("gbc: ")]
        for name in scores.columns(step, names, content):
            self._keep(name, content)

    def _shaping(self, step: str, names: tuple[str, ...]) -> dict[str, Any]:
        """Returns what shapes the scores of a step, by which its file is found again."""
        if step == "filter diversity":
            # Of the weights alone: neither other images nor other names change what is computed.
            return {"weights": self.model.weights_hash(), "names": []}
        return {**self.facts, "interval": self.plan.interval, "names": list(names)}

    def _scores(self, step: str, names: tuple[str, ...]) -> dict[str, Any]:
        plan = self.plan
        with warnings.catch_warnings():
            # The results carry the same remark among their notes.
            warnings.simplefilter("ignore", SmallSampleWarning)
            found = scores.compute(
                step,
                names,
                self.features,
                plan.labels,
                self.model,
                interval=plan.interval,
                seed=plan.seed,
                memory=plan.memory,
            )
        return {**found, "layers": []} if step == "filter diversity" else found

    def _keep(self, name: str, content: Mapping[str, Any]) -> None:
        """Takes one score, with its interval or the reason why it is undefined, from the dictionary of a result."""
        value, interval = content["scores"].get(name), content["intervals"].get(name)
        self.values[name] = value
        if value is None:
            self.undefined[name] = content["undefined"].get(name, "the result has no such score")
        elif interval is not None:
            self.bounds[name] = interval["low"], interval["high"]

    def direct(self) -> None:
        """Finds the images at the ends of the leading directions."""
        self._begin(DIRECTIONS)
        settings = {**self.facts, "k": self.plan.directions, "extremes": EXTREMES}
        try:
            self.parts.append(self.store.step(self.name, DIRECTIONS, settings, self._directions))
        except FeatdivError as error:
            self.notes.append(f"no directions: {reason(error)}")

    def _directions(self) -> dict[str, Any]:
        k = min(self.plan.directions, self.features.d)
        return directions(self.features, self.plan.data, k=k, extremes=EXTREMES).to_dict()

    def _begin(self, what: str) -> None:
        self.tick(what, self.done)
        self.done += len(self.plan.data)

    def measured(self) -> Measured:
        """Returns all that was found."""
        self.tick("done", self.done)
        return Measured(
            name=self.name,
            values=self.values,
            bounds=self.bounds,
            undefined=self.undefined,
            judgements=self.judgements,
            parts=tuple(self.parts),
            features=self.features,
            facts={"extraction": self.features.extraction},
            notes=tuple(self.notes),
        )
