"""GBC: how far Gaussian models of the classes overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import require_classes, resolve_classes
from featdiv.results import Score
from featdiv.stats import ClassMoments, arguments
from featdiv.stats.moments import Float64Array

DEFINITIONS = ("diagonal", "spherical", "stable-transfer")
LEAST_VARIANCE = 1e-4
"""What ``"stable-transfer"`` raises a smaller variance to, in squared units of the features."""


def core(classes: ClassMoments, definition: str = "diagonal") -> float:
    """Returns GBC, from class moments with the scatter of each class; see `gbc`."""
    if classes.scatters is None:
        raise InputError("gbc: x: expected class moments with the scatter of each class (per_class=True)")
    variances = np.einsum("kii->ki", classes.scatters) / classes.counts[:, None]
    return from_variances(classes, variances, definition)


def from_variances(classes: ClassMoments, variances: Float64Array, definition: str = "diagonal") -> float:
    """Returns GBC from the class means and the (c, d) variances of the features in each class.

    Raises:
        NotEnoughData: if there is one class, or a class has one row.
    """
    arguments.one_of("gbc", "definition", definition, DEFINITIONS)
    require_classes(classes)
    if (classes.counts < 2).any():
        label = classes.classes[int(classes.counts.argmin())].item()
        raise NotEnoughData(f"the variance of a class needs 2 rows; class {label!r} has 1. Leave it out")
    if definition == "stable-transfer":
        variances = np.maximum(variances, LEAST_VARIANCE)
    elif definition == "spherical":
        variances = np.repeat(variances.mean(axis=1, keepdims=True), classes.d, axis=1)
    overlap = 0.0
    for k in range(classes.c - 1):
        distances = _bhattacharyya(classes.means[k], variances[k], classes.means[k + 1 :], variances[k + 1 :])
        overlap += float(np.exp(-distances).sum())
    # Taken from zero, so that classes without any overlap score 0 and not -0.
    return 0.0 - 2.0 * overlap


def remark(variances: Float64Array) -> tuple[str, ...]:
    """Returns what to say of the (c, d) variances where features that are constant in one class alone keep it apart."""
    flat = variances == 0.0
    apart = np.array([(one != flat[k + 1 :]).any(axis=1).sum() for k, one in enumerate(flat)]).sum()
    if not apart:
        return ()
    c = len(flat)
    return (
        f"gbc: {apart} of {c * (c - 1) // 2} pairs of classes count as wholly apart, because some feature is constant "
        "in one of the two alone; featdiv.gbc(definition='stable-transfer') bounds variances from below instead",
    )


def _bhattacharyya(
    mean: Float64Array, variance: Float64Array, means: Float64Array, variances: Float64Array
) -> Float64Array:
    """Returns the distances of one Gaussian to others, all with diagonal covariance.

    A feature without variance in both takes no part where the means agree and keeps them apart for certain
    where they do not; without variance in one of the two, it keeps them apart for certain.
    """
    middle = (variance + variances) / 2.0
    gaps = np.square(mean - means)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = gaps / middle / 8.0 + 0.5 * np.log(middle) - 0.25 * (np.log(variance) + np.log(variances))
    return np.asarray(np.where(middle > 0.0, terms, np.where(gaps > 0.0, np.inf, 0.0)).sum(axis=1))


class Variances:
    """The variances of the features in each class, from a second reading of the rows: no (c, d, d) scatters."""

    def __init__(self, classes: ClassMoments) -> None:
        self._classes = classes
        self._squares = np.zeros((classes.c, classes.d))

    def add(self, rows: Float64Array, codes: npt.NDArray[np.int64], at: npt.NDArray[np.int64] | None = None) -> None:
        """Takes a block of rows and the index of each row's class; where the rows are does not matter."""
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        squares = np.square(rows - self._classes.means[codes])[order]
        self._squares[present] += np.add.reduceat(squares, starts, axis=0)

    def result(self) -> Float64Array:
        """Returns (c, d) variances."""
        variances: Float64Array = self._squares / self._classes.counts[:, None]
        return variances


def gbc(
    x: Any,
    labels: Any = None,
    *,
    definition: str = "diagonal",
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
    memory: int | float | str | None = None,
) -> Score:
    """GBC: -sum over ordered pairs a != b of exp(-D(a, b)), D the Bhattacharyya distance of two classes.

    Each class is a Gaussian with its mean and diagonal covariance V_a (divided by n_a); with V = (V_a + V_b)/2,

        D(a, b) = 1/8 sum_j (mu_aj - mu_bj)^2/V_j + 1/2 sum_j ln(V_j / sqrt(V_aj V_bj)).

    Definitions:

    * ``"diagonal"``: a variance for each feature and class.
    * ``"spherical"``: a variance for each class, the mean over its features.
    * ``"stable-transfer"``: as diagonal, with variances of at least 1e-4, as the authors' code computes it: it depends
      on the scale of the features, and is not 0 for the mere reason that units are dead in one class.

    By the first, a feature that is constant in one class only keeps that class apart for certain, as the formula says:
    D is infinite. One that is the same constant in both takes no part.

    Args:
        x: `ClassMoments` with the scatter of each class, or rows (array, path, source, iterable).
        labels: one integer or string for each row; None where ``x`` carries them.
        definition: one of the above.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        memory: budget, in bytes or as text; None for a quarter of the RAM.

    Returns:
        A `Score` between -c (c - 1), all classes alike, and 0, none overlapping.

    Raises:
        NotEnoughData: if there is one class, or a class has one row.
        InputError: if the definition does not exist, or labels are missing or cannot be used.
        BudgetExceeded: if the scatters of the classes, c d^2 numbers, do not fit the budget.

    Complexity:
        O(n d^2) for rows, O(c^2 d) from `ClassMoments`; memory O(c d^2).

    Source:
        Pándy et al. 2022, who reduce the features to 64 principal components first; stable_transfer (2022).

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[-1.0], [1.0], [3.0], [5.0]])  # means 0 and 4, variances 1: D = 16/8 = 2
        >>> round(float(featdiv.gbc(x, [0, 0, 1, 1])), 6)  # -2 exp(-2)
        -0.270671
    """
    arguments.one_of("gbc", "definition", definition, DEFINITIONS)
    resolved = resolve_classes(
        x,
        labels,
        function="gbc",
        normalize=normalize,
        ignore=ignore,
        precision=precision,
        backend=backend,
        per_class=True,
        memory=memory,
    )
    return resolved.score(core, definition=definition)
