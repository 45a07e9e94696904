"""Class separation: the share of the cosine distances that lies between classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import require_classes, resolve_classes
from featdiv.results import Score
from featdiv.stats import ClassMoments, arguments

DEFINITIONS = ("kornblith2021", "pooled")


def core(classes: ClassMoments, definition: str = "kornblith2021") -> float:
    """Returns the class separation, from the class moments of unit rows; see `class_separation`."""
    check_definition(definition)
    if classes.normalize != "l2":
        raise InputError("class_separation: x: expected class moments of rows with norm one (normalize='l2')")
    require_classes(classes)
    spread = np.maximum(0.0, 1.0 - np.einsum("ij,ij->i", classes.means, classes.means))
    counts = classes.counts.astype(np.float64)
    if definition == "pooled":
        pairs = counts**2 / float((counts**2).sum())
        shares = counts / float(counts.sum())
    else:
        pairs = shares = np.full(classes.c, 1.0 / classes.c)
    mean = shares @ classes.means
    # 1 - |mean|^2, as a sum of two parts that cannot be negative: within classes, and of the class means.
    apart = classes.means - mean
    total = float(shares @ spread) + float(shares @ np.einsum("ij,ij->i", apart, apart))
    if total <= 16.0 * np.finfo(np.float64).eps:
        raise NotEnoughData("all rows have the same direction, so there is no distance to divide by")
    return 1.0 - float(pairs @ spread) / total


def check_definition(definition: str) -> None:
    """Raises `InputError` for a definition that does not exist."""
    arguments.one_of("class_separation", "definition", definition, DEFINITIONS)


def class_separation(
    x: Any,
    labels: Any = None,
    *,
    definition: str = "kornblith2021",
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Class separation: 1 - (mean cosine distance within classes) / (mean cosine distance of all rows).

    With mu_c the mean of the unit rows of class c, the mean over all pairs of class c, each row with itself
    included, of 1 - cos is 1 - |mu_c|^2: moments are enough. Definitions:

    * ``"kornblith2021"``: 1 - mean_c(1 - |mu_c|^2) / (1 - |mean_c mu_c|^2): every class has the same weight.
    * ``"pooled"``: 1 - (sum_c n_c^2 (1 - |mu_c|^2) / sum_c n_c^2) / (1 - |mu|^2), mu the mean of all rows:
      every pair of rows has the same weight, so large classes have more, and the value may be negative.

    Args:
        x: `ClassMoments` of unit rows (``normalize="l2"``), or rows (array, path, source, iterable).
        labels: one integer or string for each row; None where ``x`` carries them.
        definition: one of the above.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where rows can be dealt to parts;
            ``"jackknife"`` for one, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 0 (class means agree) and 1 (every class has one direction).

    Raises:
        NotEnoughData: if there is one class, or all rows have the same direction.
        ZeroNormError: if a row is zero.
        InputError: if labels are missing or cannot be used, or the moments are of rows as they are.

    Complexity:
        O(n d^2) for rows, O(c d) from `ClassMoments`.

    Source:
        Kornblith et al. 2021, who call it R^2.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> round(float(featdiv.class_separation(x, [0, 0, 1, 1])), 6)
        1.0
        >>> round(float(featdiv.class_separation(x, [0, 1, 0, 1])), 6)
        0.0
    """
    check_definition(definition)
    resolved = resolve_classes(
        x,
        labels,
        function="class_separation",
        ignore=ignore,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
        unit_rows=True,
    )
    return resolved.score(core, definition=definition)
