"""TransRate: the code length that knowing the class saves, at a fixed and small distortion."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.errors import InputError
from featdiv.metrics.labelled.inputs import require_classes, resolve_classes, root_of
from featdiv.ops._blas import one_thread
from featdiv.results import Score
from featdiv.stats import ClassMoments, arguments
from featdiv.stats.moments import Float64Array

DEFINITIONS = ("tllib", "huang2022")


def core(classes: ClassMoments, definition: str = "tllib", eps: float = 1e-4) -> float:
    """Returns TransRate, from class moments with the scatter of each class; see `transrate`."""
    check(definition, eps)
    require_classes(classes)
    if classes.scatters is None:
        raise InputError("transrate: x: expected class moments with the scatter of each class (per_class=True)")
    mean = classes.mean
    whole = _rate(classes.within + classes.between(), np.zeros(classes.d), classes.n, eps)
    parts = zip(classes.scatters, classes.means - mean, classes.counts.tolist(), strict=True)
    with one_thread(classes.d):
        rates = np.array([_rate(scatter, offset, n, eps) for scatter, offset, n in parts])
    weights = classes.counts / classes.n if definition == "huang2022" else np.full(classes.c, 1.0 / classes.c)
    return whole - float(weights @ rates)


def check(definition: str, eps: float) -> None:
    """Raises `InputError` for a definition that does not exist, or a distortion that is not positive."""
    arguments.one_of("transrate", "definition", definition, DEFINITIONS)
    arguments.number("transrate", "eps", eps, "a number above 0", lambda value: 0.0 < value < np.inf)


def _rate(scatter: Float64Array, offset: Float64Array, n: int, eps: float) -> float:
    """Returns 1/2 ln det(I + X^T X/(n eps)) of rows whose mean is ``offset``, by a Cholesky factor."""
    matrix = scatter / (n * eps)
    matrix += np.outer(offset, offset / eps)
    matrix[np.diag_indices_from(matrix)] += 1.0
    return float(np.log(np.diagonal(root_of(matrix, beside="eps"))).sum())


def transrate(
    x: Any,
    labels: Any = None,
    *,
    definition: str = "tllib",
    eps: float = 1e-4,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
    memory: int | float | str | None = None,
) -> Score:
    """TransRate: R(X) - mean_c R(X_c), R(X) = 1/2 ln det(I + X^T X/(n eps)), X about the mean of all rows.

    Definitions differ in the mean over classes:

    * ``"tllib"``: every class has the same weight.
    * ``"huang2022"``: class c has weight n_c/n, as the paper prints; it is never negative.

    Args:
        x: `ClassMoments` with the scatter of each class, or rows (array, path, source, iterable).
        labels: one integer or string for each row; None where ``x`` carries them.
        definition: one of the above.
        eps: squared distortion, in squared units of the features; 1e-4 as published.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        memory: budget for the c scatters of d x d numbers, in bytes or as text; None for a quarter of the RAM.

    Returns:
        A `Score` in nats. It depends on the scale of the features, since eps is fixed: compare models only
        after bringing their features to one scale.

    Raises:
        NotEnoughData: if there is one class, or the features are too large beside eps.
        InputError: if an argument cannot be used, or labels are missing.
        BudgetExceeded: if the scatters of the classes do not fit the budget.

    Complexity:
        O(n d^2) for rows, O(c d^3) from `ClassMoments`; memory O(c d^2).

    Source:
        Huang et al. 2022, section 3; the default is what the Transfer-Learning-Library computes.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[-1.0], [-1.0], [1.0], [1.0]])  # X^T X/n = 1, in the classes too: nothing is saved
        >>> round(float(featdiv.transrate(x, [0, 0, 1, 1])), 6)
        0.0
        >>> wide = np.array([[-1.0], [1.0], [-0.01], [0.01]])
        >>> float(featdiv.transrate(wide, [0, 0, 1, 1], definition="huang2022")) > 1.0
        True
    """
    check(definition, eps)
    resolved = resolve_classes(
        x,
        labels,
        function="transrate",
        normalize=normalize,
        ignore=ignore,
        precision=precision,
        backend=backend,
        per_class=True,
        memory=memory,
    )
    return resolved.score(core, definition=definition, eps=eps)
