"""H-score: how much of the whitened features lies between classes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import (
    opened,
    provenance_of,
    read_classes,
    require_classes,
    resolve_classes,
    speaking_for,
)
from featdiv.metrics.spectral.inputs import Resolved
from featdiv.metrics.transferability.labelled_blocks import labelled_blocks, require_two_readings
from featdiv.metrics.transferability.shrinkage import ledoit_wolf
from featdiv.ops._blas import one_thread
from featdiv.results import Score
from featdiv.stats import ClassMoments, arguments
from featdiv.stats.moments import Float64Array

DEFINITIONS = ("bao2019", "shrunk")


def core(classes: ClassMoments, definition: str = "bao2019", shrinkage: float | None = None) -> float:
    """Returns the H-score of class moments; see `h_score`.

    Args:
        classes: class moments.
        definition: one of `DEFINITIONS`.
        shrinkage: share of the identity, for ``"shrunk"``; moments do not hold it, see `Shrinkage`.
    """
    import scipy.linalg

    check(definition, shrinkage)
    require_classes(classes)
    total = classes.within + classes.between()
    with one_thread(classes.d):
        values, vectors = scipy.linalg.eigh(total, check_finite=False)
    largest = float(values[-1])
    if not largest > 0.0:
        raise NotEnoughData("all rows are equal: there is no covariance to invert")
    along = (classes.means - classes.mean) @ vectors
    between = classes.counts @ np.square(along)
    if definition == "bao2019":
        kept = values > largest * max(classes.n, classes.d) * np.finfo(np.float64).eps
        return float((between[kept] / values[kept]).sum())
    if shrinkage is None:
        raise InputError("h_score: definition: 'shrunk' needs the rows, or shrinkage=; got class moments alone")
    if shrinkage == 0.0:
        return core(classes)
    shrunk = (1.0 - shrinkage) * values + shrinkage * float(np.trace(total)) / classes.d
    return float((1.0 - shrinkage) * (between / shrunk).sum())


def check(definition: str, shrinkage: float | None) -> None:
    """Raises `InputError` for a definition that does not exist, or a shrinkage that is no share."""
    arguments.one_of("h_score", "definition", definition, DEFINITIONS)
    if shrinkage is not None and definition == "bao2019":
        raise InputError("h_score: shrinkage: expected None with definition='bao2019', which does not shrink")
    if shrinkage is not None:
        arguments.number("h_score", "shrinkage", shrinkage, "a share from 0 to 1", lambda share: 0.0 <= share <= 1.0)


class Shrinkage:
    """The Ledoit-Wolf shrinkage of the rows of class moments, from a second reading of them."""

    def __init__(self, classes: ClassMoments) -> None:
        self._classes = classes
        self._mean = classes.mean
        self._fourth = 0.0

    def add(self, rows: Float64Array, codes: npt.NDArray[np.int64], at: npt.NDArray[np.int64] | None = None) -> None:
        """Takes a block of rows; neither their classes nor where they are matter."""
        centred = rows - self._mean
        squares = np.einsum("ij,ij->i", centred, centred)
        self._fourth += float(squares @ squares)

    def result(self) -> float:
        """Returns the share of the identity."""
        classes = self._classes
        return ledoit_wolf(classes.within + classes.between(), classes.n, self._fourth)


def h_score(
    x: Any,
    labels: Any = None,
    *,
    definition: str = "bao2019",
    shrinkage: float | None = None,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
) -> Score:
    """H-score: Tr(S^+ S_B), S the covariance of the features, S_B that of the class means by class size.

    Definitions:

    * ``"bao2019"``: as above, with the pseudo-inverse over eigenvalues of S above max(n, d) eps lambda_1.
    * ``"shrunk"``: (1 - a) Tr(S_a^-1 S_B), S_a = (1 - a) S + a Tr(S)/d I with the Ledoit-Wolf a of the rows,
      which a second reading of them gives. It is the one to use unless n is far above d: with as many features
      as rows, ``"bao2019"`` gives c - 1 to any labels. The tables of `featdiv.transferability` and
      `featdiv.rank_models` hold this one.

    Args:
        x: `ClassMoments`, or rows (array, path, source, iterable).
        labels: one integer or string for each row; None where ``x`` carries them.
        definition: one of the above.
        shrinkage: the share a for ``"shrunk"``; None to estimate it, which needs rows that can be read twice.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows only. float64 by default, since S is inverted.
        backend: backend of the second moments; for rows only.

    Returns:
        A `Score` between 0 and min(c - 1, d). ``details["shrinkage"]`` is a (0 where nothing is shrunk).

    Raises:
        NotEnoughData: if there is one class, or all rows are equal.
        InputError: if an argument cannot be used, labels are missing, or rows are needed that are not there.

    Complexity:
        O(n d^2) for rows, O(d^3 + c d^2) from `ClassMoments`.

    Source:
        Bao et al. 2019, definition 2; Ibrahim et al. 2022 for the shrunk one.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0]])  # the first feature is the class
        >>> round(float(featdiv.h_score(x, [0, 0, 1, 1])), 6)
        1.0
    """
    check(definition, shrinkage)
    if definition == "bao2019" or shrinkage is not None or isinstance(x, ClassMoments):
        resolved = resolve_classes(
            x,
            labels,
            function="h_score",
            normalize=normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
        )
    else:
        with opened(x, labels, function="h_score") as source:
            require_two_readings(source, function="h_score", what="definition='shrunk'")
            classes = read_classes(
                source, function="h_score", normalize=normalize, ignore=ignore, precision=precision, backend=backend
            )
            provenance = provenance_of(classes, function="h_score", source=source, precision=precision)
            with speaking_for("h_score"):
                if classes.n:
                    found = Shrinkage(classes)
                    for rows, codes, _ in labelled_blocks(
                        source, classes.classes, function="h_score", normalize=normalize, ignore=ignore
                    ):
                        found.add(rows, codes)
                    shrinkage = found.result()
        resolved = Resolved(function="h_score", statistic=classes, provenance=dataclasses.replace(provenance, passes=2))
    given = {} if shrinkage is None else {"shrinkage": shrinkage}
    score = resolved.score(functools.partial(core, shrinkage=shrinkage), definition=definition)
    return dataclasses.replace(
        score,
        details={"shrinkage": shrinkage or 0.0, "classes": resolved.statistic.c},
        provenance=dataclasses.replace(score.provenance, arguments={**score.provenance.arguments, **given}),
    )
