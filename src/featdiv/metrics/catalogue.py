"""The catalogue: every metric that featdiv has, by name.

Documentation, command line, report and the tests of bounds, invariances and definitions are driven by it. A
metric is added by an entry in its family's ``entries`` module; nothing else lists metrics. Importing the
catalogue loads none of them.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from featdiv import __version__
from featdiv.errors import InputError
from featdiv.metrics.entry import Definition, Metric

FAMILIES = ("spectral", "geometric", "labelled", "weights", "similarity", "transferability")
"""Families; the entries of family f are ``featdiv.metrics.<f>.entries.METRICS``."""


@functools.cache
def _all() -> Mapping[str, Metric]:
    found: dict[str, Metric] = {}
    for family in FAMILIES:
        for metric in importlib.import_module(f"featdiv.metrics.{family}.entries").METRICS:
            if metric.name in found or metric.family != family:
                raise InputError(f"catalogue: {metric.name!r} of family {family!r}: expected one entry, in its family")
            found[metric.name] = metric
    return MappingProxyType(found)


def names(family: str | None = None) -> tuple[str, ...]:
    """Returns the names of all metrics, or of one family, in the order in which they are shown.

    Raises:
        InputError: if there is no such family.

    Example:
        >>> from featdiv.metrics import catalogue
        >>> catalogue.names("spectral")[:2]
        ('effective_rank', 'rankme')
    """
    if family is not None and family not in FAMILIES:
        raise InputError(f"catalogue.names: family: expected one of {', '.join(FAMILIES)}; got {family!r}")
    return tuple(name for name, metric in _all().items() if family in (None, metric.family))


def get(name: str, *, argument: str = "catalogue.get: name") -> Metric:
    """Returns the entry of a metric.

    Args:
        name: of the metric.
        argument: where the name came from, for the message.

    Raises:
        InputError: if there is none of that name; the message names the nearest.

    Example:
        >>> from featdiv.metrics import catalogue
        >>> catalogue.get("participation_ratio").formula
        'sum(lambda)^2 / sum(lambda^2)'
    """
    metrics = _all()
    if name not in metrics:
        near = difflib.get_close_matches(name, metrics, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(metrics)}"
        raise InputError(f"{argument}: no metric is named {name!r}; {hint}")
    return metrics[name]


def definitions(name: str) -> Mapping[str, Definition]:
    """Returns the named formulas of a metric, the default one first.

    Raises:
        InputError: if there is no such metric.

    Example:
        >>> from featdiv.metrics import catalogue
        >>> list(catalogue.definitions("rankme"))
        ['garrido2023', 'stable-pretraining', 'reptrix', 'normalized']
    """
    return MappingProxyType({definition.name: definition for definition in get(name).definitions})


def citations(scores: Iterable[str], *, definition: str | Mapping[str, str] | None = None) -> str:
    """Returns the sources of the scores named, one a line, each once, and of featdiv itself last.

    Args:
        scores: names of metrics or of scores of metrics; others are passed over.
        definition: the named formula that gave them, or metric to its own; where a metric has none of that name, its
            default one.

    Example:
        >>> from featdiv.metrics import catalogue
        >>> print(catalogue.citations(["condition_number", "my_own"]).splitlines()[0])
        condition_number: Golub & Van Loan (2013). Matrix computations, 4th edition. Johns Hopkins University Press.
    """
    found = [metric for metric in map(_metric_of_score, scores) if metric is not None]
    users: dict[str, list[str]] = {}
    for name in dict.fromkeys(metric.name for metric in found):
        chosen = definition.get(name) if isinstance(definition, Mapping) else definition
        for source in get(name).references(chosen):
            users.setdefault(source.full, []).append(name)
    lines = [f"{', '.join(names)}: {reference}" for reference, names in users.items()]
    return "\n".join([*lines, f"featdiv: the featdiv authors. featdiv, version {__version__}. Software."])


def _metric_of_score(score: str) -> Metric | None:
    for metric in _all().values():
        if score in (metric.name, *metric.scores) or (metric.score_prefix and score.startswith(metric.score_prefix)):
            return metric
    return None
