"""Batches from torch's loader, decoded by worker processes."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

from featdiv.backbones.torchvision_shim import prepare_torchvision
from featdiv.errors import FeatdivError, InputError


def loaded(
    dataset: Any,
    *,
    batch_size: int,
    workers: int,
    device: str,
    collate: Callable[[list[Any]], Any],
    function: str,
    **arguments: Any,
) -> Iterator[Any]:
    """Yields batches in order.

    Args:
        dataset: a map-style dataset whose errors travel as values.
        batch_size: items in a batch.
        workers: processes that decode; 0: this one does.
        device: where batches go; memory is pinned for a GPU.
        collate: makes a batch, or an error, from a list of items.
        function: public name for messages.
        **arguments: further ones of `torch.utils.data.DataLoader`.

    Raises:
        FeatdivError: what reading an item raised.
        InputError: if workers start anew, and the dataset cannot be sent to them.
    """
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        ForLoader(dataset, function),  # type: ignore[arg-type]
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.startswith("cuda"),
        prefetch_factor=4 if workers else None,
        multiprocessing_context=start_method() if workers else None,
        **arguments,
    )
    for batch in loader:
        if isinstance(batch, FeatdivError):
            raise batch
        yield batch


def start_method() -> str | None:
    """Returns how workers start: ``"fork"`` on Linux, unless the program has chosen; None is what the program chose.

    Python 3.14 would start them anew there too. Then a script without ``if __name__ == "__main__":`` fails, functions
    of a notebook cannot be sent, and every worker imports torch first. Workers here decode images and use no GPU, for
    which a copy of this process has always sufficed.
    """
    unchosen = multiprocessing.get_start_method(allow_none=True) is None
    return "fork" if unchosen and sys.platform == "linux" else None


class ForLoader:
    """A map-style dataset on its way to the workers of a loader.

    A worker that is spawned rather than forked (macOS, Windows) begins without what this process has declared, and
    unpickles the dataset, with transforms of torchvision or timm in it, before it runs anything of ours.

    Args:
        dataset: whose items and length these are.
        function: public name for messages.
    """

    def __init__(self, dataset: Any, function: str) -> None:
        self.dataset = dataset
        self.function = function

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Returns the items of a batch, all at once where the dataset can."""
        if hasattr(self.dataset, "__getitems__"):
            items: list[Any] = self.dataset.__getitems__(indices)
            return items
        return [self.dataset[index] for index in indices]

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            # As loaders do it: tensors are shared, not copied.
            sent = bytes(ForkingPickler.dumps(self.dataset))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(
                f"{self.function}: workers: they start anew here, and what prepares the images cannot be sent to them "
                f"({error}); use a function that a module defines, or pass workers=0"
            ) from error
        return _arrived, (sent, self.function)


def _arrived(dataset: bytes, function: str) -> ForLoader:
    prepare_torchvision()
    return ForLoader(pickle.loads(dataset), function)
