"""Which scores a ranking has, and which call gives each of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from featdiv.analyses import diversity, spectrum, transferability
from featdiv.analyses.diversity_table import selection
from featdiv.analyses.transferability_table import ALL as TRANSFERABILITY
from featdiv.backbones.models import Model
from featdiv.errors import InputError
from featdiv.io import Embeddings
from featdiv.metrics.weights.filter_diversity import MEASURES, filter_diversity

FUNCTION = "featdiv.rank_models"

OF_SPECTRUM = ("effective_rank", "rankme", "participation_ratio", "stable_rank", "spectral_entropy", "alpha_req")
OF_FILTERS = tuple(f"filter_{measure}" for measure in MEASURES)
OF_TRANSFERABILITY = tuple(name for name in TRANSFERABILITY if name not in ("leep", "nce", "knn"))
"""Without what needs the classes that a model was trained on, and without what is a probe here."""

DEFAULT = (
    "logme",
    "h_score",
    "transrate",
    "gbc",
    "lda",
    "effective_rank",
    "rankme",
    "participation_ratio",
    "alpha_req",
    "vendi",
    "mean_cosine",
    "uniformity",
    "intra_class_distance",
    "class_separation",
    "filter_cosine",
    "filter_effective_rank",
)
RESERVED = ("linear", "knn", "finetune", "imagenet_top1")
"""Columns that do not come from here."""

STEPS = ("spectrum", "diversity", "transferability", "filter diversity")


def chosen(scores: Any) -> dict[str, tuple[str, ...]]:
    """Returns step to the names that it is asked for, in the order of the steps; steps without any are left out.

    Args:
        scores: ``"default"``, a name, several, or None for none.

    Raises:
        InputError: if a name is unknown, or needs what a ranking does not have.
    """
    if scores is None:
        return {}
    if not isinstance(scores, (str, Iterable)):
        raise InputError(f"{FUNCTION}: scores: expected 'default', names or None; got {type(scores).__name__}")
    names = [scores] if isinstance(scores, str) else [str(name) for name in scores]
    expanded = [part for name in names for part in (DEFAULT if name == "default" else (name,))]
    found: dict[str, list[str]] = {step: [] for step in STEPS}
    for name in dict.fromkeys(expanded):
        found[_step_of(name)].append(name)
    return {step: tuple(asked) for step, asked in found.items() if asked}


def _step_of(name: str) -> str:
    if name in OF_SPECTRUM:
        return "spectrum"
    if name in OF_TRANSFERABILITY:
        return "transferability"
    if name in OF_FILTERS:
        return "filter diversity"
    if name in RESERVED:
        raise InputError(
            f"{FUNCTION}: scores: {name!r} is no score of features; ask for it by probes=, finetune= or imagenet="
        )
    try:
        selection.chosen([name], labelled=True)
    except InputError:
        known = ["default", *OF_SPECTRUM, *OF_TRANSFERABILITY, *OF_FILTERS]
        known += [metric.name for metric in selection.chosen("all", labelled=True)]
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(dict.fromkeys(known))}"
        raise InputError(f"{FUNCTION}: scores: nothing here is named {name!r}; {hint}") from None
    return "diversity"


def compute(
    step: str,
    names: tuple[str, ...],
    features: Embeddings,
    labels: Any,
    model: Model,
    *,
    interval: str | None,
    seed: int,
    memory: int,
) -> dict[str, Any]:
    """Returns what a step gives, as the dictionary of its result."""
    if step == "filter diversity":
        return filter_diversity(model.module).to_dict()
    given: dict[str, Any] = {"interval": interval, "memory": memory, "seed": seed}
    if step == "spectrum":
        return spectrum(features, **given).to_dict()
    if step == "diversity":
        return diversity(features, labels, metrics=names, **given).to_dict()
    return transferability(features, labels, metrics=names, **given).to_dict()


def columns(step: str, names: tuple[str, ...], content: Mapping[str, Any]) -> list[str]:
    """Returns the scores of a step's result that were asked for; all of them where a metric has several."""
    if step in ("spectrum", "filter diversity"):
        return list(names)
    return list(content["scores"])
