"""What the catalogue says about the scores on the page."""

from __future__ import annotations

import functools

from featdiv.metrics import catalogue
from featdiv.metrics.entry import Metric


@functools.cache
def metric_of(score: str) -> Metric | None:
    """Returns the metric that a score belongs to, or None where the catalogue has none."""
    metrics = [catalogue.get(name) for name in catalogue.names()]
    exact = (metric for metric in metrics if score in (metric.name, *metric.scores))
    derived = (metric for metric in metrics if metric.score_prefix and score.startswith(metric.score_prefix))
    return next(exact, None) or next(derived, None)


def direction(score: str) -> str:
    """Returns how to read a score, such as "higher is more diverse", or nothing."""
    metric = metric_of(score)
    return metric.direction if metric else ""


def hint(score: str) -> str:
    """Returns one sentence on a score and how to read it, or nothing."""
    metric = metric_of(score)
    return f"{metric.summary} {metric.direction[:1].upper()}{metric.direction[1:]}." if metric else ""


def headline(score: str) -> bool:
    """Whether a score stands for itself, rather than being one of a series that a metric derives."""
    metric = metric_of(score)
    return metric is None or score in (metric.name, *metric.scores)
