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
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.ops.scatter import PRECISIONS, Sums, scatter
from featdiv.stats.accumulate import Pilot, SpotCheck
from featdiv.stats.class_moments import ClassMoments
from featdiv.stats.class_tiles import Centring, pilots_of, tile_rows
from featdiv.stats.moments import Float64Array, clear_negative_squares

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

Index = npt.NDArray[np.int64]

_DRIFT_ABOVE = 2.0
_ROUNDING = 2.0**-50
_BLOCK_CLASSES = 256
_BLOCK_COLUMNS = 64


class Op:
    """The scatter op with the settings of this reading, and what was learned about it."""

    def __init__(self, *, precision: str, backend: str, seed: int) -> None:
        self.precision = precision
        self.backend = backend
        # The rows it sees are centred and of unit norm already, where that was asked for.
        self.spot = SpotCheck(seed=seed, precision=precision, normalize=None, backend=backend)
        self.ran: set[str] = set()

    def add(self, z: Rows, sums: Sums) -> None:
        """Adds the products of z to ``sums``."""
        self.ran.add(scatter(z, sums, precision=self.precision, backend=self.backend))

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

    def reserve(self, c: int) -> None:
        """Takes the memory for classes numbered below ``c`` at once; others can still come."""
        self._grow(c)

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
        within = self._gram.copy() if isinstance(self._gram, np.ndarray) else self._gram.cpu().numpy().copy()
        _mirror(within)
        here = np.flatnonzero(self._counts)
        counts = self._counts[here]
        # The only row of a class is its own pilot: it has no sum to correct for.
        several = np.flatnonzero(self._counts > 1)
        lost = self._sums[several] / np.sqrt(self._counts[several])[:, None]
        within -= lost.T @ lost
        clear_negative_squares(within)
        means = self._pilots[here] + self._centring.unscaled(self._sums[here] / counts[:, None])
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
                rows,
                inverse,
                pilots,
                normalize=self._normalize,
                precision=self._op.precision,
                backend=self._op.backend,
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
    """What is known of one class: its mean lies ``offset`` from ``origin``, a point near it.

    Only the upper triangle of ``scatter`` is right before the end.
    """

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
        self._stack = np.zeros((0, d, d))
        self._centring: Centring | None = None

    def reserve(self, c: int) -> None:
        """Takes the memory for classes numbered below ``c`` at once; others can still come."""
        self._stack = np.zeros((c, self._d, self._d))

    def add(self, rows: Rows, numbers: Index, inverse: Index) -> None:
        """Adds a chunk of which row i belongs to the class numbered ``numbers[inverse[i]]``."""
        order = np.argsort(inverse, kind="stable")
        counts = np.bincount(inverse, minlength=len(numbers))
        everyone = np.ones(len(numbers), dtype=bool)
        pilots = pilots_of(rows, inverse, everyone, normalize=self._normalize)
        if self._centring is None:
            self._centring = Centring.for_rows(
                rows,
                inverse,
                pilots,
                normalize=self._normalize,
                precision=self._op.precision,
                backend=self._op.backend,
            )
        if not self._known and not len(self._stack):
            # Where labels come with the rows, those of the first chunk are mostly all there are.
            self.reserve(int(numbers.max()) + 1)
        ends = np.cumsum(counts)
        step = tile_rows(self._d)
        on_host = isinstance(rows, np.ndarray) or rows.device.type == "cpu"
        sums = _empty_sums(rows, self._d, None)
        for k, number in enumerate(numbers.tolist()):
            known = self._known.get(number)
            gram = self._room(number) if known is None else known.scatter
            sums = dataclasses.replace(sums, gram=gram) if on_host else _empty_sums(rows, self._d, sums)
            total = np.zeros((1, self._d))
            for start in range(int(ends[k] - counts[k]), int(ends[k]), step):
                index = order[start : min(int(ends[k]), start + step)]
                codes = np.zeros(len(index), dtype=np.int64)
                z = self._centring.tile(rows, index, pilots[k : k + 1], codes, total)
                if start == 0:
                    self._op.check(z)
                self._op.add(z, sums)
            if not on_host:
                gram += sums.gram.cpu().numpy()
            part = _Known(
                n=int(counts[k]),
                origin=pilots[k],
                offset=self._centring.unscaled(total[0] / counts[k]),
                scatter=gram,
            )
            lost = total[0] / np.sqrt(counts[k])
            gram -= np.outer(lost, lost)
            clear_negative_squares(gram)
            self._known[number] = part if known is None else _merged(known, part, self._centring)

    def _room(self, number: int) -> Float64Array:
        return self._stack[number] if number < len(self._stack) else np.zeros((self._d, self._d))

    def result(self, numbers: Index) -> ClassMoments:
        """Returns the moments of all rows; its classes are positions in ``numbers``, which name them."""
        positions = [place for place, number in enumerate(numbers.tolist()) if number in self._known]
        known = [self._known.pop(int(numbers[place])) for place in positions]
        c = len(positions)
        in_place = c == len(self._stack) and all(one.scatter.base is self._stack for one in known)
        in_place = in_place and bool((np.diff(numbers) > 0).all())
        scatters = self._stack if in_place else np.zeros((c, self._d, self._d))
        within = np.zeros((self._d, self._d))
        for k, one in enumerate(known):
            if not in_place:
                scatters[k] = one.scatter
                one.scatter = within
            _mirror(scatters[k])
            if self._centring is not None and self._centring.exponent is not None:
                scatters[k] = self._centring.unscaled_scatter(scatters[k])
            within += scatters[k]
        return ClassMoments(
            classes=np.array(positions, dtype=np.int64),
            counts=np.array([one.n for one in known], dtype=np.int64),
            means=np.array([one.origin + one.offset for one in known]).reshape(c, self._d),
            within=within,
            scatters=scatters,
            error_bound=PRECISIONS[self._op.precision] if c else 0.0,
        )


def _merged(known: _Known, part: _Known, centring: Centring) -> _Known:
    """Merges means; the scatter of both, which is kept in one place, gains what lies between them."""
    # Two nearby points are subtracted, not two means, which are rounded to the size of the features.
    delta = (part.origin - known.origin) + (part.offset - known.offset)
    share = part.n / (known.n + part.n)
    step = centring.scaled(delta) * np.sqrt(known.n * share)
    known.scatter += np.outer(step, step)
    return dataclasses.replace(known, n=known.n + part.n, offset=known.offset + delta * share)


def _mirror(matrix: Float64Array) -> None:
    """Copies the upper triangle onto the lower one, in place."""
    for start in range(0, len(matrix), _BLOCK_COLUMNS):
        stop = min(len(matrix), start + _BLOCK_COLUMNS)
        block = matrix[start:stop, start:stop]
        below = _below(stop - start)
        block[below] = block.T[below]
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T


@functools.cache
def _below(size: int) -> tuple[Index, Index]:
    """Returns where the entries below the diagonal of a block are."""
    return np.tril_indices(size, -1)


def _empty_sums(rows: Rows, d: int, previous: Sums | None) -> Sums:
    """Returns empty accumulators on the device of the rows, with the buffers of ``previous``."""
    device = "cpu" if isinstance(rows, np.ndarray) or rows.device.type == "cpu" else str(rows.device)
    sums = Sums.zeros(d, device=device)
    return sums if previous is None else dataclasses.replace(previous, n=0, total=sums.total, gram=sums.gram)


def _diagonal(gram: Any) -> Float64Array:
    diagonal = gram.diagonal() if isinstance(gram, np.ndarray) else gram.diagonal().cpu().numpy()
    return np.asarray(diagonal, dtype=np.float64)
