"""Calibration: whether a classifier is right as often as it says, and the one number that mends most of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.transferability.source_probabilities import as_probabilities
from featdiv.results import Provenance, Result
from featdiv.stats import arguments
from featdiv.stats.class_labels import as_labels, refuse_missing
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFINITIONS = ("equal_width", "equal_mass")
BINS = 15


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Calibration(Result):
    """Result of `ece`; ``scores`` hold ``ece``, ``accuracy`` and ``mean_confidence``.

    Attributes:
        counts: (b,) rows in each bin.
        confidence: (b,) their mean confidence; NaN in an empty bin.
        accuracy: (b,) the share of them that is right; NaN in an empty bin.
        edges: (b + 1,) confidences between which the bins lie.
    """

    counts: npt.NDArray[np.int64]
    confidence: Float64Array
    accuracy: Float64Array
    edges: Float64Array

    _array_fields: ClassVar[tuple[str, ...]] = ("counts", "confidence", "accuracy", "edges")

    def __float__(self) -> float:
        return float(self.read("ece"))

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the reliability diagram: accuracy against confidence, bin by bin, with the share of rows of each."""
        from featdiv.probes import calibration_plot

        return calibration_plot.reliability(self, ax)

    def __repr__(self) -> str:
        return f"Calibration({', '.join(f'{name}={value:.4f}' for name, value in self.scores.items())})"


def ece(
    probabilities: Any, labels: Any, *, classes: Any = None, bins: int = BINS, definition: str = "equal_width"
) -> Calibration:
    """Expected calibration error: sum over bins of (n_b/n) abs(accuracy_b - confidence_b).

    The confidence of a row is its largest probability, and it is right if that is the probability of its label.
    Definitions:

    * ``"equal_width"``: bins (0, 1/b], (1/b, 2/b], … of confidence.
    * ``"equal_mass"``: bins of as many rows each (their numbers differ by one at most), by rank of confidence.

    Args:
        probabilities: (n, c) rows that sum to one.
        labels: one label for each row.
        classes: (c,) label of each column; None for 0 … c - 1.
        bins: how many.
        definition: one of the above.

    Returns:
        A frozen `Calibration`; ``float`` of it is the error, between 0 and 1. It depends on the number of bins, and
        is biased upwards where bins hold few rows.

    Raises:
        InputError: if rows are no probabilities, or labels do not fit them.
        NotEnoughData: if there are no rows.

    Complexity:
        O(n c + n ln n).

    Source:
        Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017 for 15 bins; Nguyen & O'Connor 2015 for equal mass.

    Example:
        >>> import featdiv
        >>> probabilities = [[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.6, 0.4]]
        >>> calibration = featdiv.ece(probabilities, [0, 1, 0, 0])
        >>> round(float(calibration), 6)  # (2 |0.5 - 0.9| + |1 - 0.8| + |1 - 0.6|)/4
        0.35
    """
    arguments.one_of("ece", "definition", definition, DEFINITIONS)
    bins = positive(bins, "ece: bins")
    theta = as_probabilities(probabilities, function="ece", argument="probabilities")
    codes = _codes(labels, classes, theta.shape, function="ece")
    confidence = theta.max(axis=1)
    right = theta.argmax(axis=1) == codes
    if definition == "equal_width":
        edges = np.linspace(0.0, 1.0, bins + 1)
        # The rounding of a softmax must not put a confidence of one third into the bin above it.
        at = np.clip(np.ceil(confidence * bins - 1e-9).astype(np.int64) - 1, 0, bins - 1)
    else:
        bins = min(bins, len(theta))
        at = np.empty(len(theta), dtype=np.int64)
        order = np.argsort(confidence, kind="stable")
        parts = np.array_split(order, bins)
        for number, part in enumerate(parts):
            at[part] = number
        edges = np.array([confidence[parts[0][0]], *(confidence[part[-1]] for part in parts)])
    counts = np.bincount(at, minlength=bins)
    sums = [np.bincount(at, weights=values, minlength=bins) for values in (confidence, right)]
    error = float(np.abs(sums[0] - sums[1]).sum() / len(theta))
    means = [np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums]
    return Calibration(
        scores={"ece": error, "accuracy": float(right.mean()), "mean_confidence": float(confidence.mean())},
        provenance=Provenance(
            function="featdiv.ece",
            version=__version__,
            definition=definition,
            arguments={"bins": bins},
            method="bins of confidence",
            precision="float64",
            n=len(theta),
            d=theta.shape[1],
        ),
        counts=counts.astype(np.int64),
        confidence=means[0],
        accuracy=means[1],
        edges=edges,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TemperatureScaling(Result):
    """Result of `temperature_scaling`.

    ``scores`` hold ``temperature`` (fitted to all rows), and on rows that were held out in turn ``ece``, ``nll``
    with it and ``ece_before``, ``nll_before`` without.

    Attributes:
        fold_temperatures: (f,) temperatures fitted without each fold.
        probabilities: (n, c) calibrated probabilities of each row, by the temperature fitted without it.
    """

    fold_temperatures: Float64Array
    probabilities: Float64Array

    _array_fields: ClassVar[tuple[str, ...]] = ("fold_temperatures",)

    @property
    def temperature(self) -> float:
        """The temperature fitted to all rows."""
        return self.read("temperature")

    def apply(self, logits: Any) -> Float64Array:
        """Returns softmax(logits / temperature) of new rows."""
        return _softmax(_logits(logits, function="TemperatureScaling.apply") / self.temperature)

    def __repr__(self) -> str:
        return f"TemperatureScaling({', '.join(f'{name}={value:.4f}' for name, value in self.scores.items())})"


def temperature_scaling(
    logits: Any, labels: Any, *, classes: Any = None, folds: int = 5, bins: int = BINS, seed: int = 0
) -> TemperatureScaling:
    """Temperature scaling: softmax(z/T), T > 0 minimising the negative log-likelihood, judged on held-out folds.

    The likelihood is a convex function of 1/T, so there is one minimum. It is fitted without each fold in turn, and
    that fold's rows are judged by it; the temperature to use is fitted to all rows.

    Args:
        logits: (n, c) logits, or log-probabilities, of rows that the classifier was not fitted to.
        labels: one label for each row.
        classes: (c,) label of each column; None for 0 … c - 1.
        folds: how many parts to hold out in turn, from 2 to n.
        bins: of the calibration error.
        seed: of the assignment of rows to folds.

    Raises:
        InputError: if the logits are not finite (n, c) numbers, or labels do not fit them.
        NotEnoughData: if there are fewer rows than folds, or all rows are right by any margin or wrong by any, so that
            the best temperature is 0 or infinite.

    Complexity:
        O(n c) for each of some 40 evaluations, in every fold.

    Source:
        Guo et al. 2017, section 4.2.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> logits = rng.normal(size=(4000, 3))
        >>> p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        >>> labels = (p.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)  # drawn from the softmax: T = 1
        >>> abs(featdiv.temperature_scaling(2.0 * logits, labels).temperature - 2.0) < 0.2
        True
    """
    z = _logits(logits, function="temperature_scaling")
    codes = _codes(labels, classes, z.shape, function="temperature_scaling")
    folds = positive(folds, "temperature_scaling: folds")
    arguments.check_seed("temperature_scaling", seed)
    if not 2 <= folds <= len(z):
        raise NotEnoughData(f"temperature_scaling: folds: expected from 2 to {len(z)}, the rows; got {folds}")
    z = z - z.max(axis=1, keepdims=True)
    fold = np.random.default_rng(seed).permutation(len(z)) % folds
    temperatures = np.array([_best(z[fold != f], codes[fold != f]) for f in range(folds)])
    whole = _best(z, codes)
    after = _softmax(z / temperatures[fold][:, None])
    before = _softmax(z)
    at = np.arange(len(z))
    return TemperatureScaling(
        scores={
            "temperature": whole,
            "ece": float(ece(after, codes, bins=bins)),
            "ece_before": float(ece(before, codes, bins=bins)),
            "nll": -float(np.log(after[at, codes]).mean()),
            "nll_before": -float(np.log(np.maximum(before[at, codes], np.finfo(np.float64).tiny)).mean()),
        },
        provenance=Provenance(
            function="featdiv.temperature_scaling",
            version=__version__,
            arguments={"folds": folds, "bins": bins},
            method="bounded minimisation over ln T",
            precision="float64",
            n=len(z),
            d=z.shape[1],
            seed=seed,
        ),
        fold_temperatures=temperatures,
        probabilities=after,
    )


_FURTHEST = 12.0
_SCALING = "temperature_scaling"


def _best(z: Float64Array, codes: npt.NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar

    own = z[np.arange(len(z)), codes]
    # The loss is convex in 1/T: its slope at 1/T = 0, and whether it falls for ever, decide where the minimum is.
    if not own.any():
        raise NotEnoughData(f"{_SCALING}: every row is right, so the best temperature is 0: there is nothing to fit")
    if own.mean() <= z.mean():
        raise NotEnoughData(
            f"{_SCALING}: labels have no larger logits than others, so the best temperature is infinite"
        )

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        return float((np.log(np.exp(z * inverse).sum(axis=1)) - own * inverse).mean())

    # Relative to the spread of the logits, so that their unit does not matter.
    unit = float(np.log(max(float(-z.mean()), np.finfo(np.float64).tiny)))
    found = minimize_scalar(
        loss, bounds=(unit - _FURTHEST, unit + _FURTHEST), method="bounded", options={"xatol": 1e-10}
    )
    return float(np.exp(found.x))


def _softmax(z: Float64Array) -> Float64Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities: Float64Array = e / e.sum(axis=1, keepdims=True)
    return probabilities


def _logits(logits: Any, *, function: str) -> Float64Array:
    if hasattr(logits, "detach"):
        logits = logits.detach().cpu().float().numpy()
    array = np.asarray(logits)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] < 2 or not len(array):
        raise InputError(
            f"{function}: logits: expected numbers of shape (n, c), c at least 2; got shape {array.shape}, dtype "
            f"{array.dtype}"
        )
    z: Float64Array = array.astype(np.float64)
    if not np.isfinite(z).all():
        row = int(np.flatnonzero(~np.isfinite(z).all(axis=1))[0])
        raise InputError(f"{function}: logits: expected finite numbers; got NaN or infinity in row {row}")
    return z


def _codes(labels: Any, classes: Any, shape: tuple[int, ...], *, function: str) -> npt.NDArray[np.int64]:
    """Returns the column of each row's label."""
    values = as_labels(labels, function=function)
    if len(values) != shape[0]:
        raise InputError(f"{function}: labels: expected one for each of {shape[0]} rows; got {len(values)}")
    if not len(values):
        raise NotEnoughData(f"{function}: expected at least one row; got none")
    refuse_missing(values, function=function, ignorable=False)
    names = np.arange(shape[1]) if classes is None else as_labels(classes, function=function)
    if len(names) != shape[1] or len(np.unique(names)) != len(names):
        raise InputError(f"{function}: classes: expected {shape[1]} different labels, one a column; got {len(names)}")
    order = np.argsort(names, kind="stable")
    if names.dtype.kind == values.dtype.kind:
        place = np.minimum(np.searchsorted(names[order], values), len(names) - 1)
        unknown = names[order][place] != values
    else:
        place, unknown = np.zeros(len(values), dtype=np.int64), np.ones(len(values), dtype=bool)
    if unknown.any():
        raise InputError(
            f"{function}: labels: expected the labels of the {len(names)} columns; got {values[unknown][0].item()!r}. "
            "Name the columns with classes="
        )
    return order[place]
