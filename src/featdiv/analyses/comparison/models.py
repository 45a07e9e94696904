"""The models that `featdiv.compare` was given: their names, their places in the matrix, their sources."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from featdiv import io
from featdiv.errors import InputError
from featdiv.io.caller import called_by
from featdiv.stats import CrossMoments, Moments, cross_moments_read

if TYPE_CHECKING:
    from featdiv.io import Embeddings

FUNCTION = "featdiv.compare"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Which models stand on which side of the matrix.

    Attributes:
        rows: display names of the rows.
        columns: display names of the columns.
        row_keys: the key of each row's model among the sources.
        column_keys: the key of each column's model.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]

    @property
    def square(self) -> bool:
        """Whether rows and columns are the same models."""
        return self.row_keys == self.column_keys

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all models, each once."""
        return tuple(dict.fromkeys([*self.row_keys, *self.column_keys]))

    def pairs(self, *, symmetric: bool) -> list[tuple[int, int]]:
        """Returns the places of the matrix that are to be computed, without the diagonal of a square."""
        return [
            (i, j)
            for i in range(len(self.rows))
            for j in range(len(self.columns))
            if not self.square or (i < j if symmetric else i != j)
        ]


def layout(x: Any, other: Any) -> tuple[Layout, dict[str, Any]]:
    """Returns the layout, and the models by key.

    Raises:
        InputError: if there are not two models to compare.
    """
    if isinstance(x, CrossMoments):
        if other is not None:
            raise InputError(f"{FUNCTION}: other: expected None with CrossMoments, which hold every model")
        return _square(dict.fromkeys(x.names))
    for name, value in (("x", x), ("other", other)):
        if isinstance(value, Moments) or hasattr(value, "eigen"):
            raise InputError(
                f"{FUNCTION}: {name}: expected rows, a mapping from names to rows, or CrossMoments; got "
                f"{type(value).__name__}, which does not know which rows belong together"
            )
    left, right = _models(x, "x"), None if other is None else _models(other, "other")
    if right is None:
        if not isinstance(x, Mapping):
            raise InputError(
                f"{FUNCTION}: other: expected a second representation of the rows of x, or x to be a mapping from "
                "names to representations; got None"
            )
        return _square(left)
    if not isinstance(x, Mapping) and not isinstance(other, Mapping):
        return _square({**left, **right})
    shared = set(left) & set(right)
    row_keys = tuple(f"x: {name}" if name in shared else name for name in left)
    column_keys = tuple(f"other: {name}" if name in shared else name for name in right)
    models = dict(zip([*row_keys, *column_keys], [*left.values(), *right.values()], strict=True))
    found = Layout(rows=tuple(left), columns=tuple(right), row_keys=row_keys, column_keys=column_keys)
    return found, models


def _square(models: dict[str, Any]) -> tuple[Layout, dict[str, Any]]:
    if len(models) < 2:
        raise InputError(f"{FUNCTION}: x: expected at least two models to compare; got {len(models)}")
    names = tuple(models)
    return Layout(rows=names, columns=names, row_keys=names, column_keys=names), models


def _models(value: Any, argument: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {argument: value}
    if not value:
        raise InputError(f"{FUNCTION}: {argument}: expected at least one model; got an empty mapping")
    for name in value:
        if not isinstance(name, str) or not name:
            raise InputError(f"{FUNCTION}: {argument}: expected names of models that are text; got {name!r}")
    return dict(value)


@contextlib.contextmanager
def opened(
    found: Layout, models: Mapping[str, Any], *, ids: Any, other_ids: Any, groups: Any
) -> Iterator[dict[str, Embeddings]]:
    """Opens every model with its ids, the first one with the groups.

    Raises:
        InputError: if ids are given for a model that is not there.
    """
    with contextlib.ExitStack() as stack:
        annotated = {}
        sides = _ids_by_key(found, ids, other_ids)
        for place, (key, value) in enumerate(models.items()):
            with called_by(FUNCTION, source=key):
                source = io.open(value, ids=sides.get(key), groups=groups if place == 0 else None)
            if source is not value and not isinstance(value, io.Embeddings):
                stack.callback(source.close)
            annotated[key] = source
        yield stack.enter_context(cross_moments_read.opened(annotated, function=FUNCTION))


def _ids_by_key(found: Layout, ids: Any, other_ids: Any) -> dict[str, Any]:
    given: dict[str, Any] = {}
    pair = found.square and found.rows == ("x", "other")
    for argument, value, names, keys in (
        ("ids", ids, found.rows[:1] if pair else found.rows, found.row_keys),
        ("other_ids", other_ids, found.columns[1:] if pair else found.columns, found.column_keys[1 if pair else 0 :]),
    ):
        if value is None:
            continue
        if argument == "other_ids" and found.square and not pair:
            raise InputError(f"{FUNCTION}: other_ids: expected None without other; give ids= a mapping by name")
        by_name = value if isinstance(value, Mapping) else dict.fromkeys(names, value)
        unknown = [name for name in by_name if name not in names]
        if unknown:
            raise InputError(f"{FUNCTION}: {argument}: no model is named {unknown[0]!r}; there are {', '.join(names)}")
        given |= {key: by_name[name] for name, key in zip(names, keys, strict=False) if name in by_name}
    return given
