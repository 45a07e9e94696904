from __future__ import annotations

import threading
import time

import pytest

from featdiv.io.lookahead import ordered


def _run(sizes):
    def run(task, state):
        state[task] = True
        for block in range(sizes[task]):
            yield task, block

    return run


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_order(threads):
    sizes = [3, 0, 1, 7, 2, 0, 5]
    found = list(ordered(range(7), _run(sizes), dict.clear, threads=threads))
    assert found == [(task, block) for task, size in enumerate(sizes) for block in range(size)]


def test_it_runs_only_a_little_ahead():
    begun = []

    def run(task, state):
        begun.append(task)
        yield task

    blocks = ordered(range(50), run, dict.clear, threads=2)
    next(blocks)
    time.sleep(0.3)
    assert len(begun) <= 4
    blocks.close()


def test_a_long_task_is_held_back():
    made = []

    def run(task, state):
        for block in range(1000):
            made.append(block)
            yield block

    blocks = ordered([0], run, dict.clear, threads=1)
    next(blocks)
    time.sleep(0.3)
    assert len(made) <= 5
    blocks.close()


def test_an_error_comes_in_its_place():
    def run(task, state):
        if task == 2:
            raise KeyError("broken")
        yield task

    blocks = ordered(range(5), run, dict.clear, threads=2)
    assert [next(blocks), next(blocks)] == [0, 1]
    with pytest.raises(KeyError, match="broken"):
        next(blocks)


def test_threads_end_and_states_are_finished():
    finished = []
    before = threading.active_count()
    blocks = ordered(range(5), _run([2] * 5), lambda state: finished.append(len(state)), threads=2)
    next(blocks)
    blocks.close()
    assert threading.active_count() == before
    assert len(finished) == 2
