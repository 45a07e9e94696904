"""Mean cosine of all pairs of rows, without the pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.inputs import resolve_moments, unit
from featdiv.results import Score
from featdiv.stats import Moments


def core(moments: Moments) -> float:
    """Returns the mean cosine, from the moments of unit rows."""
    n = moments.n
    if n < 2:
        raise NotEnoughData(f"a pair needs 2 rows; got {n}")
    # |sum u|^2 = n^2 |mean|^2 counts each row with itself, which is 1, n times.
    value = (n * float(moments.mean @ moments.mean) - 1.0) / (n - 1)
    return float(np.clip(value, -1.0 / (n - 1), 1.0))


def mean_cosine(
    x: Any,
    *,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Mean cosine: the mean of cos(x_i, x_j) over unordered pairs i != j.

    With u_i = x_i/|x_i| it is (|sum u_i|^2 - n) / (n (n - 1)): exact for all pairs, from one pass.

    Args:
        x: `Moments` of unit rows (``normalize="l2"``), a `Spectrum` made with ``normalize="l2"``, or rows
            (array, path, source), which are normalised on the way in.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between -1/(n - 1) and 1.

    Raises:
        NotEnoughData: if there are fewer than two rows.
        InputError: if a row is zero, or ``x`` holds moments of rows that were not normalised.

    Complexity:
        O(n d^2) for rows (never n^2), O(d) from `Moments`.

    Source:
        Ethayarajh 2019, who reads it as anisotropy.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0]])  # cosines 0, 1, 0
        >>> round(float(featdiv.mean_cosine(x)), 6)
        0.333333
    """
    resolved = resolve_moments(
        x,
        function="mean_cosine",
        normalize=unit(x),
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
        unit_rows=True,
    )
    return resolved.score(core)
