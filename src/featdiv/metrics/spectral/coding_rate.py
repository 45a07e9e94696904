"""Coding rate: how many nats a lossy code of the rows needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score
from featdiv.stats import arguments

DEFINITIONS = ("yu2020", "length")


def core(eig: Eigenvalues, definition: str = "yu2020", eps_squared: float = 0.5) -> float:
    """Returns the coding rate of uncentred eigenvalues; for ``"length"``, times (n + d)."""
    check(definition, eps_squared)
    eig.require_centered(False, function="coding_rate")
    eig.require_complete()
    rate = 0.5 * float(np.log1p(eig.values * (eig.d / eps_squared)).sum())
    return rate * (eig.n + eig.d) if definition == "length" else rate


def check(definition: str, eps_squared: float) -> None:
    """Raises InputError for a definition that does not exist, or a distortion that is not positive."""
    arguments.one_of("coding_rate", "definition", definition, DEFINITIONS)
    arguments.number("coding_rate", "eps_squared", eps_squared, "a number above 0", lambda eps: eps > 0.0)


def coding_rate(
    x: Any,
    *,
    definition: str = "yu2020",
    eps_squared: float = 0.5,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Coding rate: 1/2 ln det(I + d/(n eps^2) X^T X), of the rows as they are, in nats.

    The number of nats that a code needs for one row, up to a mean squared error of eps^2. Yu et al. 2020
    divide rows by their norm first (``normalize="l2"``); the rate grows with the scale of the rows otherwise.
    Definitions:

    * ``"yu2020"``: the rate, above.
    * ``"length"``: the rate times (n + d), the length of the code of all rows and its code book.

    Args:
        x: `Moments`, a `Spectrum` made with ``center=False`` or with moments, or rows (array, path, source).
        definition: one of the above.
        eps_squared: squared distortion eps^2, in the squared units of the rows.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` of at least 0, in nats.

    Raises:
        NotEnoughData: if every entry of the rows is zero.
        InputError: if eps_squared is not positive, or ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Yu et al. 2020, section 2.1.

    Example:
        >>> import featdiv, math, numpy as np
        >>> x = np.eye(2)  # X^T X / n = I / 2, so I + d/(n eps^2) X^T X = 3 I
        >>> round(float(featdiv.coding_rate(x)) / math.log(3.0), 6)
        1.0
    """
    check(definition, eps_squared)
    resolved = resolve_eigenvalues(
        x,
        function="coding_rate",
        center=False,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core, definition=definition, eps_squared=eps_squared)
