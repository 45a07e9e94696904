"""Mean squared cosine of all pairs of rows, without the pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.inputs import resolve_moments, unit
from featdiv.results import Score
from featdiv.stats import Moments


def core(moments: Moments) -> float:
    """Returns the mean squared cosine, from the moments of unit rows."""
    n, mean = moments.n, moments.mean
    if n < 2:
        raise NotEnoughData(f"a pair needs 2 rows; got {n}")
    # |U^T U|_F^2 with U^T U = scatter + n mean mean^T, without forming it.
    square = float(mean @ mean)
    frobenius = (
        float(np.vdot(moments.scatter, moments.scatter))
        + 2.0 * n * float(mean @ moments.scatter @ mean)
        + n * n * square * square
    )
    value = (frobenius / n - 1.0) / (n - 1)
    return float(np.clip(value, 0.0, 1.0))


def mean_squared_cosine(
    x: Any,
    *,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Mean squared cosine: the mean of cos(x_i, x_j)^2 over unordered pairs i != j.

    With the unit rows as U it is (|U^T U|_F^2 - n) / (n (n - 1)): exact for all pairs, from one pass. Rows
    spread evenly over all directions give 1/d; it is never below (n/d - 1)/(n - 1) (Welch 1974).

    Args:
        x: `Moments` of unit rows (``normalize="l2"``), a `Spectrum` made with ``normalize="l2"``, or rows
            (array, path, source), which are normalised on the way in.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 0 and 1.

    Raises:
        NotEnoughData: if there are fewer than two rows.
        InputError: if a row is zero, or ``x`` holds moments of rows that were not normalised.

    Complexity:
        O(n d^2) for rows (never n^2), O(d^2) from `Moments`.

    Source:
        The frame potential of Benedetto & Fickus 2003, without its diagonal and per pair.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])  # squared cosines 0, 1/2, 1/2
        >>> round(float(featdiv.mean_squared_cosine(x)), 6)
        0.333333
    """
    resolved = resolve_moments(
        x,
        function="mean_squared_cosine",
        normalize=unit(x),
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
        unit_rows=True,
    )
    return resolved.score(core)
