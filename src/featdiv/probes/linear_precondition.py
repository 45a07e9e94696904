"""Approximate inverse curvature for L-BFGS: bases that bands of C share, and a block for each class."""

from __future__ import annotations

import torch

from featdiv.probes.linear_loss import Objective

_REFERENCES = 3
_GROUPS = 3

_ROWS_FOR_EACH_FEATURE = 4
"""Rows that a block of a class is made of, for each feature."""

_JITTER = 1e-13
"""Added to the diagonal of a block, relative to its mean: collinear features leave it singular but for rounding.

Much more would hide the ridge of large C, and call what is flat solved.
"""

_EVALUATIONS_WORTH = 200
"""A set of blocks may cost as many operations as this many evaluations."""

_CHUNK_ENTRIES = 1 << 22


class Bands:
    """The second moment in its eigenvectors, times the curvature of each class; weighted anew in three bands of C.

    It begins with the curvature at equal features: frequencies of classes times the second moment.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        eigenvalues, vectors = torch.linalg.eigh(objective.moment)
        self._group = torch.zeros_like(objective.problems.subset)
        self._own = objective.frequency * (1.0 - objective.frequency)
        self._bases = [(torch.clamp(eigenvalues, min=0.0), vectors)]

    def apply(self, gradient: torch.Tensor, problems: torch.Tensor) -> torch.Tensor:
        """Returns the gradient divided by an approximate curvature: rotated, scaled, rotated back."""
        objective = self._objective
        shaped = gradient.view(len(gradient), -1, objective.c)
        out = torch.empty_like(shaped)
        ridge = objective.ridge[problems]
        for place, (eigenvalues, vectors) in enumerate(self._bases):
            mine = (self._group[problems] == place).nonzero()[:, 0]
            if not len(mine):
                continue
            rotated = vectors.T @ _side_by_side(shaped[mine, : objective.d])
            curvature = eigenvalues[:, None, None] * self._own[problems[mine]] + ridge[mine][:, None]
            rotated = rotated.view(objective.d, len(mine), objective.c) / curvature
            back = (vectors @ rotated.view(objective.d, -1)).view(objective.d, len(mine), objective.c)
            out[mine, : objective.d] = back.transpose(0, 1)
        if objective.intercept:
            out[:, -1] = shaped[:, -1] / self._own[problems]
        return objective.without_common(out, problems).flatten(1)

    def refresh(self, theta: torch.Tensor, problems: torch.Tensor) -> None:
        """Weighs the second moment by the uncertainty of each row at the present parameters, in up to three bands of C.

        Rows that are classified with confidence no longer curve the objective: leaving them out of the
        preconditioner took the iterations of large C down by a third on sentence embeddings.
        """
        objective = self._objective
        held = objective.problems
        order = torch.argsort(held.C[problems], stable=True)
        bands = [band for band in torch.tensor_split(order, min(_GROUPS, len(order))) if len(band)]
        picks = [band[_spaced(len(band))] for band in bands]
        grams = theta.new_zeros(len(bands), objective.d, objective.d)
        spreads = theta.new_zeros(len(bands), objective.c)
        for start, tile in objective.rows.tiles(objective.tile_rows(len(problems)), torch.float32):
            centred = (tile - objective.center.to(tile.dtype)) / objective.scale.to(tile.dtype)
            for place, pick in enumerate(picks):
                index = problems[pick]
                chance = objective.chances(objective.logits(tile, theta[pick], index))
                weights = held.weights[start : start + len(tile)][:, held.subset[index]]
                share = weights / objective.total[held.subset[index]]
                spread = chance * (1.0 - chance) * share[:, :, None].to(chance.dtype)
                spreads[place] += spread.mean(1).sum(0)
                importance = spread.mean((1, 2))
                grams[place] += (centred.T @ (importance[:, None] * centred)).to(torch.float64)
        bases = []
        group = self._group.clone()
        own = self._own.clone()
        for place, band in enumerate(bands):
            mean = torch.clamp(spreads[place].mean(), min=1e-12)
            eigenvalues, vectors = torch.linalg.eigh(grams[place] / mean)
            bases.append((torch.clamp(eigenvalues, min=0.0), vectors))
            index = problems[band]
            group[index] = place
            own[index] = torch.clamp(spreads[place], min=1e-3 * float(mean))
        self._bases, self._group, self._own = bases, group, own


class Blocks:
    """The diagonal blocks of the Hessian at the present parameters: each class has features that its own rows curve.

    Where classes are nearly separable, few rows near the border of a class curve the objective along its weights, and
    other rows for each class: one basis for all of them leaves hundreds of steps. Problems share blocks, those of one
    call should therefore have alike C. The rows, or as many as fit, are kept: renewing the blocks reads nothing.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._labels = int(objective.problems.label.max()) + 1
        self._rows, self._index = self._gathered()
        spread = torch.sqrt(torch.clamp(objective.moment.diagonal(), min=0.0))
        self._unit = torch.ones(self._rows.shape[1], dtype=torch.float64, device=spread.device)
        self._unit[: objective.d] = torch.where(spread > 0.0, spread, torch.ones_like(spread))
        self._blocks = torch.empty(0)

    @staticmethod
    def worthwhile(objective: Objective, problems: int) -> bool:
        """Returns whether blocks fit the memory and cost little beside the evaluations of so many problems."""
        wide = objective.d + 1
        blocks = (int(objective.problems.label.max()) + 1) * objective.c
        rows = min(objective.rows.n, _ROWS_FOR_EACH_FEATURE * wide)
        work = blocks * (2.0 * rows * wide**2 + 4.0 * wide**3)
        evaluation = 4.0 * objective.rows.n * objective.d * objective.c * problems
        return 8 * blocks * wide**2 <= objective.rows.held_bytes and work <= _EVALUATIONS_WORTH * evaluation

    def _gathered(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns (m, D) rows in the coordinates of the parameters and their (m,) numbers; all of them if they fit."""
        objective = self._objective
        n, device = objective.rows.n, objective.rows.device
        entries = objective.d + 1 + self._labels * objective.c
        most = max(_ROWS_FOR_EACH_FEATURE * (objective.d + 1), objective.rows.held_bytes // (4 * entries))
        taken = torch.arange(n, device=device)
        if n > most:
            generator = torch.Generator().manual_seed(0)
            taken = torch.sort(torch.randperm(n, generator=generator)[:most]).values.to(device)
        rows = torch.ones(len(taken), objective.d + int(objective.intercept), dtype=torch.float32, device=device)
        for start, tile in objective.rows.tiles(objective.tile_rows(1)):
            low, high = torch.searchsorted(taken, torch.tensor([start, start + len(tile)], device=device)).tolist()
            centred = objective.centred(start, tile, torch.float32)[taken[low:high] - start]
            rows[low:high, : objective.d] = centred / objective.scale.to(torch.float32)
        return rows, taken

    def apply(self, gradient: torch.Tensor, problems: torch.Tensor) -> torch.Tensor:
        """Returns each class's part of the gradient times the inverse of its block."""
        objective = self._objective
        shaped = gradient.view(len(gradient), -1, objective.c)
        if objective.softmax:
            out = torch.bmm(self._blocks, shaped.permute(2, 1, 0)).permute(2, 1, 0)
            return objective.without_common(out, problems).flatten(1)
        out = torch.empty_like(shaped)
        label = objective.problems.label[problems]
        for own in torch.unique(label).tolist():
            mine = (label == own).nonzero()[:, 0]
            out[mine, :, 0] = shaped[mine, :, 0] @ self._blocks[own]
        return out.flatten(1)

    def refresh(self, theta: torch.Tensor, problems: torch.Tensor) -> None:
        """Makes the blocks of the curvature at the present parameters, each the mean over three problems."""
        objective = self._objective
        label = objective.problems.label[problems]
        wide = self._rows.shape[1]
        if not len(self._blocks):
            self._blocks = theta.new_zeros(self._labels * objective.c, wide, wide)
        generator = torch.Generator(device=theta.device).manual_seed(0)
        for own in torch.unique(label).tolist():
            mine = (label == own).nonzero()[:, 0]
            order = mine[torch.argsort(objective.problems.C[problems[mine]], stable=True)]
            spread = self._spread(theta, problems, order[_spaced(len(order))])
            ridge = torch.exp(torch.log(objective.ridge[problems[mine]]).mean())
            for k in range(objective.c):
                self._blocks[own * objective.c + k] = self._inverse(spread[:, k], ridge, generator)

    def _spread(self, theta: torch.Tensor, problems: torch.Tensor, pick: torch.Tensor) -> torch.Tensor:
        """Returns (m, c) shares of the curvature of each row, mean over some problems."""
        objective = self._objective
        held, index = objective.problems, problems[pick]
        stacked = _side_by_side(theta[pick].view(len(pick), -1, objective.c)).to(torch.float32)
        offset = objective.offset[index].to(torch.float32)
        spread = torch.empty(len(self._rows), objective.c, dtype=torch.float32, device=theta.device)
        step = max(1, _CHUNK_ENTRIES // stacked.shape[1])
        for start in range(0, len(self._rows), step):
            logits = (self._rows[start : start + step] @ stacked).view(-1, len(pick), objective.c) + offset
            chance = objective.chances(logits)
            weights = held.weights[self._index[start : start + step]][:, held.subset[index]]
            share = (weights / objective.total[held.subset[index]]).to(torch.float32)
            spread[start : start + step] = (chance * (1.0 - chance) * share[:, :, None]).mean(1)
        return spread * (objective.rows.n / len(self._rows))

    def _inverse(self, spread: torch.Tensor, ridge: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Returns the inverse of sum_i spread_i x_i x_i^T + ridge, of rows drawn by their share where they are many."""
        most = _ROWS_FOR_EACH_FEATURE * self._rows.shape[1]
        chosen, weight = _drawn(spread, most, generator)
        rows = self._rows[chosen].to(torch.float64) * (torch.sqrt(weight.to(torch.float64))[:, None] / self._unit)
        gram = rows.T @ rows
        added = (ridge / self._unit**2).expand(len(gram)).clone()
        if self._objective.intercept:
            added[-1] = 0.0
        level = gram.diagonal().mean() + added.mean()
        gram.diagonal().add_(added)
        jitter = _JITTER
        factor, failed = torch.linalg.cholesky_ex(gram + torch.diag(jitter * level.expand(len(gram))))
        while bool(failed) and jitter < 1.0:
            jitter *= 10.0
            factor, failed = torch.linalg.cholesky_ex(gram + torch.diag(jitter * level.expand(len(gram))))
        return torch.cholesky_inverse(factor) / torch.outer(self._unit, self._unit)


def _drawn(spread: torch.Tensor, most: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns about ``most`` rows, drawn by their share, with weights whose sums have the expectation of all rows."""
    total = spread.sum(dtype=torch.float64)
    if len(spread) > most and float(total) > 0.0:
        chance = torch.clamp(spread * (most / total), max=1.0)
        drawn = torch.rand(len(spread), generator=generator, device=spread.device) < chance
        chosen = drawn.nonzero()[:, 0]
        return chosen, spread[chosen] / chance[chosen]
    chosen = (spread > 0.0).nonzero()[:, 0]
    return chosen, spread[chosen]


def _spaced(count: int) -> torch.Tensor:
    """Returns up to three places among so many, the ends among them."""
    return torch.linspace(0, count - 1, min(_REFERENCES, count)).round().long()


def _side_by_side(weights: torch.Tensor) -> torch.Tensor:
    """Returns (p, d, c) as (d, p c)."""
    return weights.permute(1, 0, 2).reshape(weights.shape[1], -1)
