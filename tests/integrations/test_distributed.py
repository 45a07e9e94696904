"""Two gloo processes with unequal batches, started once, follow their rows by every integration that is installed."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("distributed_worker.py")

_spec = importlib.util.spec_from_file_location("integrations_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)

pytestmark = [
    pytest.mark.slow,  # for the imports of the frameworks
    pytest.mark.skipif(
        not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
        reason="this build of torch has no gloo process groups",
    ),
]

BATCHES = [worker.batches_of(rank) for rank in (0, 1)]
ALL = torch.cat([batch for batches in BATCHES for batch in batches])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def found(run_ranks, tmp_path_factory) -> list[dict]:
    """What each process wrote."""
    folder = tmp_path_factory.mktemp("gloo")
    run_ranks(WORKER, free_port(), folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture
def of(found):
    """The results of both ranks by one integration."""

    def results(name: str) -> list[dict]:
        if name not in found[0]:
            pytest.skip(f"{name} is not installed; pip install 'featdiv[{name}]' installs it")
        return [rank[name] for rank in found]

    return results


@pytest.mark.parametrize("name", worker.SCORES)
def test_torchmetrics_scores_the_rows_of_both_ranks(of, truth, name):
    for rank in of("torchmetrics"):
        assert rank[name] == pytest.approx(truth(ALL, name), rel=1e-9)


def test_torchmetrics_states_are_the_same_bits_on_every_rank(of):
    first, second = of("torchmetrics")
    assert first["bits"] == second["bits"]


def test_torchmetrics_windows_are_those_of_every_rank(of, truth):
    latest = torch.cat([batch for batches in BATCHES for batch in batches[-2:]])
    for rank in of("torchmetrics"):
        assert rank["window"] == pytest.approx(truth(latest, "effective_rank"), rel=1e-9)


def test_torchmetrics_with_a_rank_that_saw_nothing(of, truth):
    for rank in of("torchmetrics"):
        assert rank["only first"] == pytest.approx(truth(torch.cat(BATCHES[0]), "rankme"), rel=1e-9)


@pytest.mark.parametrize("name", worker.SCORES)
def test_a_watched_layer_scores_the_rows_of_both_ranks(of, truth, name):
    for rank in of("watcher"):
        assert rank["both"][name] == pytest.approx(truth(ALL, name), rel=1e-9)
        assert rank["only first"][name] == pytest.approx(truth(BATCHES[0][0], name), rel=1e-9)
        assert rank["nothing"] == {}


def test_an_error_on_one_rank_is_one_on_all(of):
    # Rank 1 divides by zero.
    first, second = of("watcher")
    assert "rows of another rank cannot be used" in first["error"]
    assert "33 rows held NaN or infinity" in second["error"]


@pytest.mark.parametrize("name", worker.SCORES)
def test_lightning_logs_the_rows_of_both_ranks(of, truth, name):
    for rank in of("lightning"):
        assert rank[name] == pytest.approx(truth(ALL, name), rel=1e-6)


@pytest.mark.parametrize("name", worker.SCORES)
def test_the_trainer_logs_the_rows_of_both_ranks(of, truth, name):
    for rank in of("transformers"):
        assert rank[name] == pytest.approx(truth(torch.cat(BATCHES[0])[:128], name), rel=1e-9)
