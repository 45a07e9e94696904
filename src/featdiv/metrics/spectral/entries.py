"""The spectral metrics, as the catalogue lists them."""

from __future__ import annotations

from featdiv.metrics.spectral import eigenvalue_entries, moment_entries

METRICS = (*eigenvalue_entries.METRICS, *moment_entries.METRICS)
"""Every spectral metric, in the order in which they are shown."""
