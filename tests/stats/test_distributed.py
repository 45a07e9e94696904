"""Two gloo processes, started once, reduce in many ways; the tests look at what they wrote."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch.distributed

from featdiv.errors import InputError
from featdiv.stats import ClassMoments, Moments
from featdiv.testing.compare import assert_close_statistic

WORKER = Path(__file__).with_name("distributed_worker.py")

_spec = importlib.util.spec_from_file_location("distributed_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)

WORKING = list(worker.moments_of(0))

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this build of torch has no gloo process groups",
)


@pytest.fixture(scope="module")
def folder(run_ranks, tmp_path_factory) -> Path:
    """Where the two processes have left their results."""
    folder = tmp_path_factory.mktemp("gloo")
    run_ranks(WORKER, folder / "meeting point", folder, timeout=120)
    return folder


def reduced(folder: Path, name: str, rank: int) -> Moments | ClassMoments:
    kind = type(worker.moments_of(0)[name])
    return kind.load(folder / f"{name}.{rank}.npz")


@pytest.mark.parametrize("name", WORKING)
def test_every_rank_gets_the_same_bits(folder, name):
    assert (folder / f"{name}.0.npz").read_bytes() == (folder / f"{name}.1.npz").read_bytes()


@pytest.mark.parametrize("name", WORKING)
def test_the_result_is_the_merge_in_rank_order(folder, name):
    expected = worker.moments_of(0)[name].merge(worker.moments_of(1)[name])
    assert_close_statistic(reduced(folder, name, 1), expected, 1e-15, skip=("measured_error",))


def test_the_result_is_that_of_all_rows_together(folder):
    import numpy as np

    rows = np.concatenate([worker.rows_of(0), worker.rows_of(1)])
    labels = np.concatenate([worker.labels_of(0), worker.labels_of(1)])
    direct = Moments.of(rows, precision="float64", norm_sums=True)
    assert_close_statistic(reduced(folder, "norm sums", 0), direct, 1e-10)
    by_class = ClassMoments.of(rows, worker.NAMES[labels], precision="float64")
    assert_close_statistic(reduced(folder, "names", 0), by_class, 1e-10)


def test_provenance_is_merged(folder):
    merged = reduced(folder, "provenance", 0)
    assert (merged.dtype, merged.backend) == ("mixed", "numpy,torch")
    assert merged.extraction == {"model": worker.NAMES[4]}


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("d", "6", "5"),
        ("normalize", "None", "'l2'"),
        ("norm_sums", "False", "True"),
        ("per_class", "False", "True"),
        ("labels", "integers", "strings"),
        ("statistic", "Moments", "ClassMoments"),
    ],
)
def test_a_mismatch_is_an_error_on_every_rank(folder, name, first, second):
    for rank in (0, 1):
        error = json.loads((folder / f"errors.{rank}.json").read_text())[name]
        assert error.startswith("InputError: ")
        assert f"{name}: expected the same on every rank; rank 0 has {first} and rank 1 has {second}." in error


def test_a_group_of_one_returns_what_it_was_given(folder):
    alone = Moments.load(folder / "alone.1.npz")
    assert_close_statistic(alone, worker.exact(worker.rows_of(1)), 0.0)


def test_a_process_outside_the_group_is_told(folder):
    error = json.loads((folder / "errors.0.json").read_text())["group"]
    assert "expected a group with this process in it" in error


def test_without_a_process_group():
    with pytest.raises(InputError, match=r"Moments\.all_reduce: group: .*init_process_group"):
        Moments.empty(3).all_reduce()
