"""What a linear probe is given: rows with labels, numbered classes, the subsets to fit on, the grid of C."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import io
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.caller import called_by
from featdiv.probes import labelled_rows
from featdiv.probes.holdout import split as holdout_split
from featdiv.probes.holdout import units
from featdiv.stats import arguments
from featdiv.stats.class_labels import as_labels

FUNCTION = "linear_probe"


def check_grid(C: Any) -> npt.NDArray[np.float64]:
    """Returns the values of C, sorted and each once.

    Raises:
        InputError: if one is not a positive, finite number.
    """
    try:
        grid = np.atleast_1d(np.asarray(C, dtype=np.float64))
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or not len(grid) or not (np.isfinite(grid) & (grid > 0.0)).all():
        raise InputError(
            f"{FUNCTION}: C: expected positive, finite numbers, inverse strengths of the penalty; got {C!r}. "
            "A paper that lists strengths means C = 1 / strength"
        )
    return np.unique(grid)


def check_sides(sides: Mapping[str, tuple[Any, Any, Any]], *, folds: Any) -> None:
    """Raises `InputError` unless labels and groups of val and test come with rows, and C is chosen on one thing."""
    for name, (rows, known, groups) in sides.items():
        for what, values in (("labels", known), ("groups", groups)):
            if rows is None and values is not None:
                raise InputError(f"{FUNCTION}: {name}_{what}: expected {name}= with them; got {what} of no rows")
    if sides["val"][0] is not None and folds is not None:
        raise InputError(f"{FUNCTION}: folds: expected None with val=: C is chosen on one of them")


def check_seeds(seed: Any) -> list[int]:
    """Returns the seeds as a list.

    Raises:
        InputError: if one is no integer from 0 on.
    """
    seeds = list(seed) if np.ndim(seed) else [seed]
    if not seeds or any(isinstance(s, bool) or not isinstance(s, (int, np.integer)) or s < 0 for s in seeds):
        raise InputError(f"{FUNCTION}: seed: expected one non-negative integer or several; got {seed!r}")
    return [int(s) for s in seeds]


@contextlib.contextmanager
def opened(
    x: Any, labels: Any, groups: Any, *, name: str, memory: int, ignore: int | str | None = None
) -> Iterator[tuple[io.Embeddings, npt.NDArray[Any]]]:
    """Opens rows with their labels, 1-D or (n, l), and groups, without those to be ignored.

    They are closed again, unless they came open.

    Raises:
        InputError: if there are no labels, or not one for each row.
    """
    words = "labels" if name == "train" else f"{name}_labels"
    several = _several(labels, words)
    if several is not None and ignore is not None:
        raise InputError(f"{FUNCTION}: ignore: expected None with several labels a row; got {ignore!r}")
    given = {"labels": None if several is not None else labels, "groups": groups}
    groups_name = "groups" if name == "train" else f"{name}_groups"
    with called_by(FUNCTION, source=name, labels=words, groups=groups_name):
        source = io.open(x, **{key: value for key, value in given.items() if value is not None})
    try:
        known = several if several is not None else source.labels
        if known is None:
            raise InputError(
                f"{FUNCTION}: {words}: expected one label for each row of {name}; got None, and the source has none. "
                f"Pass {words}=, or a source that carries them; rows that are read once need them as an array"
            )
        if source.n is not None and len(known) != source.n:
            raise InputError(f"{FUNCTION}: {words}: expected {source.n} rows, like {name}; got {len(known)}")
        if several is not None:
            yield source, known
            return
        function = f"{FUNCTION}: {name}"
        known = as_labels(known, function=function)
        yield labelled_rows.without(source, known, ignore=ignore, memory=memory, function=function)
    finally:
        if source is not x:
            source.close()


def _several(labels: Any, words: str) -> npt.NDArray[np.int64] | None:
    """Returns (n, l) labels as zeros and ones, or None where there is one label for each row.

    Raises:
        InputError: if several labels a row are not zeros and ones.
    """
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    if labels is None or isinstance(labels, str) or np.ndim(labels) != 2:
        return None
    array = np.asarray(labels)
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all() or not array.shape[1]:
        raise InputError(
            f"{FUNCTION}: {words}: expected one label for each row, or (n, l) zeros and ones, one column a label; got "
            f"shape {array.shape} of other {array.dtype.name}. For one column of classes pass np.ravel({words})"
        )
    return array.astype(np.int64)


def remarks(labels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Returns what to say of labels that are taken as several a row and look like one class."""
    if labels.ndim == 1 or labels.shape[1] < 2 or not (labels.sum(axis=1) == 1).all():
        return ()
    return (
        f"every row has exactly one of {labels.shape[1]} labels, which are taken for as many binary problems; "
        "np.argmax(labels, axis=1) makes them the classes of one softmax, judged by accuracy",
    )


def classes_of(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the sorted classes, or the numbers of the columns where there are several labels a row.

    Raises:
        NotEnoughData: if there is one class, or a column with one value.
    """
    if labels.ndim == 2:
        constant = np.flatnonzero((labels == labels[:1]).all(axis=0)) if len(labels) else np.arange(labels.shape[1])
        if len(constant):
            raise NotEnoughData(
                f"{FUNCTION}: labels: expected both 0 and 1 in every column; column {constant[0]} holds one value. "
                "Leave such columns out"
            )
        return np.arange(labels.shape[1])
    classes: npt.NDArray[Any] = np.unique(labels)
    if len(classes) < 2:
        found = f"1, labelled {classes[0].item()!r}" if len(classes) else "no rows"
        raise NotEnoughData(f"{FUNCTION}: labels: expected at least 2 classes; got {found}")
    return classes


def numbered(labels: npt.NDArray[Any], classes: npt.NDArray[Any], *, several: bool, name: str) -> npt.NDArray[np.int64]:
    """Returns labels as numbers of the classes.

    Raises:
        InputError: if a label is not among the classes, or there are several labels a row here and one there.
    """
    if (labels.ndim == 2) != several or (several and labels.shape[1] != len(classes)):
        wanted = f"shape (n, {len(classes)})" if several else "one label for each row"
        raise InputError(f"{FUNCTION}: {name}_labels: expected {wanted}, like train; got shape {labels.shape}")
    if several:
        return labels
    if labels.dtype.kind != classes.dtype.kind:
        kinds = {"i": "integers", "U": "strings"}
        raise InputError(
            f"{FUNCTION}: {name}_labels: expected {kinds[classes.dtype.kind]}, like train; "
            f"got {kinds[labels.dtype.kind]}"
        )
    place = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    unknown = classes[place] != labels
    if unknown.any():
        missing = np.unique(labels[unknown])
        raise InputError(
            f"{FUNCTION}: {name}_labels: expected classes that train has; got {missing[0].item()!r}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + f" in {int(unknown.sum())} rows. Leave these rows out, or add the classes to train"
        )
    return place.astype(np.int64)


def require_positives(targets: npt.NDArray[np.int64], argument: str) -> None:
    """Refuses (n, l) labels of rows to judge on of which none is 1: they have no average precision.

    Raises:
        NotEnoughData: naming the argument.
    """
    if targets.ndim == 2 and not targets.any():
        raise NotEnoughData(
            f"{FUNCTION}: {argument}: expected a label in some row that is judged; all {len(targets)} have none, "
            "and no average precision"
        )


def folds_of(
    folds: Any, targets: npt.NDArray[np.int64], seeds: Sequence[int], groups: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.int64]:
    """Returns the (n, seeds) fold of each row: as given, or dealt out so that every fold has its share of each class.

    Groups are dealt out whole, each for the class of its first row.

    Raises:
        InputError: unless there are at least two folds, and a number for each row where they are given.
    """
    if np.ndim(folds) == 1:
        given = np.unique(np.asarray(folds), return_inverse=True)[1].astype(np.int64)
        if len(given) != len(targets) or given.max(initial=0) < 1:
            raise InputError(
                f"{FUNCTION}: folds: expected a number, or {len(targets)} numbers of two folds or more, one a row; "
                f"got {len(given)} of {given.max(initial=-1) + 1} folds"
            )
        return given[:, None]
    first, unit = (np.arange(len(targets)),) * 2 if groups is None else units(groups)
    if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or not 2 <= folds <= len(first):
        what = "" if groups is None else f" (the {len(first)} groups stay whole)"
        raise InputError(
            f"{FUNCTION}: folds: expected a number from 2 to {len(first)}{what}, or one for each row; got {folds!r}"
        )
    return np.stack([(_dealt(targets[first], seed) % folds)[unit] for seed in seeds], axis=1)


def held_out_of(
    holdout: float, targets: npt.NDArray[np.int64], seeds: Sequence[int], groups: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.bool_]:
    """Returns (n, seeds) mask of a share of the rows, or of whole groups, about the same of each class.

    Raises:
        InputError: unless the share is between 0 and 1.
        NotEnoughData: if no row would be held out.
    """
    mask = np.zeros((len(targets), len(seeds)), dtype=np.bool_)
    for place, seed in enumerate(seeds):
        # Rows with several labels have no classes to keep in balance.
        classes = targets if targets.ndim == 1 else np.zeros(len(targets), dtype=np.int64)
        _, out = holdout_split(classes, holdout, seed=seed, function=FUNCTION, groups=groups)
        mask[out, place] = True
    return mask


def _dealt(targets: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Returns the position of each row in a shuffled deal, class after class."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if targets.ndim == 1:
        order = order[np.argsort(targets[order], kind="stable")]
    place = np.empty(len(targets), dtype=np.int64)
    place[order] = np.arange(len(targets))
    return place


def row_weights(
    targets: npt.NDArray[np.int64],
    classes: npt.NDArray[Any],
    subsets: Sequence[npt.NDArray[np.bool_]],
    class_weight: Any,
) -> npt.NDArray[np.float64]:
    """Returns (n, subsets) weights of the rows: zero outside a subset, else that of their class.

    Raises:
        InputError: if ``class_weight`` cannot be used.
    """
    weights = np.stack(subsets, axis=1).astype(np.float64)
    if class_weight is None:
        return weights
    if targets.ndim == 2:
        raise InputError(f"{FUNCTION}: class_weight: expected None with several labels a row; got {class_weight!r}")
    c = len(classes)
    if isinstance(class_weight, str):
        arguments.one_of(FUNCTION, "class_weight", class_weight, ("balanced",))
        counts = np.stack([np.bincount(targets[subset], minlength=c) for subset in subsets], axis=1)
        return np.asarray(weights * (weights.sum(0) / (c * np.maximum(counts, 1)))[targets])
    given = class_weight if isinstance(class_weight, Mapping) else {}
    usable = [isinstance(value, (int, float, np.number)) and 0.0 < value < np.inf for value in given.values()]
    strange = any(label not in classes.tolist() for label in given)
    if strange or not all(usable) or not isinstance(class_weight, Mapping):
        raise InputError(
            f"{FUNCTION}: class_weight: expected 'balanced', or positive weights of labels of train; got "
            f"{class_weight!r}"
        )
    factors = np.array([float(given.get(label, 1.0)) for label in classes.tolist()])
    return np.asarray(weights * factors[targets][:, None])
