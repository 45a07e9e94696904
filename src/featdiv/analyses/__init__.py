"""Analyses: one call, one reading of the rows, one named result made of many scores."""

from featdiv.analyses.comparison.result import Comparison
from featdiv.analyses.comparison.run import compare
from featdiv.analyses.diversity_table.result import Diversity
from featdiv.analyses.diversity_table.run import diversity
from featdiv.analyses.principal.result import Directions
from featdiv.analyses.principal.run import directions
from featdiv.analyses.spectral.batch import SpectrumBatch, spectra
from featdiv.analyses.spectral.result import Spectrum
from featdiv.analyses.spectral.run import spectrum
from featdiv.analyses.transferability_result import Transferability
from featdiv.analyses.transferability_run import transferability

__all__ = [
    "Comparison",
    "Directions",
    "Diversity",
    "Spectrum",
    "SpectrumBatch",
    "Transferability",
    "compare",
    "directions",
    "diversity",
    "spectra",
    "spectrum",
    "transferability",
]
