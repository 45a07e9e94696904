"""Silhouette: how much nearer rows are to their own class than to the next one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.labelled.inputs import dropped_note, opened, require_classes
from featdiv.metrics.labelled.rows import Float64Array, LabelledRows
from featdiv.results import Provenance, Score
from featdiv.stats import ClassMoments, arguments

SAMPLE = 10_000


def core(x: Float64Array, labels: npt.ArrayLike) -> float:
    """Returns the mean silhouette of rows in memory, by scikit-learn."""
    from sklearn.metrics import silhouette_score

    codes = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    c = int(codes.max()) + 1
    require_classes([str(label) for label in np.unique(np.asarray(labels))])
    if c == len(codes):
        raise NotEnoughData(f"a class of 2 rows or more is needed; every one of {c} has 1")
    return float(silhouette_score(x, codes))


def silhouette(
    x: Any,
    labels: Any = None,
    *,
    sample: int | None = SAMPLE,
    seed: int = 0,
    normalize: str | None = None,
    ignore: int | str | None = None,
) -> Score:
    """Silhouette: the mean over rows of (b - a) / max(a, b), by scikit-learn on a stated sample.

    For each row, a is its mean Euclidean distance to the other rows of its class and b the smallest mean
    distance to the rows of another class; a row that is alone in its class counts 0. All pairs of rows are
    compared, so the rows are a sample by default, drawn without replacement.

    Args:
        x: rows (array, path, source that can be read by index).
        labels: one integer or string for each row; None where ``x`` carries them.
        sample: how many rows to draw; None, or a number of at least n, for all.
        seed: seed of the draw.
        normalize: ``"l2"`` to divide each row by its norm first.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.

    Returns:
        A `Score` between -1 and 1. ``details["sample"]`` is the number of rows that were compared,
        ``details["rows"]`` the number there are.

    Raises:
        NotEnoughData: if there is one class (in the sample), or every class has one row.
        InputError: if labels are missing or cannot be used, sample is not positive, or the source can be read
            only once.

    Complexity:
        O(m^2 d) for m rows in the sample; memory O(m d) beside scikit-learn's working memory.

    Source:
        Rousseeuw 1987.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[0.0], [1.0], [10.0], [11.0]])  # a = 1; b = 10.5 for outer rows, 9.5 for inner ones
        >>> score = featdiv.silhouette(x, [0, 0, 1, 1])
        >>> round(float(score), 6), score.details["sample"]
        (0.899749, 4)
    """
    arguments.check_seed("silhouette", seed)
    if sample is not None:
        sample = positive(sample, "silhouette: sample")
    if isinstance(x, ClassMoments):
        raise InputError(
            "silhouette: x: expected labelled rows; got ClassMoments, which no longer hold them. Pass the rows."
        )
    with opened(x, labels, function="silhouette") as source:
        rows = LabelledRows.of(source, function="silhouette", ignore=ignore, normalize=normalize)
        kept = np.flatnonzero(rows.codes >= 0)
        drawn = sample is not None and sample < len(kept)
        if drawn:
            kept = np.sort(np.random.default_rng(seed).choice(kept, sample, replace=False))
        try:
            value = core(rows.take(kept), rows.classes[rows.codes[kept]])
        except NotEnoughData as error:
            raise NotEnoughData(f"silhouette: {error}" + (" in the sample" if drawn else "")) from None
        notes = (f"a sample of {len(kept)} of {len(kept) if not drawn else int((rows.codes >= 0).sum())} rows",)
        return Score(
            name="silhouette",
            scores={"silhouette": value},
            details={"sample": len(kept), "rows": int((rows.codes >= 0).sum()), "classes": len(rows.classes)},
            provenance=Provenance(
                function="featdiv.silhouette",
                version=__version__,
                arguments={"sample": sample, "normalize": normalize, "classes": len(rows.classes)},
                method="scikit-learn",
                precision="float64",
                dtype=source.dtype,
                n=int((rows.codes >= 0).sum()),
                d=source.d,
                seed=seed if drawn else None,
                source=source.description,
                fingerprint=source.fingerprint,
                extraction=source.extraction,
                passes=1,
                notes=(*(notes if drawn else ()), *dropped_note(rows.dropped)),
            ),
        )
