"""Two gloo processes, started once, reduce; the tests look at what they wrote."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch.distributed

from featdiv import CrossMoments, InputError
from featdiv.testing.compare import assert_close_statistic

WORKER = Path(__file__).with_name("cross_moments_worker.py")

_spec = importlib.util.spec_from_file_location("cross_moments_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)

needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this build of torch has no gloo process groups",
)


@pytest.fixture(scope="module")
def folder(run_ranks, tmp_path_factory) -> Path:
    """Where the two processes have left their results."""
    folder = tmp_path_factory.mktemp("gloo")
    run_ranks(WORKER, folder / "meeting point", folder, timeout=120)
    return folder


@needs_gloo
@pytest.mark.parametrize("rank", [0, 1])
def test_every_rank_has_the_merge(folder, rank):
    expected = worker.statistic_of(0).merge(worker.statistic_of(1))
    assert_close_statistic(CrossMoments.load(folder / f"both.{rank}.npz"), expected, 1e-12)


@needs_gloo
def test_the_ranks_have_the_same_bits(folder):
    assert (folder / "both.0.npz").read_bytes() == (folder / "both.1.npz").read_bytes()


@needs_gloo
def test_a_rank_without_rows_changes_nothing(folder):
    found = CrossMoments.load(folder / "second empty.1.npz")
    assert_close_statistic(found, worker.statistic_of(0), 1e-14)


@needs_gloo
def test_models_that_differ_fail_everywhere(folder):
    texts = [(folder / f"error.{rank}.txt").read_text() for rank in (0, 1)]
    assert texts[0] == texts[1]
    assert (
        "models: expected the same names and features on every rank, in the same order; rank 0 and rank 1" in texts[0]
    )


@needs_gloo
def test_a_process_outside_of_the_group_is_refused(folder):
    assert "with this process in it; it is not a member" in (folder / "group.0.txt").read_text()
    assert not (folder / "group.1.txt").exists()


def test_no_process_group_is_an_error():
    with pytest.raises(InputError, match=r"CrossMoments\.all_reduce: group: expected a running process group"):
        CrossMoments.empty({"a": 2}).all_reduce()
