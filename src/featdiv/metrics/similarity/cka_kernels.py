"""Linear CKA from kernels of the rows: less work than moments where there are more features than rows.

With Z the centred rows of a model and K = Z Z^T, every sum that CKA takes from the scatters of the features follows
from the n x n kernels too: |Z_a^T Z_b|^2 = <K_a, K_b>, and the squared norms of the rows are diagonals. Rows P are left
out of a kernel whose rows add up to zero by K_RR 1 = -K_RP 1 and <K, L>_RR = <K, L> - 2 <K, L>_P. + <K, L>_PP, and what
is left is centred anew: <HKH, HLH> = <K, L> - 2/m (K1).(L1) + (1'K1)(1'L1)/m^2 for the m rows that stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData, RowError
from featdiv.metrics.similarity import cka_linear, left_out
from featdiv.metrics.similarity.cka_linear import Alignment, Side
from featdiv.metrics.similarity.rows import checked, read_rows
from featdiv.stats import cross_moments_align, grouped, partition
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    from featdiv.io import Embeddings

METHOD = "n x n kernels"

_PAIR_COST = 10
"""What a pair of models costs for each entry of a kernel, in multiply-adds of a feature."""

_CANCELLED = 1e-4
"""Share of a sum below which what is left of it is added up anew."""


def cheaper(sizes: Mapping[str, int], n: int | None, *, memory: int) -> bool:
    """Returns whether kernels are less work than moments, and fit the budget.

    Moments take half of n D^2 multiply-adds for D features in all, mostly in float32; kernels half of n^2 D, in
    float64, and their products for all pairs.

    Args:
        sizes: features of each model.
        n: rows, where known.
        memory: budget in bytes.
    """
    if n is None:
        return False
    features, models = sum(sizes.values()), len(sizes)
    needed = 16 * n * features + 8 * n * n * (2 * models + 1)
    return 2 * n * (features + _PAIR_COST * models**2) <= features**2 and needed <= memory


def at_hand(sources: Mapping[str, Embeddings]) -> bool:
    """Returns whether the rows are on the CPU, and can be read again where one of them cannot be used here."""
    return all(source.device == "cpu" and not source.one_pass for source in sources.values())


def parts(n: int, groups: npt.NDArray[Any] | None, *, interval: str | None, function: str) -> partition.Partition:
    """Returns the parts for a jackknife, which costs next to nothing here.

    Raises:
        InputError: if an interval is demanded that cannot be had.
    """
    count, slab, reason = partition.dealt(n, None if groups is None else len(np.unique(groups)))
    if interval == "jackknife" and reason:
        raise partition.refused(function, reason)
    if interval is None:
        reason = "none were asked for"
    return partition.Partition(parts=1 if reason else count, slab=slab, no_interval=reason)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """What CKA takes of the kernels of m models.

    Attributes:
        n: rows.
        traces: (m,) sums of the squared norms of the centred rows.
        products: (m, m) sums over rows of the product of two such.
        inner: (m, m) inner products of two centred kernels.
    """

    n: int
    traces: Float64Array
    products: Float64Array
    inner: Float64Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Kernels:
    """Centred kernels, rows of the same part side by side.

    Attributes:
        sizes: name to features.
        matrices: (m, n, n) float64.
        edges: where each part begins, and n.
    """

    sizes: Mapping[str, int]
    matrices: Float64Array
    edges: tuple[int, ...]

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.matrices.shape[1])

    @property
    def error_bound(self) -> float:
        """Largest error of an entry, over the norms of its two rows: that of a sum of d products in float64."""
        return max(self.sizes.values()) * float(np.finfo(np.float64).eps)

    def sums(self) -> Sums:
        """Returns the sums over all rows."""
        flat = self.matrices.reshape(len(self.matrices), -1)
        squares = np.diagonal(self.matrices, axis1=1, axis2=2)
        return Sums(n=self.n, traces=squares.sum(axis=1), products=squares @ squares.T, inner=flat @ flat.T)

    def alignment(self, sums: Sums, names: left_out.Names) -> Alignment:
        """Returns what CKA takes of two of the models."""
        order = list(self.sizes)
        a, b = (order.index(name) for name in names)
        x, other = (
            Side(
                name=order[i],
                d=self.sizes[order[i]],
                trace=float(sums.traces[i]),
                square=float(sums.inner[i, i]),
                fourth=float(sums.products[i, i]),
                error_bound=self.error_bound,
            )
            for i in (a, b)
        )
        square, product = float(sums.inner[a, b]), float(sums.products[a, b])
        return Alignment(n=sums.n, x=x, other=other, square=square, product=product)

    def value(self, sums: Sums, names: left_out.Names, definition: str) -> float:
        """Returns the linear CKA of two of the models.

        Raises:
            NotEnoughData: if it has none.
        """
        return cka_linear.value(self.alignment(sums, names), definition=definition)

    def without_each(self, whole: Sums, pairs: Sequence[left_out.Names], definition: str) -> list[left_out.LeftOut]:
        """Returns the values of pairs of models with each part left out in turn, for the pairs that have parts."""
        found = []
        for left in self.left_out(whole):
            values = {}
            for names in pairs:
                with contextlib.suppress(NotEnoughData):
                    values[names] = self.value(left, names, definition)
            found.append(left_out.LeftOut(n=left.n, values=values))
        return found

    def left_out(self, whole: Sums) -> Iterator[Sums]:
        """Yields the sums over the rows that stay where each part in turn is left out."""
        squares = np.diagonal(self.matrices, axis1=1, axis2=2)
        for start, stop in itertools.pairwise(self.edges):
            gone = self.matrices[:, start:stop]
            strip = gone.reshape(len(gone), -1)
            corner = gone[:, :, start:stop].reshape(len(gone), -1)
            stays = np.r_[0:start, stop : self.n]
            m = len(stays)
            row_sums = -gone.sum(axis=1)[:, stays]
            totals = row_sums.sum(axis=1)
            inner = whole.inner - 2.0 * (strip @ strip.T) + corner @ corner.T
            inner += np.outer(totals, totals) / m**2 - 2.0 / m * (row_sums @ row_sums.T)
            if (inner.diagonal() <= _CANCELLED * whole.inner.diagonal()).any():
                yield self._among(stays)
                continue
            norms = squares[:, stays] - 2.0 / m * row_sums + totals[:, None] / m**2
            yield Sums(n=m, traces=norms.sum(axis=1), products=norms @ norms.T, inner=inner)

    def _among(self, stays: npt.NDArray[np.int64]) -> Sums:
        """Returns the sums over some rows, from kernels that are centred about these; no trace where it is rounding."""
        rest = self.matrices[:, stays[:, None], stays]
        rounding = 4.0 * self.error_bound * np.trace(rest, axis1=1, axis2=2)
        rest -= rest.mean(axis=1, keepdims=True)
        rest -= rest.mean(axis=2, keepdims=True)
        found = dataclasses.replace(self, matrices=rest).sums()
        return dataclasses.replace(found, traces=np.where(found.traces > rounding, found.traces, 0.0))


def read(
    sources: Mapping[str, Embeddings],
    order: Mapping[str, cross_moments_align.Order | None],
    dealt: partition.Partition,
    *,
    groups: npt.NDArray[Any] | None,
    normalize: str | None,
    memory: int,
    function: str,
) -> Kernels | None:
    """Returns the kernels, or None where some row cannot be used or is too large: moments refuse it, or leave it out.

    Args:
        sources: the models.
        order: of `cross_moments_align.orders`.
        dealt: the parts of the rows.
        groups: (n,) group of each row; dealt to the parts, each whole, instead of slabs.
        normalize: ``"l2"`` to divide each row by its norm.
        memory: budget in bytes.
        function: public name for error messages.
    """
    try:
        rows, _ = read_rows(sources, order, function=function, memory=memory)
        n = len(next(iter(rows.values())))
        part = np.arange(n) // dealt.slab if groups is None else grouped.numbered(groups)
        part = part % dealt.parts
        together = np.argsort(part, kind="stable")
        matrices = np.empty((len(rows), n, n))
        for place, name in enumerate(list(rows)):
            z = rows.pop(name)[together].astype(np.float64)
            if normalize is not None:
                z = checked(z, name=name, function=function, normalize=normalize)
            # Where all rows are the same, subtracting their rounded mean alone would not leave zeros.
            z -= z[0].copy()
            z -= z.mean(axis=0)
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(z, z.T, out=matrices[place])
    except RowError:
        return None
    squares = np.diagonal(matrices, axis1=1, axis2=2)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(np.einsum("ij,ij->", squares, squares)):
            return None
    counts = np.bincount(part)
    return Kernels(
        sizes={name: source.d for name, source in sources.items()},
        matrices=matrices,
        edges=(0, *np.cumsum(counts[counts > 0]).tolist()),
    )
