"""Analyses: one call, one reading of the rows, one named result made of many scores."""

from featdiv.analyses.comparison.result import Comparison
from featdiv.analyses.comparison.run import compare
from featdiv.analyses.spectral.batch import SpectrumBatch, spectra
from featdiv.analyses.spectral.result import Spectrum
from featdiv.analyses.spectral.run import spectrum

__all__ = ["Comparison", "Spectrum", "SpectrumBatch", "compare", "spectra", "spectrum"]
