"""The contenders: featdiv, the parts that its table is made of, and packages that form n x n kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.registry import Answer, Contender, Data
from suites.diversity.data import MODELS
from suites.spectrum.reference import rows_of


def operations_of_pairs(job: Data) -> float:
    """Two passes over n (n - 1)/2 pairs of rows: kernel sums, and neighbours."""
    return 2.0 * job.n * (job.n - 1) * job.d


def operations_of_uniformity(job: Data) -> float:
    """One product of every pair of rows."""
    return float(job.n) * (job.n - 1) * job.d


def operations_of_cka(job: Data) -> float:
    """One triangle of the joint second moments."""
    return float(job.n) * job.d * (job.d + 1)


operations_of_vendi = operations_of_cka


def featdiv_diversity(data: Data) -> Any:
    import featdiv

    return featdiv.diversity(data.path, data.labels)


def the_parts(data: Data) -> Any:
    """Spectrum, exact uniformity and nearest neighbours, one after the other."""
    import featdiv
    from featdiv.stats.neighbours import Neighbours

    featdiv.spectrum(data.path)
    score = featdiv.uniformity(data.path)
    Neighbours.of(data.path, k=2, distance="l2")
    return score


def featdiv_uniformity(data: Data) -> Any:
    import featdiv

    return featdiv.uniformity(data.path)


def _of_table(data: Data, table: Any) -> Answer:
    passes = "; ".join(table.provenance.arguments["passes"])
    return {
        "score": table["uniformity"],
        "notes": [f"{len(table.lines)} scores, {len(table.intervals)} intervals: {passes}"],
    }


def _of_score(data: Data, score: Any) -> Answer:
    return {"score": float(score)}


def _sides(data: Data) -> dict[str, Any]:
    parts = np.split(rows_of(data), MODELS, axis=1)
    return {f"model {place}": part for place, part in enumerate(parts)}


def featdiv_compare(data: Data) -> Any:
    import featdiv

    return featdiv.compare(_sides(data), interval=None)


def _of_comparison(data: Data, comparison: Any) -> Answer:
    return {"score": comparison.values}


def ckatorch(data: Data) -> Any:
    """Its unbiased estimator, on kernels of all rows, pair by pair."""
    import torch
    from ckatorch.core import cka_base

    sides = [torch.from_numpy(np.array(side, dtype=np.float64)) for side in _sides(data).values()]
    matrix = np.eye(MODELS)
    for a in range(MODELS):
        for b in range(a + 1, MODELS):
            matrix[a, b] = matrix[b, a] = float(cka_base(sides[a], sides[b], kernel="linear", unbiased=True))
    return matrix


def _of_matrix(data: Data, matrix: Any) -> Answer:
    return {"score": matrix}


def featdiv_vendi(data: Data) -> Any:
    import featdiv

    return featdiv.vendi(data.path)


def vendi_score(data: Data) -> Any:
    from vendi_score import vendi

    rows = np.array(rows_of(data), dtype=np.float32)
    return vendi.score_X(rows)


UNIFORMITY = (
    Contender(
        name="featdiv.uniformity",
        run=featdiv_uniformity,
        answer=_of_score,
        accuracy="float32",
        streams=True,
        peer=False,
    ),
)

TABLE = (
    Contender(
        name="featdiv.diversity",
        run=featdiv_diversity,
        answer=_of_table,
        accuracy="float32",
        streams=True,
        peer=False,
    ),
    Contender(name="its parts", run=the_parts, answer=_of_score, accuracy="float32", streams=True, peer=False),
)

CKA = (
    Contender(
        name="featdiv.compare", run=featdiv_compare, answer=_of_comparison, accuracy="float32", streams=True, peer=False
    ),
    Contender(
        name="ckatorch",
        run=ckatorch,
        answer=_of_matrix,
        accuracy="float64",
        requires=("ckatorch", "torch"),
        # Products and sums of n x n kernels.
        law=2.0,
        trial_rows=1024,
    ),
)

VENDI = (
    Contender(name="featdiv.vendi", run=featdiv_vendi, answer=_of_score, accuracy="float32", streams=True, peer=False),
    Contender(
        name="vendi_score.score_X",
        run=vendi_score,
        answer=_of_score,
        accuracy="plain float32",
        requires=("vendi_score",),
        # Eigenvalues of an n x n kernel.
        law=3.0,
        trial_rows=1024,
    ),
)
