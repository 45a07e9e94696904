"""The objectives of a linear probe: mean softmax or logistic loss plus ridge, for every C and every subset at once.

A problem is one C on one subset of the rows (a fold, or all of them) and, for several labels a row, one label. The
weights of all live problems stand side by side in one matrix, so that a tile of rows is multiplied once for all:

    g(W, b) = sum_i s_i loss(x_i W + b, y_i) / sum_i s_i + |W|^2 / (2 C sum_i s_i),

which is the objective of scikit-learn's ``LogisticRegression(C)`` divided by C sum_i s_i.
"""

from __future__ import annotations

import dataclasses

import torch

from featdiv.probes.linear_rows import Rows

_TILE_ENTRIES = 1 << 21
"""Logits of a tile: 8 MB in float32, so that softmax finds them in cache."""

_ABSENT = -1e4
"""Added to the logit of a class that a subset lacks: its probability is zero, and it takes no part in the fit.

Of two classes the other one is certain then: the minimum, no weights and an endless intercept, is where the fit begins.
"""

_HELD_TILE_ROWS = 8192

_FEW = 0.1
"""Chance of the other classes below which the loss is better computed from it than from that of the own class."""

_LEAST_LOG_CHANCE = {torch.float32: -60.0, torch.float64: -600.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problems:
    """What is to be fitted, one entry a problem.

    Attributes:
        C: (p,) inverse strength of the ridge, as in scikit-learn.
        subset: (p,) column of ``weights``.
        label: (p,) column of ``targets`` for logistic problems; zeros for softmax.
        targets: (n,) class of each row, for softmax; (n, l) zeros and ones for logistic.
        weights: (n, subsets) weight of each row in each subset; zero leaves it out.
        classes: number of classes for softmax, 1 for logistic.
    """

    C: torch.Tensor
    subset: torch.Tensor
    label: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    classes: int


class Objective:
    """All problems on their rows, in coordinates of centred (and, on request, standardised) features.

    Attributes:
        center: (d,) subtracted from every row.
        scale: (d,) by which every row is divided.
        moment: (d, d) second moment of such rows.
        ridge: (p,) factor of |W|^2 / 2.
    """

    def __init__(
        self,
        rows: Rows,
        problems: Problems,
        *,
        center: torch.Tensor,
        scale: torch.Tensor,
        second_moment: torch.Tensor,
        intercept: bool,
    ) -> None:
        self.rows, self.problems = rows, problems
        self.center, self.scale = center, scale
        self.intercept = intercept
        self.total = problems.weights.sum(0)
        self.c, self.d = problems.classes, rows.d
        self.softmax = problems.classes > 1
        self.plain = bool((problems.weights == problems.weights[:1, :1]).all())
        self.frequency, self.offset = self._frequencies()
        self._present = (self.offset == 0.0).to(torch.float64)
        self._held: dict[torch.dtype, torch.Tensor] = {}
        self.moment = second_moment / torch.outer(scale, scale)
        self.ridge = 1.0 / (problems.C * self.total[problems.subset])

    def _frequencies(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the weighted share of each class in each problem, kept off 0 and 1, and the offset of absent ones."""
        held = self.problems
        if self.softmax:
            shares = held.weights.new_zeros(self.c, held.weights.shape[1])
            shares.index_add_(0, held.targets, held.weights)
            shares = (shares / self.total).T[held.subset]
            offset = torch.where(shares > 0.0, 0.0, _ABSENT)
        else:
            positive = held.targets.to(torch.float64)
            shares = (held.weights.T @ positive / self.total[:, None])[held.subset, held.label][:, None]
            there = (held.weights > 0.0).to(torch.float64)
            positives = (there.T @ positive)[held.subset, held.label][:, None]
            offset = torch.where(positives > 0.0, 0.0, _ABSENT)
            offset = torch.where(positives < there.sum(0)[held.subset][:, None], offset, -_ABSENT)
        edge = 0.5 / self.rows.n
        return torch.clamp(shares, edge, 1.0 - edge), offset

    def start(self) -> torch.Tensor:
        """Returns (p, D) parameters: no weights, intercepts at the log frequencies."""
        theta = self.frequency.new_zeros(len(self.problems.C), self.d + int(self.intercept), self.c)
        if self.intercept:
            level = torch.log(self.frequency)
            if self.softmax:
                shared = (level * self._present).sum(1, keepdim=True) / self._present.sum(1, keepdim=True)
                theta[:, -1] = (level - shared) * self._present
            else:
                theta[:, -1] = level - torch.log1p(-self.frequency)
        return theta.flatten(1)

    def split(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns weights (p, d, c) and intercepts (p, c) of centred and scaled features."""
        shaped = theta.view(len(theta), -1, self.c)
        if self.intercept:
            return shaped[:, :-1], shaped[:, -1]
        return shaped, shaped.new_zeros(len(theta), self.c)

    def original(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns weights (p, d, c) and intercepts (p, c) that apply to the rows as they are."""
        weights, intercepts = self.split(theta)
        weights = weights / self.scale[:, None]
        return weights, intercepts - torch.einsum("d,pdc->pc", self.center, weights)

    def parameters(self, weights: torch.Tensor, intercepts: torch.Tensor) -> torch.Tensor:
        """Returns the (p, D) parameters of what `original` returned."""
        shifted = intercepts + torch.einsum("d,pdc->pc", self.center, weights)
        theta = weights * self.scale[:, None]
        return torch.cat([theta, shifted[:, None]], dim=1).flatten(1) if self.intercept else theta.flatten(1)

    def logits(self, tile: torch.Tensor, theta: torch.Tensor, problems: torch.Tensor) -> torch.Tensor:
        """Returns (m, p, c) logits of a tile of rows as they are, absent classes far below the others."""
        weights, intercepts = self._stacked(theta, problems, tile.dtype)
        return torch.addmm(intercepts, tile - self.center.to(tile.dtype), weights).view(len(tile), len(theta), self.c)

    def _stacked(self, theta: torch.Tensor, problems: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        weights, intercepts = self.split(theta)
        stacked = (weights / self.scale[:, None]).permute(1, 0, 2).reshape(self.d, -1)
        return stacked.to(dtype).contiguous(), (intercepts + self.offset[problems]).reshape(1, -1).to(dtype)

    def tile_rows(self, problems: int) -> int:
        """Returns the rows of a tile for so many live problems."""
        return max(128, min(8192, _TILE_ENTRIES // max(1, problems * self.c)))

    def evaluate(
        self, theta: torch.Tensor, problems: torch.Tensor, wide: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns values (p,) and gradients (p, D); one reading of the rows."""
        parts = [
            _Part(self, theta[chosen], problems[chosen], dtype)
            for dtype, chosen in ((torch.float32, ~wide), (torch.float64, wide))
            if bool(chosen.any())
        ]
        for start, tile in self.rows.tiles(self.tile_rows(len(problems))):
            for part in parts:
                part.add(start, tile)
        value = torch.empty(len(theta), dtype=torch.float64, device=theta.device)
        gradient = torch.empty_like(theta)
        for part in parts:
            chosen = wide if part.dtype == torch.float64 else ~wide
            value[chosen], gradient[chosen] = part.finish()
        return value, gradient

    def centred(self, start: int, tile: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Returns a tile of rows less their mean; kept from the first reading on where that takes little memory."""
        if self.rows.n * self.d * dtype.itemsize > self.rows.held_bytes:
            return self._less_mean(tile, dtype)
        held = self._held.get(dtype)
        if held is None:
            held = self._held[dtype] = torch.cat(
                [self._less_mean(part, dtype) for _, part in self.rows.tiles(_HELD_TILE_ROWS)]
            )
        return held[start : start + len(tile)]

    def _less_mean(self, tile: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        # The difference is taken in float64 where the rows are: there they are exact.
        if tile.dtype == torch.float64:
            return (tile - self.center).to(dtype)
        return tile.to(dtype) - self.center.to(dtype)

    def chances(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns the probabilities of (…, c) logits."""
        return torch.softmax(logits, -1) if self.softmax else torch.sigmoid(logits)

    def without_common(self, shaped: torch.Tensor, problems: torch.Tensor) -> torch.Tensor:
        """Returns (p, D, c) steps less what all classes share.

        It changes no probability. The optimum has none of it, gradients have none of it, and steps must get none:
        along it only the ridge would lead back.
        """
        if not self.softmax:
            return shaped
        present = self._present[problems][:, None, :]
        return (shaped - (shaped * present).sum(2, keepdim=True) / present.sum(2, keepdim=True)) * present


class _Part:
    """The sums over rows for the problems that share a precision."""

    def __init__(self, objective: Objective, theta: torch.Tensor, problems: torch.Tensor, dtype: torch.dtype) -> None:
        self.objective, self.theta, self.problems, self.dtype = objective, theta, problems, dtype
        self.weights, self.intercepts = objective._stacked(theta, problems, dtype)
        held = objective.problems
        self.subset = held.subset[problems]
        self.label = held.label[problems]
        p, c = len(problems), objective.c
        self.loss = theta.new_zeros(p)
        self.gradient = theta.new_zeros(objective.d, p * c)
        self.intercept_gradient = theta.new_zeros(p * c)

    def add(self, start: int, tile: torch.Tensor) -> None:
        """Adds a tile of rows."""
        held, c = self.objective.problems, self.objective.c
        m, p = len(tile), len(self.problems)
        centred = self.objective.centred(start, tile, self.dtype)
        residual = torch.addmm(self.intercepts, centred, self.weights).view(m, p, c)
        weights = None
        if not self.objective.plain:
            weights = held.weights[start : start + m][:, self.subset].to(self.dtype)
        if self.objective.softmax:
            target = held.targets[start : start + m].view(m, 1, 1).expand(m, p, 1)
            residual = torch.log_softmax(residual, 2)
            own = residual.gather(2, target)[:, :, 0]
            # A smaller chance changes no sum, but as a denormal number it would slow the product ten times down.
            residual.clamp_(min=_LEAST_LOG_CHANCE[self.dtype]).exp_()
            residual.scatter_(2, target, residual.new_zeros((1, 1, 1)).expand(m, p, 1))
            # The chance of the others, not 1 less that of the class: rounding of the latter is all that nearly
            # separable rows would leave of it, and of the loss.
            others = residual.sum(2)
            loss = torch.where(others < _FEW, -torch.log1p(-torch.clamp(others, max=_FEW)), -own)
            residual.scatter_(2, target, -others[:, :, None])
        else:
            positive = held.targets[start : start + m][:, self.label] > 0
            sign = torch.where(positive, -1.0, 1.0).to(self.dtype)
            wrong = residual[:, :, 0] * sign
            loss = torch.nn.functional.softplus(wrong, threshold=50.0)
            residual = (sign * torch.sigmoid(torch.clamp(wrong, min=_LEAST_LOG_CHANCE[self.dtype])))[:, :, None]
        if weights is not None:
            loss = loss * weights
            residual *= weights[:, :, None]
        flat = residual.view(m, p * c)
        self.loss += loss.sum(0, dtype=torch.float64)
        self.gradient += centred.T @ flat
        self.intercept_gradient += flat.sum(0, dtype=torch.float64)

    def finish(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns values and gradients of the means plus ridge."""
        objective = self.objective
        p, c = len(self.problems), objective.c
        # Rows that all weigh the same were counted once each.
        total = objective.total[self.subset]
        count = torch.full_like(total, float(objective.rows.n)) if objective.plain else total
        ridge = objective.ridge[self.problems]
        weights, _ = objective.split(self.theta)
        value = self.loss / count + 0.5 * ridge * (weights * weights).sum((1, 2))
        by_problem = self.gradient.view(objective.d, p, c).permute(1, 0, 2) / objective.scale[:, None]
        gradient = by_problem / count[:, None, None] + ridge[:, None, None] * weights
        if objective.intercept:
            tail = self.intercept_gradient.view(p, 1, c) / count[:, None, None]
            gradient = torch.cat([gradient, tail], dim=1)
        if not objective.softmax:
            gradient = torch.where((objective.offset[self.problems] == 0.0)[:, :, None], gradient, 0.0)
        return value, gradient.flatten(1)
