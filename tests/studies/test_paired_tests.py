from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

import featdiv


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 1), (1, 5), (30, 30), (200, 150)])
def test_mcnemar_is_the_binomial_test_of_the_images_on_which_they_differ(only_first, only_second):
    first = np.repeat([1, 0, 1, 0], [only_first, only_second, 40, 10])
    second = np.repeat([0, 1, 1, 0], [only_first, only_second, 40, 10])
    found = featdiv.mcnemar(first, second)
    differ = only_first + only_second
    expected = scipy.stats.binomtest(only_first, differ).pvalue if differ else 1.0
    assert float(found) == pytest.approx(expected, rel=1e-10)
    assert found.details["difference"] == pytest.approx((only_first - only_second) / len(first))


def test_permutation_of_accuracy_is_mcnemar():
    rng = np.random.default_rng(0)
    first, second = rng.random(400) < 0.8, rng.random(400) < 0.74
    exact = float(featdiv.mcnemar(first, second))
    found = featdiv.permutation_test(first, second)
    assert abs(float(found) - exact) < 4 * found.details["standard_error"] + 1e-5


def test_mean_per_class_by_enumeration():
    # Classes of 2 and 4 images, 3 images on which the models differ: 8 equally likely swaps.
    first = np.array([1, 1, 1, 0, 1, 1])
    second = np.array([0, 1, 0, 1, 1, 1])
    labels = np.array(["a", "a", "b", "b", "b", "b"])
    weights = np.array([1 / 4, 1 / 8, 1 / 8])
    signs = np.array(np.meshgrid(*[[1, -1]] * 3)).reshape(3, -1)
    exact = np.mean(np.abs(weights @ signs) >= 1 / 4)
    found = featdiv.permutation_test(first, second, labels=labels, draws=50_000)
    assert found.details["difference"] == pytest.approx(1 / 4)
    assert float(found) == pytest.approx(exact, abs=0.01)
    assert float(found) == float(featdiv.permutation_test(first, second, labels=labels, draws=50_000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 0], [1, 0, 1]), "other_correct: expected the 2 test images of correct; got 3"),
        (([], []), r"correct: expected one entry for each test image; got shape \(0,\)"),
        (([3, 4], [3, 5]), "correct: expected 0 and 1, or booleans"),
    ],
)
def test_what_cannot_be_done(arguments, message):
    for function in (featdiv.mcnemar, featdiv.permutation_test):
        with pytest.raises(featdiv.InputError, match=message):
            function(*arguments)


def test_labels_of_another_length():
    with pytest.raises(featdiv.InputError, match="labels: expected shape"):
        featdiv.permutation_test([1, 0], [0, 1], labels=[0])


@pytest.mark.parametrize("arguments", [{"draws": 0}, {"draws": 2.5}, {"seed": -1}])
def test_draws_and_seeds_are_whole_numbers(arguments):
    with pytest.raises(featdiv.InputError, match=f"permutation_test: {next(iter(arguments))}: expected a"):
        featdiv.permutation_test([1, 0], [0, 1], **arguments)
