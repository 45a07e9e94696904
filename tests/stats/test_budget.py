import pytest

from featdiv.errors import BudgetExceeded
from featdiv.stats import budget


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (48_600, "48.6 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (64 * 10**6, "64 MB"),
        (8 * 10**9, "8 GB"),
        (25_500_000_000_000, "25.5 TB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_fits_it(count, shown):
    assert budget.size(count) == shown


@pytest.mark.parametrize("text", ["1 kB", "48.6 kB", "2 GB"])
def test_a_size_that_was_printed_can_be_given_as_a_budget(text):
    assert budget.size(budget.budget_bytes(text, function="f")) == text


def test_a_small_need_is_not_shown_as_a_power_of_ten_of_gigabytes():
    with pytest.raises(BudgetExceeded, match=r"^f: memory: the rows need 48\.6 kB; the budget is 1 kB\. Take fewer\.$"):
        budget.require(48_600, 1000, function="f", what="the rows", advice="Take fewer.")
