"""Sums over labelled rows: one scatter within all classes, or one scatter for each class.

`Pooled`: every class has a pilot, the mean of the first rows of it that were seen; z = x - pilot of its class
is written tile by tile into a buffer, and one product serves all classes: with s_k the sum and n_k
the number of the z of class k,

    within = sum z z^T - sum_k s_k s_k^T / n_k

The subtraction is harmless while the pilots are near the means. Should a column lose most of its sum by
it (a class that moves through the file), the chunk is undone and read again about its own class means, and
the parts are merged. `PerClass`: the rows of a class in a chunk have a scatter of their own, merged into
what is known of the class.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops.scatter import PRECISIONS, Sums, scatter
from featdiv.stats.accumulate import Pilot, SpotCheck
from featdiv.stats.class_moments import ClassMoments
from featdiv.stats.class_tiles import Centring, pilots_of, tile_rows
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Index = npt.NDArray[np.int64]

_DRIFT_ABOVE = 2.0
_ROUNDING = 2.0**-50
_BLOCK_CLASSES = 256


class Op:
    """The scatter op with the settings of this reading, and what was learned about it."""

    def __init__(self, *, precision: str, backend: str, seed: int) -> None:
        self.precision = precision
        self._backend = backend
        # The rows it sees are centred and of unit norm already, where that was asked for.
        self.spot = SpotCheck(seed=seed, precision=precision, normalize=None, backend=backend)
        self.ran: set[str] = set()

    def add(self, z: Rows, sums: Sums) -> None:
        """Adds the products of z to ``sums``."""
        self.ran.add(scatter(z, sums, precision=self.precision, backend=self._backend))

    def check(self, z: Rows) -> None:
        """Compares the op with float64 on a stretch of z, if such a check is due."""
        self.spot.see(z, Pilot.of(z))


class Pooled:
    """Sums about persistent class pilots, one product for all classes."""

    def __init__(self, d: int, *, normalize: str | None, op: Op) -> None:
        self._d = d
        self._normalize = normalize
        self._op = op
        self._closed = ClassMoments.empty(d)
        self._scratch: Sums | None = None
        self._restart(0)

    def _restart(self, c: int) -> None:
        self._counts = np.zeros(c, dtype=np.int64)
        self._pilots = np.zeros((c, self._d))
        self._sums = np.zeros((c, self._d))
        self._reach = np.zeros(self._d)
        self._lost = np.zeros(self._d)
        self._worst = 0.0
        self._gram: Any = None
        self._centring: Centring | None = None

    def add(self, rows: Rows, numbers: Index, inverse: Index) -> None:
        """Adds a chunk of which row i belongs to the class numbered ``numbers[inverse[i]]``."""
        self._grow(int(numbers.max()) + 1)
        counts = np.bincount(inverse, minlength=len(numbers))
        new = self._counts[numbers] == 0
        if new.any():
            self._set_pilots(numbers[new], pilots_of(rows, inverse, new, normalize=self._normalize))
        centring, sums, gram = self._product(rows, numbers, inverse)
        if self._drifted(centring, numbers, counts, sums, gram):
            about = self._pilots[numbers] + centring.unscaled(sums / counts[:, None])
            self._close()
            self._restart(len(self._counts))
            self._set_pilots(numbers, about)
            centring, sums, gram = self._product(rows, numbers, inverse)
            self._drifted(centring, numbers, counts, sums, gram)
        self._lost = self._lost_with(numbers, counts, sums)
        self._counts[numbers] += counts
        self._sums[numbers] += sums
        if self._gram is None:
            self._gram = gram
        else:
            self._gram += gram

    def result(self, numbers: Index) -> ClassMoments:
        """Returns the moments of all rows; its classes are positions in ``numbers``, which name them."""
        self._close()
        position = np.zeros(len(numbers), dtype=np.int64)
        position[numbers] = np.arange(len(numbers))
        classes = position[self._closed.classes]
        order = np.argsort(classes)
        return dataclasses.replace(
            self._closed,
            classes=classes[order],
            counts=self._closed.counts[order],
            means=self._closed.means[order],
        )

    def _close(self) -> None:
        if self._centring is None or not self._counts.any():
            return
        upper = np.triu(self._gram if isinstance(self._gram, np.ndarray) else self._gram.cpu().numpy())
        within = upper + np.triu(upper, 1).T
        here = np.flatnonzero(self._counts)
        counts = self._counts[here]
        self._sums[here] /= np.sqrt(counts)[:, None]
        within -= self._sums.T @ self._sums
        means = self._pilots[here] + self._centring.unscaled(self._sums[here] / np.sqrt(counts)[:, None])
        part = ClassMoments(
            classes=here,
            counts=counts,
            means=means,
            within=self._centring.unscaled_scatter(within),
            # The op bounds the error of what it adds up, of which the correction takes a part away.
            error_bound=PRECISIONS[self._op.precision] * (1.0 + self._worst),
        )
        self._closed = self._closed.merge(part)

    def _product(self, rows: Rows, numbers: Index, inverse: Index) -> tuple[Centring, Float64Array, Any]:
        pilots = self._pilots[numbers]
        if self._centring is None:
            self._centring = Centring.for_rows(
                rows, inverse, pilots, normalize=self._normalize, precision=self._op.precision
            )
        total = _empty_sums(rows, self._d, self._scratch)
        class_sums = np.zeros_like(pilots)
        m = int(rows.shape[0])
        step = tile_rows(self._d)
        for start in range(0, m, step):
            index = slice(start, min(m, start + step))
            z = self._centring.tile(rows, index, pilots, inverse[index], class_sums)
            if start == 0:
                self._op.check(z)
            self._op.add(z, total)
        self._scratch = total
        return self._centring, class_sums, total.gram

    def _drifted(
        self,
        centring: Centring,
        numbers: Index,
        counts: npt.NDArray[np.int64],
        sums: Float64Array,
        gram: Any,
    ) -> bool:
        """Whether the correction, with this chunk added, would take too much away from a diagonal entry."""
        lost = self._lost_with(numbers, counts, sums)
        kept = _diagonal(gram) - lost
        if self._gram is not None:
            kept += _diagonal(self._gram)
        # What pilots and rows are rounded to says nothing about drift.
        reach = self._reach if centring.exponent is None else np.ldexp(self._reach, centring.exponent)
        noise = (int(self._counts.sum()) + int(counts.sum())) * (_ROUNDING * reach) ** 2
        telling = lost > noise
        if (lost > _DRIFT_ABOVE * kept)[telling].any():
            return True
        self._worst = max(self._worst, float((lost[telling] / kept[telling]).max(initial=0.0)))
        return False

    def _lost_with(self, numbers: Index, counts: npt.NDArray[np.int64], sums: Float64Array) -> Float64Array:
        """Returns the diagonal of sum_k s_k s_k^T / n_k with a chunk added."""
        lost = self._lost.copy()
        for start in range(0, len(numbers), _BLOCK_CLASSES):
            block = slice(start, start + _BLOCK_CLASSES)
            known, before = self._sums[numbers[block]], self._counts[numbers[block]]
            lost -= np.einsum("kj,kj,k->j", known, known, 1.0 / np.maximum(before, 1))
            known += sums[block]
            lost += np.einsum("kj,kj,k->j", known, known, 1.0 / (before + counts[block]))
        return lost

    def _set_pilots(self, numbers: Index, pilots: Float64Array) -> None:
        self._pilots[numbers] = pilots
        self._reach = np.maximum(self._reach, np.abs(pilots).max(axis=0))

    def _grow(self, c: int) -> None:
        more = c - len(self._counts)
        if more > 0:
            self._counts = np.concatenate([self._counts, np.zeros(more, dtype=np.int64)])
            self._pilots = np.concatenate([self._pilots, np.zeros((more, self._d))])
            self._sums = np.concatenate([self._sums, np.zeros((more, self._d))])


@dataclasses.dataclass(kw_only=True)
class _Known:
    """What is known of one class: its mean lies ``offset`` from ``origin``, a point near it."""

    n: int
    origin: Float64Array
    offset: Float64Array
    scatter: Float64Array


class PerClass:
    """One scatter a class: each chunk's rows of it are merged into what is known by Chan's formula."""

    def __init__(self, d: int, *, normalize: str | None, op: Op) -> None:
        self._d = d
        self._normalize = normalize
        self._op = op
        self._known: dict[int, _Known] = {}

    def add(self, rows: Rows, numbers: Index, inverse: Index) -> None:
        """Adds a chunk of which row i belongs to the class numbered ``numbers[inverse[i]]``."""
        order = np.argsort(inverse, kind="stable")
        counts = np.bincount(inverse, minlength=len(numbers))
        everyone = np.ones(len(numbers), dtype=bool)
        pilots = pilots_of(rows, inverse, everyone, normalize=self._normalize)
        centring = Centring.for_rows(rows, inverse, pilots, normalize=self._normalize, precision=self._op.precision)
        sums: Sums | None = None
        ends = np.cumsum(counts)
        step = tile_rows(self._d)
        for k, number in enumerate(numbers.tolist()):
            sums = _empty_sums(rows, self._d, sums)
            total = np.zeros((1, self._d))
            for start in range(int(ends[k] - counts[k]), int(ends[k]), step):
                index = order[start : min(int(ends[k]), start + step)]
                codes = np.zeros(len(index), dtype=np.int64)
                z = centring.tile(rows, index, pilots[k : k + 1], codes, total)
                if k == 0:
                    self._op.check(z)
                self._op.add(z, sums)
            n = int(counts[k])
            scatter_ = sums.symmetric_gram()
            mean_part = total[0] / np.sqrt(n)
            scatter_ -= np.outer(mean_part, mean_part)
            self._merge(
                number,
                _Known(
                    n=n,
                    origin=pilots[k],
                    offset=centring.unscaled(total[0] / n),
                    scatter=centring.unscaled_scatter(scatter_),
                ),
            )

    def _merge(self, number: int, part: _Known) -> None:
        known = self._known.get(number)
        if known is None:
            self._known[number] = part
            return
        # Two nearby points are subtracted, not two means, which are rounded to the size of the features.
        delta = (part.origin - known.origin) + (part.offset - known.offset)
        share = part.n / (known.n + part.n)
        known.scatter += part.scatter
        step = delta * np.sqrt(known.n * share)
        known.scatter += np.outer(step, step)
        known.offset = known.offset + delta * share
        known.n += part.n

    def result(self, numbers: Index) -> ClassMoments:
        """Returns the moments of all rows; its classes are positions in ``numbers``, which name them."""
        positions = [place for place, number in enumerate(numbers.tolist()) if number in self._known]
        c = len(positions)
        counts, means = np.zeros(c, dtype=np.int64), np.zeros((c, self._d))
        within, scatters = np.zeros((self._d, self._d)), np.zeros((c, self._d, self._d))
        for k, place in enumerate(positions):
            # Given back as soon as it is copied, so that the scatters are in memory once.
            known = self._known.pop(int(numbers[place]))
            counts[k], means[k], scatters[k] = known.n, known.origin + known.offset, known.scatter
            within += known.scatter
        return ClassMoments(
            classes=np.array(positions, dtype=np.int64),
            counts=counts,
            means=means,
            within=within,
            scatters=scatters,
            error_bound=PRECISIONS[self._op.precision] if c else 0.0,
        )


def _empty_sums(rows: Rows, d: int, previous: Sums | None) -> Sums:
    """Returns empty accumulators on the device of the rows, with the buffers of ``previous``."""
    device = "cpu" if isinstance(rows, np.ndarray) or rows.device.type == "cpu" else str(rows.device)
    sums = Sums.zeros(d, device=device)
    return sums if previous is None else dataclasses.replace(previous, n=0, total=sums.total, gram=sums.gram)


def _diagonal(gram: Any) -> Float64Array:
    diagonal = gram.diagonal() if isinstance(gram, np.ndarray) else gram.diagonal().cpu().numpy()
    return np.asarray(diagonal, dtype=np.float64)
