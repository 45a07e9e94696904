"""Participation ratio of the eigenvalues."""

from __future__ import annotations

from typing import Any

from featdiv.errors import NotEnoughData
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score
from featdiv.stats import arguments

DEFINITIONS = ("gao2017", "debiased")


def core(eig: Eigenvalues, definition: str = "gao2017") -> float:
    """Returns sum(lambda)^2 / sum(lambda^2) of the eigenvalues given, or the ratio of unbiased estimates of both."""
    arguments.one_of("participation_ratio", "definition", definition, DEFINITIONS)
    shares = eig.shares()
    square = float(shares @ shares)
    if definition == "gao2017":
        return 1.0 / square
    m = eig.n - 1 if eig.centered else eig.n
    # Of one dimension both terms are exact; rounding must not divide by what is left of their difference.
    if m < 2 or m * square - 1.0 <= 1e-12 * m * square:
        raise NotEnoughData(
            f"{eig.n} rows are all equally far from one another: their spectrum holds no estimate of sum(lambda^2)"
        )
    return max(1.0, (m + 1.0 - 2.0 * square) / (m * square - 1.0))


def participation_ratio(
    x: Any,
    *,
    definition: str = "gao2017",
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Participation ratio: sum(lambda)^2 / sum(lambda^2).

    The number of dimensions that the features would fill evenly, weighted by variance. It weighs the leading
    directions more than `effective_rank` does, and is at most that. Definitions:

    * ``"gao2017"``: as above. It grows with the number of rows: isotropic noise gives (m d + 2)/(m + d + 1), m = n - 1,
      not d.
    * ``"debiased"``: ((m + 1) s^2 - 2 q)/(m q - s^2), s = sum(lambda), q = sum(lambda^2): the ratio of the estimates of
      Tr(Sigma)^2 and Tr(Sigma^2) that are unbiased for Gaussian rows. It can exceed min(n, d), and compares over n.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        definition: one of the above.
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 1 and min(n, d), in dimensions (``"debiased"``: not bounded above).

    Raises:
        NotEnoughData: if the features are constant, or there is one row.
        InputError: if ``x`` cannot give the spectrum asked for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Gao et al. 2017; Srivastava 2005 for the unbiased estimates.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances in ratio 4 to 1
        >>> round(float(featdiv.participation_ratio(x)), 6)  # 25 / 17
        1.470588
    """
    arguments.one_of("participation_ratio", "definition", definition, DEFINITIONS)
    resolved = resolve_eigenvalues(
        x,
        function="participation_ratio",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core, definition=definition)
