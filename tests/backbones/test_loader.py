"""How workers start, what is sent to them, and what a batch asks a dataset for."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from multiprocessing.reduction import ForkingPickler

import pytest

from featdiv.backbones.loader import ForLoader, loaded, start_method
from featdiv.errors import InputError


class Squares:
    """A dataset that notes how it is asked; a function in it may keep it from being sent."""

    def __init__(self, change=None):
        self.asked = []
        self.change = change

    def __len__(self):
        return 5

    def __getitem__(self, index):
        self.asked.append(index)
        return index**2


class AtOnce(Squares):
    def __getitems__(self, indices):
        self.asked.append(list(indices))
        return [index**2 for index in indices]


def batches(dataset, **arguments):
    collate = arguments.pop("collate", list)
    return list(loaded(dataset, batch_size=2, workers=0, device="cpu", collate=collate, function="f", **arguments))


def test_a_dataset_that_gives_batches_is_asked_for_batches():
    one_by_one, at_once = Squares(), AtOnce()
    assert batches(one_by_one) == batches(at_once) == [[0, 1], [4, 9], [16]]
    assert one_by_one.asked == [0, 1, 2, 3, 4]
    assert at_once.asked == [[0, 1], [2, 3], [4]]


def test_an_error_in_a_batch_is_raised_as_it_is():
    error = InputError("f: broken")
    with pytest.raises(InputError) as caught:
        batches(Squares(), collate=lambda items: error if 9 in items else items)
    assert caught.value is error


def test_what_a_module_defines_is_sent_to_workers_that_start_anew():
    sent = pickle.loads(ForkingPickler.dumps(ForLoader(Squares(len), "f")))
    assert (sent.function, sent.dataset.change, sent[3]) == ("f", len, 9)


def test_what_cannot_be_sent_to_them_is_refused_with_what_to_do():
    with pytest.raises(InputError, match=r"^f: workers: .* cannot be sent .*lambda.*workers=0$"):
        ForkingPickler.dumps(ForLoader(Squares(lambda image: image), "f"))


@pytest.mark.parametrize(
    ("system", "chosen", "expected"),
    [("linux", None, "fork"), ("linux", "forkserver", None), ("linux", "spawn", None), ("darwin", None, None)],
)
def test_workers_are_forked_on_linux_unless_the_program_has_chosen(monkeypatch, system, chosen, expected):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: chosen)
    assert start_method() == expected
