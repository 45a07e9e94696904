"""Which scores a spectrum carries, each computed by its own core, undefined ones listed with the reason."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from featdiv.errors import NotEnoughData
from featdiv.metrics import catalogue
from featdiv.metrics.spectral import (
    alpha_req,
    components_for,
    condition_number,
    effective_rank,
    marchenko_pastur,
    mean_cosine,
    mean_squared_cosine,
    participation_ratio,
    rankme,
    spectral_entropy,
    stable_rank,
    vendi,
)
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.stats.moments import Moments

Core = Callable[[Eigenvalues], float]

SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)

OF_SPECTRUM: dict[str, Core] = {
    "effective_rank": effective_rank.core,
    "participation_ratio": participation_ratio.core,
    "stable_rank": stable_rank.core,
    "spectral_entropy": spectral_entropy.core,
    "alpha_req": alpha_req.core,
    "condition_number": condition_number.core,
    "marchenko_pastur": marchenko_pastur.core,
    **{f"components_{round(100 * q)}": functools.partial(components_for.core, q=q) for q in SHARES},
}
"""Scores of the eigenvalues that were asked for, centred or not."""

OF_UNCENTERED: dict[str, Core] = {"rankme": rankme.core}
"""Scores that are defined on the uncentred rows, whatever was asked for."""

OF_UNIT_ROWS: dict[str, Core] = {"vendi": vendi.core}
"""Scores of the uncentred eigenvalues that exist where rows have norm one."""

OF_UNIT_MOMENTS: dict[str, Callable[[Moments], float]] = {
    "mean_cosine": mean_cosine.core,
    "mean_squared_cosine": mean_squared_cosine.core,
}

ORDER = (
    "effective_rank",
    "rankme",
    "participation_ratio",
    "stable_rank",
    "spectral_entropy",
    "alpha_req",
    "condition_number",
    "vendi",
    "mean_cosine",
    "mean_squared_cosine",
    "marchenko_pastur",
    *(f"components_{round(100 * q)}" for q in SHARES),
)


def has_interval(name: str, eigen: Eigenvalues) -> bool:
    """Whether the jackknife is valid for this score of this spectrum; the catalogue knows."""
    entry = catalogue.get("components_for" if name.startswith("components_") else name)
    return entry.no_jackknife(eigen) is None


@dataclasses.dataclass(kw_only=True)
class Scores:
    """Scores under construction.

    Attributes:
        values: name to value.
        undefined: name to the reason why there is none.
        fit: the power-law fit behind ``alpha_req``, empty where it is undefined.
        noise: the noise model behind ``marchenko_pastur``, likewise.
    """

    values: dict[str, float] = dataclasses.field(default_factory=dict)
    undefined: dict[str, str] = dataclasses.field(default_factory=dict)
    fit: dict[str, float] = dataclasses.field(default_factory=dict)
    noise: dict[str, float] = dataclasses.field(default_factory=dict)

    def add(self, name: str, compute: Callable[..., Any], statistic: Any) -> None:
        """Computes one score, or notes why it does not exist."""
        try:
            self.values[name] = float(compute(statistic))
        except NotEnoughData as error:
            self.undefined[name] = str(error)

    def ordered(self) -> dict[str, float]:
        """Returns the defined scores in the order in which they are shown."""
        return {name: self.values[name] for name in ORDER if name in self.values}


def compute(
    eigen: Eigenvalues,
    uncentered: Eigenvalues | None,
    moments: Moments | None,
    *,
    why_not_uncentered: str = "",
) -> Scores:
    """Returns every score that the statistics allow.

    Args:
        eigen: eigenvalues as asked for.
        uncentered: eigenvalues about zero, or None where they are not known.
        moments: moments of the rows, or None.
        why_not_uncentered: the reason, where they are not known.
    """
    scores = Scores()

    def alpha(eigen: Eigenvalues) -> float:
        found = alpha_req.fit(eigen)
        scores.fit = vars(found).copy()
        return found.alpha

    def above_noise(eigen: Eigenvalues) -> int:
        found = marchenko_pastur.fit(eigen)
        scores.noise = vars(found).copy()
        return found.count

    kept = {"alpha_req": alpha, "marchenko_pastur": above_noise}
    for name, core in OF_SPECTRUM.items():
        scores.add(name, kept.get(name, core), eigen)
    if uncentered is None:
        scores.undefined.update(dict.fromkeys(OF_UNCENTERED, why_not_uncentered))
        return scores
    for name, core in OF_UNCENTERED.items():
        scores.add(name, core, uncentered)
    if uncentered.unit_rows:
        for name, core in OF_UNIT_ROWS.items():
            scores.add(name, core, uncentered)
        if moments is not None:
            for name, of_moments in OF_UNIT_MOMENTS.items():
                scores.add(name, of_moments, moments)
    return scores
