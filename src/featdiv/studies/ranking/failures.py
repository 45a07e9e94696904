"""What may cost one model, or one score, its place in a ranking, and what ends the ranking."""

from __future__ import annotations

from featdiv.backbones.cache import DiskFull
from featdiv.backbones.decoding import UnreadableImage
from featdiv.errors import FeatdivError, MissingDependency

FOR_ALL = (DiskFull, UnreadableImage, MissingDependency)
"""Errors that the next model would meet as well."""


def reason(error: Exception) -> str:
    """Returns in words why something is missing.

    Raises:
        FeatdivError: the error itself, if the next model would meet it as well.
    """
    if isinstance(error, FOR_ALL):
        raise error
    return str(error) if isinstance(error, FeatdivError) else f"{type(error).__name__}: {error}"
