"""Puts together a `LinearProbe` from solved problems: the path with its certificates, the scores, the warnings."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import ConvergenceWarning
from featdiv.probes.linear_input import FUNCTION
from featdiv.probes.linear_result import MOST_FOR_TOP5, Fitted, LinearProbe
from featdiv.probes.proportion import of_groups, of_parts
from featdiv.results import Interval, Provenance

if TYPE_CHECKING:
    from featdiv.probes.linear_scores import Judged
    from featdiv.probes.linear_solve import Solution


def path(
    grid: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
    solution: Solution,
    selection: npt.NDArray[np.float64] | None,
) -> tuple[Fitted, ...]:
    """Returns what is known of each C: the worst over its subsets and labels; objectives summed over labels."""
    known = {name: values.reshape(shape) for name, values in solution.certificates().items()}
    iterations = solution.minimum.iterations.cpu().numpy().reshape(shape)
    converged = solution.minimum.converged.cpu().numpy().reshape(shape)
    return tuple(
        Fitted(
            C=float(grid[i]),
            objective=float(known["objective"][i].sum(1).mean()),
            gradient_norm=float(known["gradient_norm"][i].max()),
            gap=float(known["gap"][i].max()),
            decrement=float(known["decrement"][i].max()),
            iterations=int(iterations[i].max()),
            converged=bool(converged[i].all()),
            selection=None if selection is None else float(selection[i]),
        )
        for i in range(len(grid))
    )


def weights_of(
    solution: Solution, index: npt.NDArray[np.int64], *, several: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns (k, d) weights and (k,) intercepts for rows as they are, of one C; leading axes of ``index`` are kept."""
    weights, intercepts = solution.objective.original(solution.minimum.theta[index.ravel()])
    d, c = weights.shape[1:]
    shaped = weights.cpu().numpy().reshape(*index.shape, d, c)
    offsets = intercepts.cpu().numpy().reshape(*index.shape, c)
    if several:
        return shaped[..., 0], offsets[..., 0]
    return np.swapaxes(shaped[..., 0, :, :], -1, -2).copy(), offsets[..., 0, :].copy()


def result(
    *,
    classes: npt.NDArray[Any],
    several: bool,
    metric: str,
    by: str | None,
    pooled: bool,
    path: Solution,
    final: Solution,
    place: npt.NDArray[np.int64],
    index: npt.NDArray[np.int64],
    fitted: tuple[Fitted, ...],
    chosen: int | None,
    judged: Sequence[Judged],
    on_test: Judged | None,
    provenance: Provenance,
) -> LinearProbe:
    """Returns the result, and warns where a solver did not converge.

    Args:
        classes: the labels, sorted.
        several: whether a row may have several labels.
        metric: by which C was chosen.
        by: what C was chosen on: ``"val"``, ``"folds"`` or ``"holdout"``; None where it was not chosen.
        pooled: whether every held-out row was judged just once, so that all of them make one sample with an interval.
        path: solutions for every C.
        final: the solution that is kept; ``path`` itself where nothing was refitted.
        place: of the final problems in ``final``.
        index: of the problems in ``path``, by C and subset.
        fitted: what is known of each C.
        chosen: place of the chosen C in ``fitted``, or None.
        judged: held-out rows of each subset, judged for every C.
        on_test: test rows, judged by the final solution, or None.
        provenance: how it was made, without the remarks that are added here.
    """
    scores: dict[str, float] = {}
    undefined: dict[str, str] = {}
    intervals: dict[str, Interval] = {}
    notes = list(provenance.notes)
    if chosen is not None:
        scores["C"] = fitted[chosen].C
    else:
        undefined["C"] = "there are several values of C and no held-out rows to choose on: give val, folds or holdout"
    names = _names(len(classes), several)
    if judged and chosen is not None and by is not None:
        for name in names:
            scores[f"{by}_{name}"] = float(np.mean([found.values(name)[chosen] for found in judged]))
            if pooled:
                intervals |= _interval(f"{by}_{name}", name, judged, chosen)
        notes.append(f"C was chosen by {by}_{metric}, which is therefore slightly optimistic")
    if on_test is not None and chosen is not None:
        for name in names:
            scores[f"test_{name}"] = float(on_test.values(name)[0])
            intervals |= _interval(f"test_{name}", name, [on_test], 0)
    if scores.keys() == {"C"}:
        notes.append("no accuracy: a single C leaves nothing to choose; test=, val= or folds= give rows to judge on")
    last = fitted[chosen if chosen is not None else -1]
    failed = _not_converged(fitted, last if final is not path and not bool(final.minimum.converged.all()) else None)
    if failed:
        notes.append(failed)
        warnings.warn(
            f"{FUNCTION}: {failed}; raise max_iter=, or standardize=True where features differ much in scale",
            ConvergenceWarning,
            stacklevel=4,
        )
    coefficients, intercept = weights_of(final, place, several=several)
    every: tuple[Any, Any] = (None, None)
    if index.shape[1] == 1:
        every = weights_of(path, index[:, 0], several=several)
    by_class = None
    if on_test is not None and chosen is not None:
        by_class = on_test.per_class()[0]
    elif pooled and len(judged) == 1:
        by_class = judged[0].per_class()[chosen]
    return LinearProbe(
        scores=scores,
        undefined=undefined,
        intervals=intervals,
        provenance=dataclasses.replace(provenance, notes=tuple(notes)),
        path=fitted,
        chosen=chosen,
        chosen_by=by if by is not None else ("given" if chosen is not None else None),
        metric=metric,
        classes=classes,
        several=several,
        coefficients=coefficients,
        intercept=intercept,
        path_coefficients=every[0],
        path_intercepts=every[1],
        per_class={} if by_class is None else dict(zip(classes.tolist(), by_class.tolist(), strict=True)),
    )


def _not_converged(fitted: Sequence[Fitted], refitted: Fitted | None) -> str:
    """Returns a remark on the C for which a solver stopped early, on the path or when refitted; empty for none."""
    failed = [one.C for one in fitted if not one.converged]
    if refitted is not None:
        failed.append(refitted.C)
    listed = ", ".join(f"{value:.3g}" for value in dict.fromkeys(failed))
    return f"not converged: C = {listed}" if failed else ""


def _interval(label: str, metric: str, judged: Sequence[Judged], problem: int) -> dict[str, Interval]:
    """Returns the interval of the mean accuracy over all ``judged`` by its label; none for other metrics."""
    if metric not in ("accuracy", "top5_accuracy"):
        return {}
    n = sum(found.n for found in judged)
    # The mean over parts takes the rows of a small part for more than those of a large one.
    by_group = [
        n / (len(judged) * found.n) * rows
        for found in judged
        if (rows := found.right_of_groups(metric, problem)) is not None
    ]
    if by_group:
        interval = of_groups(*np.sum(by_group, axis=0))
        return {} if interval is None else {label: interval}
    right = [found.right[problem].sum() if metric == "accuracy" else found.top5[problem] for found in judged]
    return {label: of_parts(right, [found.n for found in judged])}


def _names(classes: int, several: bool) -> tuple[str, ...]:
    if several:
        return ("map", "map_voc2007")
    if classes > MOST_FOR_TOP5:
        return ("accuracy", "top5_accuracy", "mean_per_class")
    return ("accuracy", "mean_per_class")
