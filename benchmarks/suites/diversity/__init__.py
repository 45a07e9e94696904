"""`featdiv.diversity` against its parts, the matrix of CKA against N x N kernels, Vendi against its code."""

from __future__ import annotations

from harness.registry import Suite, Target, Workload
from suites import spectrum
from suites.diversity import contenders, data, reference

SUITE = Suite(
    op="diversity",
    workloads=(
        Workload(
            name="table",
            summary="the default table of sentence embeddings with 20 classes, float16 file",
            make=data.minilm,
            contenders=contenders.TABLE,
            reference=reference.uniformity_of_some,
            operations=contenders.operations_of_pairs,
            targets=(
                Target(contender="featdiv.diversity", figure="ratio", limit=2.5, to="its parts"),
                Target(contender="featdiv.diversity", figure="peak_private_bytes", limit=500e6),
            ),
        ),
        Workload(
            name="cka-matrix",
            summary="debiased CKA of 8 models with 512 features each, side by side in one float32 file",
            make=data.models,
            contenders=contenders.CKA,
            reference=reference.cka,
            operations=contenders.operations_of_cka,
            targets=(Target(contender="ckatorch", figure="slower", limit=10.0, to="featdiv.compare"),),
            cap=40.0,
        ),
        Workload(
            name="vendi",
            summary="Vendi score under the cosine, 384 features, float32 file",
            make=data.wide,
            contenders=contenders.VENDI,
            reference=reference.vendi,
            operations=contenders.operations_of_vendi,
            targets=(Target(contender="vendi_score.score_X", figure="slower", limit=100.0, to="featdiv.vendi"),),
            cap=40.0,
        ),
        # The memory of both is to be the same: of n only a block is packed.
        Workload(
            name="uniformity-50k",
            summary="exact uniformity of all pairs, with its interval, 384 features, float32 file",
            make=data.turns_50k,
            contenders=contenders.UNIFORMITY,
            reference=reference.uniformity_of_turns,
            operations=contenders.operations_of_uniformity,
            targets=(Target(contender="featdiv.uniformity", figure="peak_private_bytes", limit=150e6),),
        ),
        Workload(
            name="uniformity-200k",
            summary="exact uniformity of all pairs, with its interval, 384 features, float32 file",
            make=data.turns_200k,
            contenders=contenders.UNIFORMITY,
            reference=reference.uniformity_of_turns,
            operations=contenders.operations_of_uniformity,
            targets=(Target(contender="featdiv.uniformity", figure="peak_private_bytes", limit=150e6),),
        ),
    ),
    tables=(),
    errors=reference.errors,
    accuracy={"float64": {"score": 1e-9}, "float32": {"score": 1e-5}, "plain float32": {"score": 1e-3}},
    rate=spectrum.blas_rate,
    prime=data.primer,
    baselines=("featdiv.diversity", "its parts", "featdiv.compare", "featdiv.vendi"),
)
