"""Tables of models and data sets, from mappings and data frames, aligned by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from featdiv.errors import InputError
from featdiv.results import Score
from featdiv.stats.moments import Float64Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Values of models on data sets.

    Attributes:
        models: names, in alphabetical order, so that no result depends on the order in which they came.
        datasets: names, in alphabetical order; one empty name where values are not of a data set.
        values: (models, data sets) float64, NaN where a value is missing.
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    values: Float64Array


def depth(value: Any) -> int:
    """Returns how many names lead to a number: 1 for name to value, 2 for a model x dataset table, and so on."""
    value = _as_mapping(value)
    if not isinstance(value, Mapping):
        return 0
    return 1 + max((depth(item) for item in value.values()), default=0)


def read(value: Any, *, function: str, argument: str) -> Table:
    """Returns a table from a mapping, model to value or data set to model to value, or from a data frame.

    Args:
        value: the mapping, a pandas Series with models as index, or a data frame with models as index and data sets as
            columns. None and NaN are missing values.
        function: who asks, for the errors.
        argument: of which argument, for the errors.

    Raises:
        InputError: if it is no such table, or holds what is no number.
    """
    levels = depth(value)
    if levels not in (1, 2):
        raise InputError(
            f"{function}: {argument}: expected a mapping from models to values, or from data sets to such mappings; "
            f"got {_described(value)}"
        )
    content = _as_mapping(value)
    columns = {"": content} if levels == 1 else {name: _as_mapping(column) for name, column in content.items()}
    for name, column in columns.items():
        if not isinstance(column, Mapping):
            raise InputError(
                f"{function}: {argument}[{name!r}]: expected a mapping from models to values; got {_described(column)}"
            )
    models = tuple(sorted({str(model) for column in columns.values() for model in column}))
    datasets = tuple(sorted(map(str, columns)))
    values = np.full((len(models), len(datasets)), np.nan)
    places = {model: i for i, model in enumerate(models)}
    for name, column in columns.items():
        for model, number in column.items():
            values[places[str(model)], datasets.index(str(name))] = _number(number, function, argument, model)
    if not models:
        raise InputError(f"{function}: {argument}: expected at least one model; got an empty table")
    return Table(models=models, datasets=datasets, values=values)


def require_same_models(one: Table, other: Table, *, function: str, arguments: tuple[str, str]) -> None:
    """Refuses two tables of different models.

    Raises:
        InputError: naming the models that only one of them has.
    """
    _require_same(one.models, other.models, function, arguments, "models")


def require_same_datasets(one: Table, other: Table, *, function: str, arguments: tuple[str, str]) -> None:
    """Refuses two tables of different data sets.

    Raises:
        InputError: naming the data sets that only one of them has.
    """
    _require_same(one.datasets, other.datasets, function, arguments, "data sets")


def _require_same(
    one: tuple[str, ...], other: tuple[str, ...], function: str, arguments: tuple[str, str], what: str
) -> None:
    if one == other:
        return
    only = [
        f"only in {argument}: {', '.join(sorted(set(mine) - set(theirs)))}"
        for argument, mine, theirs in ((arguments[0], one, other), (arguments[1], other, one))
        if set(mine) - set(theirs)
    ]
    raise InputError(
        f"{function}: {arguments[1]}: expected the {what} of {arguments[0]}; {'; '.join(only)}. Give both the same "
        f"{what}, with NaN where a value is missing"
    )


def _as_mapping(value: Any) -> Any:
    table = hasattr(value, "to_dict") and not isinstance(value, (Mapping, Score))
    return value.to_dict() if table else value


def _number(value: Any, function: str, argument: str, model: Any) -> float:
    if value is None:
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{function}: {argument}: expected a number for {model!r}; got {_described(value)}") from None
    if math.isinf(number):
        raise InputError(f"{function}: {argument}: expected a finite number for {model!r}; got {number}")
    return number


def _described(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float)) else type(value).__name__
