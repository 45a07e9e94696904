"""From encoded bytes, arrays and images of any mode to 8-bit RGB; what cannot be decoded is an error with a name."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv._optional import require
from featdiv.errors import FormatError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class UnreadableImage(FormatError):  # noqa: N818 - named for what is wrong, as the other errors are
    """An image cannot be decoded.

    Attributes:
        id: which image: its path, or its row in the file.
        reason: why, in words.
    """

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(
            f"featdiv.images: {id}: {reason}. featdiv.images(..., corrupt='skip') leaves such images out and lists them"
        )
        self.id = id
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.id, self.reason)


def decode(data: bytes, id: str) -> Image:
    """Returns an encoded image (JPEG, PNG, WebP, BMP, GIF, TIFF, PPM: whatever Pillow reads) as 8-bit RGB.

    Args:
        data: the bytes of the file.
        id: what a message calls it.

    Raises:
        UnreadableImage: for no bytes, bytes that are no image, truncated files, and images too large to be meant.
    """
    pillow = require("PIL.Image", extra="vision", needed_by="reading images")
    if not data:
        raise UnreadableImage(id, "the file has no bytes")
    try:
        with warnings.catch_warnings():
            # Pillow warns about what it repairs by itself; what it cannot repair is an exception.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(io.BytesIO(data)) as image:
                image.load()
                return to_rgb(image, id)
    except pillow.UnidentifiedImageError:
        start = data[:4].hex(" ")
        raise UnreadableImage(id, f"not an image that Pillow knows ({len(data)} bytes, beginning {start})") from None
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise UnreadableImage(id, f"too large to be decoded safely ({error})") from None
    except UnreadableImage:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, MemoryError) as error:
        raise UnreadableImage(id, f"damaged or truncated ({error})") from None


def to_rgb(image: Image, id: str) -> Image:
    """Returns an image of any mode as 8-bit RGB.

    Grey becomes three equal channels, CMYK and palettes are converted, and transparency is dropped, as timm and
    torchvision do. 16-bit grey is divided by 257, where Pillow alone would cut everything above 255 to white.

    Raises:
        UnreadableImage: for floating-point images, whose range nobody states.
    """
    if image.mode == "RGB":
        return image.copy() if getattr(image, "fp", None) is not None else image
    if image.mode in SIXTEEN_BIT:
        pillow = require("PIL.Image", extra="vision", needed_by="reading images")
        values = np.asarray(image).astype(np.float64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise UnreadableImage(
                id, f"32-bit integers from {values.min():.0f} to {values.max():.0f} are no grey levels"
            )
        # What Pillow calls I may be 8-bit levels in wide integers.
        deep = image.mode != "I" or (values.size and values.max() > 255)
        eight = np.rint(values / 257.0) if deep else values
        return pillow.fromarray(eight.astype(np.uint8)).convert("RGB")  # type: ignore[no-any-return]
    if image.mode == "F":
        raise UnreadableImage(id, "floating-point pixels have no agreed range; save the image with 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def from_array(array: Any, id: str) -> Image:
    """Returns a uint8 array (h, w), (h, w, 1 or 3) or (1 or 3, h, w) as an RGB image.

    Raises:
        InputError: for another shape or type.
    """
    pillow = require("PIL.Image", extra="vision", needed_by="reading images")
    values = np.asarray(array)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3, 4):
        values = np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.dtype != np.uint8 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))):
        raise InputError(
            f"featdiv.images: {id}: expected uint8 pixels of shape (h, w), (h, w, 3) or (3, h, w); got "
            f"{values.dtype.name} of shape {values.shape}. Prepared tensors pass through with transform=None"
        )
    return to_rgb(pillow.fromarray(np.ascontiguousarray(values)), id)
