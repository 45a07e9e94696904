"""Sums of two sets of features of the same rows and of their products on a device, whoever's kernels.

Both sets are packed beside each other, those of ``x`` first, and their products are tiles of a rectangle off the
diagonal: they are multiplied, segment by segment, by the kernels that multiply one set with itself.

What the products are worth is found in two ways. What the terms of a split leave out is added up in float64 while rows
are packed, and bounds the error of every product by Cauchy and Schwarz. How far the sums of the tensor cores drift is
measured: of the first segment of every step the diagonal, whose terms have all one sign, is multiplied too, and held
against its float64 sums of squares.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from featdiv.ops._device_kernels import CrossKernels, Packed, Places, Transform, on_device
from featdiv.ops._device_moments import Run, places_in_order
from featdiv.ops._routes import LARGEST_SQUARE_SUM, LEAST_MEAN_SQUARE, Route
from featdiv.ops._tiles import BLOCK_ROWS, Segments

Column = npt.NDArray[np.float64] | None
Columns = tuple[Column, Column]

SPLIT_SHARE = 7 / 8
"""Share of the bound that what a split leaves out may take; sums of products take the rest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceCrossSums:
    """Sums on the device of the rows, in float64; without those weighted by norms where they were not wanted.

    Attributes:
        total: (p,) sums of z.
        other_total: (q,) sums of w.
        gram: (p, q) sums of z w^T.
        weighted: (p,) sums of |w|^2 z.
        other_weighted: (q,) sums of |z|^2 w.
        fourth: (1,) sum of |z|^2 |w|^2.
        finite: whether all squares of z and w are, a tensor.
        good: whether the products keep the bound, a tensor.
    """

    total: torch.Tensor
    other_total: torch.Tensor
    gram: torch.Tensor
    weighted: torch.Tensor | None
    other_weighted: torch.Tensor | None
    fourth: torch.Tensor | None
    finite: torch.Tensor
    good: torch.Tensor


def cross_sums(
    kernels: CrossKernels,
    sides: tuple[Packed, Packed],
    route: Route,
    *,
    limit: float,
    norm_sums: bool,
) -> DeviceCrossSums:
    """Returns the sums of all rows.

    Args:
        kernels: whose kernels do it.
        sides: rows of the same samples, of the same type and on the same device; see `packed`.
        route: how they are multiplied.
        limit: bound of the error of gram_ij, relative to sqrt(sum z_i^2 sum w_j^2).
        norm_sums: whether to add up the sums weighted by norms.

    Raises:
        BudgetExceeded: if the device has no memory for one block of rows at a time.
    """
    with on_device(sides[0].x):
        run = _CrossRun(kernels, sides, route, norm_sums)
        run.all()
        return run.sums(limit)


def packed(
    kernels: CrossKernels,
    rows: tuple[torch.Tensor, torch.Tensor],
    shifts: Columns,
    powers: Columns,
    route: Route,
    *,
    normalize: bool,
) -> tuple[Packed, Packed]:
    """Returns the two sides with what is done to them on their device.

    Args:
        kernels: whose kernels do it.
        rows: (n, p) and (n, q) rows.
        shifts: float64 of either, (p,) and (q,), or None.
        powers: likewise, powers of two.
        route: how they are multiplied.
        normalize: whether each row is divided by its norm.
    """
    tiles = kernels.cross_tiles(*rows, route)
    first = int(tiles.column[0])

    def filled(values: Column, x: torch.Tensor, width: int) -> torch.Tensor | None:
        if values is None:
            return None
        wide = np.zeros(width)
        wide[: len(values)] = values
        return torch.from_numpy(wide).to(x.device)

    def side(x: torch.Tensor, shift: Column, power: Column, width: int) -> Packed:
        with on_device(x):
            norms = kernels.row_norms(x) if normalize else None
        transform = Transform(shift=filled(shift, x, width), powers=filled(power, x, width), norms=norms)
        return Packed(x=x, transform=transform, width=width)

    return (
        side(rows[0], shifts[0], powers[0], first),
        side(rows[1], shifts[1], powers[1], tiles.padded - first),
    )


class _CrossRun(Run):
    kernels: CrossKernels

    def __init__(
        self,
        kernels: CrossKernels,
        sides: tuple[Packed, Packed],
        route: Route,
        norm_sums: bool,
    ) -> None:
        x, other = (side.x for side in sides)
        self.sides, self.first = sides, sides[0].width
        self.n, self.p, self.q = len(x), int(x.shape[1]), int(other.shape[1])
        self.features = f"{self.p} and {self.q}"
        tiles = kernels.cross_tiles(x, other, route)
        blocks = np.array([-(-self.n // BLOCK_ROWS)], dtype=np.int64)
        super().__init__(kernels, x.device, blocks, route, tiles, (self.p, self.q), self.first)
        if norm_sums:
            self._keep_norm_sums()
        if route.element == "bfloat16" and route.terms == 1:
            self.out["rests"] = self._zeros(1, tiles.padded)
        diagonal, places = tiles.on_diagonal()
        self.diagonal = self._grid(diagonal, tiles.padded, tiles.padded, 0)
        self.places = torch.from_numpy(places).to(self.device)
        self.drift = self._zeros()

    def workspace(self, step: int) -> dict[str, int]:
        """Returns the numbers of each buffer of a step of some blocks."""
        found, tiles = super().workspace(step), self.diagonal.tiles
        if "rests" in self.out:
            found["rests"] = found["squares"]
        if "fourth" in self.out:
            found["norms"] *= 2
        return found | {"diagonal": tiles.count * tiles.height * tiles.width}

    def _pack(self, start: int, group_of_block: torch.Tensor, plane: int, buffers: dict[str, torch.Tensor]) -> None:
        places, padded = places_in_order(self.n, start, group_of_block), self.tiles.padded
        for side, first in zip(self.sides, (0, self.first), strict=True):
            self.kernels.pack(
                *(side.x, places, side.transform, self.route, padded, side.width),
                *(buffers["planes"][first:], plane, buffers["total"][first:], buffers["squares"][first:]),
                buffers["rests"][first:] if "rests" in self.out else None,
            )
        if "fourth" in self.out:
            self._weigh(places, buffers)

    def _weigh(self, places: Places, buffers: dict[str, torch.Tensor]) -> None:
        padded, count = self.tiles.padded, places.blocks * BLOCK_ROWS
        norms = buffers["norms"][:count], buffers["norms"][count : 2 * count]
        for side, squares in zip(self.sides, norms, strict=True):
            self.kernels.squared_norms(side.x, places, side.transform, padded, squares)
        for side, first, squares, weights in zip(self.sides, (0, self.first), norms, norms[::-1], strict=True):
            self.kernels.norm_sums(
                *(side.x, places, side.transform, padded, side.width),
                *(squares, weights, buffers["weighted"][first:], buffers["fourth"]),
            )

    def _multiply(self, start: int, segments: Segments, plane: int, buffers: dict[str, torch.Tensor]) -> None:
        super()._multiply(start, segments, plane, buffers)
        if self.route.element == "float64":
            return
        measured = self._moved(segments.starts[:2])
        arguments = (buffers["planes"], plane, self.diagonal, measured, self.route, buffers["diagonal"])
        self.kernels.gram(*arguments)
        width = self.tiles.padded
        squares = buffers["squares"][: int(segments.starts[1]) * width].view(-1, width).sum(0)
        off = (buffers["diagonal"][self.places] - squares).abs()
        # A column of zeros has no error; a NaN stays one.
        self.drift = torch.maximum(self.drift, (off / squares.where(squares != 0, torch.ones_like(squares))).amax())

    def sums(self, limit: float) -> DeviceCrossSums:
        """Returns what was added up, without the filling."""
        squares, weighted = self.out["squares"][0], self.out.get("weighted")
        left, right = slice(0, self.p), slice(self.first, self.first + self.q)
        least = LEAST_MEAN_SQUARE * self.n
        in_range = ((squares == 0) | (squares >= least)) & (squares <= LARGEST_SQUARE_SUM)
        good = in_range.all() & (self.drift <= limit) & (self._left_out(squares) <= SPLIT_SHARE * limit)
        return DeviceCrossSums(
            total=self.out["total"][0, left],
            other_total=self.out["total"][0, right],
            gram=self.gram[0],
            weighted=None if weighted is None else weighted[0, left],
            other_weighted=None if weighted is None else weighted[0, right],
            fourth=None if weighted is None else self.out["fourth"][0],
            finite=squares.isfinite().all(),
            good=good,
        )

    def _left_out(self, squares: torch.Tensor) -> torch.Tensor:
        """Returns a bound of the relative error of any product because of what its terms leave out.

        With z = a + r and w = b + s, the product z w is off by r w + a s, and |a| <= |z| + |r|. With more than one term
        the bound holds whatever the rows are (see `featdiv.ops._routes.route`), and is far below that of any precision
        that they are chosen for.
        """
        rests = self.out.get("rests")
        if rests is None:
            return self._zeros()
        share = (rests[0] / squares.where(squares != 0, torch.ones_like(squares))).sqrt()
        z, w = share[: self.first].amax(), share[self.first :].amax()
        return z + w + z * w
