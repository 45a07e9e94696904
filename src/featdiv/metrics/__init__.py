"""Metrics: pure functions of a statistic, one a file, in families; `featdiv.metrics.catalogue` lists them.

Example:
    >>> from featdiv import metrics
    >>> metrics.definitions("rankme")["garrido2023"].source.year
    2023
"""

from __future__ import annotations

from featdiv.metrics.catalogue import citations, definitions, get, names
from featdiv.metrics.entry import Bounds, Definition, Metric, Source

__all__ = ["Bounds", "Definition", "Metric", "Source", "citations", "definitions", "get", "names"]
