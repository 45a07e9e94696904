"""RankMe: entropy of the singular values of the rows as they are, in its four published forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score
from featdiv.stats import arguments

EPSILONS = {"garrido2023": 1e-7, "stable-pretraining": 1e-5, "reptrix": 1e-7, "normalized": 1e-7}
"""Definition to the constant that it adds to every share."""


def core(eig: Eigenvalues, definition: str = "garrido2023") -> float:
    """Returns RankMe; the eigenvalues must be uncentred, but centred for ``"reptrix"``."""
    check_definition(definition)
    eig.require_centered(wants_centered(definition), function=f"rankme ({definition})")
    shares = eig.shares() if definition == "reptrix" else eig.singular_shares()
    p = shares + EPSILONS[definition]
    exponent = -float(p @ np.log(p))
    if definition != "normalized":
        return math.exp(exponent)
    if eig.rank_limit < 2:
        raise NotEnoughData(f"'normalized' divides by ln(min(n, d)), which is 0 for {eig.n} x {eig.d}")
    return exponent / math.log(eig.rank_limit)


def wants_centered(definition: str) -> bool:
    """Whether a definition takes the eigenvalues about the mean."""
    return definition == "reptrix"


def check_definition(definition: str) -> None:
    """Raises `InputError` for a definition that does not exist."""
    arguments.one_of("rankme", "definition", definition, tuple(EPSILONS))


def rankme(
    x: Any,
    *,
    definition: str = "garrido2023",
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """RankMe: exp(-sum p_i ln p_i), p_i = sigma_i / sum(sigma) + 1e-7, with sigma of the rows as they are.

    The mean is not subtracted, so a large common mean lowers the number. Definitions:

    * ``"garrido2023"``: the paper's, above.
    * ``"stable-pretraining"``: 1e-5 in place of 1e-7, as that library computes it. The constants then add up:
      at 4,096 features the value is about 40 % too high.
    * ``"reptrix"``: eigenvalues of the centred covariance in place of singular values, as that library
      computes it; the exponential of another entropy, and much smaller.
    * ``"normalized"``: ln(garrido2023) / ln(min(n, d)), between 0 and 1.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        definition: one of the above.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only. A run in float32 is repeated in float64
            where too much of the spectrum lies below its noise floor.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score`, in dimensions.

    Raises:
        NotEnoughData: if every entry is zero (``"reptrix"``: if the features are constant).
        InputError: if ``x`` cannot give the spectrum asked for, or the definition does not exist.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Garrido et al. 2023, equation 1.

    Example:
        >>> import featdiv, numpy as np
        >>> round(float(featdiv.rankme(np.eye(4))), 4)
        4.0
        >>> round(float(featdiv.rankme(np.eye(4), definition="normalized")), 4)
        1.0
    """
    check_definition(definition)
    resolved = resolve_eigenvalues(
        x,
        function="rankme",
        center=wants_centered(definition),
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core, definition=definition)
