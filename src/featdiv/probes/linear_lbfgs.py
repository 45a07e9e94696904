"""Many convex problems minimised together: batched limited-memory BFGS in which every problem goes its own pace.

All live problems take part in each evaluation, whether they begin a step or are still searching along one, so that no
reading of the rows is wasted; a problem that has reached its tolerance leaves the batch.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Protocol

import torch

_ARMIJO = 1e-4
_CURVATURE = 0.9
_APPROXIMATE = 0.8
"""2 delta - 1 of Hager and Zhang's approximate Wolfe condition, delta = 0.1, with its sign turned."""

_NOISE = {False: 1e-6, True: 1e-14}
"""Relative error of an objective, for float32 and float64 products: below it slopes decide, not values."""

_WIDEN = 1e-8
"""Relative decrement below which a problem goes on in float64: float32 gradients carry it that far."""

_EXPAND = 2.5
_MOST_TRIALS = 12

_TRIED = 10
_HOPEFUL = 1e-3
"""A doubtful problem leaves if its relative decrement is above this after so many evaluations."""


class Objective(Protocol):
    """What is minimised: ``problems`` index functions of (D,) float64 parameters."""

    def evaluate(
        self, theta: torch.Tensor, problems: torch.Tensor, wide: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns values (p,) and gradients (p, D) in float64; ``wide`` marks those that need float64 products."""
        ...


class Preconditioner(Protocol):
    """An approximate inverse Hessian of each problem, symmetric positive definite."""

    def apply(self, gradient: torch.Tensor, problems: torch.Tensor) -> torch.Tensor:
        """Returns it times each gradient (p, D)."""
        ...

    def refresh(self, theta: torch.Tensor, problems: torch.Tensor) -> None:
        """Renews it from the curvature at the present parameters."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Minimum:
    """Where each problem ended.

    Attributes:
        theta: (p, D) parameters.
        value: (p,) objective.
        gradient: (p, D) gradient, of float64 products unless these were excluded.
        decrement: (p,) estimated distance to the minimum, relative to the objective: g^T H g / 2 for the inverse
            Hessian H that the last steps suggest.
        iterations: (p,) accepted steps.
        evaluations: (p,) evaluations.
        converged: (p,) whether the tolerance was reached.
        left: (p,) whether it was given up early because it was doubtful.
        passes: evaluations of the batch, each one reading of the rows.
    """

    theta: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor
    decrement: torch.Tensor
    iterations: torch.Tensor
    evaluations: torch.Tensor
    converged: torch.Tensor
    left: torch.Tensor
    passes: int


class _Batch:
    """The live problems: parameters, search state and curvature pairs, rows of the same index belonging together."""

    def __init__(self, theta: torch.Tensor, problems: torch.Tensor, memory: int, wide: bool) -> None:
        p = len(theta)
        zeros = theta.new_zeros(p)
        self.problems = problems
        self.place = torch.arange(p, device=theta.device)
        self.theta = theta.clone()
        self.value = zeros.clone()
        self.gradient = torch.zeros_like(theta)
        self.direction = torch.zeros_like(theta)
        self.slope = zeros.clone()
        self.step = zeros.clone()
        self.low = zeros.clone()
        self.low_slope = zeros.clone()
        self.high = zeros + torch.inf
        self.high_slope = zeros.clone()
        self.gamma = zeros + 1.0
        self.trials = torch.zeros(p, dtype=torch.int64, device=theta.device)
        self.resets = self.trials.clone()
        self.iterations = self.trials.clone()
        self.evaluations = self.trials.clone()
        self.wide = torch.full((p,), wide, device=theta.device)
        # The value and gradient at theta are not known yet (or not in float64): the next evaluation is made there.
        self.unknown = torch.ones(p, dtype=torch.bool, device=theta.device)
        self.decrement = zeros + torch.inf
        self.pairs: deque[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = deque(maxlen=memory)

    def keep(self, live: torch.Tensor) -> None:
        """Drops the problems that are not live."""
        for name, held in vars(self).items():
            if isinstance(held, torch.Tensor):
                setattr(self, name, held[live])
        self.pairs = deque([(s[live], y[live], r[live]) for s, y, r in self.pairs], maxlen=self.pairs.maxlen)


def minimise(
    objective: Objective,
    preconditioner: Preconditioner,
    start: torch.Tensor,
    problems: torch.Tensor,
    *,
    tolerance: float,
    max_iterations: int,
    memory: int = 12,
    refreshes: tuple[int, ...] = (),
    precision: str = "auto",
    doubtful: torch.Tensor | None = None,
) -> Minimum:
    """Minimises some problems of an objective.

    Args:
        objective: smooth convex functions with positive values.
        preconditioner: their approximate inverse curvature.
        start: (p, D) float64 parameters to begin from.
        problems: (p,) numbers of the problems.
        tolerance: a problem is done when its estimated relative distance to the minimum is below this.
        max_iterations: accepted steps that a problem may take.
        memory: curvature pairs kept.
        refreshes: batch evaluations after which the preconditioner is renewed.
        precision: ``"float32"`` or ``"float64"`` products throughout, or ``"auto"``: float32 as long as it carries,
            then float64.
        doubtful: (p,) problems to leave alone after a few evaluations that brought them nowhere near; None for none.
    """
    p = len(start)
    batch = _Batch(start, problems, memory, wide=precision == "float64")
    found = Minimum(
        theta=start.clone(),
        value=start.new_zeros(p),
        gradient=torch.zeros_like(start),
        decrement=start.new_zeros(p),
        iterations=torch.zeros(p, dtype=torch.int64, device=start.device),
        evaluations=torch.zeros(p, dtype=torch.int64, device=start.device),
        converged=torch.zeros(p, dtype=torch.bool, device=start.device),
        left=torch.zeros(p, dtype=torch.bool, device=start.device),
        passes=0,
    )
    passes = 0
    while len(batch.problems):
        if passes in refreshes:
            preconditioner.refresh(batch.theta, batch.problems)
        trial = torch.where(batch.unknown[:, None], batch.theta, batch.theta + batch.step[:, None] * batch.direction)
        value, gradient = objective.evaluate(trial, batch.problems, batch.wide)
        passes += 1
        batch.evaluations += 1
        moved = _judge(batch, trial, value, gradient)
        _redirect(preconditioner, batch, moved)
        done, stopped = _finished(batch, moved, tolerance, max_iterations, precision)
        if doubtful is not None and passes == _TRIED:
            left = doubtful[batch.place] & ~stopped & (batch.decrement > _HOPEFUL)
            found.left[batch.place[left]] = True
            stopped |= left
        if bool(stopped.any()):
            _store(found, batch, done, stopped)
            batch.keep(~stopped)
    return dataclasses.replace(found, passes=passes)


def _judge(batch: _Batch, trial: torch.Tensor, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Accepts trials that satisfy the Wolfe conditions and learns from them; narrows the search of the others."""
    slope = (gradient * batch.direction).sum(1)
    noise = torch.where(batch.wide, _NOISE[True], _NOISE[False]) * batch.value.abs()
    finite = torch.isfinite(value) & torch.isfinite(slope)
    enough = value <= batch.value + _ARMIJO * batch.step * batch.slope
    near = (value <= batch.value + noise) & (slope <= _APPROXIMATE * batch.slope.abs())
    accepted = finite & (enough | near) & (slope >= _CURVATURE * batch.slope) & ~batch.unknown
    # A convex function cannot fall again behind a point where it rises, nor rise before one where it still falls.
    short = finite & (enough | near) & ~accepted & ~batch.unknown
    long = ~short & ~accepted & ~batch.unknown
    moved = accepted | batch.unknown

    s = torch.where(accepted[:, None], trial - batch.theta, 0.0)
    y = torch.where(accepted[:, None], gradient - batch.gradient, 0.0)
    sy = (s * y).sum(1)
    useful = accepted & (sy > 1e-12 * s.norm(dim=1) * y.norm(dim=1))
    if bool(useful.any()):
        batch.pairs.append((s, y, torch.where(useful, 1.0 / torch.where(useful, sy, 1.0), 0.0)))
    batch.theta = torch.where(moved[:, None], trial, batch.theta)
    batch.gradient = torch.where(moved[:, None], gradient, batch.gradient)
    batch.value = torch.where(moved, value, batch.value)
    batch.iterations += accepted.long()

    batch.low = torch.where(short, batch.step, torch.where(moved, 0.0, batch.low))
    batch.low_slope = torch.where(short, slope, batch.low_slope)
    batch.high = torch.where(long, batch.step, torch.where(moved, torch.inf, batch.high))
    batch.high_slope = torch.where(long & finite, slope, torch.where(moved | long, torch.nan, batch.high_slope))
    batch.trials = torch.where(moved, 0, batch.trials + 1)
    batch.step = torch.where(moved, 1.0, _next_step(batch))
    batch.unknown = torch.zeros_like(batch.unknown)
    return moved


def _next_step(batch: _Batch) -> torch.Tensor:
    """Returns a point within the bracket: the secant of the slopes where they are known, kept off the ends."""
    width = batch.high - batch.low
    secant = batch.low - batch.low_slope * width / (batch.high_slope - batch.low_slope)
    inside = torch.where(torch.isfinite(secant), secant, batch.low + 0.3 * width)
    inside = torch.minimum(torch.maximum(inside, batch.low + 0.1 * width), batch.low + 0.7 * width)
    return torch.where(torch.isfinite(batch.high), inside, _EXPAND * torch.clamp(batch.low, min=1e-10))


def _redirect(preconditioner: Preconditioner, batch: _Batch, moved: torch.Tensor) -> None:
    """Gives the problems that moved a new direction: the two-loop recursion about the preconditioner."""
    q = batch.gradient.clone()
    weights = []
    for s, y, inverse in reversed(batch.pairs):
        weight = inverse * (s * q).sum(1)
        q -= weight[:, None] * y
        weights.append(weight)
    if batch.pairs:
        _, y, inverse = batch.pairs[-1]
        # Both at once: blocks of a preconditioner are larger than what they are multiplied with.
        both = preconditioner.apply(torch.cat([q, y]), torch.cat([batch.problems, batch.problems]))
        q, curvature = both[: len(q)], (y * both[len(q) :]).sum(1)
        known = (inverse > 0) & (curvature > 0)
        batch.gamma = torch.where(known, 1.0 / torch.where(known, inverse * curvature, 1.0), batch.gamma)
    else:
        q = preconditioner.apply(q, batch.problems)
    q = batch.gamma[:, None] * q
    for (s, y, inverse), weight in zip(batch.pairs, reversed(weights), strict=True):
        q += (weight - inverse * (y * q).sum(1))[:, None] * s
    slope = -(q * batch.gradient).sum(1)
    batch.direction = torch.where(moved[:, None], -q, batch.direction)
    batch.slope = torch.where(moved, slope, batch.slope)
    batch.low_slope = torch.where(moved, slope, batch.low_slope)
    relative = -0.5 * slope / torch.clamp(batch.value.abs(), min=torch.finfo(slope.dtype).tiny)
    batch.decrement = torch.where(moved, relative, batch.decrement)


def _finished(
    batch: _Batch, moved: torch.Tensor, tolerance: float, max_iterations: int, precision: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (converged, stopped); sends problems that float32 carries no further on in float64."""
    stuck = (batch.trials >= _MOST_TRIALS) | ~(batch.slope < 0.0)
    # A gradient of zero is a minimum: nothing is stuck there.
    stuck &= batch.gradient.abs().amax(1) > 0.0
    if precision == "auto":
        narrow = ~batch.wide & (stuck | (moved & (batch.decrement <= max(_WIDEN, tolerance))))
        batch.unknown |= narrow
        batch.wide |= narrow
        _forget(batch, narrow & stuck)
        stuck &= ~narrow
    else:
        narrow = torch.zeros_like(stuck)
    again = stuck & (batch.resets < 1)
    batch.resets += again.long()
    batch.unknown |= again
    _forget(batch, again)
    done = moved & ~narrow & ~stuck & (batch.decrement <= tolerance)
    stopped = done | (stuck & ~again) | (moved & ~narrow & (batch.iterations >= max_iterations))
    return done, stopped


def _forget(batch: _Batch, which: torch.Tensor) -> None:
    """Drops the curvature pairs of some problems, which then follow the preconditioner alone."""
    if bool(which.any()):
        for place, (s, y, inverse) in enumerate(batch.pairs):
            batch.pairs[place] = (s, y, torch.where(which, 0.0, inverse))


def _store(found: Minimum, batch: _Batch, done: torch.Tensor, stopped: torch.Tensor) -> None:
    index = batch.place[stopped]
    found.converged[index] = done[stopped]
    for name in ("theta", "value", "gradient", "decrement", "iterations", "evaluations"):
        getattr(found, name)[index] = getattr(batch, name)[stopped]
