"""What error messages tell a user to do: the arguments that they name are arguments of the function that was called."""

from __future__ import annotations

import contextlib
import inspect
import re

import numpy as np
import pytest

import featdiv
from featdiv.errors import InputError, NonFiniteError, ZeroNormError

ADVICE = re.compile(r"\b(nonfinite|ignore|normalize)=(?:'drop'|-1|None)")
N = 120
FUNCTIONS = {
    name: getattr(featdiv, name)
    for name, module in featdiv._PUBLIC.items()
    if module.startswith(("featdiv.metrics.", "featdiv.analyses", "featdiv.probes"))
    and inspect.isfunction(getattr(featdiv, name))
}
OF_ROWS = {
    name: function
    for name, function in FUNCTIONS.items()
    if next(iter(inspect.signature(function).parameters)) in ("x", "train") and name != "spectra"
}
LABELLED = [
    name
    for name, function in OF_ROWS.items()
    if "labels" in inspect.signature(function).parameters and name != "spectrum"
]


def call(function, x, y):
    """Calls a function of rows with the labels and the second representation that it needs."""
    parameters = inspect.signature(function).parameters
    given = {"labels": y} if "labels" in parameters else {}
    if "other" in parameters and function is not featdiv.directions:
        given["other"] = np.random.default_rng(1).normal(size=x.shape)
    if function is featdiv.fewshot_probe:
        given |= {"shots": 1, "ways": 2, "episodes": 40}
    return function(x, **given)


def require_known(message, function):
    unknown = {found[1] for found in ADVICE.finditer(message)} - set(inspect.signature(function).parameters)
    assert not unknown, f"{message!r} advises what {function.__name__} does not take"


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(N, 12)), np.arange(N) % 3


@pytest.mark.parametrize("name", OF_ROWS)
def test_rows_with_nan(name, rows):
    x, y = rows
    x[7, 3] = np.nan
    with pytest.raises(NonFiniteError, match=r"\brow 7\b") as caught:
        call(OF_ROWS[name], x, y)
    require_known(str(caught.value), OF_ROWS[name])
    assert caught.value.first_row == 7


@pytest.mark.parametrize("name", OF_ROWS)
@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_zero_rows(name, rows):
    x, y = rows
    x[5] = 0.0
    with contextlib.suppress(featdiv.NotEnoughData):  # a power law of 12 features, a correlation of zeros
        try:
            call(OF_ROWS[name], x, y)
        except ZeroNormError as error:
            require_known(str(error), OF_ROWS[name])


@pytest.mark.parametrize("name", LABELLED)
def test_a_missing_label(name, rows):
    x, y = rows
    with pytest.raises(InputError, match="-1, which marks a missing label") as caught:
        call(OF_ROWS[name], x, np.where(np.arange(N) < 4, -1, y))
    require_known(str(caught.value), OF_ROWS[name])


def test_the_pattern_sees_wrong_advice():
    with pytest.raises(AssertionError, match="advises what rankme does not take"):
        require_known("Use nonfinite='drop' to leave such rows out.", featdiv.rankme)
    require_known("Use nonfinite='drop' to leave such rows out.", featdiv.spectrum)


SEEDED = [name for name, function in OF_ROWS.items() if "seed" in inspect.signature(function).parameters]


@pytest.mark.parametrize("name", [name for name in SEEDED if name != "linear_probe"])
@pytest.mark.parametrize("seed", [-1, 1.5, "a", None, True])
def test_a_seed_that_is_no_whole_number_is_refused_before_work_starts(name, seed, rows):
    x, y = rows
    x[0, 0] = np.nan  # which no function has seen yet
    function = OF_ROWS[name]
    given = {"labels": y} if name != "spectrum" and "labels" in inspect.signature(function).parameters else {}
    if "other" in inspect.signature(function).parameters:
        given["other"] = x
    with pytest.raises(InputError, match=r"seed: expected a whole number of at least 0; got"):
        function(x, seed=seed, **given)
