"""The models to be ranked, and what is known about them beforehand."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featdiv.backbones.extract import DEFAULTS
from featdiv.backbones.models import Model, check_name
from featdiv.errors import FormatError, InputError, SourceNotFound

FUNCTION = "featdiv.rank_models"
OWN = tuple(name for name in DEFAULTS if name not in ("split", "out", "store", "progress"))
"""Arguments of `featdiv.extract` that a model may bring along, beside its layer."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One model.

    Attributes:
        name: what it is called in the table.
        model: what `featdiv.extract` takes: a name, a module, or a `featdiv.backbones.Model`.
        arguments: further arguments of `featdiv.extract`.
    """

    name: str
    model: Any
    arguments: Mapping[str, Any]

    @property
    def loading(self) -> dict[str, Any]:
        """The arguments that say where the weights come from."""
        return {name: self.arguments[name] for name in ("checkpoint", "pretrained") if name in self.arguments}


def candidates(models: Any, common: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """Returns the models, names checked, in the order given.

    Args:
        models: names; or name to model, or to a mapping with ``"model"`` and arguments of `featdiv.extract`.
        common: arguments of `featdiv.extract` for all; a model's own come first.

    Raises:
        InputError: if there is none, a name is there twice or unknown to timm, or an argument is unknown.
        SourceNotFound: if a checkpoint is not there.
    """
    if isinstance(models, str):
        models = [name.strip() for name in models.split(",") if name.strip()]
    if isinstance(models, Mapping):
        named = [(str(name), value) for name, value in models.items()]
    elif isinstance(models, Iterable):
        named = [(_name_of(value), value) for value in models]
    else:
        raise InputError(
            f"{FUNCTION}: models: expected names, or a mapping from names to models; got {type(models).__name__}"
        )
    if not named:
        raise InputError(f"{FUNCTION}: models: expected at least one model; got none")
    twice = sorted({name for name, _ in named if sum(other == name for other, _ in named) > 1})
    if twice:
        raise InputError(
            f"{FUNCTION}: models: {twice[0]!r} is there twice; give a mapping from names that differ to the models"
        )
    _check_arguments(common, "extraction")
    return tuple(_candidate(name, value, common) for name, value in named)


def _name_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Model):
        return value.name
    raise InputError(
        f"{FUNCTION}: models: expected a list of names; got {type(value).__name__} in it. Give a mapping from names to "
        "models"
    )


def _candidate(name: str, value: Any, common: Mapping[str, Any]) -> Candidate:
    own: Mapping[str, Any] = {}
    if isinstance(value, Mapping):
        if "model" not in value:
            raise InputError(
                f"{FUNCTION}: models[{name!r}]: expected a mapping with 'model' and perhaps 'checkpoint' or other "
                f"arguments of featdiv.extract; it has {', '.join(map(str, value)) or 'nothing'}"
            )
        own = {str(key): item for key, item in value.items() if key != "model"}
        value = value["model"]
        _check_arguments(own, f"models[{name!r}]")
    arguments = {**common, **own}
    if isinstance(value, str):
        if ":" not in value:
            # Names of a hub are looked up when they are loaded.
            check_name(value, where=f"{FUNCTION}: models")
    elif "pretrained" in arguments:
        # A module has its weights.
        arguments = {key: item for key, item in arguments.items() if key != "pretrained"}
    path = arguments.get("checkpoint")
    if path is not None and not os.path.isfile(os.path.expanduser(os.fspath(path))):
        raise SourceNotFound(f"{FUNCTION}: models[{name!r}]: checkpoint: no file is at {os.fspath(path)!r}")
    return Candidate(name=name, model=value, arguments=arguments)


def _check_arguments(arguments: Mapping[str, Any], where: str) -> None:
    known = ("layer", *OWN)
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise InputError(f"{FUNCTION}: {where}: no argument {unknown[0]!r}; expected some of {', '.join(known)}")


def imagenet_note(models: Iterable[Candidate], path: Any) -> tuple[str, ...]:
    """Returns why published weights of timm come without their accuracy on ImageNet, or nothing.

    What timm knows of its weights (its ``pretrained_cfg``) has no accuracies, and its tables of results are no part of
    the package.
    """
    published = [
        one.name
        for one in models
        if isinstance(one.model, str)
        and ":" not in one.model
        and one.arguments.get("pretrained", True)
        and one.arguments.get("checkpoint") is None
    ]
    if path is not None or not published:
        return ()
    return (
        "no accuracies on ImageNet: timm ships none with its weights; imagenet= takes the table of results that timm "
        "publishes beside them",
    )


def imagenet_accuracies(path: Any, models: Iterable[Candidate]) -> dict[str, float]:
    """Returns the accuracies on ImageNet that a table has for some of the models, by the name of the model.

    The table is a CSV file with columns ``model`` and ``top1``, as timm publishes its results. A model is looked up by
    its name in the ranking, then by that of its network; without the tag of its weights where only that is listed.

    Raises:
        SourceNotFound: if there is no such file.
        FormatError: if it has no such columns, or holds what is no number.
    """
    text = os.path.expanduser(os.fspath(path))
    if not Path(text).is_file():
        raise SourceNotFound(f"{FUNCTION}: imagenet: no file is at {text!r}")
    try:
        with Path(text).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{FUNCTION}: imagenet: {text}: expected a CSV file in UTF-8; {error}") from None
    if not rows or not {"model", "top1"} <= set(rows[0]):
        raise FormatError(f"{FUNCTION}: imagenet: {text}: expected columns model and top1, and a row a model")
    known: dict[str, float] = {}
    for line, row in enumerate(rows, start=2):
        try:
            known[row["model"]] = float(row["top1"])
        except (TypeError, ValueError):
            raise FormatError(
                f"{FUNCTION}: imagenet: {text}: line {line}: expected a number in column 'top1'; got {row['top1']!r}"
            ) from None
    found = {}
    for candidate in models:
        network = candidate.model if isinstance(candidate.model, str) else ""
        for key in (candidate.name, network, network.partition(".")[0]):
            if key and key in known:
                found[candidate.name] = known[key]
                break
    return found
