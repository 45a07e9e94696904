"""From joint rows to `CrossMoments`: the accumulator of `Moments`, and beside it the norm-weighted sums of pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import InputError
from featdiv.ops.scatter import Sums, reference
from featdiv.stats.accumulate import Accumulator, Pilot
from featdiv.stats.cross_moments import CrossMoments
from featdiv.stats.cross_moments_norms import CrossNormSums, slices
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    import torch

    Rows = npt.NDArray[Any] | torch.Tensor

_CACHED_ROWS = 512


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


class CrossAccumulator(Accumulator):
    """Builds `CrossMoments` from chunks of joint rows.

    Args:
        empty: the identity, which names the models.
        precision: working precision.
        backend: scatter backend, or ``"auto"``.
        scratch: buffers to share with other accumulators that are never in use at the same time.
    """

    def __init__(
        self, empty: CrossMoments, *, precision: str, backend: str, scratch: dict[str, Any] | None = None
    ) -> None:
        super().__init__(empty.joint.d, precision=precision, backend=backend, scratch=scratch)
        self._sizes = empty.sizes
        self._total = empty
        self._weighted: Any = None
        self._fourth: Any = None

    def add(self, rows: Rows, pilot: Pilot) -> None:
        """Adds joint rows; see `Accumulator.add`."""
        if not rows.shape[0]:
            return
        super().add(rows, pilot)
        if self._weighted is None:
            self._weighted, self._fourth = self._zeros(rows)
        for start in range(0, int(rows.shape[0]), _CACHED_ROWS):
            z = self._about_shift(rows[start : start + _CACHED_ROWS])
            squares = self._squares(z)
            self._weighted += squares.T @ z
            self._fourth += squares.T @ squares

    def cross_moments(self) -> CrossMoments:
        """Returns the statistic of all rows added so far."""
        self._close()
        return self._total

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
        self._weighted = self._fourth = None

    def _zeros(self, rows: Rows) -> tuple[Any, Any]:
        count, total = len(self._sizes), sum(self._sizes)
        if isinstance(rows, np.ndarray) or rows.device.type == "cpu":
            return np.zeros((count, total)), np.zeros((count, count))
        import torch

        weighted = torch.zeros((count, total), dtype=torch.float64, device=rows.device)
        return weighted, torch.zeros((count, count), dtype=torch.float64, device=rows.device)

    def _about_shift(self, rows: Rows) -> Any:
        """Returns z = (x - shift) 2^exponent in float64, where the rows are."""
        if isinstance(rows, np.ndarray) or rows.device.type == "cpu":
            z = reference.to_float64(rows)
            if self._shift is not None:
                z -= self._shift
            return z if self._exponent is None else np.ldexp(z, self._exponent)
        import torch

        wide = rows.double()
        if self._shift is not None:
            wide = wide - torch.from_numpy(self._shift).to(wide.device)
        if self._exponent is not None:
            wide = wide * torch.from_numpy(np.ldexp(1.0, self._exponent)).to(wide.device)
        return wide

    def _squares(self, z: Any) -> Any:
        """Returns the (m, M) squared norms of the rows in each model."""
        if isinstance(z, np.ndarray):
            return np.stack([np.einsum("ij,ij->i", z[:, at], z[:, at]) for at in slices(self._sizes)], axis=1)
        import torch

        return torch.stack([(z[:, at] * z[:, at]).sum(dim=1) for at in slices(self._sizes)], dim=1)

    def _norm_sums_of(self, sums: Sums, scatter: Float64Array) -> CrossNormSums:
        offset = _host(sums.total) / sums.n
        if self._exponent is not None:
            # In the units of the sums, in which nothing can have vanished.
            scatter = sums.symmetric_gram() - sums.n * np.outer(offset, offset)
        fourth = _host(self._fourth)
        raw = CrossNormSums(weighted=_host(self._weighted).copy(), fourth=(fourth + fourth.T) / 2.0)
        centred = raw.centred(offset, sums.n, scatter, self._sizes)
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
