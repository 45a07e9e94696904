"""The path of solutions along C: small C all together, large C a few at a time from where the last one ended.

What costs hundreds of readings of the rows at large C is the way there: weights grow with log C where classes are
nearly separable, and the curvature that a preconditioner was made of is gone on arrival. From the solutions of smaller
C, carried on along log C, it is a few dozen.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import numpy.typing as npt
import torch

from featdiv.probes.linear_lbfgs import Minimum, Preconditioner, minimise
from featdiv.probes.linear_loss import Objective
from featdiv.probes.linear_precondition import Bands, Blocks

_BANDS_REFRESHES = (12, 40)
_BLOCKS_REFRESHES = tuple(range(0, 2000, 25))

_EASY = 5e3
"""Ratio of the trace of the second moment, over four, to the ridge, up to which all C are solved at once."""

_DECADE = 10.0 * (1.0 + 1e-9)
_TOGETHER = 6.0
"""Ratio of the largest to the smallest C that are solved together: four of DINOv2's grid, one of each decade."""

_GAP = 3.0 * _DECADE
"""A C that is further from the one below is reached over others in between."""

_FURTHEST = 2.0
"""How far a solution is carried on at most, in steps between the two that it is carried on from."""

_MOST_STONES = 8
_STONE_TOLERANCE = 1e-3
_STONE_ITERATIONS = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What `minimise` is told for every C.

    Attributes:
        tolerance: relative distance to the minimum at which a C is done.
        max_iterations: steps that a C may take.
        memory: curvature pairs.
        precision: of products.
    """

    tolerance: float
    max_iterations: int
    memory: int
    precision: str


def easiest(trace: float, total: float) -> float:
    """Returns the C up to which all are solved at once.

    Args:
        trace: that of the second moment.
        total: sum of the weights of the rows.
    """
    curvature = 0.25 * max(trace, 0.0) * total
    return _EASY / curvature if curvature > 0.0 else math.inf


def stones(grid: npt.NDArray[np.float64], easy: float) -> npt.NDArray[np.float64]:
    """Returns values of C to step on where the ascending grid leaves wide gaps above what is easy.

    Example:
        >>> import numpy as np
        >>> from featdiv.probes.linear_path import stones
        >>> stones(np.array([1e-3, 0.1, 1.0, 1e4]), easy=1.0).round(1).tolist()
        [10.0, 100.0, 1000.0]
        >>> stones(np.array([1e5]), easy=100.0).round(1).tolist()
        [100.0, 1000.0, 10000.0]
    """
    hard = grid[grid > easy]
    near = grid[(grid <= easy) & (grid >= easy / _GAP)]
    lowest = near[-1] if len(near) else easy
    found: list[float] = []
    for low, high in itertools.pairwise([lowest, *hard]):
        if high > low * _GAP:
            count = min(_MOST_STONES, math.ceil(math.log10(high / low) - 1e-9) - 1)
            between = np.geomspace(low, high, count + 2)[:-1].tolist()
            found.extend(between if low == easy and not len(near) else between[1:])
    return np.array(found)


def follow(
    objective: Objective, levels: npt.NDArray[np.float64], asked: int, *, easy: float, limits: Limits
) -> Minimum:
    """Solves all problems of the first ``asked`` levels of C.

    Args:
        objective: problems of which the first belong to the first level, as many to the second, and so on.
        levels: values of C, those that are asked for ascending, then the `stones`.
        asked: how many are asked for.
        easy: the C up to which all are solved at once.
        limits: what a C may take.
    """
    start = objective.start()
    index = torch.arange(len(start), device=start.device).view(len(levels), -1)
    wanted = index[:asked].flatten()
    found = minimise(
        objective,
        Bands(objective),
        start[wanted],
        wanted,
        tolerance=limits.tolerance,
        max_iterations=limits.max_iterations,
        memory=limits.memory,
        refreshes=_BANDS_REFRESHES,
        precision=limits.precision,
        doubtful=objective.problems.C[wanted] > easy,
    )
    if not bool(found.left.any()):
        return found
    theta = torch.cat([found.theta, start[len(wanted) :]])
    pending = found.left.view(asked, -1)
    ready = [level for level in range(asked) if not bool(pending[level].any())]
    passes = found.passes
    curvature = _Curvature(objective)
    for group in _groups(levels, asked, ready):
        stone = group[0] >= asked
        rows = index[group].flatten() if stone else index[group][pending[group]]
        by_level = theta.view(len(levels), index.shape[1], -1)
        begin = torch.cat([_carried(by_level, levels, ready, level) for level in group])
        begin = begin if stone else begin[pending[group].flatten()]
        part = curvature.minimise(
            begin,
            rows,
            dataclasses.replace(limits, tolerance=max(limits.tolerance, _STONE_TOLERANCE)) if stone else limits,
            _STONE_ITERATIONS if stone else limits.max_iterations - int(found.iterations[rows].max()),
        )
        theta[rows] = part.theta
        passes += part.passes
        ready = sorted({*ready, *group}, key=lambda level: float(levels[level]))
        if not stone:
            _merge(found, rows, part)
    return dataclasses.replace(found, passes=passes)


def renew(objective: Objective, start: torch.Tensor, *, easy: float, limits: Limits) -> Minimum:
    """Solves all problems from a start near their solutions."""
    problems = torch.arange(len(start), device=start.device)
    return _Curvature(objective, blocks=float(objective.problems.C.max()) > easy).minimise(
        start, problems, limits, limits.max_iterations
    )


class _Curvature:
    """Solves problems from where the curvature is known from the first step on."""

    def __init__(self, objective: Objective, *, blocks: bool = True) -> None:
        self._objective = objective
        self._may_block = blocks
        self._bands: Bands | None = None
        self._blocks: Blocks | None = None

    def minimise(self, start: torch.Tensor, problems: torch.Tensor, limits: Limits, most: int) -> Minimum:
        preconditioner: Preconditioner
        if self._may_block and Blocks.worthwhile(self._objective, len(problems)):
            preconditioner = self._blocks = self._blocks or Blocks(self._objective)
            refreshes = _BLOCKS_REFRESHES
        else:
            preconditioner = self._bands = self._bands or Bands(self._objective)
            refreshes = (0, *_BANDS_REFRESHES)
        return minimise(
            self._objective,
            preconditioner,
            start,
            problems,
            tolerance=limits.tolerance,
            max_iterations=min(most, limits.max_iterations),
            memory=limits.memory,
            refreshes=refreshes,
            precision=limits.precision,
        )


def _groups(levels: npt.NDArray[np.float64], asked: int, ready: list[int]) -> list[list[int]]:
    """Returns the levels to solve one after another: those asked for in groups alike in C, each stone by itself."""
    done = set(ready)
    groups: list[list[int]] = []
    stones_behind: list[int] = []
    for level in np.argsort(levels, kind="stable").tolist():
        if level >= asked:
            stones_behind.append(level)
            continue
        if level not in done:
            groups.extend([stone] for stone in stones_behind)
            joins = groups and not stones_behind and groups[-1][0] < asked and groups[-1][-1] == level - 1
            if joins and levels[level] <= levels[groups[-1][0]] * _TOGETHER:
                groups[-1].append(level)
            else:
                groups.append([level])
        stones_behind = []
    return groups


def _carried(theta: torch.Tensor, levels: npt.NDArray[np.float64], ready: list[int], level: int) -> torch.Tensor:
    """Returns (r, D) parameters at a level: those of the last solved one below, carried on along log C."""
    below = sorted((found for found in ready if levels[found] < levels[level]), key=lambda found: float(levels[found]))
    if not below:
        return theta[level]
    last = below[-1]
    within = [found for found in below[:-1] if levels[last] <= levels[found] * _DECADE] or below[-2:-1]
    if not within:
        return theta[last]
    before = within[0]
    ratio = math.log(levels[level] / levels[last]) / math.log(levels[last] / levels[before])
    return theta[last] + min(ratio, _FURTHEST) * (theta[last] - theta[before])


def _merge(found: Minimum, problems: torch.Tensor, part: Minimum) -> None:
    """Puts in what the problems, whose first evaluations are in ``found``, ended with."""
    for name in ("theta", "value", "gradient", "decrement", "converged"):
        getattr(found, name)[problems] = getattr(part, name)
    for name in ("iterations", "evaluations"):
        getattr(found, name)[problems] += getattr(part, name)
