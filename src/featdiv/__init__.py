"""featdiv: what is in these features, and how well will they transfer?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "BackendUnavailable": "featdiv.errors",
    "BudgetExceeded": "featdiv.errors",
    "FeatdivError": "featdiv.errors",
    "FormatError": "featdiv.errors",
    "InputError": "featdiv.errors",
    "MissingDependency": "featdiv.errors",
    "NonFiniteError": "featdiv.errors",
    "NotEnoughData": "featdiv.errors",
    "SourceNotFound": "featdiv.errors",
    "RowError": "featdiv.errors",
    "SmallSampleWarning": "featdiv.errors",
    "ZeroNormError": "featdiv.errors",
    "Interval": "featdiv.results",
    "Provenance": "featdiv.results",
    "Result": "featdiv.results",
    "Score": "featdiv.results",
    "use_backend": "featdiv.ops._dispatch",
    "Embeddings": "featdiv.io",
    "convert": "featdiv.io",
    "open": "featdiv.io",
    "ClassMoments": "featdiv.stats",
    "Moments": "featdiv.stats",
    "NormSums": "featdiv.stats",
    "Spectrum": "featdiv.analyses",
    "SpectrumBatch": "featdiv.analyses",
    "spectra": "featdiv.analyses",
    "spectrum": "featdiv.analyses",
}
"""Public name to the module that defines it; resolved on first use, so that importing featdiv loads nothing."""

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'featdiv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
