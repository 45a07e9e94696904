"""`extract` and `extract_layers`: images through a network into `Features`, resumable and cached by content."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featdiv.backbones.cache import Directory
from featdiv.backbones.features import Accumulate, Disk, Features, Memory, Sink
from featdiv.backbones.images import Images, images
from featdiv.backbones.jobs import Job, prepared
from featdiv.backbones.layers import PENULTIMATE
from featdiv.errors import InputError
from featdiv.io.progress import Progress, check_progress

if TYPE_CHECKING:
    import torch

FUNCTION = "featdiv.extract"
SHARD_ROWS = 2048


def extract(
    model: Any,
    data: Any,
    *,
    layer: str = PENULTIMATE,
    pool: str = "auto",
    transform: Any = "model",
    protocol: str | None = None,
    split: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    pretrained: bool = True,
    batch_size: int | str = "auto",
    dtype: str = "float32",
    autocast: str | None = None,
    device: str | None = None,
    out: str | os.PathLike[str] | None = None,
    store: bool = True,
    shard_rows: int = SHARD_ROWS,
    workers: int | str = "auto",
    compile: bool | str = False,
    channels_last: bool = False,
    progress: Progress | None = None,
) -> Features:
    """Runs images through a network and returns one row of features an image.

    With ``out``, rows are written as shards while the network runs. A call that is killed and made again goes on after
    the last finished shard, and a call for features that are there reads them. They are found by a key of everything
    that shapes the numbers: structure and weights, transform, layer, pooling, types, the fingerprint of the images, and
    the version of the layout; what another version wrote is left alone and extracted anew.

    Args:
        model: a timm name, a ``torch.nn.Module``, ``"hf:name"``, or what `featdiv.backbones.load_model` returned.
        data: `Images`, or whatever `featdiv.images` opens.
        layer: ``"penultimate"``: what the classifier gets, pooled as the network pools; ``"output"``: what the network
            returns; or the name of a module (``"layer3"``, ``"blocks.5"``, ``"fc:input"``).
        pool: how tokens or maps become a row: ``"auto"`` (penultimate: the network's own; else the class token where
            there is one, or the mean), ``"cls"``, ``"mean"``, ``"gem"``, ``"none"`` (flatten).
        transform: ``"model"``: as the network was evaluated; a mapping of changes to that, such as
            ``{"input_size": (3, 32, 32), "crop_pct": 1.0}``; a callable from PIL image to tensor; None for tensors.
        protocol: prepare images as a published recipe does: ``"kornblith2019"``, ``"ericsson2021"``, ``"dinov2-knn"``,
            …, see `featdiv.protocols`; mean and standard deviation stay those of the model.
        split: ``"train"``, ``"val"`` or ``"test"``: only these images.
        checkpoint: file with the weights, for a model by name.
        pretrained: False for random weights.
        batch_size: images at a time; ``"auto"``: 32 on a CPU, 256 on a GPU. Where memory does not suffice, the batch is
            halved and the work goes on.
        dtype: element type of the rows: ``"float32"``, ``"float16"``, ``"bfloat16"``.
        autocast: ``"bfloat16"`` or ``"float16"`` for mixed precision in the network.
        device: where to run. Default: where the module is; for a name, the GPU if there is one.
        out: folder of the cache. Default: rows stay in memory.
        store: False keeps no rows, only their moments (of the classes too, where all images are labelled).
        shard_rows: images a shard: what a kill can cost.
        workers: processes that decode images; ``"auto"``: half the cores beside a network on the CPU, else 16 at most.
        compile: True for ``torch.compile``, or the name of a backend of it.
        channels_last: weights and images in that memory format; often faster for convolutions.
        progress: called with (images done, images in all), those of an earlier call included.

    Returns:
        The features, in the order of the images, with their labels, ids, classes, and in ``extraction`` where they come
        from. ``.moments`` and ``.class_moments`` are accumulated, or read from the rows.

    Raises:
        InputError: for an argument, model, layer or image that cannot be used.
        SourceNotFound: if weights cannot be fetched; the message says what to pass instead.
        FormatError: if a checkpoint, an image (``UnreadableImage``) or the description in the cache is damaged.
        NonFiniteError: if features are NaN or infinite.
        BudgetExceeded: if a single image does not fit the memory of the device.
        DiskFull: if there is no room; finished shards are kept.

    Example:
        >>> import featdiv
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> data = featdiv.images((digits.images[:64] * 15.9).astype("uint8"), labels=digits.target[:64])
        >>> small = {"input_size": (3, 32, 32), "crop_pct": 1.0}
        >>> features = featdiv.extract("test_resnet", data, pretrained=False, transform=small)
        >>> features.n, features.d, features.dtype, features.classes[features.labels[5]]
        (64, 96, 'float32', '5')
        >>> features.moments.n, features.class_moments.c
        (64, 10)
    """
    (features,) = _extract(
        FUNCTION,
        model,
        data,
        [layer],
        pool=pool,
        transform=transform,
        protocol=protocol,
        split=split,
        checkpoint=checkpoint,
        pretrained=pretrained,
        batch_size=batch_size,
        dtype=dtype,
        autocast=autocast,
        device=device,
        out=out,
        store=store,
        shard_rows=shard_rows,
        workers=workers,
        compile=compile,
        channels_last=channels_last,
        progress=progress,
    ).values()
    return features


def extract_layers(model: Any, data: Any, layers: Sequence[str], **arguments: Any) -> dict[str, Features]:
    """Extracts several layers in one pass over the images.

    Args:
        model: as in `extract`.
        data: as in `extract`.
        layers: names as in `extract`; a pattern such as ``"blocks.*"`` stands for the modules that match it.
        **arguments: the others of `extract`. Each layer has its own directory and key in ``out``.

    Returns:
        Name of the layer to its features, in the order of ``layers``; `featdiv.compare` takes it as it is.

    Raises:
        InputError: for a pattern that matches nothing, and as in `extract`.

    Example:
        >>> import featdiv, torch
        >>> data = featdiv.images(torch.zeros(8, 16, 16, dtype=torch.uint8))
        >>> small = {"input_size": (3, 32, 32)}
        >>> features = featdiv.extract_layers("test_resnet", data, ["layer*"], pretrained=False, transform=small)
        >>> {layer: rows.d for layer, rows in features.items()}
        {'layer1': 32, 'layer2': 48, 'layer3': 192, 'layer4': 96}
    """
    unknown = [name for name in arguments if name not in DEFAULTS]
    if unknown:
        raise InputError(f"featdiv.extract_layers: no argument {unknown[0]!r}; expected {', '.join(DEFAULTS)}")
    return _extract("featdiv.extract_layers", model, data, layers, **{**DEFAULTS, **arguments})


DEFAULTS: dict[str, Any] = {name: value for name, value in (extract.__kwdefaults__ or {}).items() if name != "layer"}
"""Arguments that `extract` and `extract_layers` share, with their defaults."""


def _extract(
    function: str,
    model: Any,
    data: Any,
    layers: Sequence[str],
    *,
    split: str | None,
    out: Any,
    store: bool,
    progress: Progress | None,
    **arguments: Any,
) -> dict[str, Features]:
    check_progress(progress, function=function, told="images done, images in all")
    opened = images(data)
    if split is not None:
        opened = opened.split(split)
    with prepared(function, model, layers, n=len(opened), **arguments) as job:
        facts = job.facts()
        sinks = [sink_for(job, opened, {**facts, "layer": layer}, out=out, store=store) for layer in job.capture.layers]
        started = time.perf_counter()
        computed = _run(job, opened, sinks, progress)
        seconds = time.perf_counter() - started
        extra: dict[str, Any] = {"images_computed": computed, "seconds": round(seconds, 3), "device": job.runner.device}
        if job.runner.room.images is not None:
            extra["images_at_once"] = job.runner.room.images
        return {layer: sink.finish(extra) for layer, sink in zip(job.capture.layers, sinks, strict=True)}


def sink_for(job: Job, data: Images, facts: Mapping[str, Any], *, out: Any, store: bool) -> Sink:
    """Returns what collects the rows of the layer that ``facts`` name, with the shards that are there already."""
    directory = None
    facts = {**facts, "origin": job.capture.origin[facts["layer"]], "data": data.fingerprint}
    if out is not None:
        if not job.preparation.text:
            raise InputError(
                f"{job.function}: transform: features on disk are found again by what the transform is; this one has "
                "neither a repr nor code that says so; give it a __repr__, or leave out= out"
            )
        root = os.path.expanduser(os.fspath(out))
        if os.path.exists(root) and not os.path.isdir(root):
            raise InputError(f"{job.function}: out: {root} is a file; expected a folder")
        directory = Directory(
            root,
            {**facts, "stored": store},
            shard_rows=job.shard_rows,
            n=len(data),
            dtype=job.dtype,
            function=job.function,
        )
    if not store:
        return Accumulate(data, facts, dtype=job.dtype, shard_rows=job.shard_rows, directory=directory)
    if directory is not None:
        return Disk(data, facts, directory)
    return Memory(data, facts, dtype=job.dtype, shard_rows=job.shard_rows)


def _run(job: Job, data: Images, sinks: Sequence[Sink], progress: Progress | None) -> int:
    """Computes the shards that some sink lacks; returns the number of images that went through the network."""
    rows_of = sinks[0].shard_rows
    if any(sink.shard_rows != rows_of for sink in sinks):
        # Earlier calls may have cut the shards of the layers differently; then each layer runs for itself.
        return sum(_run(_only(job, [index]), data, [sink], progress) for index, sink in enumerate(sinks))
    n = len(data)
    missing = [shard for shard in range(sinks[0].shards) if any(shard not in sink.done for sink in sinks)]
    if progress is not None:
        progress(n - sum(min(n, (shard + 1) * rows_of) - shard * rows_of for shard in missing), n)
    if not missing:
        return 0
    index = [row for shard in missing for row in range(shard * rows_of, min(n, (shard + 1) * rows_of))]
    done = 0
    begun = False
    queue = iter(missing)
    shard = next(queue)
    held: list[list[torch.Tensor]] = [[] for _ in sinks]

    def deliver(rows: list[torch.Tensor]) -> None:
        nonlocal done, begun, shard
        if not begun:
            for sink, layer in zip(sinks, rows, strict=True):
                if not sink.complete:
                    sink.begin(int(layer.shape[1]))
            begun = True
        host = [layer.cpu() for layer in rows]
        taken, count = 0, len(host[0])
        while taken < count:
            want = min(n, (shard + 1) * rows_of) - shard * rows_of - sum(len(part) for part in held[0])
            stop = min(count, taken + want)
            for part, layer in zip(held, host, strict=True):
                part.append(layer[taken:stop])
            if stop - taken == want:
                _hand_over(sinks, held, shard)
                shard = next(queue, shard)
            taken = stop
        done += count
        if progress is not None:
            progress(n - len(index) + done, n)

    # The rows of a batch are fetched after the next one has been started, so that the device never waits for the host.
    waiting: list[torch.Tensor] | None = None
    for batch in job.batches(data, index):
        rows = job.runner(batch)
        if waiting is not None:
            deliver(waiting)
        waiting = rows
    if waiting is not None:
        deliver(waiting)
    return done


def _hand_over(sinks: Sequence[Sink], held: list[list[torch.Tensor]], shard: int) -> None:
    import torch

    for sink, parts in zip(sinks, held, strict=True):
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        parts.clear()
        if shard not in sink.done:
            sink.take(shard, rows)


def _only(job: Job, which: Sequence[int]) -> Job:
    """Returns the job with some of its layers."""
    part = copy.copy(job)
    part.runner = copy.copy(job.runner)

    def step(x: torch.Tensor) -> list[torch.Tensor]:
        rows = job.runner.step(x)
        return [rows[index] for index in which]

    part.runner.step = step
    return part
