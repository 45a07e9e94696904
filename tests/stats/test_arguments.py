from __future__ import annotations

import inspect

import numpy as np
import pytest

import featdiv
from featdiv import InputError
from featdiv.stats import arguments, budget


@pytest.mark.parametrize("value", ["three", ["one"], np.array(["one", "two"]), 1, {}])
def test_what_is_none_of_the_words_is_refused_whatever_it_is(value):
    with pytest.raises(InputError, match=r"^f: a: expected one of 'one', None; got "):
        arguments.one_of("f", "a", value, ("one", None))
    with pytest.raises(InputError, match=r"^f: backend: expected 'auto' or one of "):
        arguments.check("f", backend=value)


@pytest.mark.parametrize("value", ["2", None, [1.0], np.array([1.0, 2.0]), True, float("nan"), -1.0, 1j])
def test_what_is_no_number_in_range_is_refused_whatever_it_is(value):
    with pytest.raises(InputError, match=r"^f: a: expected a share above 0; got "):
        arguments.number("f", "a", value, "a share above 0", lambda share: 0.0 < share <= 1.0)


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1.0), np.int64(1)])
def test_numbers_of_any_type_become_floats(value):
    found = arguments.number("f", "a", value, "a share above 0", lambda share: 0.0 < share <= 1.0)
    assert type(found) is float
    assert found == 1.0


@pytest.mark.parametrize("memory", [0, -5, float("inf"), float("nan"), True, "lots", "-1GB", [1], ""])
def test_what_is_no_amount_of_memory_is_refused(memory):
    with pytest.raises(InputError, match=r"^f: memory: expected bytes or text such as '2GB'; got "):
        budget.budget_bytes(memory, function="f")


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_statistics_refuse_a_seed_before_anything_is_read(seed):
    for read in (
        lambda: featdiv.Moments.from_source("nowhere.npy", seed=seed),
        lambda: featdiv.ClassMoments.from_source("nowhere.npy", labels=[0], seed=seed),
        lambda: featdiv.CrossMoments.from_sources({"a": "nowhere.npy"}, seed=seed),
    ):
        with pytest.raises(InputError, match=r"from_sources?: seed: expected a whole number of at least 0; got"):
            read()


@pytest.mark.parametrize("device", ["nonsense", 1.5, ["cpu"]])
def test_what_is_no_device_is_refused_before_anything_is_read(device):
    with pytest.raises(InputError, match=r"Moments\.from_source: device: expected a device of this machine"):
        featdiv.Moments.from_source("nowhere.npy", device=device)


def taking(argument):
    """Returns the public functions that take an argument of that name."""
    functions = [getattr(featdiv, name) for name in featdiv._PUBLIC]
    return [one for one in functions if inspect.isfunction(one) and argument in inspect.signature(one).parameters]


@pytest.mark.parametrize("value", [[0], np.array([0, 1]), 0.5])
@pytest.mark.parametrize("function", taking("ignore"), ids=lambda function: function.__name__)
def test_what_is_no_label_is_refused_by_all_that_take_one(function, value):
    first = next(iter(inspect.signature(function).parameters))
    rows = np.full((12, 4), 0.25) if first == "source_probs" else np.random.default_rng(0).normal(size=(12, 4))
    with pytest.raises(InputError, match=rf"{function.__name__}(: train)?: ignore: expected one label, .*; got "):
        function(rows, labels=np.arange(12) % 3, ignore=value)


@pytest.mark.parametrize("value", ["yes", None, 1, np.array([True, False])])
@pytest.mark.parametrize("function", taking("center"), ids=lambda function: function.__name__)
def test_what_is_neither_true_nor_false_is_refused_by_all_that_center(function, value):
    with pytest.raises(InputError, match=rf"{function.__name__}: center: expected True or False; got "):
        function(np.eye(12), center=value)


def test_labels_and_truths_of_numpy_are_taken():
    arguments.check("f", center=np.bool_(False), ignore=np.int64(-1))
    arguments.check("f", ignore=np.str_("unknown"))
