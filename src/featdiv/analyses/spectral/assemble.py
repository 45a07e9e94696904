"""Puts a `Spectrum` together: its scores, its notes, its provenance, its one warning."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv import __version__
from featdiv.analyses.spectral import plan, scores
from featdiv.analyses.spectral.result import Spectrum
from featdiv.errors import SmallSampleWarning
from featdiv.metrics.spectral import noise
from featdiv.metrics.spectral.eigenvalues import Eigenvalues
from featdiv.metrics.spectral.inputs import FLOOR_SHARE
from featdiv.results import Interval, Provenance, outside
from featdiv.stats.moments import Moments

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress

FUNCTION = "featdiv.spectrum"
FEW_ROWS_PER_FEATURE = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of one call, checked."""

    center: bool
    normalize: str | None
    method: str
    precision: str
    backend: str
    device: str | None
    interval: str | None
    memory: int
    nonfinite: str
    seed: int
    progress: Progress | None


def assemble(
    *,
    eigen: Eigenvalues,
    uncentered: Eigenvalues | None,
    mean: Any,
    moments: Moments | None,
    intervals: Mapping[str, Interval],
    provenance: Provenance,
    notes: list[str],
    warn: bool = True,
) -> Spectrum:
    """Returns the result; warns where there are few rows for the features."""
    computed = scores.compute(
        eigen,
        uncentered,
        moments,
        why_not_uncentered="it is about zero, and this method computed the centred spectrum only",
    )
    values = computed.ordered()
    if eigen.n < FEW_ROWS_PER_FEATURE * eigen.d:
        note = (
            f"{eigen.n} rows for {eigen.d} features: dimensions are underestimated and grow with n; compare only "
            "with spectra of the same number of rows"
        )
        if warn:
            warnings.warn(f"{FUNCTION}: {note}", SmallSampleWarning, stacklevel=_frames_to_caller())
        notes = [*notes, note]
    told: dict[str, float] = (
        values if eigen.centered else {name: values[name] for name in ("rankme", "vendi") if name in values}
    )
    notes = [*notes, *noise.remarks(told, eigen.n, eigen.d)]
    notes = [*notes, *filter(None, [outside(values, intervals)])]
    mean = np.array(mean)
    mean.setflags(write=False)
    return Spectrum(
        scores=values,
        undefined=computed.undefined,
        intervals={name: intervals[name] for name in values if name in intervals},
        provenance=dataclasses.replace(provenance, notes=tuple(notes)),
        eigen=eigen,
        mean=mean,
        moments=moments,
        fit=computed.fit,
        noise=computed.noise,
    )


def _frames_to_caller() -> int:
    """Returns the stack level of the first frame outside featdiv, so that the warning points at the user's line."""
    level = 2
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("featdiv."):
        level, frame = level + 1, frame.f_back
    return level


def recorded(options: Options) -> dict[str, Any]:
    """Returns the arguments that a provenance keeps."""
    return {
        "center": options.center,
        "normalize": options.normalize,
        "method": options.method,
        "interval": options.interval,
        "nonfinite": options.nonfinite,
    }


def provenance_of(
    source: Embeddings, options: Options, method: str, *, n: int, passes: int, precision: str
) -> Provenance:
    """Returns the provenance of a spectrum of the rows of a source."""
    return Provenance(
        function=FUNCTION,
        version=__version__,
        arguments=recorded(options),
        method=method,
        precision=precision,
        dtype=source.dtype,
        n=n,
        d=source.d,
        seed=options.seed,
        source=source.description,
        fingerprint=source.fingerprint,
        extraction=source.extraction,
        passes=passes,
    )


def floor_note(eigen: Eigenvalues, remedy: str) -> list[str]:
    """Returns a note if too much of the spectrum lies below the noise floor, with what would help."""
    share = eigen.share_below_floor
    if share <= FLOOR_SHARE:
        return []
    return [f"{share:.1e} of the sum of singular values lies below the noise floor: {remedy}"]


def dropped_note(dropped: int) -> list[str]:
    """Returns a note if rows were left out."""
    return [f"{dropped} rows with NaN or infinity were left out"] if dropped else []


def no_interval_note(chosen: plan.Plan, options: Options) -> list[str]:
    """Returns a note if intervals were wanted and the plan has none."""
    return [f"no intervals: {chosen.no_interval}"] if chosen.no_interval and options.interval is not None else []
