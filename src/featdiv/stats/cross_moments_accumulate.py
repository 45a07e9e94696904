"""From joint rows to `CrossMoments`: a scatter for each model, a cross Gram matrix for each pair, and their norm sums.

All are about the shift that the accumulator of `Moments` chooses for the joint rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.ops.cross_gram import CrossSums, cross_gram
from featdiv.ops.scatter import Sums, scatter
from featdiv.stats.accumulate import Accumulator, Pilot, SpotCheck
from featdiv.stats.cross_moments import CrossMoments
from featdiv.stats.cross_moments_norms import CrossNormSums, slices
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointPilot(Pilot):
    """A pilot of joint rows, which scales each model by one power of two, since its norms are to be summed.

    Attributes:
        sizes: features of each model.
    """

    sizes: tuple[int, ...]

    @classmethod
    def of_joint(cls, rows: Rows, sizes: tuple[int, ...]) -> JointPilot:
        """Returns the pilot of a chunk of joint rows."""
        pilot = Pilot.of(rows)
        return cls(**{field.name: getattr(pilot, field.name) for field in dataclasses.fields(Pilot)}, sizes=sizes)

    def exponent(self, shift: Float64Array | None, *, precision: str, uniform: bool) -> npt.NDArray[np.int32] | None:
        """Returns powers of two, the same for all features of a model, or None if there are none."""
        found = []
        for at in slices(self.sizes):
            part = Pilot(
                mean=self.mean[at],
                spread=self.spread[at],
                largest=self.largest[at],
                wide=self.wide,
                unit_rows=False,
            )
            found.append(part.exponent(None if shift is None else shift[at], precision=precision, uniform=True))
        if all(power is None for power in found):
            return None
        filled = [
            np.zeros(size, dtype=np.int32) if power is None else power
            for power, size in zip(found, self.sizes, strict=True)
        ]
        return np.concatenate(filled)


class JointSums:
    """Float64 accumulators of joint rows, model by model and pair by pair, on the device of the rows.

    Args:
        sizes: features of each model.
        device: where to keep them.
        scratch: buffers to share with other accumulators that are never in use at the same time.
    """

    def __init__(self, sizes: tuple[int, ...], *, device: str, scratch: dict[str, Any]) -> None:
        self._where = slices(sizes)
        self._own = [Sums.zeros(size, norm_sums=True, device=device, scratch=scratch) for size in sizes]
        self._pairs = {
            (a, b): CrossSums.zeros(sizes[a], sizes[b], norm_sums=True, device=device)
            for b in range(len(sizes))
            for a in range(b)
        }

    def add(
        self,
        rows: Rows,
        *,
        shift: Float64Array | None,
        exponent: npt.NDArray[np.int32] | None,
        precision: str,
        backend: str,
    ) -> set[str]:
        """Adds joint rows and returns the names of the backends that did it."""
        blocks = [rows[:, at] for at in self._where]
        shifts = [None if shift is None else shift[at] for at in self._where]
        exponents = [None if exponent is None else exponent[at] for at in self._where]
        ran = set()
        for a, sums in enumerate(self._own):
            ran.add(
                scatter(blocks[a], sums, shift=shifts[a], exponent=exponents[a], precision=precision, backend=backend)
            )
        for (a, b), cross in self._pairs.items():
            ran.add(
                cross_gram(
                    blocks[a],
                    blocks[b],
                    cross,
                    shift=shifts[a],
                    other_shift=shifts[b],
                    exponent=exponents[a],
                    other_exponent=exponents[b],
                    precision=precision,
                    backend=backend,
                )
            )
        return ran

    @property
    def n(self) -> int:
        """Rows seen."""
        return self._own[0].n

    @property
    def tiles(self) -> int:
        """Tiles multiplied."""
        return sum(sums.tiles for sums in self._own) + sum(cross.tiles for cross in self._pairs.values())

    @property
    def tiles_in_float64(self) -> int:
        """Those of them that were multiplied in float64 although the precision asked for less."""
        own = sum(sums.tiles_in_float64 for sums in self._own)
        return own + sum(cross.tiles_in_float64 for cross in self._pairs.values())

    @property
    def total(self) -> Float64Array:
        """(D,) sum of z."""
        return np.concatenate([_host(sums.total) for sums in self._own])

    def symmetric_gram(self) -> Float64Array:
        """Returns the (D, D) sum of z z^T, on the host."""
        size = self._where[-1].stop
        gram = np.empty((size, size))
        for at, sums in zip(self._where, self._own, strict=True):
            gram[at, at] = sums.symmetric_gram()
        for (a, b), cross in self._pairs.items():
            block = _host(cross.gram)
            gram[self._where[a], self._where[b]] = block
            gram[self._where[b], self._where[a]] = block.T
        return gram

    def norm_sums(self) -> CrossNormSums:
        """Returns the norm-weighted sums of every pair, about the shift."""
        count = len(self._own)
        weighted, fourth = np.empty((count, self._where[-1].stop)), np.empty((count, count))
        for a, (at, sums) in enumerate(zip(self._where, self._own, strict=True)):
            weighted[a, at], fourth[a, a] = _host(sums.weighted), _host(sums.fourth)[0]
        for (a, b), cross in self._pairs.items():
            weighted[b, self._where[a]] = _host(cross.weighted)
            weighted[a, self._where[b]] = _host(cross.other_weighted)
            fourth[a, b] = fourth[b, a] = _host(cross.fourth)[0]
        return CrossNormSums(weighted=weighted, fourth=fourth)


class CrossAccumulator(Accumulator):
    """Builds `CrossMoments` from chunks of joint rows.

    Args:
        empty: the identity, which names the models.
        precision: working precision.
        backend: backend of the scatter and cross_gram ops, or ``"auto"``.
        scratch: buffers to share with other accumulators that are never in use at the same time.
    """

    def __init__(
        self, empty: CrossMoments, *, precision: str, backend: str, scratch: dict[str, Any] | None = None
    ) -> None:
        super().__init__(empty.joint.d, precision=precision, backend=backend, scratch=scratch)
        self._sizes = empty.sizes
        self._total = empty

    def add(self, rows: Rows, pilot: Pilot) -> None:
        """Adds joint rows; see `Accumulator.add`."""
        if not rows.shape[0]:
            return
        sums = self._open(rows, pilot)
        for name in sums.add(
            rows, shift=self._shift, exponent=self._exponent, precision=self._precision, backend=self._backend
        ):
            self._note(rows, name)

    def cross_moments(self) -> CrossMoments:
        """Returns the statistic of all rows added so far."""
        self._close()
        return self._total

    def _empty_sums(self, device: str) -> JointSums:
        return JointSums(self._sizes, device=device, scratch=self._scratch)

    def _close(self) -> None:
        sums, self._sums = self._sums, None
        if sums is None:
            return
        self.tiles += sums.tiles
        self.tiles_in_float64 += sums.tiles_in_float64
        if sums.n:
            moments = self._moments_of(sums)
            with np.errstate(over="ignore", invalid="ignore"):
                normed = self._norm_sums_of(sums, moments.scatter)
            joint = dataclasses.replace(moments, normalize=self._total.normalize)
            part = CrossMoments(names=self._total.names, sizes=self._sizes, joint=joint, norm_sums=normed)
            self._total = self._total.merge(part)

    def _norm_sums_of(self, sums: JointSums, scatter_: Float64Array) -> CrossNormSums:
        offset = sums.total / sums.n
        if self._exponent is not None:
            # In the units of the sums, in which nothing can have vanished.
            scatter_ = sums.symmetric_gram() - sums.n * np.outer(offset, offset)
        centred = sums.norm_sums().centred(offset, sums.n, scatter_, self._sizes)
        if self._exponent is not None:
            back = -self._exponent
            of_model = back[[at.start for at in slices(self._sizes)]]
            with np.errstate(over="ignore", under="ignore"):
                centred = CrossNormSums(
                    weighted=np.ldexp(np.ldexp(centred.weighted, back), 2 * of_model[:, None]),
                    fourth=np.ldexp(centred.fourth, 2 * (of_model[:, None] + of_model)),
                )
        if not (np.isfinite(centred.weighted).all() and np.isfinite(centred.fourth).all()):
            raise InputError(
                "CrossMoments: rows: expected values whose fourth powers float64 can hold; theirs exceed its range. "
                "Multiply the rows by a constant that brings them near one."
            )
        return centred


class JointSpotCheck(SpotCheck):
    """A spot check of joint rows, multiplied as `CrossAccumulator` multiplies them.

    Args:
        sizes: features of each model.
        seed, precision, backend: as in `SpotCheck`.
    """

    def __init__(self, sizes: tuple[int, ...], *, seed: int, precision: str, backend: str) -> None:
        super().__init__(seed=seed, precision=precision, normalize=None, backend=backend)
        self._sizes = sizes

    def _gram(self, rows: Rows, shift: Float64Array | None, exponent: npt.NDArray[np.int32] | None) -> Float64Array:
        device = "cpu" if isinstance(rows, np.ndarray) or rows.device.type == "cpu" else str(rows.device)
        sums = JointSums(self._sizes, device=device, scratch={})
        sums.add(rows, shift=shift, exponent=exponent, precision=self._precision, backend=self._backend)
        return sums.symmetric_gram()


def _host(value: Any) -> Float64Array:
    array: Float64Array = value if isinstance(value, np.ndarray) else value.cpu().numpy()
    return array


def joined(blocks: Sequence[Rows], dtype: npt.DTypeLike) -> Rows:
    """Returns the blocks side by side: a NumPy array of that type, or a tensor where all are on one GPU."""
    if all(isinstance(block, np.ndarray) for block in blocks):
        return np.concatenate(blocks, axis=1, dtype=dtype)
    import torch

    tensors = [torch.from_numpy(block) if isinstance(block, np.ndarray) else block for block in blocks]
    if len({tensor.device for tensor in tensors}) > 1:
        places = ", ".join(sorted({str(tensor.device) for tensor in tensors}))
        raise InputError(
            f"CrossMoments: models: expected all rows on one device; got {places}. Choose one with device="
        )
    wanted = tensors[0].dtype
    for tensor in tensors[1:]:
        wanted = torch.promote_types(wanted, tensor.dtype)
    return torch.cat([tensor.to(wanted) for tensor in tensors], dim=1)
