"""A network, prepared images and layers, ready to run: what an extraction and an estimate of it share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from featdiv.backbones import forward, transforms
from featdiv.backbones.images import Images
from featdiv.backbones.layers import POOLS, Capture, expand
from featdiv.backbones.models import Model, inside_wrappers, load_model
from featdiv.errors import InputError
from featdiv.io.embeddings import positive
from featdiv.stats.grouped import check_device

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")


class Job:
    """One network with its settings; `prepared` makes it."""

    def __init__(
        self, function: str, model: Model, preparation: transforms.Preparation, runner: forward.Runner, **settings: Any
    ) -> None:
        self.function = function
        self.model = model
        self.preparation = preparation
        self.runner = runner
        self.capture = runner.capture
        self.batch_size: int = settings["batch_size"]
        self.workers: int = settings["workers"]
        self.dtype: str = settings["dtype"]
        self.shard_rows: int = settings["shard_rows"]
        self.pool: str = settings["pool"]

    def facts(self) -> dict[str, Any]:
        """Returns what shapes the numbers, the layer and the data left out."""
        return {
            "model": self.model.name,
            "weights": self.model.weights,
            "weights_hash": self.model.weights_hash(),
            **self.model.code(),
            "pool": self.pool,
            "transform": self.preparation.text,
            "dtype": self.dtype,
            "autocast": self.runner.autocast,
            **({"notes": list(self.model.notes)} if self.model.notes else {}),
        }

    def batches(self, data: Images, index: Sequence[int]) -> Iterator[torch.Tensor]:
        """Yields batches of chosen images."""
        items = forward.Prepared(data, self.preparation.transform, index, self.function)
        return forward.batches(items, batch_size=self.batch_size, workers=self.workers, device=self.runner.device)


@contextlib.contextmanager
def prepared(
    function: str,
    model: Any,
    layers: Sequence[str],
    *,
    n: int,
    pool: str,
    transform: Any,
    protocol: str | None,
    checkpoint: Any,
    pretrained: bool,
    batch_size: int | str,
    dtype: str,
    autocast: str | None,
    device: str | None,
    shard_rows: int,
    workers: int | str,
    compile: bool | str,
    channels_last: bool,
) -> Iterator[Job]:
    """Checks the arguments, loads the network, and puts it back as it was afterwards: hooks, device, training mode."""
    import torch

    choices = (("pool", pool, POOLS), ("dtype", dtype, DTYPES), ("autocast", autocast, forward.AUTOCAST))
    for name, value, expected in choices:
        if value not in expected:
            raise InputError(f"{function}: {name}: expected one of {', '.join(map(repr, expected))}; got {value!r}")
    forward.check_compile(compile, function)
    shard_rows = positive(shard_rows, f"{function}: shard_rows")
    device = check_device(device, function=function)
    model = inside_wrappers(model) if isinstance(model, torch.nn.Module) else model
    given = model.module if isinstance(model, Model) else model if isinstance(model, torch.nn.Module) else None
    training = [] if given is None else [(part, part.training) for part in given.modules()]
    before = None if given is None else next((p.device for p in given.parameters()), None)
    if device is None:
        device = str(before) if before is not None else "cuda" if torch.cuda.is_available() else "cpu"
    if batch_size == "auto":
        batch_size = forward.BATCH_CUDA if device.startswith("cuda") else forward.BATCH_CPU
    with contextlib.ExitStack() as afterwards:
        if given is not None:
            afterwards.callback(_put_back, given, before, training)
        size = transforms.size_wanted(transform, protocol, function=function)
        loaded = load_model(model, checkpoint=checkpoint, pretrained=pretrained, input_size=size)
        loaded.module.eval()
        preparation = transforms.prepare(transform, loaded.data_config, protocol=protocol, function=function)
        if given is None:
            fit_to(loaded, preparation.input_size)
        capture = Capture(loaded, expand(loaded, layers, function), pool, function)
        afterwards.callback(capture.close)
        runner = forward.Runner(
            capture,
            device=device,
            autocast=autocast,
            dtype=dtype,
            channels_last=channels_last,
            compile=compile,
            function=function,
        )
        yield Job(
            function,
            loaded,
            preparation,
            runner,
            batch_size=positive(batch_size, f"{function}: batch_size"),
            workers=forward.workers_for(workers, device, n, function),
            dtype=dtype,
            shard_rows=shard_rows,
            pool=pool,
        )


def _put_back(module: torch.nn.Module, device: torch.device | None, training: Sequence[tuple[Any, bool]]) -> None:
    """Gives a network back the device and, part by part, the mode that it had."""
    module.to(device)
    for part, mode in training:
        part.training = mode


def fit_to(model: Model, input_size: tuple[int, ...] | None) -> None:
    """Lets a network that was made for one size take another, as timm does it: position embeddings are resampled."""
    own = (model.data_config or {}).get("input_size")
    if input_size is not None and input_size != own and hasattr(model.module, "set_input_size"):
        module: Any = model.module
        module.set_input_size(img_size=input_size[-2:])
