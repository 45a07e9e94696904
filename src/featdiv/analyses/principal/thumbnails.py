"""Small pictures as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv._optional import require
from featdiv.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITIES = (82, 70, 55, 40)
"""JPEG qualities, tried in turn until the pictures fit the budget."""

SMALLEST = 24


def encode(images: Any, rows: Sequence[int], *, side: int, budget: int) -> dict[int, str]:
    """Returns a picture of each row, no side longer than ``side`` pixels, all of them within ``budget`` bytes.

    Pictures too large together are compressed more, then made smaller.

    Args:
        images: what gives the image of row i as ``images[i]``.
        rows: which rows.
        side: longest side, in pixels.
        budget: bytes of all data URIs together.

    Raises:
        InputError: if an entry is no image, or not even the smallest pictures fit.
    """
    drawn = {row: picture(images[row], row) for row in rows}
    while side >= SMALLEST:
        small = {row: _shrunk(image, side) for row, image in drawn.items()}
        for quality in QUALITIES:
            found = {row: _uri(image, quality) for row, image in small.items()}
            if sum(map(len, found.values())) <= budget:
                return found
        side = side * 3 // 4
    raise InputError(
        f"directions: thumbnails of {len(drawn)} rows do not fit {budget:,} bytes; ask for fewer directions (k=) or "
        "rows (extremes=)"
    )


def picture(entry: Any, row: int) -> Image:
    """Returns an entry of an image data set, with or without a label behind it, as 8-bit RGB.

    Raises:
        InputError: if it is neither a PIL image nor a uint8 array of one.
    """
    pillow = require("PIL.Image", extra="vision", needed_by="thumbnails")
    if isinstance(entry, tuple) and entry:
        entry = entry[0]
    if isinstance(entry, pillow.Image):
        converted: Image = entry.convert("RGB")
        return converted
    if isinstance(entry, np.ndarray) and entry.dtype == np.uint8 and entry.ndim in (2, 3):
        array = entry[:, :, 0] if entry.ndim == 3 and entry.shape[2] == 1 else entry
        if array.ndim == 2 or array.shape[2] in (3, 4):
            made: Image = pillow.fromarray(np.ascontiguousarray(array)).convert("RGB")
            return made
    got = f"{entry.dtype} of shape {entry.shape}" if isinstance(entry, np.ndarray) else type(entry).__name__
    raise InputError(
        f"directions: images: expected a PIL image or uint8 pixels (h, w) or (h, w, 3) for row {row}; got {got}. "
        "featdiv.images(...) reads folders, parquet files and data sets"
    )


def _shrunk(image: Image, side: int) -> Image:
    pillow = require("PIL.Image", extra="vision", needed_by="thumbnails")
    small = image.copy()
    small.thumbnail((side, side), pillow.Resampling.LANCZOS)
    return small


def _uri(image: Image, quality: int) -> str:
    """Returns PNG where it is the smaller one, as it is for drawings and tiny pictures, else JPEG."""
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, format="JPEG", quality=quality, optimize=True)
    image.save(png, format="PNG", optimize=True)
    kind, data = min((("jpeg", jpeg.getvalue()), ("png", png.getvalue())), key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
