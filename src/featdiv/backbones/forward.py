"""Batches through a network: workers that decode, mixed precision, and half the batch where memory does not suffice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from featdiv.backbones.images import Images
from featdiv.backbones.layers import Capture
from featdiv.backbones.loader import loaded
from featdiv.backbones.transforms import Transform
from featdiv.errors import BudgetExceeded, FeatdivError, InputError

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")

BATCH_CPU = 32
BATCH_CUDA = 256
MOST_WORKERS = 16
FEWEST_IMAGES_FOR_WORKERS = 512

AUTOCAST = (None, "bfloat16", "float16")
"""Types of mixed precision; None for none."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "DefaultCPUAllocator", "not enough memory")


class Prepared:
    """The chosen images as tensors; a map-style dataset whose errors travel as values.

    An exception in a loader's worker comes back wrapped in that worker's traceback, which no user wants to read.
    """

    def __init__(self, images: Images, transform: Transform | None, index: Sequence[int], function: str) -> None:
        self.images = images
        self.transform = transform
        self.index = index
        self.function = function

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, position: int) -> Any:
        try:
            image, _ = self.images[self.index[position]]
        except FeatdivError as error:
            return error
        if self.transform is not None:
            if hasattr(image, "is_floating_point"):
                return InputError(
                    f"{self.function}: transform: the data holds tensors that are prepared already; pass transform=None"
                )
            image = self.transform(image)
        if not hasattr(image, "is_floating_point"):
            return InputError(
                f"{self.function}: transform: expected a tensor (3, h, w) from each image; got {type(image).__name__}. "
                "Let transform= end with ToTensor"
            )
        return image


def collated(items: list[Any]) -> Any:
    """Returns a batch, or the first error in it."""
    import torch

    for item in items:
        if isinstance(item, FeatdivError):
            return item
    shapes = {tuple(item.shape) for item in items}
    if len(shapes) > 1:
        shown = " and ".join(map(str, sorted(shapes)[:2]))
        return InputError(
            f"featdiv.extract: transform: expected tensors of one shape; got {shown}. Resize and crop in transform="
        )
    return torch.stack(items)


def check_compile(compile: object, function: str) -> None:
    """Refuses what ``torch.compile`` would only refuse in the middle of the work.

    Raises:
        InputError: unless it is True, False, or the name of a backend.
    """
    import torch

    if isinstance(compile, bool):
        return
    known = torch.compiler.list_backends(exclude_tags=())
    if not isinstance(compile, str) or compile not in known:
        raise InputError(
            f"{function}: compile: expected True, False or a backend of torch.compile ({', '.join(known)}); "
            f"got {compile!r}"
        )


def workers_for(workers: int | str, device: str, n: int, function: str) -> int:
    """Returns the number of loader processes.

    Raises:
        InputError: unless it is ``"auto"`` or a number from 0 on.
    """
    if workers == "auto":
        cores = os.cpu_count() or 1
        if n < FEWEST_IMAGES_FOR_WORKERS:
            return 0
        return min(MOST_WORKERS, cores - 1 if device.startswith("cuda") else cores // 2)
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise InputError(f"{function}: workers: expected 'auto' or a number from 0 on; got {workers!r}")
    return workers


def batches(prepared: Prepared, *, batch_size: int, workers: int, device: str) -> Iterator[torch.Tensor]:
    """Returns batches in order.

    Raises:
        FeatdivError: what reading an image raised.
    """
    return loaded(
        prepared, batch_size=batch_size, workers=workers, device=device, collate=collated, function=prepared.function
    )


class Room:
    """How many images fit the memory of a device at once: all, until that has turned out to be too many.

    Args:
        device: where they are computed.
        function: public name for messages.

    Attributes:
        images: how many fit, or None while nothing has failed.
    """

    def __init__(self, device: str, function: str) -> None:
        self.device = device
        self.function = function
        self.images: int | None = None

    def run(self, n: int, shape: Sequence[int], compute: Callable[[int], Result]) -> Result:
        """Returns what ``compute`` gives for the most images at once that fit; after each failure half as many are.

        Args:
            n: images in the batch.
            shape: of one image, for the message.
            compute: gets the number of images at once, and starts from the beginning each time.

        Raises:
            BudgetExceeded: if memory does not suffice for one image.
        """
        import torch

        while True:
            size = min(self.images or n, n)
            try:
                return compute(size)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise BudgetExceeded(
                        f"{self.function}: device: one image of shape {tuple(shape)} needs more memory than "
                        f"{self.device} has; take smaller images (transform=), autocast=, or another device"
                    ) from None
                self.images = max(1, size // 2)
            # Outside the handler, whose traceback keeps the tensors of the failed attempt alive.
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()


class Runner:
    """A network on its device, ready for batches of any size.

    Args:
        capture: the network with the layers to keep.
        device: where to run.
        autocast: ``"bfloat16"`` or ``"float16"`` for mixed precision, or None.
        dtype: element type of the rows.
        channels_last: whether weights and images lie in that memory format.
        compile: True for ``torch.compile``, or the name of one of its backends.
        function: public name for messages.
    """

    def __init__(
        self,
        capture: Capture,
        *,
        device: str,
        autocast: str | None,
        dtype: str,
        channels_last: bool,
        compile: bool | str,
        function: str,
    ) -> None:
        import torch

        self.capture = capture
        self.device = device
        self.function = function
        self.autocast = autocast
        self.dtype = getattr(torch, dtype)
        self.format = torch.channels_last if channels_last else torch.preserve_format
        module = capture.model.module
        module.to(device=device, memory_format=self.format)  # type: ignore[call-overload]
        parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
        self.input_dtype = parameter.dtype if parameter is not None else torch.float32
        self.step: Callable[[torch.Tensor], list[torch.Tensor]] = capture
        if compile:
            backend = compile if isinstance(compile, str) else "inductor"
            self.step = torch.compile(capture.__call__, backend=backend)
        self.room = Room(device, function)

    def __call__(self, batch: torch.Tensor) -> list[torch.Tensor]:
        """Returns the rows of each layer, on the device.

        Raises:
            BudgetExceeded: if memory does not suffice for one image.
            InputError: if the network refuses the shape of the batch.
        """
        import torch

        parts = self.room.run(
            len(batch), batch.shape[1:], lambda size: [self._forward(part) for part in batch.split(size)]
        )
        return parts[0] if len(parts) == 1 else [torch.cat(layer) for layer in zip(*parts, strict=True)]

    def _forward(self, batch: torch.Tensor) -> list[torch.Tensor]:
        import torch

        x = batch.to(self.device, non_blocking=True)
        x = x.to(dtype=self.input_dtype)
        if x.ndim == 4:
            x = x.contiguous(memory_format=self.format) if self.format == torch.channels_last else x
        with torch.inference_mode(), precision(self.autocast, self.device):
            try:
                rows = self.step(x)
            except (RuntimeError, AssertionError, ValueError) as error:
                if out_of_memory(error) or isinstance(error, FeatdivError) or not _about_shapes(error):
                    raise
                raise InputError(
                    f"{self.function}: transform: {self.capture.model.name} refuses a batch of shape {tuple(x.shape)}: "
                    f"{' '.join(str(error).split())[:300]}. Prepare images in its size, for example "
                    "transform={'input_size': (3, 224, 224)}"
                ) from error
        return [layer.to(self.dtype) for layer in rows]


def precision(autocast: str | None, device: str) -> contextlib.AbstractContextManager[Any]:
    """Returns the context of a forward pass in mixed precision, or in none."""
    import torch

    if autocast is None:
        return contextlib.nullcontext()
    return torch.autocast(device.partition(":")[0], dtype=getattr(torch, autocast))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice, on whatever device."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def _about_shapes(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, (AssertionError, ValueError)) or any(word in text for word in ("size", "shape", "channel"))
