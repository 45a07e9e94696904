"""Watches the output of a named layer while a model runs, and turns what it saw into scores.

A forward hook adds every output to moments on the device of the layer: no more rows are kept than fill a small buffer,
and the host does not wait. Only `LayerWatcher.scores` does, once an evaluation or once an epoch; under
torch.distributed it is a collective call, which merges the moments of all ranks.
"""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed

from featdiv.errors import InputError
from featdiv.integrations import packed, scores
from featdiv.stats import Moments

DEFAULT_SCORES = ("effective_rank", "rankme", "participation_ratio", "alpha_req")

Pool = Callable[[torch.Tensor], torch.Tensor]


def _mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean(dim=1 if x.ndim == 3 else tuple(range(2, x.ndim)), dtype=torch.float64)


def _first(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0]


POOLS: Mapping[str, Pool] = {"mean": _mean, "first": _first}
"""Ways to make one row of the tokens (b, t, d) or positions (b, d, h, w) of an example, by name."""


def pooling(pool: str | Pool | None, *, function: str) -> Pool | None:
    """Returns the function that a ``pool`` argument stands for.

    Raises:
        InputError: if there is none of that name.
    """
    if pool is None or callable(pool):
        return pool
    if pool not in POOLS:
        raise InputError(f"{function}: pool: expected None, a function, or one of {', '.join(POOLS)}; got {pool!r}")
    return POOLS[pool]


@dataclasses.dataclass(kw_only=True)
class LayerWatcher:
    """Accumulates the moments of what a layer puts out.

    Attributes:
        function: who watches, for messages.
        layer: name of the layer, as ``model.named_modules()`` gives it; empty for the model's own output.
        names: scores wanted.
        pool: makes (b, d) rows of the output; None where it has that shape already.
        every: watch one forward pass in so many.
        nonfinite: ``"drop"`` leaves rows with NaN or infinity out; ``"raise"`` raises when scores are asked for.

    Raises:
        InputError: if a score does not exist or does not come from the moments of rows.
    """

    function: str
    layer: str
    names: tuple[str, ...] = DEFAULT_SCORES
    pool: Pool | None = None
    every: int = 1
    nonfinite: str = "drop"
    _states: dict[str | None, torch.Tensor] = dataclasses.field(default_factory=dict, init=False)
    _buffer: packed.Buffer = dataclasses.field(default_factory=packed.Buffer, init=False)
    _width: int | None = dataclasses.field(default=None, init=False)
    _normalize: dict[str, str | None] = dataclasses.field(default_factory=dict, init=False)
    _calls: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"{self.function}: every: expected a positive number of forward passes; got {self.every}")
        self._normalize = {name: scores.normalize_of(name, argument=f"{self.function}: scores") for name in self.names}

    def attach(
        self, model: torch.nn.Module, *, when: Callable[[], bool] = lambda: True
    ) -> torch.utils.hooks.RemovableHandle:
        """Starts watching; the handle that is returned stops it.

        Code that ``torch.compile`` made before has no hook in it and looks for none, so that it is all compiled anew:
        attach once, and let ``when`` say which passes count.

        Args:
            model: the model, unwrapped.
            when: asked at every forward pass whether to watch it.

        Raises:
            InputError: if the model has no such layer; the message names the nearest.
        """
        modules = dict(model.named_modules())
        if self.layer not in modules:
            near = difflib.get_close_matches(self.layer, modules, n=3) or list(modules)[1:9]
            raise InputError(
                f"{self.function}: layer: the model has no module {self.layer!r}; expected a name of "
                f"model.named_modules(), such as {', '.join(near)}"
            )

        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            if when():
                self.see(output)

        # Compiled with the model, it would be compiled again for every number of calls.
        kept_out = torch.compiler.disable(hook)
        handle: torch.utils.hooks.RemovableHandle = modules[self.layer].register_forward_hook(kept_out)
        torch.compiler.reset()
        return handle

    def see(self, output: Any) -> None:
        """Adds one output of the layer, unless it is not its turn.

        Raises:
            InputError: if there are no (b, d) rows in it, or they have another d than before.
        """
        self._calls += 1
        if (self._calls - 1) % self.every:
            return
        with torch.no_grad():
            rows = _tensor_of(output, function=self.function, layer=self.layer).detach()
            rows = rows if self.pool is None else self.pool(rows)
        if rows.ndim != 2:
            raise InputError(
                f"{self.function}: layer {self.layer!r} puts out shape {tuple(rows.shape)}; expected (b, d) rows. "
                f"Choose pool= {' or '.join(map(repr, POOLS))}, or pass a function that makes them."
            )
        packed.check_rows(rows, function=f"{self.function}: layer {self.layer!r}", d=self._width)
        self._width = int(rows.shape[1])
        self._accept(self._buffer.add(rows))

    def flush(self) -> None:
        """Adds the rows that wait in the buffer to the moments; `scores` does so by itself."""
        self._accept(self._buffer.drained())

    def _accept(self, due: Iterable[torch.Tensor]) -> None:
        for rows in due:
            for normalize in dict.fromkeys(self._normalize.values()):
                batch = packed.of_rows(rows, normalize=normalize)
                state = self._states.get(normalize)
                self._states[normalize] = batch if state is None else packed.added(state.to(batch.device), batch)

    def reset(self) -> None:
        """Forgets all rows."""
        self._states.clear()
        self._buffer.clear()
        self._width = None
        self._calls = 0

    def scores(self) -> dict[str, float]:
        """Returns the scores of the rows seen since `reset`, by all ranks; those that are undefined are left out.

        A collective call where ``torch.distributed`` runs: every rank makes it, and gets the same numbers.

        Raises:
            InputError: if rows could not be used, or ranks have seen different numbers of features.
        """
        self.flush()
        found: dict[str, float] = {}
        for normalize in dict.fromkeys(self._normalize.values()):
            moments = self._moments(normalize)
            if moments is not None and moments.n:
                names = [name for name, how in self._normalize.items() if how == normalize]
                found |= scores.values(names, moments)[0]
        return {name: found[name] for name in self.names if name in found}

    def take(self) -> dict[str, float]:
        """Returns `scores`, and forgets all rows; warns where the layer has put out nothing at all."""
        found = self.scores()
        if not found and not self._calls:
            warnings.warn(
                f"{self.function}: nothing went through layer {self.layer!r}, so that there are no scores of it; is it "
                "a part of the model that runs?",
                stacklevel=2,
            )
        self.reset()
        return found

    def _moments(self, normalize: str | None) -> Moments | None:
        state = self._states.get(normalize)
        mine = None
        problem: InputError | None = None
        if state is not None:
            try:
                mine = packed.to_moments(state, function=self.function, normalize=normalize, nonfinite=self.nonfinite)
            except InputError as error:
                problem = error
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            d, wrong = _largest(0 if state is None else packed.features_of(state), int(problem is not None))
            if wrong and problem is None:
                problem = InputError(f"{self.function}: rows of another rank cannot be used; its message says why")
            if d and problem is None:
                mine = (Moments.empty(d, normalize=normalize) if mine is None else mine).all_reduce()
        if problem is not None:
            raise problem
        return mine


def check_names(names: Iterable[str] | str, *, function: str) -> tuple[str, ...]:
    """Returns score names as a tuple.

    Raises:
        InputError: if there are none, or one text was given where several are expected.
    """
    if isinstance(names, str) or not (listed := tuple(names)):
        raise InputError(f"{function}: scores: expected a list of names of scores; got {names!r}")
    return listed


def _largest(*numbers: int) -> list[int]:
    """Returns the largest of each number over all ranks."""
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(numbers, dtype=torch.int64, device=device)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    largest: list[int] = tensor.tolist()
    return largest


def _tensor_of(output: Any, *, function: str, layer: str) -> torch.Tensor:
    """Returns the first tensor of an output: itself, or that of a tuple, a mapping, or a model output."""
    first = output
    while not isinstance(first, torch.Tensor):
        items = list(first.values()) if isinstance(first, Mapping) else first
        if not isinstance(items, (list, tuple)) or not items:
            raise InputError(
                f"{function}: layer {layer!r} puts out {type(output).__name__}; expected a tensor, or a tuple or "
                "mapping that begins with one. Name a layer inside it."
            )
        first = items[0]
    return first
