"""featdiv: what is in these features, and how well will they transfer?"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featdiv.analyses import Comparison as Comparison
    from featdiv.analyses import Directions as Directions
    from featdiv.analyses import Diversity as Diversity
    from featdiv.analyses import Spectrum as Spectrum
    from featdiv.analyses import SpectrumBatch as SpectrumBatch
    from featdiv.analyses import Transferability as Transferability
    from featdiv.analyses import compare as compare
    from featdiv.analyses import directions as directions
    from featdiv.analyses import diversity as diversity
    from featdiv.analyses import spectra as spectra
    from featdiv.analyses import spectrum as spectrum
    from featdiv.analyses import transferability as transferability
    from featdiv.backbones.extract import extract as extract
    from featdiv.backbones.extract import extract_layers as extract_layers
    from featdiv.backbones.features import Features as Features
    from featdiv.backbones.finetune import finetune as finetune
    from featdiv.backbones.finetune_result import FineTune as FineTune
    from featdiv.backbones.images import Images as Images
    from featdiv.backbones.images import images as images
    from featdiv.errors import BackendUnavailable as BackendUnavailable
    from featdiv.errors import BudgetExceeded as BudgetExceeded
    from featdiv.errors import ConvergenceWarning as ConvergenceWarning
    from featdiv.errors import FeatdivError as FeatdivError
    from featdiv.errors import FormatError as FormatError
    from featdiv.errors import InputError as InputError
    from featdiv.errors import MissingDependency as MissingDependency
    from featdiv.errors import NearDuplicateWarning as NearDuplicateWarning
    from featdiv.errors import NonFiniteError as NonFiniteError
    from featdiv.errors import NotEnoughData as NotEnoughData
    from featdiv.errors import RowError as RowError
    from featdiv.errors import SmallSampleWarning as SmallSampleWarning
    from featdiv.errors import SourceNotFound as SourceNotFound
    from featdiv.errors import ZeroNormError as ZeroNormError
    from featdiv.io import Embeddings as Embeddings
    from featdiv.io import convert as convert
    from featdiv.io import open as open
    from featdiv.metrics.geometric.alignment import alignment as alignment
    from featdiv.metrics.geometric.intrinsic_dimension import intrinsic_dimension as intrinsic_dimension
    from featdiv.metrics.geometric.near_duplicates import NearDuplicates as NearDuplicates
    from featdiv.metrics.geometric.near_duplicates import near_duplicates as near_duplicates
    from featdiv.metrics.geometric.pair_histogram import PairHistogram as PairHistogram
    from featdiv.metrics.geometric.pair_histogram import pair_histogram as pair_histogram
    from featdiv.metrics.geometric.sparsity import Sparsity as Sparsity
    from featdiv.metrics.geometric.sparsity import sparsity as sparsity
    from featdiv.metrics.geometric.uniformity import uniformity as uniformity
    from featdiv.metrics.labelled.calinski_harabasz import calinski_harabasz as calinski_harabasz
    from featdiv.metrics.labelled.class_separation import class_separation as class_separation
    from featdiv.metrics.labelled.intra_class_distance import intra_class_distance as intra_class_distance
    from featdiv.metrics.labelled.lidar import lidar as lidar
    from featdiv.metrics.labelled.neural_collapse import NeuralCollapse as NeuralCollapse
    from featdiv.metrics.labelled.neural_collapse import neural_collapse as neural_collapse
    from featdiv.metrics.labelled.rate_reduction import rate_reduction as rate_reduction
    from featdiv.metrics.labelled.silhouette import silhouette as silhouette
    from featdiv.metrics.similarity.cca import cca as cca
    from featdiv.metrics.similarity.cka import cka as cka
    from featdiv.metrics.similarity.linear_predictivity import linear_predictivity as linear_predictivity
    from featdiv.metrics.similarity.mutual_knn import mutual_knn as mutual_knn
    from featdiv.metrics.similarity.procrustes import procrustes as procrustes
    from featdiv.metrics.similarity.pwcca import pwcca as pwcca
    from featdiv.metrics.similarity.rsa import rsa as rsa
    from featdiv.metrics.similarity.subspace_overlap import subspace_overlap as subspace_overlap
    from featdiv.metrics.similarity.svcca import svcca as svcca
    from featdiv.metrics.spectral.alpha_req import alpha_req as alpha_req
    from featdiv.metrics.spectral.coding_rate import coding_rate as coding_rate
    from featdiv.metrics.spectral.components_for import components_for as components_for
    from featdiv.metrics.spectral.condition_number import condition_number as condition_number
    from featdiv.metrics.spectral.dimension_usage import DimensionUsage as DimensionUsage
    from featdiv.metrics.spectral.dimension_usage import dimension_usage as dimension_usage
    from featdiv.metrics.spectral.effective_rank import effective_rank as effective_rank
    from featdiv.metrics.spectral.eigenvalues import Eigenvalues as Eigenvalues
    from featdiv.metrics.spectral.explained_variance import explained_variance as explained_variance
    from featdiv.metrics.spectral.frechet_distance import frechet_distance as frechet_distance
    from featdiv.metrics.spectral.isoscore import isoscore as isoscore
    from featdiv.metrics.spectral.marchenko_pastur import marchenko_pastur as marchenko_pastur
    from featdiv.metrics.spectral.mean_cosine import mean_cosine as mean_cosine
    from featdiv.metrics.spectral.mean_squared_cosine import mean_squared_cosine as mean_squared_cosine
    from featdiv.metrics.spectral.participation_ratio import participation_ratio as participation_ratio
    from featdiv.metrics.spectral.rankme import rankme as rankme
    from featdiv.metrics.spectral.redundancy import redundancy as redundancy
    from featdiv.metrics.spectral.spectral_entropy import spectral_entropy as spectral_entropy
    from featdiv.metrics.spectral.stable_rank import nesum as nesum
    from featdiv.metrics.spectral.stable_rank import stable_rank as stable_rank
    from featdiv.metrics.spectral.vendi import vendi as vendi
    from featdiv.metrics.transferability.gbc import gbc as gbc
    from featdiv.metrics.transferability.h_score import h_score as h_score
    from featdiv.metrics.transferability.lda import lda as lda
    from featdiv.metrics.transferability.leep import leep as leep
    from featdiv.metrics.transferability.logme import logme as logme
    from featdiv.metrics.transferability.nce import nce as nce
    from featdiv.metrics.transferability.nleep import nleep as nleep
    from featdiv.metrics.transferability.parc import parc as parc
    from featdiv.metrics.transferability.transrate import transrate as transrate
    from featdiv.metrics.weights.filter_diversity import FilterDiversity as FilterDiversity
    from featdiv.metrics.weights.filter_diversity import LayerDiversity as LayerDiversity
    from featdiv.metrics.weights.filter_diversity import filter_diversity as filter_diversity
    from featdiv.ops._dispatch import use_backend as use_backend
    from featdiv.probes.calibration import Calibration as Calibration
    from featdiv.probes.calibration import TemperatureScaling as TemperatureScaling
    from featdiv.probes.calibration import ece as ece
    from featdiv.probes.calibration import temperature_scaling as temperature_scaling
    from featdiv.probes.fewshot import FewshotProbe as FewshotProbe
    from featdiv.probes.fewshot import fewshot_probe as fewshot_probe
    from featdiv.probes.knn import knn_probe as knn_probe
    from featdiv.probes.knn_result import KnnProbe as KnnProbe
    from featdiv.probes.linear import linear_probe as linear_probe
    from featdiv.probes.linear_result import LinearProbe as LinearProbe
    from featdiv.probes.ridge import ridge_probe as ridge_probe
    from featdiv.probes.ridge_result import RidgeProbe as RidgeProbe
    from featdiv.reports import report as report
    from featdiv.results import Interval as Interval
    from featdiv.results import Provenance as Provenance
    from featdiv.results import Result as Result
    from featdiv.results import Score as Score
    from featdiv.stats import ClassMoments as ClassMoments
    from featdiv.stats import CrossMoments as CrossMoments
    from featdiv.stats import CrossNormSums as CrossNormSums
    from featdiv.stats import Moments as Moments
    from featdiv.stats import NormSums as NormSums
    from featdiv.stats.neighbours import Neighbours as Neighbours
    from featdiv.studies.agreement import RankAgreement as RankAgreement
    from featdiv.studies.agreement import rank_agreement as rank_agreement
    from featdiv.studies.correlate import Correlation as Correlation
    from featdiv.studies.correlate import correlate as correlate
    from featdiv.studies.log_odds import log_odds as log_odds
    from featdiv.studies.paired_tests import mcnemar as mcnemar
    from featdiv.studies.paired_tests import permutation_test as permutation_test
    from featdiv.studies.ranking.result import Ranking as Ranking
    from featdiv.studies.ranking.run import rank_models as rank_models
    from featdiv.studies.transfer_scores import TransferScores as TransferScores
    from featdiv.studies.transfer_scores import transfer_scores as transfer_scores

__version__ = "0.1.0"

_PUBLIC = {
    "BackendUnavailable": "featdiv.errors",
    "BudgetExceeded": "featdiv.errors",
    "ConvergenceWarning": "featdiv.errors",
    "FeatdivError": "featdiv.errors",
    "FormatError": "featdiv.errors",
    "InputError": "featdiv.errors",
    "MissingDependency": "featdiv.errors",
    "NearDuplicateWarning": "featdiv.errors",
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
    "CrossMoments": "featdiv.stats",
    "CrossNormSums": "featdiv.stats",
    "Moments": "featdiv.stats",
    "NormSums": "featdiv.stats",
    "Neighbours": "featdiv.stats.neighbours",
    "knn_probe": "featdiv.probes.knn",
    "KnnProbe": "featdiv.probes.knn_result",
    "Comparison": "featdiv.analyses",
    "Directions": "featdiv.analyses",
    "directions": "featdiv.analyses",
    "report": "featdiv.reports",
    "Diversity": "featdiv.analyses",
    "diversity": "featdiv.analyses",
    "Spectrum": "featdiv.analyses",
    "SpectrumBatch": "featdiv.analyses",
    "compare": "featdiv.analyses",
    "spectra": "featdiv.analyses",
    "spectrum": "featdiv.analyses",
    "Features": "featdiv.backbones.features",
    "extract": "featdiv.backbones.extract",
    "extract_layers": "featdiv.backbones.extract",
    "finetune": "featdiv.backbones.finetune",
    "FineTune": "featdiv.backbones.finetune_result",
    "Images": "featdiv.backbones.images",
    "images": "featdiv.backbones.images",
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
    "cka": "featdiv.metrics.similarity.cka",
    "cca": "featdiv.metrics.similarity.cca",
    "svcca": "featdiv.metrics.similarity.svcca",
    "pwcca": "featdiv.metrics.similarity.pwcca",
    "procrustes": "featdiv.metrics.similarity.procrustes",
    "subspace_overlap": "featdiv.metrics.similarity.subspace_overlap",
    "linear_predictivity": "featdiv.metrics.similarity.linear_predictivity",
    "rsa": "featdiv.metrics.similarity.rsa",
    "mutual_knn": "featdiv.metrics.similarity.mutual_knn",
    "DimensionUsage": "featdiv.metrics.spectral.dimension_usage",
    "Eigenvalues": "featdiv.metrics.spectral.eigenvalues",
    "intrinsic_dimension": "featdiv.metrics.geometric.intrinsic_dimension",
    "uniformity": "featdiv.metrics.geometric.uniformity",
    "alignment": "featdiv.metrics.geometric.alignment",
    "pair_histogram": "featdiv.metrics.geometric.pair_histogram",
    "PairHistogram": "featdiv.metrics.geometric.pair_histogram",
    "sparsity": "featdiv.metrics.geometric.sparsity",
    "Sparsity": "featdiv.metrics.geometric.sparsity",
    "near_duplicates": "featdiv.metrics.geometric.near_duplicates",
    "NearDuplicates": "featdiv.metrics.geometric.near_duplicates",
    "intra_class_distance": "featdiv.metrics.labelled.intra_class_distance",
    "class_separation": "featdiv.metrics.labelled.class_separation",
    "neural_collapse": "featdiv.metrics.labelled.neural_collapse",
    "NeuralCollapse": "featdiv.metrics.labelled.neural_collapse",
    "lidar": "featdiv.metrics.labelled.lidar",
    "rate_reduction": "featdiv.metrics.labelled.rate_reduction",
    "silhouette": "featdiv.metrics.labelled.silhouette",
    "calinski_harabasz": "featdiv.metrics.labelled.calinski_harabasz",
    "filter_diversity": "featdiv.metrics.weights.filter_diversity",
    "FilterDiversity": "featdiv.metrics.weights.filter_diversity",
    "LayerDiversity": "featdiv.metrics.weights.filter_diversity",
    "logme": "featdiv.metrics.transferability.logme",
    "h_score": "featdiv.metrics.transferability.h_score",
    "leep": "featdiv.metrics.transferability.leep",
    "nce": "featdiv.metrics.transferability.nce",
    "nleep": "featdiv.metrics.transferability.nleep",
    "transrate": "featdiv.metrics.transferability.transrate",
    "gbc": "featdiv.metrics.transferability.gbc",
    "parc": "featdiv.metrics.transferability.parc",
    "lda": "featdiv.metrics.transferability.lda",
    "ridge_probe": "featdiv.probes.ridge",
    "RidgeProbe": "featdiv.probes.ridge_result",
    "RankAgreement": "featdiv.studies.agreement",
    "rank_agreement": "featdiv.studies.agreement",
    "log_odds": "featdiv.studies.log_odds",
    "TransferScores": "featdiv.studies.transfer_scores",
    "transfer_scores": "featdiv.studies.transfer_scores",
    "mcnemar": "featdiv.studies.paired_tests",
    "Ranking": "featdiv.studies.ranking.result",
    "rank_models": "featdiv.studies.ranking.run",
    "permutation_test": "featdiv.studies.paired_tests",
    "Calibration": "featdiv.probes.calibration",
    "TemperatureScaling": "featdiv.probes.calibration",
    "ece": "featdiv.probes.calibration",
    "temperature_scaling": "featdiv.probes.calibration",
    "FewshotProbe": "featdiv.probes.fewshot",
    "fewshot_probe": "featdiv.probes.fewshot",
    "Correlation": "featdiv.studies.correlate",
    "correlate": "featdiv.studies.correlate",
    "LinearProbe": "featdiv.probes.linear_result",
    "linear_probe": "featdiv.probes.linear",
    "transferability": "featdiv.analyses",
    "Transferability": "featdiv.analyses",
}
"""Public name to the module that defines it; resolved on first use, so that importing featdiv loads nothing."""

_ROOMS = ("backbones", "integrations", "metrics", "protocols")
"""Subpackages that are public as such, loaded on first use."""

__all__ = ["__version__", *_ROOMS, *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"featdiv.{name}")
    # With name and obj, Python suggests the name that was meant.
    raise AttributeError(f"module 'featdiv' has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
