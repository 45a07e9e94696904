"""Subspace overlap: how much of the leading principal directions two feature spaces share."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.similarity.inputs import resolve_pair
from featdiv.metrics.similarity.pairs import Pair
from featdiv.results import Score


def core(pair: Pair, *, k: int = 10) -> float:
    """Returns the overlap of the leading directions of a pair; see `subspace_overlap`."""
    k = positive(k, "subspace_overlap: k")
    if pair.x.moments.d != pair.other.moments.d:
        raise InputError(
            f"subspace_overlap: other: expected d={pair.x.moments.d} features, as x has, since directions of one "
            f"feature space are compared; got d={pair.other.moments.d}"
        )
    bases = []
    for side in (pair.x, pair.other):
        vectors = side.components[1]
        if vectors.shape[1] < k:
            raise NotEnoughData(f"{side.name} has {vectors.shape[1]} directions with variance; k={k} were asked for")
        bases.append(vectors[:, :k])
    return min(1.0, float(np.square(bases[0].T @ bases[1]).sum()) / k)


def subspace_overlap(
    x: Any,
    other: Any = None,
    *,
    k: int = 10,
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
) -> Score:
    """Subspace overlap: |U_k^T V_k|_F^2 / k, U_k and V_k the leading k principal directions of the two sides.

    1 if the leading directions span the same space; k/d for independent ones. Both sides must have the same features,
    for example a model before and after fine-tuning.

    Args:
        x: rows (array, path, source), or `CrossMoments` of two models.
        other: the same rows in another representation of the same d; None with `CrossMoments`.
        k: number of directions.
        normalize: ``"l2"`` to divide each row by its norm first.
        precision: arithmetic of the products; None for float32, or float64 where there are few.
        backend: backend of the products.

    Returns:
        A `Score` between 0 and 1.

    Raises:
        NotEnoughData: if a side has fewer than k directions with variance.
        InputError: if the two differ in d or do not hold the same rows.

    Complexity:
        n (2 d)^2 multiply-adds and O(d^3).

    Source:
        Krzanowski 1979, section 3.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(500, 4)) * [9.0, 9.0, 1.0, 1.0]
        >>> round(float(featdiv.subspace_overlap(x, x[:, ::-1], k=2)), 1)  # the strong two became the weak two
        0.0
    """
    positive(k, "subspace_overlap: k")
    resolved = resolve_pair(
        x, other, function="subspace_overlap", normalize=normalize, precision=precision, backend=backend, exact=False
    )
    return resolved.score(core, parameters={"k": k})
