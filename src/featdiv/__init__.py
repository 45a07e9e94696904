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
    "effective_rank": "featdiv.metrics.spectral.effective_rank",
    "rankme": "featdiv.metrics.spectral.rankme",
    "participation_ratio": "featdiv.metrics.spectral.participation_ratio",
    "stable_rank": "featdiv.metrics.spectral.stable_rank",
    "nesum": "featdiv.metrics.spectral.stable_rank",
    "alpha_req": "featdiv.metrics.spectral.alpha_req",
    "condition_number": "featdiv.metrics.spectral.condition_number",
    "components_for": "featdiv.metrics.spectral.components_for",
    "explained_variance": "featdiv.metrics.spectral.explained_variance",
    "spectral_entropy": "featdiv.metrics.spectral.spectral_entropy",
    "marchenko_pastur": "featdiv.metrics.spectral.marchenko_pastur",
    "isoscore": "featdiv.metrics.spectral.isoscore",
    "coding_rate": "featdiv.metrics.spectral.coding_rate",
    "vendi": "featdiv.metrics.spectral.vendi",
    "mean_cosine": "featdiv.metrics.spectral.mean_cosine",
    "mean_squared_cosine": "featdiv.metrics.spectral.mean_squared_cosine",
    "redundancy": "featdiv.metrics.spectral.redundancy",
    "dimension_usage": "featdiv.metrics.spectral.dimension_usage",
    "frechet_distance": "featdiv.metrics.spectral.frechet_distance",
    "DimensionUsage": "featdiv.metrics.spectral.dimension_usage",
    "Eigenvalues": "featdiv.metrics.spectral.eigenvalues",
}
"""Public name to the module that defines it; resolved on first use, so that importing featdiv loads nothing."""

_ROOMS = ("metrics",)
"""Subpackages that are public as such, loaded on first use."""

__all__ = ["__version__", *_ROOMS, *sorted(_PUBLIC)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"featdiv.{name}")
    raise AttributeError(f"module 'featdiv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
