"""Which images a probe gets right when they are held out, fold by fold, for one model's features."""

from __future__ import annotations

import base64
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import ConvergenceWarning, NotEnoughData
from featdiv.io import Embeddings
from featdiv.probes.knn_vote import TEMPERATURE, rules, tally
from featdiv.probes.linear import linear_probe
from featdiv.probes.linear_result import LinearProbe
from featdiv.stats import budget
from featdiv.stats.neighbours import Neighbours

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

KNN_K = (1, 5, 10, 20, 50)
LINEAR_C = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""For standardised features; the optimum lies inside unless classes are separated by far."""
LINEAR_ALONE = (1.0,)
"""C where no row can be held out to choose on; with a much smaller one, the class that lacks a row always loses."""
LINEAR_HOLDOUT = 0.2
LINEAR_TOLERANCE = 1e-7

FUNCTION = "featdiv.rank_models"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """How a probe did.

    Attributes:
        correct: (repeats, n) whether each image was right when its fold was held out.
        chosen: what was chosen in each fold of each repeat: k, or C.
        curve: (setting, accuracy) for each k or C, ascending: the share of images that it gets right when their fold is
            held out.
        notes: remarks.
    """

    correct: BoolArray
    chosen: tuple[float, ...]
    curve: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON values; a judgement is a bit."""
        return {
            "shape": list(self.correct.shape),
            "correct": base64.b64encode(np.packbits(self.correct).tobytes()).decode("ascii"),
            "chosen": list(self.chosen),
            "curve": [list(point) for point in self.curve],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Judgement:
        """Reads what `to_dict` gave."""
        shape = tuple(content["shape"])
        bits = np.frombuffer(base64.b64decode(content["correct"]), dtype=np.uint8)
        correct = np.unpackbits(bits, count=int(np.prod(shape))).astype(np.bool_).reshape(shape)
        curve = tuple((float(setting), float(accuracy)) for setting, accuracy in content["curve"])
        return cls(correct=correct, chosen=tuple(content["chosen"]), curve=curve, notes=tuple(content["notes"]))


Probe = Callable[..., Judgement]


def knn(features: Embeddings, labels: Int64Array, folds: Int64Array, *, seed: int, memory: int) -> Judgement:
    """Judges each image by its nearest neighbours in the other folds; k is chosen by leaving one out of those.

    One search serves all folds and repeats: each has so many neighbours that enough of them lie in other folds, and
    where it turns out that they do not, more are found. Votes are weighted exp(cosine / 0.07).

    Args:
        features: (n, d) rows.
        labels: (n,) numbers of classes.
        folds: (repeats, n) fold of each row.
        seed: unused; a search has no chance in it.
        memory: budget in bytes.

    Returns:
        The judgement. Values of k that a fold is too small for are left out.
    """
    n = len(labels)
    count = int(folds.max()) + 1
    least = n - max(int(np.bincount(division).max()) for division in folds)
    fitting = tuple(k for k in KNN_K if k < least)
    if not fitting:
        raise NotEnoughData(f"{FUNCTION}: the knn probe: expected at least 2 images outside of each fold; got {least}")
    wanted = rules(fitting, ["exp"], [TEMPERATURE])
    widest = fitting[-1]
    reach = min(n - 1, int(1.25 * widest * count / (count - 1)) + 16)
    near = Neighbours.of(features, k=reach, memory=memory)
    correct = np.empty(folds.shape, np.bool_)
    chosen: list[float] = []
    hits = np.zeros(len(wanted), np.int64)
    for repeat, division in enumerate(folds):
        for fold in range(count):
            outside = division != fold
            table = _among(near, outside, widest)
            while table is None:
                reach = min(n - 1, 2 * reach)
                near = Neighbours.of(features, k=reach, memory=memory)
                table = _among(near, outside, widest)
            right = [found.rank == 0 for found in tally(table, labels, labels, wanted)]
            best = int(np.argmax([each[outside].sum() for each in right]))
            correct[repeat, ~outside] = right[best][~outside]
            chosen.append(float(wanted[best].k))
            hits += [int(each[~outside].sum()) for each in right]
    curve = tuple((float(rule.k), float(hit) / folds.size) for rule, hit in zip(wanted, hits, strict=True))
    return Judgement(correct=correct, chosen=tuple(chosen), curve=curve)


def _among(near: Neighbours, allowed: BoolArray, k: int) -> Neighbours | None:
    """Returns the k nearest among some rows; None where some row has found fewer of them."""
    kept = allowed[near.indices]
    if int(kept.sum(axis=1).min()) < k:
        return None
    # A stable sort: the rows that are kept come first, in their own order.
    place = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    return dataclasses.replace(
        near,
        indices=np.take_along_axis(near.indices, place, axis=1),
        values=np.take_along_axis(near.values, place, axis=1),
    )


def linear(features: Embeddings, labels: Int64Array, folds: Int64Array, *, seed: int, memory: int) -> Judgement:
    """Judges each image by a logistic regression on standardised features that was fitted to the other folds.

    C is chosen on a fifth of every class of those folds, and the regression fitted again to all of them. The curve is
    that of the fits to the other four fifths. Where a fifth of every class is less than half a row, C is 1.

    Args:
        features: (n, d) rows.
        labels: (n,) numbers of classes.
        folds: (repeats, n) fold of each row.
        seed: of the fifth that is held out.
        memory: budget in bytes.

    Raises:
        BudgetExceeded: if the rows, and a copy of them, do not fit the budget.
    """
    n, d = features.n or 0, features.d
    advice = "Rank on fewer images, or raise memory="
    budget.require(3 * 4 * n * d, memory, function=FUNCTION, what=f"{n:,} x {d} features", advice=advice)
    taken: Any = features.take(np.arange(n))
    rows = np.asarray(taken if isinstance(taken, np.ndarray) else taken.float().cpu(), dtype=np.float32)
    correct = np.empty(folds.shape, np.bool_)
    chosen: list[float] = []
    paths: list[Int64Array] = []
    loose = 0
    for repeat, division in enumerate(folds):
        for fold in range(int(division.max()) + 1):
            outside = division != fold
            alone = round(LINEAR_HOLDOUT * int(np.bincount(labels[outside]).max())) < 1
            with warnings.catch_warnings():
                # Named in the notes, once for all folds.
                warnings.simplefilter("ignore", ConvergenceWarning)
                probe = linear_probe(
                    rows[outside],
                    labels[outside],
                    C=LINEAR_ALONE if alone else LINEAR_C,
                    holdout=None if alone else LINEAR_HOLDOUT,
                    standardize=True,
                    tol=LINEAR_TOLERANCE,
                    seed=seed,
                    memory=memory,
                )
            loose += not probe.converged
            correct[repeat, ~outside] = probe.predict(rows[~outside]) == labels[~outside]
            chosen.append(probe.C)
            if not alone:
                paths.append(_path_hits(probe, rows[~outside], labels[~outside]))
    # A fold without a choice has one C, and nothing to say about the others.
    hits = np.sum(paths, axis=0) if len(paths) == len(chosen) else ()
    curve = tuple((C, float(hit) / folds.size) for C, hit in zip(LINEAR_C, hits, strict=False))
    notes = (f"in {loose} of {len(chosen)} folds some C did not converge",) if loose else ()
    return Judgement(correct=correct, chosen=tuple(chosen), curve=curve, notes=notes)


def _path_hits(probe: LinearProbe, rows: npt.NDArray[np.float32], labels: Int64Array) -> Int64Array:
    """Returns how many rows each C of the path gets right."""
    assert probe.path_coefficients is not None
    assert probe.path_intercepts is not None
    logits = rows @ np.swapaxes(probe.path_coefficients, 1, 2) + probe.path_intercepts[:, None, :]
    # Of two classes, one logit speaks for the second.
    place = (logits[:, :, 0] > 0.0).astype(np.int64) if logits.shape[2] == 1 else logits.argmax(axis=2)
    return np.asarray((probe.classes[place] == labels).sum(axis=1), dtype=np.int64)


PROBES: dict[str, Probe] = {"linear": linear, "knn": knn}
"""Name of a probe to what makes its judgement; in the order in which one is the criterion."""

SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {
        "C": list(LINEAR_C),
        "alone": list(LINEAR_ALONE),
        "tol": LINEAR_TOLERANCE,
        "standardize": True,
        "holdout": LINEAR_HOLDOUT,
    },
    "knn": {"k": list(KNN_K), "vote": "exp", "temperature": TEMPERATURE, "distance": "cosine"},
}
"""What shapes a judgement beside features, labels and folds."""
