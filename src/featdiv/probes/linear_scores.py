"""Scores of predictions: top-k, mean per class, average precision."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from featdiv.probes.linear_loss import Objective
from featdiv.probes.linear_rows import Rows
from featdiv.stats import group_means

Float64Array = npt.NDArray[np.float64]

VOC_RECALLS = np.linspace(0.0, 1.0, 11)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """How well some problems did on rows.

    Attributes:
        counts: (c,) rows of each class; positives of each label where there are several a row.
        right: (p, c) rows of each class whose largest logit is that of their class.
        top5: (p,) rows whose class is among the five largest logits.
        precision: (p, l) average precision of each label; None with one label a row.
        voc: (p, l) its 11-point variant; None with one label a row.
        alike: (3, p, m) rows of each group that are right, right among the five, and there; None without groups.
    """

    counts: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    top5: npt.NDArray[np.int64]
    precision: Float64Array | None = None
    voc: Float64Array | None = None
    alike: npt.NDArray[np.int64] | None = None

    @property
    def n(self) -> int:
        """Rows that were judged."""
        return int(self.counts.sum())

    def values(self, metric: str) -> Float64Array:
        """Returns (p,) values of a metric: accuracy, top5_accuracy, mean_per_class, map, map_voc2007."""
        if metric == "accuracy":
            return np.asarray(self.right.sum(1) / self.n, dtype=np.float64)
        if metric == "top5_accuracy":
            return np.asarray(self.top5 / self.n, dtype=np.float64)
        if metric == "mean_per_class":
            return np.asarray(self.per_class().mean(1, where=self.counts > 0), dtype=np.float64)
        found = self.precision if metric == "map" else self.voc
        assert found is not None
        return np.asarray(np.nanmean(found, axis=1), dtype=np.float64)

    def right_of_groups(self, metric: str, problem: int) -> npt.NDArray[np.int64] | None:
        """Returns (2, m): rows of each group that are right by accuracy or top5_accuracy, and all; None without any."""
        return None if self.alike is None else self.alike[[int(metric == "top5_accuracy"), 2], problem]

    def per_class(self) -> Float64Array:
        """Returns (p, c) accuracy of each class, NaN for one without rows; average precision of each label."""
        if self.precision is not None:
            return self.precision
        with np.errstate(invalid="ignore"):
            return self.right / self.counts


def judge(
    rows: Rows,
    targets: npt.NDArray[np.int64],
    keep: npt.NDArray[np.bool_] | None,
    objective: Objective,
    theta: torch.Tensor,
    problems: torch.Tensor,
    groups: npt.NDArray[Any] | None = None,
) -> Judged:
    """Judges problems, that share a label or softmax, on rows; one reading.

    Args:
        rows: the rows.
        targets: (n,) classes or (n, l) zeros and ones.
        keep: (n,) rows that count; None for all.
        objective: what the problems belong to.
        theta: (p, D) parameters.
        problems: (p,) their numbers. Of several labels, all labels of one C stand side by side.
        groups: (n,) group of each row, or None.
    """
    several = targets.ndim == 2
    c = targets.shape[1] if several else int(max(2, objective.c))
    p = len(problems)
    truth = torch.from_numpy(targets).to(rows.device)
    right = torch.zeros(p, c, dtype=torch.int64, device=rows.device)
    top5 = torch.zeros(p, dtype=torch.int64, device=rows.device)
    alike, group = None, None
    if groups is not None and not several:
        group = torch.from_numpy(group_means.numbered(groups)).to(rows.device)
        alike = torch.zeros(3, int(group.max()) + 1, p, dtype=torch.int64, device=rows.device)
    kept: list[npt.NDArray[np.float32]] = []
    for start, tile in rows.tiles(objective.tile_rows(p), torch.float64):
        logits = objective.logits(tile, theta, problems)
        known = truth[start : start + len(tile)]
        own_group = None if group is None else group[start : start + len(tile)]
        if keep is not None:
            mask = torch.from_numpy(keep[start : start + len(tile)]).to(rows.device)
            logits, known = logits[mask], known[mask]
            own_group = None if own_group is None else own_group[mask]
        if several:
            kept.append(logits[:, :, 0].cpu().numpy())
            continue
        if objective.c == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=2)
        index = known.view(-1, 1, 1).expand(-1, p, 1)
        own = logits.gather(2, index)
        before = torch.arange(c, device=rows.device) < index
        rank = ((logits > own) | ((logits == own) & before)).sum(2)
        right.index_add_(1, known, (rank == 0).T.long())
        top5 += (rank < 5).sum(0)
        if alike is not None and own_group is not None:
            for place, most in enumerate((1, 5, c)):
                alike[place].index_add_(0, own_group, (rank < most).long())
    chosen = targets if keep is None else targets[keep]
    if not several:
        return Judged(
            counts=np.bincount(chosen, minlength=c),
            right=right.cpu().numpy(),
            top5=top5.cpu().numpy(),
            alike=None if alike is None else alike.transpose(1, 2).cpu().numpy(),
        )
    scores = np.concatenate(kept).reshape(len(chosen), -1, c)
    precision = np.array([[average_precision(scores[:, i, j], chosen[:, j]) for j in range(c)] for i in range(p // c)])
    voc = np.array([[voc_precision(scores[:, i, j], chosen[:, j]) for j in range(c)] for i in range(p // c)])
    nothing = np.zeros((p // c, c), dtype=np.int64)
    return Judged(counts=chosen.sum(0), right=nothing, top5=nothing[:, 0], precision=precision, voc=voc)


def average_precision(scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> float:
    """Returns sum_i (R_i - R_{i-1}) P_i over distinct scores, as scikit-learn has it; NaN without positives.

    Example:
        >>> import numpy as np
        >>> from featdiv.probes.linear_scores import average_precision
        >>> round(average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1])), 4)
        0.8333
    """
    precision, recall = _curve(scores, truth)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision)) if len(recall) else float("nan")


def voc_precision(scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> float:
    """Returns the mean over recalls 0, 0.1 … 1 of the best precision at that recall or more; NaN without positives.

    Source:
        Everingham et al. 2010, "The PASCAL Visual Object Classes challenge", equation 2 (the rule of VOC 2007).

    Example:
        >>> import numpy as np
        >>> from featdiv.probes.linear_scores import voc_precision
        >>> round(voc_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1])), 4)
        0.8485
    """
    precision, recall = _curve(scores, truth)
    if not len(recall):
        return float("nan")
    # Recalls are shares of whole rows: a little less than the level still is the level.
    return float(np.mean([precision[recall >= level - 1e-12].max() for level in VOC_RECALLS]))


def _curve(scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
    positives = int(truth.sum())
    if not positives:
        return np.empty(0), np.empty(0)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(truth[order])[ends]
    return hits / (ends + 1.0), hits / positives
