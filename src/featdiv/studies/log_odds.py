"""Log odds: accuracies on the scale on which equal steps mean equal changes of the odds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.results import Provenance, Score
from featdiv.stats.moments import Float64Array
from featdiv.studies import tables

SCALES = ("fraction", "percent", "raw")

CLIP = "give test_images=, the number of test images, so that such values are clipped to half an image from the end"


def log_odds(accuracies: Any, *, scale: str = "fraction", test_images: int | Mapping[str, int] | None = None) -> Score:
    """Mean of the logits of accuracies over data sets: ``mean ln(p / (1 - p))``.

    The mean of the logits, not the logit of the mean. With ``test_images=m`` an accuracy is first clipped to
    [1/(2m), 1 - 1/(2m)], half an image away from none and from all, so that 0 and 1 have a finite value. O(datasets).

    Args:
        accuracies: a mapping from data set to accuracy.
        scale: ``"fraction"`` for accuracies in [0, 1], ``"percent"`` for [0, 100].
        test_images: number of test images, one for all or a mapping by data set; None clips nothing.

    Returns:
        A `Score` named ``log_odds``; ``details`` holds the logit of each data set.

    Raises:
        InputError: if an accuracy lies outside its scale, or is missing, or is 0 or 1 without ``test_images``.

    Source: Kornblith et al. (2019), section 3; Sariyildiz et al. (2023) average likewise.

    Example:
        >>> import featdiv
        >>> round(float(featdiv.log_odds({"pets": 0.9, "cars": 0.5})), 4)      # (ln 9 + 0) / 2
        1.0986
    """
    function = "featdiv.log_odds"
    table = tables.read(accuracies, function=function, argument="accuracies")
    if table.datasets != ("",):
        raise InputError(f"{function}: accuracies: expected a mapping from data sets to accuracies; got a table")
    logits = logit(
        table.values.T, scale, test_images, table.models, function=function, argument="accuracies", scales=SCALES[:2]
    )[0]
    missing = [name for name, value in zip(table.models, logits, strict=True) if np.isnan(value)]
    if missing:
        raise NotEnoughData(f"{function}: accuracies: expected a value for every data set; {missing[0]!r} has none")
    return Score(
        name="log_odds",
        scores={"log_odds": float(logits.mean())},
        details={"logits": dict(zip(table.models, logits.tolist(), strict=True))},
        provenance=Provenance(
            function=function,
            version=__version__,
            arguments={"scale": scale, "test_images": test_images},
            n=len(table.models),
        ),
    )


def logit(
    values: Float64Array,
    scale: str,
    test_images: int | Mapping[str, int] | None,
    datasets: tuple[str, ...],
    *,
    function: str,
    argument: str,
    scales: tuple[str, ...] = SCALES,
    at_ends: str = CLIP,
) -> Float64Array:
    """Returns (models, data sets) logits of values on a scale; values on the scale ``"raw"`` as they are.

    Args:
        values: (models, data sets), NaN where missing.
        scale: one of `SCALES`.
        test_images: number of test images, one for all or by data set; None clips nothing.
        datasets: names of the columns.
        function: who asks, for the errors.
        argument: of which argument, for the errors.
        scales: the scales that this argument may have.
        at_ends: what to do about values at the ends of the scale, for the error.

    Raises:
        InputError: if a value lies outside its scale, or at its end without ``test_images``.
    """
    if scale not in scales:
        raise InputError(f"{function}: {argument}: expected a scale among {', '.join(scales)}; got {scale!r}")
    if scale == "raw":
        return values
    top = 1.0 if scale == "fraction" else 100.0
    outside = values[(values < 0.0) | (values > top)]
    if outside.size:
        hint = "; give scale 'percent'" if scale == "fraction" and outside.max() <= 100.0 and outside.min() >= 0 else ""
        raise InputError(
            f"{function}: {argument}: expected values in [0, {top:g}] on the scale {scale!r}; got {outside[0]:g}{hint}"
        )
    p = values / top
    if test_images is not None:
        half = np.array([0.5 / _images(test_images, name, function) for name in datasets])
        p = np.clip(p, half, 1.0 - half)
    elif ((p == 0.0) | (p == 1.0)).any():
        raise InputError(f"{function}: {argument}: the logit of 0 or {top:g} is infinite; {at_ends}")
    return np.log(p) - np.log1p(-p)


def _images(test_images: int | Mapping[str, int], name: str, function: str) -> int:
    if isinstance(test_images, Mapping):
        if name not in test_images:
            raise InputError(f"{function}: test_images: expected a number of images for {name!r}; it has none")
        count = test_images[name]
    else:
        count = test_images
    if isinstance(count, bool) or count != int(count) or count < 1:
        raise InputError(f"{function}: test_images: expected a whole number of images, at least 1; got {count!r}")
    return int(count)
