"""The numbers and names given to `featdiv.finetune`, checked before anything is read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from featdiv.backbones.finetune_judge import METRICS
from featdiv.backbones.finetune_search import DEFAULT_LR
from featdiv.backbones.finetune_setting import Recipe
from featdiv.backbones.forward import AUTOCAST, check_compile
from featdiv.errors import InputError
from featdiv.io.embeddings import positive

FUNCTION = "featdiv.finetune"

MODES = ("full", "frozen", "scratch")
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "constant")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """What is searched, and how; the arguments of `featdiv.finetune`."""

    lr: tuple[float, ...]
    weight_decay: tuple[float, ...]
    steps: int
    halving: int | None
    metric: str
    """What points are chosen by; empty until it is known what labels the images have."""
    seeds: tuple[int, ...]

    @property
    def points(self) -> int:
        """Number of grid points."""
        return len(self.lr) * len(self.weight_decay)


def check_grid(arguments: Mapping[str, Any]) -> Grid:
    """Returns the grid.

    Raises:
        InputError: for a value that cannot be used.
    """
    _one_of(arguments, "mode", MODES)
    _one_of(arguments, "optimizer", OPTIMIZERS)
    _one_of(arguments, "metric", (None, *METRICS))
    given = arguments["lr"]
    default = DEFAULT_LR[arguments["optimizer"], arguments["mode"]]
    halving = arguments["halving"]
    if halving is not None and (isinstance(halving, bool) or not isinstance(halving, int) or halving < 2):
        raise InputError(f"{FUNCTION}: halving: expected None or a whole number of at least 2; got {halving!r}")
    return Grid(
        lr=default if given is None else _values(given, "lr", "positive", lambda value: value > 0),
        weight_decay=_values(arguments["weight_decay"], "weight_decay", "non-negative", lambda value: value >= 0),
        steps=positive(arguments["steps"], f"{FUNCTION}: steps"),
        halving=halving,
        metric=arguments["metric"] or "",
        seeds=_seeds(arguments["seed"]),
    )


def with_metric(grid: Grid, *, multilabel: bool) -> Grid:
    """Returns the grid with the metric that suits the labels of the images.

    Raises:
        InputError: for one that is not defined for them.
    """
    if multilabel and grid.metric not in ("", "map"):
        raise InputError(
            f"{FUNCTION}: metric: images with several classes have no {grid.metric!r}; leave it out, or pass 'map'"
        )
    return dataclasses.replace(grid, metric=grid.metric or ("map" if multilabel else "accuracy"))


def check_recipe(arguments: Mapping[str, Any]) -> Recipe:
    """Returns how runs are trained.

    Raises:
        InputError: for a value that cannot be used.
    """
    _one_of(arguments, "schedule", SCHEDULES)
    _one_of(arguments, "autocast", AUTOCAST)
    _share(arguments, "momentum")
    _share(arguments, "warmup")
    _share(arguments, "label_smoothing")
    average, batch_norm = arguments["ema"], arguments["bn_momentum"]
    if average is not None and not (_is_number(average) and 0.0 < average < 1.0):
        raise InputError(f"{FUNCTION}: ema: expected None or a decay between 0 and 1, such as 0.999; got {average!r}")
    if not (batch_norm is None or batch_norm == "auto" or (_is_number(batch_norm) and 0.0 < batch_norm <= 1.0)):
        raise InputError(
            f"{FUNCTION}: bn_momentum: expected None, 'auto' or a number above 0 and at most 1; got {batch_norm!r}"
        )
    check_compile(arguments["compile"], FUNCTION)
    if not isinstance(arguments["channels_last"], bool):
        raise InputError(f"{FUNCTION}: channels_last: expected True or False; got {arguments['channels_last']!r}")
    every = {
        name: None if arguments[name] is None else positive(arguments[name], f"{FUNCTION}: {name}")
        for name in ("eval_every", "checkpoint_every")
    }
    fields = {field.name for field in dataclasses.fields(Recipe)}
    values = {name: value for name, value in arguments.items() if name in fields} | every
    values["batch_size"] = positive(arguments["batch_size"], f"{FUNCTION}: batch_size")
    return Recipe(**values)


def _one_of(arguments: Mapping[str, Any], name: str, expected: tuple[Any, ...]) -> None:
    if arguments[name] not in expected:
        shown = ", ".join(map(repr, expected))
        raise InputError(f"{FUNCTION}: {name}: expected one of {shown}; got {arguments[name]!r}")


def _share(arguments: Mapping[str, Any], name: str) -> None:
    value = arguments[name]
    if not (_is_number(value) and 0.0 <= value < 1.0):
        raise InputError(f"{FUNCTION}: {name}: expected a number from 0 on and below 1; got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def _values(given: Any, name: str, kind: str, allowed: Any) -> tuple[float, ...]:
    values = np.atleast_1d(np.asarray(given, dtype=object)).tolist()
    if not values or not all(_is_number(value) and allowed(value) for value in values):
        raise InputError(f"{FUNCTION}: {name}: expected a {kind} number or a list of them; got {given!r}")
    return tuple(dict.fromkeys(float(value) for value in values))


def _seeds(given: Any) -> tuple[int, ...]:
    values = np.atleast_1d(np.asarray(given, dtype=object)).tolist()
    whole = (isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 0 for value in values)
    if not values or not all(whole):
        raise InputError(f"{FUNCTION}: seed: expected a whole number from 0 on, or a list of them; got {given!r}")
    return tuple(dict.fromkeys(int(value) for value in values))
