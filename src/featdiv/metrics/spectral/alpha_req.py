"""Alpha-ReQ: the exponent of the power law that the eigenvalues follow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.spectral.eigenvalues import EPSILON, Eigenvalues
from featdiv.metrics.spectral.inputs import resolve_eigenvalues
from featdiv.results import Score
from featdiv.stats import arguments

FIT_MIN = 11
MIN_POINTS = 10
STRINGER_MAX = 500

DEFINITIONS = ("least-squares", "agrawal2022", "stringer2019")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerLawFit:
    """A straight line through ln lambda_i against ln i.

    Attributes:
        alpha: minus its slope.
        intercept: ln lambda at i = 1, on the line.
        fit_min: first index used, counted from 1.
        fit_max: last index used.
        standard_error: of alpha, from the scatter about the line alone: eigenvalues are not independent, so
            it understates the sampling error.
        r_squared: share of the (weighted) variance of ln lambda that the line explains.
    """

    alpha: float
    intercept: float
    fit_min: int
    fit_max: int
    standard_error: float
    r_squared: float


def fit(
    eig: Eigenvalues,
    definition: str = "least-squares",
    fit_min: int | None = None,
    fit_max: int | None = None,
) -> PowerLawFit:
    """Returns the line fitted to the eigenvalues; see `alpha_req` for the arguments and errors."""
    check(definition, fit_min, fit_max)
    first, last = _range(eig, definition, fit_min, fit_max)
    resolved = eig.resolved
    if resolved < eig.values.size:
        last = min(last, resolved)
    if last - first + 1 < MIN_POINTS:
        end = _range(eig, definition, fit_min, fit_max)[1]
        raise NotEnoughData(
            f"a power law needs at least {MIN_POINTS} eigenvalues above the noise floor in its range, here {first} to "
            f"{end}{', which is empty' if end < first else ''}; it has {max(0, last - first + 1)} ({resolved} of "
            f"{eig.rank_limit} in all lie above the floor)"
        )
    index = np.arange(first, last + 1, dtype=np.float64)
    u, y = np.log(index), np.log(eig.values[first - 1 : last])
    weight = np.ones_like(index) if definition == "least-squares" else 1.0 / index
    weight /= weight.sum()
    u_mean, y_mean = float(weight @ u), float(weight @ y)
    du, dy = u - u_mean, y - y_mean
    spread = float(weight @ (du * du))
    slope = float(weight @ (du * dy)) / spread
    residual = dy - slope * du
    left, total = float(weight @ (residual * residual)), float(weight @ (dy * dy))
    return PowerLawFit(
        alpha=-slope + 0.0,
        intercept=y_mean - slope * u_mean,
        fit_min=first,
        fit_max=last,
        standard_error=math.sqrt(left / (spread * (index.size - 2))),
        # A flat spectrum lies on a line of slope zero but for rounding, whose R^2 would be noise.
        r_squared=max(0.0, 1.0 - left / total) if total > (4.0 * EPSILON * np.abs(y).max()) ** 2 else 1.0,
    )


def check(definition: str, fit_min: Any, fit_max: Any) -> None:
    """Raises InputError for an unknown definition, or an end of the range of the fit that is no index."""
    arguments.one_of("alpha_req", "definition", definition, DEFINITIONS)
    for argument, end in (("fit_min", fit_min), ("fit_max", fit_max)):
        if end is not None:
            positive(end, f"alpha_req: {argument}")


def _range(eig: Eigenvalues, definition: str, fit_min: int | None, fit_max: int | None) -> tuple[int, int]:
    first = FIT_MIN if fit_min is None else fit_min
    if fit_max is not None:
        last = fit_max
    elif definition == "stringer2019":
        last = min(STRINGER_MAX, eig.rank_limit)
    else:
        last = eig.rank_limit // 2
    if last > eig.rank_limit:
        raise InputError(f"alpha_req: fit_max: expected at most min(n, d) = {eig.rank_limit}; got {last}")
    if fit_max is not None and last < first:
        raise InputError(f"alpha_req: fit_max: expected at least fit_min = {first}; got {last}")
    return first, min(last, eig.values.size)


def core(
    eig: Eigenvalues,
    definition: str = "least-squares",
    fit_min: int | None = None,
    fit_max: int | None = None,
) -> float:
    """Returns the exponent alone."""
    return fit(eig, definition, fit_min, fit_max).alpha


def _details(eig: Eigenvalues, **arguments: Any) -> dict[str, Any]:
    return dataclasses.asdict(fit(eig, **arguments))


def alpha_req(
    x: Any,
    *,
    definition: str = "least-squares",
    fit_min: int | None = None,
    fit_max: int | None = None,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Alpha-ReQ: alpha of the power law lambda_i ~ i^-alpha, minus the slope of ln lambda_i against ln i.

    Definitions:

    * ``"least-squares"``: ordinary least squares over i = 11 to min(n, d)/2.
    * ``"agrawal2022"``: the same range, each point weighted by 1/i, as in the authors' code. Their scripts
      use different ranges in different places; give the one you compare with.
    * ``"stringer2019"``: i = 11 to 500 (or min(n, d)), weighted by 1/i. The paper applies it to
      cross-validated variances of neurons; here it is applied to the eigenvalues.

    In each, eigenvalues below the noise floor are left out at the upper end.

    Args:
        x: `Moments`, a `Spectrum`, or rows (array, path, source).
        definition: one of the above.
        fit_min: first index of the range, counted from 1.
        fit_max: last index of the range.
        center: whether to subtract the mean first.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        precision: arithmetic of the second moments; for rows only. A run in float32 is repeated in float64
            where too much of the spectrum lies below its noise floor.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score`; its ``details`` are the fields of `PowerLawFit`: range used, intercept, standard error,
        R^2.

    Raises:
        NotEnoughData: if fewer than 10 eigenvalues of the range lie above the noise floor; with the default
            range, if min(n, d) < 40.
        InputError: if the range or the definition does not exist, or ``x`` cannot give the spectrum asked
            for.

    Complexity:
        O(n d^2) for rows, O(d^3) from `Moments`.

    Source:
        Agrawal et al. 2022; Stringer et al. 2019.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.diag(np.arange(1.0, 65.0) ** -0.5)  # uncentred eigenvalues proportional to 1/i
        >>> round(float(featdiv.alpha_req(x, center=False)), 6)
        1.0
    """
    check(definition, fit_min, fit_max)
    resolved = resolve_eigenvalues(
        x,
        function="alpha_req",
        center=center,
        normalize=normalize,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core, definition=definition, details=_details, fit_min=fit_min, fit_max=fit_max)
