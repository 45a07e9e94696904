"""PARC: whether rows that are near in the features are of the same class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.labelled.inputs import dropped_note, opened, require_classes
from featdiv.metrics.labelled.rows import LabelledRows
from featdiv.results import Provenance, Score
from featdiv.stats import ClassMoments, arguments
from featdiv.stats.moments import Float64Array
from featdiv.stats.ranks import of_products, tied_ranks

SAMPLE = 2000


def core(x: Float64Array, labels: npt.ArrayLike) -> float:
    """Returns PARC of rows in memory; see `parc`."""
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    require_classes(names.tolist())
    centred = x - x.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    if not (norms > 1e-12 * np.linalg.norm(x, axis=1)).all():
        row = int((norms <= 1e-12 * np.linalg.norm(x, axis=1)).argmax())
        raise NotEnoughData(
            f"a correlation needs features that are not all equal; row {row} of those taken has one value"
        )
    unit = centred / norms[:, None]
    upper = np.triu_indices(len(x), 1)
    distances = tied_ranks(1.0 - (unit @ unit.T)[upper], of_products(x.shape[1]))
    # The correlation of two one-hot rows is 1 or -1/(c - 1): two values, whose ranks correlate as the values do.
    other = (codes.reshape(-1)[upper[0]] != codes.reshape(-1)[upper[1]]).astype(np.float64)
    if not other.size or other.min() == other.max():
        raise NotEnoughData("every class has one row among those taken, so no two labels are alike")
    distances -= distances.mean()
    other -= other.mean()
    length = float(np.linalg.norm(distances))
    if not length > 0.0:
        raise NotEnoughData("all rows are equally far from one another")
    return float(distances @ other) / (length * float(np.linalg.norm(other)))


def parc(
    x: Any,
    labels: Any = None,
    *,
    sample: int | None = SAMPLE,
    seed: int = 0,
    normalize: str | None = None,
    ignore: int | str | None = None,
) -> Score:
    """PARC: the Spearman correlation, over pairs of rows, of 1 - Pearson of features and 1 - Pearson of labels.

    Labels are one-hot rows. All pairs are compared, so the rows are a sample by default, drawn without
    replacement.

    Args:
        x: rows (array, path, source that can be read by index).
        labels: one integer or string for each row; None where ``x`` carries them.
        sample: how many rows to draw; None, or a number of at least n, for all.
        seed: seed of the draw.
        normalize: ``"l2"`` to divide each row by its norm first, which changes nothing here.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.

    Returns:
        A `Score` between -1 and 1 (the authors print it times 100); 0 for labels that features say nothing of.
        ``details["sample"]`` is the number of rows that were compared.

    Raises:
        NotEnoughData: if there is one class, no class has two rows, or a row has the same value in all features.
        InputError: if labels are missing or cannot be used, sample is below 3, or the source can be read only
            once.

    Complexity:
        O(m^2 (d + ln m)) for m rows in the sample; memory O(m^2).

    Source:
        Bolya et al. 2021, section 4, without their reduction of dimension.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.1], [0.0, 1.0, 0.0], [0.1, 3.0, 0.0]])
        >>> round(float(featdiv.parc(x, [0, 0, 1, 1])), 6)  # all pairs within a class are nearer: two ranks of six
        0.828079
    """
    arguments.check_seed("parc", seed)
    if sample is not None and positive(sample, "parc: sample") < 3:
        raise InputError(f"parc: sample: expected 3 rows or more, or None for all; got {sample!r}")
    if isinstance(x, ClassMoments):
        raise InputError("parc: x: expected labelled rows; got ClassMoments, which no longer hold them. Pass the rows")
    with opened(x, labels, function="parc") as source:
        rows = LabelledRows.of(source, function="parc", ignore=ignore, normalize=normalize)
        labelled = np.flatnonzero(rows.codes >= 0)
        drawn = sample is not None and sample < len(labelled)
        kept = np.sort(np.random.default_rng(seed).choice(labelled, sample, replace=False)) if drawn else labelled
        try:
            value = core(rows.take(kept), rows.codes[kept])
        except NotEnoughData as error:
            raise NotEnoughData(f"parc: {error}") from None
        notes = (f"a sample of {len(kept)} of {len(labelled)} rows",) if drawn else ()
        return Score(
            name="parc",
            scores={"parc": value},
            details={"sample": len(kept), "rows": len(labelled), "classes": len(rows.classes)},
            provenance=Provenance(
                function="featdiv.parc",
                version=__version__,
                arguments={"sample": sample, "normalize": normalize, "classes": len(rows.classes)},
                method="pairs of rows",
                precision="float64",
                dtype=source.dtype,
                n=len(labelled),
                d=source.d,
                seed=seed if drawn else None,
                source=source.description,
                fingerprint=source.fingerprint,
                extraction=source.extraction,
                passes=1,
                notes=(*notes, *dropped_note(rows.dropped)),
            ),
        )
