"""From rows, targets and a grid of C to fitted weights with their certificates."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from featdiv.errors import BudgetExceeded
from featdiv.probes import linear_path
from featdiv.probes.linear_input import FUNCTION
from featdiv.probes.linear_lbfgs import Minimum
from featdiv.probes.linear_loss import Objective, Problems
from featdiv.probes.linear_rows import Rows
from featdiv.stats import budget

_PAIRS = 12
_FEWEST_PAIRS = 4
_VECTORS = 14
"""Float64 copies of the parameters that the solver holds beside its pairs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How to solve: the arguments of `linear_probe` that say so."""

    tolerance: float
    max_iterations: int
    precision: str
    intercept: bool
    standardize: bool
    memory: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """All problems solved: index [C, subset, label], flattened.

    Attributes:
        objective: the functions that were minimised, with their coordinates.
        minimum: where each ended.
    """

    objective: Objective
    minimum: Minimum

    def certificates(self) -> dict[str, npt.NDArray[np.float64]]:
        """Returns objective, gradient_norm and relative gap of each problem, in scikit-learn's scale."""
        found = self.minimum
        scale = 1.0 / self.objective.ridge[: len(found.value)]
        slopes = self.objective.split(found.gradient)[0]
        # Squares of the slopes themselves would underflow at the largest C.
        slopes = slopes * torch.sqrt(scale)[:, None, None]
        # Rows of one class alone have a minimum of zero.
        gap = 0.5 * (slopes * slopes).sum((1, 2)) / torch.clamp(found.value, min=torch.finfo(slopes.dtype).tiny)
        return {
            "objective": (scale * found.value).cpu().numpy(),
            "gradient_norm": found.gradient.abs().amax(1).cpu().numpy(),
            "gap": gap.cpu().numpy(),
            "decrement": found.decrement.cpu().numpy(),
        }


def solve(
    rows: Rows,
    targets: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    grid: npt.NDArray[np.float64],
    *,
    classes: int,
    settings: Settings,
    near: tuple[Solution, npt.NDArray[np.int64]] | None = None,
) -> Solution:
    """Solves every C on every subset (column of ``weights``) and for every label as one batch.

    Args:
        rows: rows of all subsets.
        targets: (n,) classes or (n, l) labels.
        weights: (n, subsets) weights.
        grid: values of C.
        classes: number of classes.
        settings: how to solve.
        near: a solution of problems like these, and which of it to begin from; None to begin from no weights.

    Raises:
        BudgetExceeded: if the solver's vectors do not fit the budget.
        NonFiniteError: if a row holds NaN or infinity.
    """
    several = targets.ndim == 2
    labels = targets.shape[1] if several else 1
    outputs = 1 if several or classes == 2 else classes
    each = weights.shape[1] * labels
    pairs = _pairs(len(grid) * each * outputs * (rows.d + 1) * 8, settings.memory)
    mean, moment = rows.moments("train")
    center = mean if settings.intercept or settings.standardize else torch.zeros_like(mean)
    if not (settings.intercept or settings.standardize):
        moment = moment + torch.outer(mean, mean)
    scale = torch.ones_like(mean)
    if settings.standardize:
        spread = torch.sqrt(torch.clamp(moment.diagonal(), min=0.0))
        # A constant feature has no scale of its own; rounding leaves it a spread that is not quite zero.
        constant = spread <= 1e-12 * torch.clamp(mean.abs(), min=torch.finfo(spread.dtype).tiny)
        scale = torch.where(constant, torch.ones_like(spread), spread)
    easy = linear_path.easiest(float((moment.diagonal() / scale**2).sum()), float(weights.sum(0).max()))
    levels = grid if near is not None else np.concatenate([grid, linear_path.stones(grid, easy)])
    place = np.indices((len(levels), weights.shape[1], labels)).reshape(3, -1)
    as_tensor = torch.as_tensor
    binary = targets if several else targets[:, None]
    problems = Problems(
        C=as_tensor(levels[place[0]], device=rows.device),
        subset=as_tensor(place[1], device=rows.device),
        label=as_tensor(place[2], device=rows.device),
        targets=as_tensor(targets if outputs > 1 else binary, device=rows.device),
        weights=as_tensor(weights, device=rows.device),
        classes=outputs,
    )
    objective = Objective(
        rows,
        problems,
        center=center,
        scale=scale,
        second_moment=moment,
        intercept=settings.intercept,
    )
    limits = linear_path.Limits(
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
        memory=pairs,
        precision=settings.precision,
    )
    if near is None:
        minimum = linear_path.follow(objective, levels, len(grid), easy=easy, limits=limits)
    else:
        solution, chosen = near
        theta = solution.minimum.theta[as_tensor(chosen, device=rows.device)]
        start = objective.parameters(*solution.objective.original(theta))
        minimum = linear_path.renew(objective, start, easy=easy, limits=limits)
    return Solution(objective=objective, minimum=minimum)


def _pairs(parameter_bytes: int, memory: int) -> int:
    """Returns how many curvature pairs fit the budget."""
    pairs = min(_PAIRS, (memory // parameter_bytes - _VECTORS) // 2)
    if pairs < _FEWEST_PAIRS:
        needed = parameter_bytes * (_VECTORS + 2 * _FEWEST_PAIRS)
        raise BudgetExceeded(
            f"{FUNCTION}: memory: solving all C and folds together needs {budget.size(needed)}; the budget is "
            f"{budget.size(memory)}. Give fewer values of C or folds at a time, or raise memory="
        )
    return int(pairs)
