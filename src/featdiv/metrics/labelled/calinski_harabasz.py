"""Calinski-Harabasz index: the ratio of the variance between classes to that within them."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.labelled.inputs import require_classes, resolve_classes
from featdiv.results import Score
from featdiv.stats import ClassMoments


def core(classes: ClassMoments) -> float:
    """Returns the Calinski-Harabasz index; see `calinski_harabasz`."""
    require_classes(classes)
    if classes.n == classes.c:
        raise NotEnoughData("scatter within classes needs a class of 2 rows or more; every class has 1")
    within = float(np.trace(classes.within))
    if within <= 0.0:
        raise NotEnoughData("every class is a point: there is no scatter within classes to divide by")
    from_first = classes.means - classes.means[0]
    centred = from_first - (classes.counts / classes.n) @ from_first
    between = float(classes.counts @ np.einsum("ij,ij->i", centred, centred))
    return (between / (classes.c - 1)) / (within / (classes.n - classes.c))


def calinski_harabasz(
    x: Any,
    labels: Any = None,
    *,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
) -> Score:
    """Calinski-Harabasz index: (Tr B / (c - 1)) / (Tr W / (n - c)).

    W is the scatter of the rows about their class means, B that of the class means, weighted by class size,
    about the mean of all rows. It equals scikit-learn's ``calinski_harabasz_score`` of all rows, but takes
    one pass and no sample.

    Args:
        x: `ClassMoments`, or rows (array, path, source, iterable).
        labels: one integer or string for each row; None where ``x`` carries them.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.

    Returns:
        A `Score` of at least 0. It grows with n where the class means differ; where they do not, and all
        features have the same variance, its expected value is near 1.

    Raises:
        NotEnoughData: if there is one class, or there is no scatter within classes.
        InputError: if labels are missing or cannot be used.

    Complexity:
        O(n d^2) for rows, O(c d) from `ClassMoments`.

    Source:
        Caliński & Harabasz 1974.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[0.0], [2.0], [10.0], [12.0]])  # B = 100, W = 4
        >>> round(float(featdiv.calinski_harabasz(x, [0, 0, 1, 1])), 6)
        50.0
    """
    resolved = resolve_classes(
        x,
        labels,
        function="calinski_harabasz",
        normalize=normalize,
        ignore=ignore,
        precision=precision,
        backend=backend,
    )
    return resolved.score(core)
