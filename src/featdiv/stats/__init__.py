"""Mergeable statistics: what rows leave behind, from which the scores are computed."""

from __future__ import annotations

from featdiv.stats.class_moments import ClassMoments
from featdiv.stats.cross_moments import CrossMoments
from featdiv.stats.cross_moments_norms import CrossNormSums
from featdiv.stats.moments import Moments, NormSums

__all__ = ["ClassMoments", "CrossMoments", "CrossNormSums", "Moments", "NormSums"]
