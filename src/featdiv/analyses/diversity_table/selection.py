"""Which metrics a call asks for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from featdiv.errors import InputError
from featdiv.metrics import catalogue
from featdiv.metrics.entry import Metric

FUNCTION = "featdiv.diversity"

DEFAULT = (
    "effective_rank",
    "rankme",
    "participation_ratio",
    "alpha_req",
    "isoscore",
    "vendi",
    "mean_cosine",
    "redundancy",
    "dimension_usage",
    "sparsity",
    "uniformity",
    "intrinsic_dimension",
)
DEFAULT_LABELLED = ("intra_class_distance", "class_separation", "neural_collapse", "rate_reduction")

FAMILIES = ("spectral", "geometric", "labelled")
"""Families whose metrics are about one set of rows."""

NEED_MORE = {
    "frechet_distance": "it compares two sets of rows",
    "alignment": "it compares two views of the same inputs",
    "components_for": "it needs a share q",
    "explained_variance": "it needs a number of components k",
}
"""Metrics of these families that need more than the rows, with the reason."""

Metrics = str | Sequence[str]


def chosen(metrics: Metrics, *, labelled: bool) -> tuple[Metric, ...]:
    """Returns the metrics, in the order in which they are shown, each once.

    Args:
        metrics: ``"default"``, ``"all"``, a family, a metric, or a list of such names.
        labelled: whether there are labels; without, groups of metrics leave the labelled ones out.

    Raises:
        InputError: if a name is unknown, or a metric asked for by name needs what a call does not have.
    """
    asked: list[Any] = list(metrics) if isinstance(metrics, (list, tuple, set)) else [metrics]
    if not asked:
        raise InputError(f"{FUNCTION}: metrics: expected at least one name; got none")
    strangers = [name for name in asked if not isinstance(name, str)]
    if strangers:
        raise InputError(f"{FUNCTION}: metrics: expected names, alone or in a list; got {strangers[0]!r}")
    names: dict[str, None] = {}
    for name in asked:
        names.update(dict.fromkeys(_expanded(name, labelled=labelled)))
    return tuple(catalogue.get(name) for name in names)


def _expanded(name: str, *, labelled: bool) -> list[str]:
    if name == "default":
        return [*DEFAULT, *(DEFAULT_LABELLED if labelled else ())]
    if name == "all" or name in FAMILIES:
        families = FAMILIES if name == "all" else (name,)
        if name == "labelled" and not labelled:
            raise InputError(f"{FUNCTION}: metrics: 'labelled' needs labels=; got None")
        return [
            metric
            for family in families
            if family != "labelled" or labelled
            for metric in catalogue.names(family)
            if metric not in NEED_MORE and catalogue.get(metric).alias_of is None
        ]
    known = [metric for family in FAMILIES for metric in catalogue.names(family)]
    if name not in known:
        near = difflib.get_close_matches(name, ["default", "all", *FAMILIES, *known], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are default, all, {', '.join(FAMILIES)}"
        raise InputError(f"{FUNCTION}: metrics: nothing is named {name!r}; {hint}")
    if name in NEED_MORE:
        raise InputError(f"{FUNCTION}: metrics: {name} cannot be had here: {NEED_MORE[name]}; call featdiv.{name}")
    if catalogue.get(name).family == "labelled" and not labelled:
        raise InputError(f"{FUNCTION}: metrics: {name!r} needs labels=; got None")
    return [name]
