"""The probabilities that a model gives to the classes it was trained on, beside the labels of the new task."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.results import Provenance
from featdiv.stats import arguments
from featdiv.stats.class_labels import as_labels, refuse_missing
from featdiv.stats.moments import Float64Array

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from one in all: what float16 outputs of a softmax need."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SourceProbabilities:
    """Checked probabilities and labels.

    Attributes:
        theta: (n, z) float64, rows that sum to one.
        classes: (c,) labels of the new task that occur, sorted.
        codes: (n,) index of each row's label.
        dropped: rows left out by their label.
    """

    theta: Float64Array
    classes: npt.NDArray[Any]
    codes: npt.NDArray[np.int64]
    dropped: int = 0

    @classmethod
    def of(
        cls, source_probs: Any, labels: Any, *, function: str, ignore: int | str | None = None
    ) -> SourceProbabilities:
        """Checks probabilities and labels.

        Raises:
            InputError: if probabilities are not (n, z) numbers of at least 0 that sum to one in each row, or
                labels do not fit them.
            NotEnoughData: if no row is left.
        """
        arguments.check_ignore(function, ignore)
        theta = as_probabilities(source_probs, function=function)
        values = as_labels(labels, function=function)
        if len(values) != len(theta):
            raise InputError(
                f"{function}: labels: expected one for each of {len(theta)} rows of source_probs; got {len(values)}"
            )
        kept = np.ones(len(values), dtype=bool) if ignore is None else values != ignore
        if ignore is None:
            refuse_missing(values, function=function)
        if not kept.any():
            raise NotEnoughData(f"{function}: expected labelled rows; got none")
        classes, codes = np.unique(values[kept], return_inverse=True)
        return cls(
            theta=theta if kept.all() else theta[kept],
            classes=classes,
            codes=codes.reshape(-1),
            dropped=int((~kept).sum()),
        )

    def provenance(self, function: str, **arguments: Any) -> Provenance:
        """Returns how a score of them was made."""
        return Provenance(
            function=f"featdiv.{function}",
            version=__version__,
            arguments={"classes": len(self.classes), **arguments},
            method="joint table",
            precision="float64",
            n=len(self.theta),
            d=self.theta.shape[1],
            notes=(f"{self.dropped} rows were left out by their label",) if self.dropped else (),
        )


def as_probabilities(source_probs: Any, *, function: str, argument: str = "source_probs") -> Float64Array:
    """Returns (n, z) float64 rows that sum to one.

    Raises:
        InputError: if they are no probabilities; the message names the first row that is not.
    """
    if hasattr(source_probs, "detach"):
        source_probs = source_probs.detach().cpu().double().numpy()
    array = np.asarray(source_probs)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.shape[1]:
        raise InputError(
            f"{function}: {argument}: expected probabilities of shape (n, classes); got shape {array.shape}, dtype "
            f"{array.dtype}"
        )
    theta: Float64Array = array.astype(np.float64)
    sums = theta.sum(axis=1)
    bad = ~((theta >= 0.0).all(axis=1) & (np.abs(sums - 1.0) <= SUM_TOLERANCE))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        what = "a negative entry or NaN" if not (theta[row] >= 0.0).all() else f"a sum of {sums[row]:.6g}"
        raise InputError(
            f"{function}: {argument}: expected entries of at least 0 that sum to one in every row; row {row} has "
            f"{what} ({int(bad.sum())} such rows). Pass logits through a softmax first"
        )
    theta /= sums[:, None]
    return theta


def log_expected_prediction(theta: Float64Array, codes: npt.NDArray[np.int64], c: int) -> float:
    """Returns mean_i ln sum_z P(y_i|z) theta_iz, P the empirical conditional that theta and labels give.

    Complexity:
        O(n z) time; memory O(c z).
    """
    joint = np.zeros((c, theta.shape[1]))
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    joint[present] = np.add.reduceat(theta[order], starts, axis=0)
    mass = joint.sum(axis=0)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0.0)
    expected = np.einsum("ij,ij->i", theta, conditional[codes])
    return float(np.log(expected).mean())
