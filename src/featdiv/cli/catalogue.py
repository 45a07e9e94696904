"""``featdiv metrics``: the catalogue, as it is in the code."""

from __future__ import annotations

from featdiv.cli import options


def metrics(json: options.Json = None) -> None:
    """List every metric: what it needs, its bounds, what leaves it unchanged, and its source."""
