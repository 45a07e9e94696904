"""The true scores in float64, by formulas of this file alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Data
from suites.diversity.data import MODELS, frequencies
from suites.spectrum.reference import rows_of

_ROWS = 4096


def _unit(data: Data) -> npt.NDArray[np.float64]:
    rows = np.array(rows_of(data), dtype=np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def uniformity_of_some(data: Data) -> Answer:
    """Returns the uniformity of all rows: every pair, a block of rows at a time."""
    rows = _unit(data)
    total = 0.0
    for start in range(0, data.n, _ROWS):
        block = rows[start : start + _ROWS]
        inside = 2.0 * (block @ block.T) - 2.0
        total += float(np.exp(2.0 * inside[np.triu_indices(len(block), 1)]).sum())
        after = rows[start + _ROWS :]
        for other in range(0, len(after), _ROWS):
            total += float(np.exp(4.0 * (block @ after[other : other + _ROWS].T) - 4.0).sum())
    return {"score": np.log(total / (data.n * (data.n - 1) / 2))}


def uniformity_of_turns(data: Data) -> Answer:
    """Returns the uniformity of rows whose cosine depends on how far apart they stand: n - 1 terms, equally often.

    As `data.turns_50k` makes them; not of the primer, nor of a part of the rows.
    """
    turns = frequencies(data.n, data.d)
    terms = np.empty(data.n - 1)
    for start in range(0, data.n - 1, _ROWS):
        apart = np.arange(start + 1, min(start + 1 + _ROWS, data.n))
        cosines = np.cos((2.0 * np.pi / data.n) * (apart[:, None] * turns % data.n)).mean(axis=1)
        terms[start : start + len(apart)] = np.exp(-4.0 * (1.0 - cosines))
    return {"score": np.log(terms.mean())}


def cka(data: Data) -> Answer:
    """Returns the (8, 8) debiased CKA by sums over rows: every term of the U-statistic from its definition."""
    n = data.n
    rows = np.array(rows_of(data), dtype=np.float64)
    rows -= rows.mean(axis=0)
    sides = np.split(rows, MODELS, axis=1)
    norms = [np.einsum("ij,ij->i", side, side) for side in sides]

    def hsic(a: int, b: int) -> float:
        # Kernels with a zero diagonal: tr KL, 1'K1 1'L1 and 1'KL1 of rows about their mean.
        inner = float(np.square(sides[a].T @ sides[b]).sum()) - float(norms[a] @ norms[b])
        sums = float(norms[a].sum()) * float(norms[b].sum())
        return inner + sums / ((n - 1) * (n - 2)) - 2.0 * float(norms[a] @ norms[b]) / (n - 2)

    own = [hsic(a, a) for a in range(MODELS)]
    matrix = [[hsic(a, b) / np.sqrt(own[a] * own[b]) for b in range(MODELS)] for a in range(MODELS)]
    return {"score": np.array(matrix)}


def vendi(data: Data) -> Answer:
    """Returns exp of the entropy of the eigenvalues of U^T U / n."""
    gram = np.zeros((data.d, data.d))
    stored = rows_of(data)
    for start in range(0, data.n, _ROWS):
        block = np.array(stored[start : start + _ROWS], dtype=np.float64)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        gram += block.T @ block
    values = np.linalg.eigvalsh(gram / data.n)
    values = values[values > 0.0]
    return {"score": float(np.exp(-(values * np.log(values)).sum()))}


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """Returns the largest error of the score, relative to its largest magnitude."""
    if "score" not in answer:
        return {}
    wanted = np.asarray(truth["score"], dtype=np.float64)
    return {"score": float(np.abs(np.asarray(answer["score"]) - wanted).max() / np.abs(wanted).max())}
