"""The workloads that `gpu_check.py` times on a GPU, and how an answer is held against torch's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from harness.roofline import Work


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """What is measured.

    Attributes:
        op: whose backends run it.
        make: makes its input, on the GPU.
        run: runs a backend on it.
        gate: whether an answer agrees with torch's.
        work: what nobody can do without; the time that the device needs for it is the limit.
        plain: what people write without featdiv, to be timed as well.
    """

    op: str
    make: Callable[[], Any]
    run: Callable[[Any, str], Any]
    gate: Callable[[Any, Any], bool]
    work: Work | None = None
    plain: tuple[str, Callable[[Any], Any]] | None = None


def workloads() -> dict[str, Workload]:
    """Returns them by name, the most important first."""
    import numpy as np
    import torch

    import featdiv
    from featdiv.ops.class_scatter import class_scatter
    from featdiv.ops.cross_gram import CrossSums, cross_gram
    from featdiv.ops.eigvals_batched import eigvals_batched
    from featdiv.ops.nearest_centroid import nearest_centroid
    from featdiv.ops.pair_sums import pair_sums
    from featdiv.ops.scatter import Sums, scatter
    from featdiv.ops.topk import topk

    def rows(n: int, d: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        generator = torch.Generator("cuda").manual_seed(0)
        return torch.randn(n, d, device="cuda", generator=generator).to(dtype)

    def run_scatter(x: torch.Tensor, backend: str) -> Any:
        sums = Sums.zeros(x.shape[1], device="cuda")
        scatter(x, sums, backend=backend)
        return sums.gram.triu()

    def run_cross_gram(x: torch.Tensor, backend: str) -> Any:
        half = x.shape[1] // 2
        sums = CrossSums.zeros(half, half, norm_sums=True, device="cuda")
        cross_gram(x[:, :half], x[:, half:], sums, backend=backend)
        return sums.gram, sums.weighted, sums.other_weighted, sums.fourth

    def close(bound: float) -> Callable[[Any, Any], bool]:
        def gate(mine: Any, truth: Any) -> bool:
            mine, truth = (
                torch.as_tensor(np.asarray(each.cpu() if hasattr(each, "cpu") else each)) for each in (mine, truth)
            )
            return bool((mine - truth).norm() <= bound * truth.norm())

        return gate

    def all_close(mine: Any, truth: Any) -> bool:
        return all(close(2e-6)(*pair) for pair in zip(mine, truth, strict=True))

    def matrices() -> torch.Tensor:
        half = rows(4096 * 64, 64, torch.float64).reshape(4096, 64, 64)
        return half + half.mT

    def triangle(n: int, d: int, products: int, itemsize: int) -> Work:
        return Work(operations=products * n * d * (d + 1.0), bytes=float(n) * d * itemsize, unit="bfloat16")

    def run_spectrum(x: torch.Tensor, backend: str) -> Any:
        with featdiv.use_backend(backend):
            return featdiv.spectrum(x, interval=None).eigenvalues

    labels = np.arange(200_000) % 1000
    episodes = np.random.default_rng(0).integers(100_000, size=(20_000, 5, 20))
    return {
        "scatter 1M x 768 float32": Workload(
            op="scatter",
            make=lambda: rows(1_000_000, 768),
            run=run_scatter,
            gate=close(2e-6),
            work=triangle(1_000_000, 768, 6, 4),
            plain=("torch X.T @ X", lambda x: x.mT @ x),
        ),
        "scatter 1M x 768 bfloat16": Workload(
            op="scatter",
            make=lambda: rows(1_000_000, 768, torch.bfloat16),
            run=run_scatter,
            gate=close(2e-6),
            work=triangle(1_000_000, 768, 1, 2),
            plain=("torch X.T @ X", lambda x: x.mT @ x),
        ),
        "spectrum 1M x 768 float32": Workload(
            op="scatter", make=lambda: rows(1_000_000, 768), run=run_spectrum, gate=close(2e-6)
        ),
        "cross_gram 1M x (384, 384) float32, norm sums": Workload(
            op="cross_gram",
            # With a mean, so that no product is small beside what it is a sum of.
            make=lambda: rows(1_000_000, 768) + 1.0,
            run=run_cross_gram,
            gate=all_close,
        ),
        "class_scatter 200k x 256, 1000 classes": Workload(
            op="class_scatter",
            make=lambda: rows(200_000, 256),
            run=lambda x, backend: class_scatter(x, labels, classes=1000, backend=backend).scatters,
            gate=close(2e-6),
        ),
        "pair_sums 200k x 768": Workload(
            op="pair_sums",
            make=lambda: rows(200_000, 768),
            run=lambda x, backend: pair_sums(x, backend=backend).exp_sums,
            gate=close(2e-6),
        ),
        "topk 10k in 200k x 384, k = 20": Workload(
            op="topk",
            make=lambda: rows(200_000, 384),
            run=lambda x, backend: topk(x[:10_000], x, k=20, backend=backend).values,
            gate=close(1e-6),
        ),
        "nearest_centroid 20k episodes of 5 classes, 5 + 15 rows of 768": Workload(
            op="nearest_centroid",
            make=lambda: rows(100_000, 768),
            run=lambda x, backend: nearest_centroid(x, episodes, shots=5, backend=backend).nearest,
            # Random rows are about as near to every centroid: some distances differ by no more than their rounding.
            gate=lambda mine, truth: bool((mine == truth).mean() > 0.999),
        ),
        "eigvals_batched 4096 of 64 x 64": Workload(
            op="eigvals_batched",
            make=matrices,
            run=lambda x, backend: eigvals_batched(x, backend=backend).values,
            gate=close(1e-12),
        ),
    }
