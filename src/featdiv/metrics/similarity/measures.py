"""The measures as `featdiv.compare` runs them: what each takes, prepares once for a model, and computes for a pair."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from featdiv.errors import InputError
from featdiv.io.embeddings import positive
from featdiv.metrics.entry import Metric
from featdiv.metrics.similarity import cka_rbf, svcca
from featdiv.metrics.similarity.left_out import Estimate
from featdiv.metrics.similarity.rsa import DISTANCES
from featdiv.stats import arguments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure under one definition.

    Attributes:
        metric: its catalogue entry.
        definition: named formula, or None where there is one only.
        takes: ``"moments"`` (the core takes a `Pair`), ``"parts"`` (it takes the parts of `CrossMoments` and two names)
            or ``"rows"`` (it takes what ``prepare`` made of each side).
        core: the pure core.
        prepare: for rows, makes of one side what the core takes.
        symmetric: whether swapping the sides changes nothing.
        distance: whether alike is small.
        exact: whether float64 is wanted where no precision is asked for.
        identity: the value of a model with itself.
        estimate: what its jackknife estimates, or None where that is not valid.
    """

    metric: Metric
    definition: str | None
    takes: str
    core: Callable[..., float]
    prepare: Callable[..., Any] | None
    symmetric: bool
    distance: bool
    exact: bool
    identity: float | None
    estimate: Estimate | None

    def parameters(self, given: Mapping[str, Any], *, function: str) -> dict[str, Any]:
        """Returns the arguments for core and prepare together, complete with defaults.

        Raises:
            InputError: if one is unknown to this measure, or has a value that it cannot have.
        """
        known: dict[str, Any] = {}
        for part in (self.core, self.prepare):
            if part is None:
                continue
            for name, parameter in inspect.signature(part).parameters.items():
                if parameter.kind is parameter.KEYWORD_ONLY and name not in ("definition", "name", "x", "other"):
                    known[name] = parameter.default
        if self.metric.name == "rsa":
            known["sample"] = 2000
        unknown = sorted(set(given) - set(known))
        if unknown:
            listed = ", ".join(known) or "none"
            raise InputError(
                f"{function}: {unknown[0]}: {self.metric.name} has no such argument; beside the common ones it has "
                f"{listed}"
            )
        for name, value in given.items():
            _check(name, value, function=function)
        return known | dict(given)


def _check(name: str, value: Any, *, function: str) -> None:
    """Refuses a value before any row is read; the cores take it as it is."""
    if name in ("k", "sample"):
        positive(value, f"{function}: {name}")
    elif name == "distance":
        arguments.one_of(function, name, value, DISTANCES)
    elif name == "variance":
        svcca.check_variance(value, function=function)
    elif name == "bandwidth":
        cka_rbf.check_bandwidth(value, function=function)


_TAKES = {"cross moments": "moments", "parts of cross moments": "parts", "aligned rows": "rows"}
_ASYMMETRIC = ("pwcca", "linear_predictivity")
_FLOAT32_WILL_DO = ("cka", "subspace_overlap")


def measure(metric: str, definition: str | None, *, function: str) -> Measure:
    """Returns a measure by name.

    Args:
        metric: catalogue name of the similarity family.
        definition: named formula; None for the default one.
        function: public name for messages.

    Raises:
        InputError: if there is no such measure or definition.
    """
    from featdiv.metrics import catalogue

    names = catalogue.names("similarity")
    arguments.one_of(function, "metric", metric, names)
    entry = catalogue.get(metric)
    known = [one.name for one in entry.definitions]
    if definition is not None:
        arguments.one_of(function, "definition", definition, known)
    chosen = definition or known[0]
    path = entry.core.rpartition(".")[0]
    takes = _TAKES[entry.needs]
    if (metric, chosen) == ("cka", "rbf"):
        path, takes = "featdiv.metrics.similarity.cka_rbf", "rows"
    module = importlib.import_module(path)
    return Measure(
        metric=entry,
        definition=chosen if len(known) > 1 else None,
        takes=takes,
        core=module.core,
        prepare=getattr(module, "prepare", None) if takes == "rows" else None,
        symmetric=metric not in _ASYMMETRIC,
        distance=metric == "procrustes",
        exact=metric not in _FLOAT32_WILL_DO,
        estimate=getattr(module, "ESTIMATES", {}).get(chosen),
        identity=None if metric == "linear_predictivity" else 0.0 if metric == "procrustes" else 1.0,
    )
