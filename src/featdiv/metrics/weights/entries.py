"""The metrics of weights, as the catalogue lists them."""

from __future__ import annotations

from featdiv.metrics.entry import Bounds, Source
from featdiv.metrics.entry_forms import DIRECTIONS, SHARE_BOUNDS, metric, one, only

_OWN = Source(
    authors="The featdiv authors",
    year=2026,
    title="featdiv: filter_diversity, motivated by the diversity of filters of Nayman et al. 2022 and 2024",
    venue="Software",
)
_ROY_2007 = Source(
    authors="Roy & Vetterli",
    year=2007,
    title="The effective rank: a measure of effective dimensionality",
    venue="European Signal Processing Conference",
    where="section 2",
)

METRICS = (
    metric(
        "filter_diversity",
        summary="How different the filters of each layer of a model are, in four measures, and their weighted mean.",
        family="weights",
        needs="weights",
        definitions=only(
            "W the filters as unit rows, G = W W^T, lambda its eigenvalues, sigma = sqrt(lambda): 1 - mean "
            "of abs(G_ij) over i < j; exp H(sigma/sum(sigma)) / min(W's sides); sum(lambda)^2 / sum(lambda^2); "
            "average-linkage clusters at cosine 0.5 over C_out; of a model: mean over layers weighted by "
            "parameters",
            _OWN,
        ),
        sources=(_ROY_2007,),
        bounds={
            "filter_cosine": SHARE_BOUNDS,
            "filter_effective_rank": Bounds(
                text="1/min(C_out, fan-in) <= value <= 1", lower=lambda n, d: 1.0 / min(n, d), upper=one
            ),
            "filter_participation_ratio": Bounds(
                text="1 <= value <= min(C_out, fan-in)", lower=one, upper=lambda n, d: float(min(n, d))
            ),
            "filter_clusters": Bounds(text="1/C_out <= value <= 1", lower=lambda n, d: 1.0 / n, upper=one),
        },
        direction="higher is more diverse",
        unit="1; 1 (a share); dimensions; 1 (a share)",
        invariances=DIRECTIONS,
        parameters={
            "split_heads": "heads by which to split attention projections, as a number or by layer",
            "groups": "groups of convolutions, by layer, for a state dict, which does not say",
        },
        score_prefix="filter_",
        jackknife="weights are not a sample of rows",
        note="In place of the rows and features of a data set stand the filters of a layer and their weights. The "
        "formula of Nayman et al. was not available; no parity with their numbers is claimed.",
    ),
)
"""Every metric of weights, in the order in which they are shown."""
