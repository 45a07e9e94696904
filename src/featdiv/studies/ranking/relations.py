"""What is found out between models: how alike they are, and what the best one shows that the next one lacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from featdiv.analyses import compare, directions
from featdiv.backbones.features import Features
from featdiv.errors import FeatdivError
from featdiv.studies.ranking.failures import reason
from featdiv.studies.ranking.measure import EXTREMES, Measured, Plan
from featdiv.studies.ranking.store import Store

ALIKE = "similarity"
EVERYONE = "all models"
"""What the step that compares them stands under."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relations:
    """What was found out between models.

    Attributes:
        similarity: the dictionary of the `Comparison` of all models; None where there is none.
        missing: model to the dictionaries of `Directions` that it has and another model lacks.
        notes: remarks on what could not be had.
    """

    similarity: Mapping[str, Any] | None = None
    missing: Mapping[str, tuple[Mapping[str, Any], ...]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def relate(
    ranked: Sequence[Measured], plan: Plan, store: Store, *, similarity: bool, tick: Callable[[str], None]
) -> Relations:
    """Compares all models by debiased linear CKA, and the first two of them by the directions that one alone has.

    Args:
        ranked: the models, the best first.
        plan: images and settings.
        store: where finished steps are kept.
        similarity: whether models are compared.
        tick: called with what is being done.
    """
    notes: list[str] = []
    held = [one for one in ranked if one.features is not None]
    if similarity and len(held) < len(ranked):
        left = ", ".join(one.name for one in ranked if one.features is None)
        notes.append(
            f"the features of {left} do not fit the memory budget beside the others: they are not compared with them. "
            "Name a folder (out=), or raise memory="
        )
    alike = None
    if similarity and len(held) > 1:
        tick("comparing the models")
        try:
            alike = _similarity(held, plan, store)
        except FeatdivError as error:
            notes.append(f"the models are not compared: {reason(error)}")
    missing: dict[str, tuple[Mapping[str, Any], ...]] = {}
    first = held[:2]
    if plan.directions and len(first) == 2 and first == list(ranked[:2]):
        for one, other in (first, first[::-1]):
            tick(f"what {one.name} shows and {other.name} lacks")
            try:
                missing[one.name] = (_missing(one, other, plan, store),)
            except FeatdivError as error:
                notes.append(f"no directions that {one.name} has and {other.name} lacks: {reason(error)}")
    return Relations(similarity=alike, missing=missing, notes=tuple(notes))


def _similarity(held: Sequence[Measured], plan: Plan, store: Store) -> dict[str, Any]:
    # By name, so that the order in which models were listed does not matter.
    features = {one.name: _features(one) for one in sorted(held, key=lambda one: one.name)}

    def compute() -> dict[str, Any]:
        return compare(features, metric="cka", interval=plan.interval, memory=plan.memory, seed=plan.seed).to_dict()

    facts = {
        "models": {name: [one.extraction, one.fingerprint] for name, one in features.items()},
        "interval": plan.interval,
        "seed": plan.seed,
    }
    return store.step(EVERYONE, ALIKE, facts, compute)


def _missing(one: Measured, other: Measured, plan: Plan, store: Store) -> dict[str, Any]:
    x, without = _features(one), _features(other)

    def compute() -> dict[str, Any]:
        k = min(plan.directions, x.d)
        found = directions(x, plan.data, other=without, other_name=other.name, k=k, extremes=EXTREMES)
        return found.to_dict()

    facts = {
        "models": {each.name: [_features(each).extraction, _features(each).fingerprint] for each in (one, other)},
        "k": plan.directions,
        "extremes": EXTREMES,
    }
    return store.step(one.name, f"what {other.name} lacks", facts, compute)


def _features(one: Measured) -> Features:
    assert one.features is not None
    return one.features
