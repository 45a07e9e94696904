"""Two models on one test set: is the difference of their accuracies more than chance?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import InputError
from featdiv.io.embeddings import positive
from featdiv.results import Provenance, Score
from featdiv.stats import arguments


def mcnemar(correct: Any, other_correct: Any) -> Score:
    """Exact McNemar test of two models on one test set.

    Of the images on which one model is right and the other wrong, each is as likely to be one's as the other's
    if the models are equally good: ``p = min(1, 2 P(B <= min(a, b)))`` with B binomial of a + b draws at 1/2, a
    and b the images that only the first, and only the second, gets right. O(n).

    Args:
        correct: (n,) whether the first model is right on each test image.
        other_correct: (n,) the same of the second model, on the same images in the same order.

    Returns:
        A `Score` named ``p_value``; ``details`` hold ``difference`` of the accuracies, ``only_first`` and
        ``only_second``. Without an image on which they differ, p is 1.

    Raises:
        InputError: if the two are not of one length, empty, or not of 0 and 1.

    Source: McNemar (1947); Kornblith et al. (2019) compare networks by it.

    Example:
        >>> import featdiv
        >>> test = featdiv.mcnemar([1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 0, 1])
        >>> test.details["only_first"], test.details["only_second"], float(test)
        (5, 1, 0.21875)
    """
    from scipy.stats import binom

    function = "featdiv.mcnemar"
    first, second = _pair(correct, other_correct, function)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p = 1.0 if not discordant else min(1.0, 2.0 * float(binom.cdf(min(only_first, only_second), discordant, 0.5)))
    return Score(
        name="p_value",
        scores={"p_value": p},
        details={
            "difference": (only_first - only_second) / len(first),
            "only_first": only_first,
            "only_second": only_second,
        },
        provenance=Provenance(function=function, version=__version__, method="exact", n=len(first)),
    )


def permutation_test(
    correct: Any, other_correct: Any, *, labels: Any = None, draws: int = 100_000, seed: int = 0
) -> Score:
    """Permutation test of two models on one test set, for accuracy or mean accuracy per class.

    In each draw the predictions of the two models are swapped with probability 1/2 on each image;
    ``p = (1 + #{draws with abs(difference) >= observed}) / (1 + draws)``. For accuracy this is `mcnemar`,
    estimated; what it adds is the mean over classes. Not for average precision. O(n + draws classes).

    Args:
        correct: (n,) whether the first model is right on each test image.
        other_correct: (n,) the same of the second model.
        labels: (n,) class of each image, for the mean accuracy per class; None for accuracy.
        draws: number of draws.
        seed: seed of the draws.

    Returns:
        A `Score` named ``p_value``; ``details`` hold the ``difference`` and the Monte Carlo ``standard_error`` of p.

    Raises:
        InputError: if the three are not of one length, empty, or the first two not of 0 and 1; if draws < 1.

    Source: Chen et al. (2020), SimCLR, appendix B.8.1, after Kornblith et al. (2019).

    Example:
        >>> import featdiv
        >>> test = featdiv.permutation_test([1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 0, 1])
        >>> round(float(test), 2)                                          # the exact test gives 0.21875
        0.22
    """
    function = "featdiv.permutation_test"
    first, second = _pair(correct, other_correct, function)
    draws = positive(draws, f"{function}: draws")
    arguments.check_seed(function, seed)
    classes: npt.NDArray[np.int64] = np.zeros(len(first), dtype=np.int64)
    if labels is not None:
        given = np.asarray(labels)
        if given.shape != first.shape:
            raise InputError(f"{function}: labels: expected shape {first.shape}; got {given.shape}")
        classes = np.unique(given, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(classes)
    weights = 1.0 / (len(sizes) * sizes)
    for_first = np.bincount(classes[first & ~second], minlength=len(sizes))
    discordant = np.bincount(classes[first ^ second], minlength=len(sizes))
    observed = float((weights * (2 * for_first - discordant)).sum())
    rng = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    for weight, count in zip(weights, discordant, strict=True):
        if count:
            drawn += weight * (2 * rng.binomial(count, 0.5, size=draws) - count)
    # Differences are sums of few distinct weights: equal ones must not be parted by rounding.
    extreme = int((np.abs(drawn) >= abs(observed) - 1e-12).sum())
    p = (1 + extreme) / (1 + draws)
    return Score(
        name="p_value",
        scores={"p_value": p},
        details={"difference": observed, "standard_error": float(np.sqrt(p * (1.0 - p) / draws))},
        provenance=Provenance(
            function=function,
            version=__version__,
            arguments={"draws": draws, "per_class": labels is not None},
            method="Monte Carlo",
            n=len(first),
            seed=seed,
        ),
    )


def _pair(correct: Any, other_correct: Any, function: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    arrays = []
    for argument, value in (("correct", correct), ("other_correct", other_correct)):
        array = np.asarray(value)
        if array.ndim != 1 or not array.size:
            raise InputError(f"{function}: {argument}: expected one entry for each test image; got shape {array.shape}")
        if array.dtype != np.bool_ and not (np.issubdtype(array.dtype, np.number) and np.isin(array, (0, 1)).all()):
            raise InputError(
                f"{function}: {argument}: expected 0 and 1, or booleans: whether each prediction is right; got "
                f"{array.dtype} with other values. Compare predictions with labels first"
            )
        arrays.append(array.astype(np.bool_))
    if len(arrays[0]) != len(arrays[1]):
        raise InputError(
            f"{function}: other_correct: expected the {len(arrays[0])} test images of correct; got {len(arrays[1])}"
        )
    return arrays[0], arrays[1]
