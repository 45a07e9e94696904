"""`featdiv.logme` against the published algorithm, episodes against a loop, and the whole table."""

from __future__ import annotations

from harness.registry import Suite, Target, Workload
from suites.spectrum import blas_rate, operations
from suites.spectrum.data import primer
from suites.transferability import contenders, data, reference

SUITE = Suite(
    op="transferability",
    workloads=(
        Workload(
            name="logme-200",
            summary="LogME of 50,000 x 768 float32 rows in 200 classes",
            make=data.classes_200,
            contenders=contenders.LOGME,
            reference=reference.logme,
            operations=operations,
            targets=(Target(contender="featdiv.logme", figure="ratio", limit=1 / 5, to="published algorithm"),),
        ),
        Workload(
            name="fewshot-600",
            summary="600 episodes of 5 ways and 5 shots on sentence embeddings, 58,691 x 384",
            make=data.minilm,
            contenders=contenders.FEWSHOT,
            reference=reference.episodes,
            operations=reference.episode_operations,
            targets=(Target(contender="featdiv.fewshot_probe", figure="ratio", limit=1 / 20, to="NumPy loop"),),
        ),
        Workload(
            name="table-minilm",
            summary="the default table on sentence embeddings, 58,691 x 384 in 20 classes",
            make=data.minilm,
            contenders=contenders.TABLE,
            reference=reference.logme,
            operations=operations,
        ),
    ),
    tables=(),
    errors=reference.errors,
    # LogME relative; an accuracy of 600 episodes has a standard error of about 0.004.
    accuracy={"float64": {"logme": 1e-8}, "sampled": {"accuracy": 0.02}},
    rate=blas_rate,
    prime=primer,
    baselines=("published algorithm", "NumPy loop", "featdiv.transferability"),
)
