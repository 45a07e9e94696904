"""`featdiv.rank_models` from its cache, and the page of a ranking of many models; tables, without peers."""

from __future__ import annotations

from harness.registry import Suite, Table
from suites.ranking import cache, page

SUITE = Suite(
    op="ranking",
    workloads=(),
    tables=(
        Table(
            name="cache",
            summary=f"{len(cache.NETWORKS)} models, {cache.IMAGES:,} images, again from their folder",
            run=cache.rows,
        ),
        Table(
            name="page",
            summary=f"report of {page.MODELS} models: below {page.LARGEST / 1e6:.0f} MB, opened within a second",
            run=page.rows,
        ),
    ),
    errors=lambda answer, reference: {},
    accuracy={},
    rate=lambda job: 0.0,
    prime=cache.nothing,
    baselines=(),
)
