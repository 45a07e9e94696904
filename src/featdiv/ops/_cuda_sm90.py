"""Products of warpgroups on devices of compute capability 9.0: where they are used, and the check that comes first.

`FEATDIV_CUDA_PRODUCTS` is ``wgmma`` or ``mma`` to insist on the kernels of csrc/cuda/gram_sm90.cuh or of gram.cuh; else
the former are used where nothing speaks against them.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING

import numpy as np

from featdiv.errors import InputError
from featdiv.ops import _cuda, _cuda_moments, _cupy
from featdiv.ops._routes import Route
from featdiv.ops._tiles import BLOCK_ROWS

if TYPE_CHECKING:
    import torch

    from featdiv.ops._device_kernels import Grid

VARIABLE = "FEATDIV_CUDA_PRODUCTS"

SIDE = 128
"""Rows and columns of a tile."""

GRAM_KERNELS: dict[str, tuple[int, int]] = {
    "gram_sm90_bfloat16_6": (384, 1024 + 4 * (2 * 3 * 32 * SIDE * 2 + 2 * 8) + 32),
    "gram_sm90_bfloat16_3": (384, 1024 + 3 * (2 * 2 * 64 * SIDE * 2 + 2 * 8) + 32),
    "gram_sm90_bfloat16_1": (384, 1024 + 6 * (2 * 1 * 64 * SIDE * 2 + 2 * 8) + 32),
    "gram_sm90_float16_1": (384, 1024 + 6 * (2 * 1 * 64 * SIDE * 2 + 2 * 8) + 32),
}
"""Kernel ``gram_sm90_TYPE_PRODUCTS`` to (threads, bytes of shared memory: to align, stages of the sides of the product,
terms, rows of a stage, side of a tile and bytes of a number, and of two barriers; what a block is told)."""


class WarpgroupMoments(_cuda_moments.CudaMoments):
    """The kernels of csrc/cuda, with products of warpgroups where rows have enough features for them."""

    def packs_tiles(self, route: Route, padded: int) -> bool:
        """Whether warpgroups multiply the rows: terms of 16 bits, and tiles of 128."""
        return route.element != "float64" and padded % SIDE == 0

    def gram(
        self,
        planes: torch.Tensor,
        plane: int,
        grid: Grid,
        starts: torch.Tensor,
        route: Route,
        slab: torch.Tensor,
    ) -> None:
        """Writes the products of segments."""
        tiles = grid.tiles
        if not self.packs_tiles(route, tiles.padded):
            super().gram(planes, plane, grid, starts, route, slab)
            return
        name = f"gram_sm90_{route.element}_{route.products}"
        _cuda_moments.launch_gram("gram_sm90.cuh", name, GRAM_KERNELS[name], planes, plane, grid, starts, slab)


def kernels(device: torch.device) -> _cuda_moments.CudaMoments:
    """Returns the kernels of csrc/cuda that are used on a device.

    Raises:
        InputError: if ``FEATDIV_CUDA_PRODUCTS`` is neither ``mma`` nor ``wgmma``, or is what the device cannot do.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted not in (None, "", "mma", "wgmma"):
        raise InputError(f"{VARIABLE}: expected mma or wgmma, or nothing for what suits the device; got {wanted!r}")
    if wanted == "mma":
        return _cuda_moments.CudaMoments()
    reason = problem(device)
    if wanted == "wgmma" and reason is not None:
        raise InputError(f"{VARIABLE}: expected mma on {device}; got 'wgmma', which is not used because {reason}")
    return WarpgroupMoments() if reason is None else _cuda_moments.CudaMoments()


@functools.cache
def problem(device: torch.device) -> str | None:
    """Returns why warpgroups do not multiply on a device, or None; the products are checked at first use."""
    import torch

    missing = _cupy.unsupported_reason(device.type)
    if missing is not None:
        return missing
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) != (9, 0):
        return f"the device has compute capability {major}.{minor}, and wgmma belongs to 9.0 alone"
    if _cuda.missing() is None and "90a" not in _cuda.architectures():
        return "featdiv._cuda was built without code for compute capability 90a"
    return None if products_agree(device) else "its products failed the check at first use, so it is left alone"


def describe() -> str:
    """Returns one line for people: which kernels multiply on the devices that are there, and why."""
    import torch

    wanted = os.environ.get(VARIABLE)
    if wanted:
        return f"{wanted}, because {VARIABLE}={wanted}"
    if not torch.cuda.is_available():
        return "mma or wgmma, by the device; there is none"
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    reasons = [problem(device) for device in devices]
    chosen = [f"mma, because {reason}" if reason else "wgmma, which passed its check" for reason in reasons]
    return "; ".join(f"{device}: {kind}" for device, kind in zip(devices, chosen, strict=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """Products that must come out right before others are trusted.

    Attributes:
        route: how they are made.
        dtype: of the rows.
        bound: how far they may be off, as a share of the norms of their columns.
        n: rows, more than the stages of a kernel hold.
        top: the rows are whole numbers up to this in magnitude...
        offset: ...plus this...
        over: ...over this.
    """

    route: Route
    dtype: str
    bound: float
    n: int
    top: int
    offset: int = 0
    over: int = 1


def _route(element: str, terms: int) -> Route:
    return Route(element=element, terms=terms, products=terms * (terms + 1) // 2, wide=False)


CHECKS = (
    Check(route=_route("bfloat16", 1), dtype="bfloat16", bound=0.0, n=450, top=15),
    Check(route=_route("float16", 1), dtype="float16", bound=0.0, n=450, top=15),
    Check(route=_route("bfloat16", 2), dtype="float32", bound=2.0**-14, n=250, top=15, offset=300),
    Check(route=_route("bfloat16", 3), dtype="float32", bound=0.0, n=130, top=300),
    Check(route=_route("bfloat16", 3), dtype="float32", bound=1e-6, n=130, top=300, over=331),
)
"""Sums of the products of whole numbers stay below 2^24, and two terms hold each number: they come out exactly, but for
the three products of two terms, which leave one out."""


def products_agree(device: torch.device) -> bool:
    """Whether all of `CHECKS` come out right on a device."""
    return all(_off(check, device) <= check.bound for check in CHECKS)


def _off(check: Check, device: torch.device) -> float:
    """Returns how far products of one segment are off, entry (i, j) as a share of the norms of columns i and j."""
    import torch

    from featdiv.ops._device_kernels import Grid, Places, Transform, on_device

    own, route, n, d = WarpgroupMoments(), check.route, check.n, SIDE + 72
    row, column = np.arange(n)[:, None], np.arange(d)
    numbers = (7 * row + 13 * column + row * column) % (2 * check.top + 1) - check.top + check.offset
    x = torch.from_numpy(numbers / check.over).to(getattr(torch, check.dtype)).to(device)
    blocks = -(-n // BLOCK_ROWS)
    tiles = own.tiles(x, route)
    corners = (torch.from_numpy(axis).to(device) for axis in (tiles.row, tiles.column))
    group_of_block = torch.zeros(blocks, dtype=torch.int32, device=device)
    starts, of_group = (torch.tensor(each, dtype=torch.int64, device=device) for each in ([0, blocks], [0, 1]))
    plane = blocks * BLOCK_ROWS * tiles.padded
    planes = torch.empty(route.terms * plane, dtype=getattr(torch, route.element), device=device)
    total, squares = (torch.empty(blocks * tiles.padded, dtype=torch.float64, device=device) for _ in range(2))
    slab = torch.full((tiles.count * SIDE * SIDE,), torch.nan, dtype=torch.float64, device=device)
    gram = torch.zeros(1, d, d, dtype=torch.float64, device=device)
    grid = Grid(tiles=tiles, rows=d, columns=d, first_column=0, row=next(corners), column=next(corners))
    places = Places(source=None, first=0, count=n, group_of_block=group_of_block)
    with on_device(x):
        own.pack(x, places, Transform(), route, tiles.padded, tiles.padded, planes, plane, total, squares)
        own.gram(planes, plane, grid, starts, route, slab)
        own.sum_segments(slab, grid, of_group, gram)
    held = x.to(torch.float64).cpu().numpy()
    truth, norms = held.T @ held, np.sqrt((held**2).sum(axis=0))
    off = np.abs(gram[0].cpu().numpy() - truth) / np.outer(norms, norms)
    worst = float(np.triu(off).max())
    return np.inf if np.isnan(worst) else worst
