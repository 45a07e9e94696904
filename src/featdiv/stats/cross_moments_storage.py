"""Files of `CrossMoments`, in the layout of `featdiv.stats.storage`.

Entries besides the common ones: ``n``; ``names`` and ``sizes`` of the models; ``mean`` and ``scatter`` (its upper
triangle, row by row) of the joint rows; ``weighted`` (M, D) and ``fourth`` (upper triangle).
"""

from __future__ import annotations

import os

import numpy as np

from featdiv.stats.cross_moments import CrossMoments
from featdiv.stats.cross_moments_norms import CrossNormSums
from featdiv.stats.moments import Moments
from featdiv.stats.storage import packed, reading, write

_KIND = "CrossMoments"


def save(moments: CrossMoments, path: str | os.PathLike[str]) -> None:
    """Writes `CrossMoments` to a file."""
    entries = {
        "n": np.int64(moments.n),
        "names": np.array(moments.names),
        "sizes": np.array(moments.sizes, dtype=np.int64),
        "mean": moments.joint.mean,
        "scatter": packed(moments.joint.scatter),
        "weighted": moments.norm_sums.weighted,
        "fourth": packed(moments.norm_sums.fourth),
    }
    write(path, _KIND, entries, moments.joint)


def load(path: str | os.PathLike[str]) -> CrossMoments:
    """Reads `CrossMoments` from a file.

    Raises:
        FormatError: if the file is not a complete one of this kind.
        SourceNotFound: if there is no such file.
    """
    with reading(path, _KIND) as entries:
        sizes = entries.array("sizes", np.int64, (None,))
        count = sizes.size
        if not count or (sizes < 1).any():
            entries.refuse("sizes", "at least one model, of at least one feature", str(sizes.tolist()))
        names = entries.texts("names", count)
        total = int(sizes.sum())
        joint = Moments(
            n=entries.count("n"),
            mean=entries.array("mean", np.float64, (total,)),
            scatter=entries.symmetric("scatter", total),
            **entries.provenance(),
        )
        norm_sums = CrossNormSums(
            weighted=entries.array("weighted", np.float64, (count, total)),
            fourth=entries.symmetric("fourth", count),
        )
        return CrossMoments(names=names, sizes=tuple(sizes.tolist()), joint=joint, norm_sums=norm_sums)
