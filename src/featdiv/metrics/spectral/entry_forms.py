"""What the catalogue entries of the spectral metrics have in common."""

from __future__ import annotations

import functools

from featdiv.metrics import entry_forms
from featdiv.metrics.entry import Bounds
from featdiv.metrics.entry_forms import ROTATIONS, one

HIGHER = "higher is more diverse"
LOWER = "lower is more diverse"
DIMENSIONS = "dimensions"

ABOUT_ZERO = (*ROTATIONS, "isotropic scaling")
COSINES = (*ROTATIONS, "isotropic scaling", "row scaling")
COUNT = "it is a count, for which the jackknife fails"
LARGEST = "featdiv.metrics.spectral.stable_rank.jackknife_problem"


def rank(n: int, d: int) -> float:
    """The bound min(n, d)."""
    return float(min(n, d))


DIMENSION_BOUNDS = Bounds(text="1 <= value <= min(n, d)", lower=one, upper=rank)


metric = functools.partial(entry_forms.metric, family="spectral", needs="eigenvalues")
"""Returns an entry of this family, from eigenvalues unless it is said otherwise."""
