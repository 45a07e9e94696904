"""The true spectrum, in float64, by formulas of this file alone.

The oracle shares no code with featdiv. Where the input is small enough it is a QR decomposition, which does not
square the condition number; else second moments about the mean in a second pass, which lose only what lies below
1.5e-8 of the largest singular value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Data

Float64Array = npt.NDArray[np.float64]

_ROWS = 16384
_QR_OPERATIONS = 1e10


def rows_of(data: Data) -> npt.NDArray[Any]:
    """Returns the rows as a read-only memory map."""
    return np.load(data.path, mmap_mode="r")[: data.n]


def effective_rank(eigenvalues: npt.ArrayLike) -> Float64Array:
    """Returns exp H(sigma / sum sigma) along the last axis, sigma the square roots; Roy & Vetterli 2007."""
    sigma = np.sqrt(np.maximum(np.asarray(eigenvalues, dtype=np.float64), 0.0))
    share = sigma / sigma.sum(axis=-1, keepdims=True)
    return np.exp(-(share * np.log(np.where(share > 0.0, share, 1.0))).sum(axis=-1))


def rankme(eigenvalues: npt.ArrayLike) -> float:
    """Returns exp(-sum p ln p), p = sigma / sum sigma + 1e-7 (eigenvalues about zero); Garrido et al. 2023."""
    sigma = np.sqrt(np.maximum(np.asarray(eigenvalues, dtype=np.float64), 0.0))
    share = sigma / sigma.sum() + 1e-7
    return float(np.exp(-(share * np.log(share)).sum()))


def spectrum(data: Data) -> Answer:
    """Returns the eigenvalues of the covariance and those of X^T X / n, descending."""
    x = rows_of(data)
    n, d = x.shape
    mean = sum((block.sum(axis=0) for block in _blocks(x)), np.zeros(d)) / n
    if n * d * d <= _QR_OPERATIONS:
        centered = singular_values(x, mean) ** 2
        uncentered = singular_values(x, np.zeros(d)) ** 2
    else:
        scatter = np.zeros((d, d))
        for block in _blocks(x):
            block -= mean
            scatter += block.T @ block
        centered = np.linalg.eigvalsh(scatter)[::-1]
        uncentered = np.linalg.eigvalsh(scatter + n * np.outer(mean, mean))[::-1]
    return _answer(centered / (n - 1), uncentered / n)


def spectra_by_class(data: Data) -> Answer:
    """Returns the eigenvalues of the covariance of every class, (c, d), by singular values, in the order of labels."""
    x = np.asarray(rows_of(data), dtype=np.float64)
    assert data.labels is not None
    labels = np.load(data.labels)[: data.n]
    found = []
    for label in np.unique(labels):
        rows = x[labels == label]
        sigma = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
        found.append(np.square(sigma) / (len(rows) - 1))
    return _answer(np.stack(found), None)


def _answer(centered: Float64Array, uncentered: Float64Array | None) -> Answer:
    answer = {"eigenvalues": centered, "effective_rank": effective_rank(centered)}
    if uncentered is not None:
        answer |= {"uncentered": uncentered, "uncentered_effective_rank": effective_rank(uncentered)}
    return answer


def singular_values(x: npt.NDArray[Any], shift: Float64Array) -> Float64Array:
    """Returns the singular values of x - shift, by QR block after block."""
    d = x.shape[1]
    r = np.zeros((0, d))
    for block in _blocks(x):
        r = np.linalg.qr(np.concatenate([r, block - shift]), mode="r")
    return np.linalg.svd(r, compute_uv=False)


def _blocks(x: npt.NDArray[Any]) -> Iterator[Float64Array]:
    for start in range(0, len(x), _ROWS):
        yield x[start : start + _ROWS].astype(np.float64)


def errors(answer: Answer, reference: Answer) -> dict[str, float]:
    """Returns the relative error of the effective rank, and that of eigenvalues, relative to the largest.

    Both are the worst over classes. An answer with fewer eigenvalues is compared with the leading ones.
    """
    prefix = "" if answer.get("centered", True) else "uncentered_"
    true = np.asarray(reference["eigenvalues" if not prefix else "uncentered"])
    found = np.asarray(answer["eigenvalues"])
    true = true[..., : found.shape[-1]]
    if found.shape != true.shape:
        return {"eigenvalues": float("nan")}
    result = {"eigenvalues": float((np.abs(found - true) / true[..., :1]).max())}
    if "effective_rank" in answer:
        whole = np.asarray(reference[f"{prefix}effective_rank"])
        result["effective rank"] = float(np.max(np.abs(np.asarray(answer["effective_rank"]) / whole - 1.0)))
    return result
