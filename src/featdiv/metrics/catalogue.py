"""The catalogue: every metric that featdiv has, by name.

Documentation, command line, report and the tests of bounds, invariances and definitions are driven by it. A metric
is added by an entry in its family's ``entries`` module; nothing else lists metrics. Importing the catalogue loads
none of them.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import featdiv
from featdiv.errors import InputError
from featdiv.metrics.entry import Definition, Metric

FAMILIES = ("spectral",)
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


def get(name: str) -> Metric:
    """Returns the entry of a metric.

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
        raise InputError(f"catalogue.get: name: no metric is named {name!r}; {hint}")
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


def citations(scores: Iterable[str]) -> str:
    """Returns the sources of the scores named, one a line, each once, and of featdiv itself last.

    Args:
        scores: names of metrics or of scores of metrics; others are passed over.

    Example:
        >>> from featdiv.metrics import catalogue
        >>> print(catalogue.citations(["stable_rank", "my_own"]).splitlines()[0])
        stable_rank: Rudelson & Vershynin (2007). Sampling from large matrices: an approach through geometric functional analysis. Journal of the ACM 54(4), article 21.
    """  # noqa: E501
    by_score = {score: metric for metric in _all().values() for score in (*metric.scores, metric.name)}
    users: dict[str, list[str]] = {}
    for name in scores:
        metric = by_score.get(name) or by_score.get(name.partition("(")[0])
        for source in metric.references() if metric else ():
            cited = users.setdefault(source.full, [])
            if metric and metric.name not in cited:
                cited.append(metric.name)
    lines = [f"{', '.join(cited)}: {reference}" for reference, cited in users.items()]
    return "\n".join([*lines, f"featdiv: the featdiv authors. featdiv, version {featdiv.__version__}. Software."])
