"""The filters of a layer: which are compared with one another, and how different they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NonFiniteError
from featdiv.metrics.spectral.entropy import entropy
from featdiv.metrics.weights.checkpoints import FUNCTION, Weight

Float64Array = npt.NDArray[np.float64]

LARGEST = 8192
"""Filters up to which all pairs are formed (512 MiB of float64); a larger layer is skipped, and listed so."""

CLUSTER_COSINE = 0.5
"""Mean cosine at which two clusters of filters are still one."""

_EPSILON = float(np.finfo(np.float64).eps)


def core(filters: npt.ArrayLike) -> float:
    """Returns 1 - mean_{i<j} abs(cos(w_i, w_j)) of filters as rows."""
    return measure(np.asarray(filters, dtype=np.float64))["cosine"]


def measure(filters: Float64Array) -> dict[str, float]:
    """Returns the four measures of at least two filters, none of them zero, as rows.

    Complexity:
        O(m^2 f + min(m, f)^3) for m filters of f weights, memory O(m^2).
    """
    import scipy.cluster.hierarchy
    import scipy.linalg
    import scipy.spatial.distance

    unit = unit_rows(filters)
    m, fan_in = unit.shape
    cosines = unit @ unit.T
    np.clip(cosines, -1.0, 1.0, out=cosines)
    small = cosines if m <= fan_in else unit.T @ unit
    squares = scipy.linalg.eigvalsh(small, check_finite=False)
    # What rounding left of a zero eigenvalue would count as its square root.
    squares = np.where(squares > max(m, fan_in) * _EPSILON * squares[-1], squares, 0.0)
    sigma = np.sqrt(squares)
    np.fill_diagonal(cosines, 1.0)
    pairs = scipy.spatial.distance.squareform(1.0 - cosines, checks=False)
    tree = scipy.cluster.hierarchy.linkage(pairs, method="average")
    # A merge at exactly the threshold counts, whichever way its mean was rounded.
    threshold = (1.0 - CLUSTER_COSINE) * (1.0 + 1e-12)
    return {
        "cosine": 1.0 - float(np.abs(1.0 - pairs).mean()),
        "effective_rank": math.exp(entropy(sigma / sigma.sum())) / min(m, fan_in),
        "participation_ratio": float(squares.sum()) ** 2 / float(squares @ squares),
        "clusters": (1 + int(np.count_nonzero(tree[:, 2] > threshold))) / m,
    }


def unit_rows(filters: Float64Array) -> Float64Array:
    """Returns rows of norm one; dividing by the largest entry first keeps squares in range."""
    scaled = filters / np.abs(filters).max(axis=1)[:, None]
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1)[:, None])


def blocks(
    weight: Weight,
    *,
    heads: int | Mapping[str, int] | None,
    groups: Mapping[str, int] | None,
) -> list[Float64Array]:
    """Returns the (filters, fan-in) matrices of a layer whose rows are compared among themselves.

    One for the whole layer, but one for each group of a grouped convolution, whose filters see different
    channels, and one for each head of an attention projection, where that is asked for. Depthwise filters see
    one channel each and are compared by their pattern in space, in one matrix.

    Raises:
        InputError: if the weights are not there, or groups or heads do not divide the filters.
        NonFiniteError: if a weight is NaN or infinite.
    """
    w = _to_float64(weight)
    parts = _given(groups, weight, "groups") or weight.groups
    if weight.transposed:
        w = _outputs_first(w, parts)
    matrix = w.reshape(w.shape[0], -1)
    if weight.kind == "convolution":
        count = 1 if w.shape[1] == 1 else parts
        what = f"{count} groups"
    elif isinstance(heads, Mapping):
        asked = _given(heads, weight, "split_heads")
        count = weight.stacked * asked if asked else 1
        what = f"{weight.stacked} x {asked} heads"
    else:
        count = weight.stacked * heads if heads and weight.kind == "attention" else 1
        what = f"{weight.stacked} x {heads} heads"
    if len(matrix) % count:
        raise InputError(
            f"{FUNCTION}: {weight.name}: expected filters in {what} of equal size; got {len(matrix)} filters"
        )
    return np.split(matrix, count)


def _given(counts: Mapping[str, Any] | None, weight: Weight, argument: str) -> int | None:
    found: Any = None
    for name in (weight.name, weight.layer):
        found = (counts or {}).get(name, found)
    if found is not None and (isinstance(found, bool) or not isinstance(found, int) or found < 1):
        raise InputError(f"{FUNCTION}: {argument}: expected a positive number for {weight.name}; got {found!r}")
    return None if found is None else int(found)


def _outputs_first(w: Float64Array, groups: int) -> Float64Array:
    inputs, outputs = w.shape[:2]
    grouped = w.reshape(groups, inputs // groups, outputs, *w.shape[2:])
    return np.swapaxes(grouped, 1, 2).reshape(groups * outputs, inputs // groups, *w.shape[2:])


def _to_float64(weight: Weight) -> Float64Array:
    value: Any = weight.value
    if hasattr(value, "detach"):
        import torch

        if value.device.type == "meta" or torch.nn.parameter.is_lazy(value):
            raise InputError(
                f"{FUNCTION}: {weight.name}: expected weights; got a parameter without values (on the meta device, or "
                "not initialised). Load the weights first."
            )
        value = value.detach().to(device="cpu", dtype=torch.float64).numpy()
    w = np.asarray(value, dtype=np.float64)
    bad = ~np.isfinite(w).reshape(len(w), -1)
    if bad.any():
        count, first = int(bad.sum()), int(bad.any(axis=1).argmax())
        raise NonFiniteError(
            f"{FUNCTION}: {weight.name}: expected finite weights; got {count} NaN or infinite ones, the first in "
            f"row {first}",
            count=count,
            first_row=first,
        )
    return w
