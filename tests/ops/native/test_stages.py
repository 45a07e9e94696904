"""The stage times of the native kernels: there while they are watched, and no longer than the threads had."""

from __future__ import annotations

import time

import numpy as np
import pytest

from featdiv.ops import _native
from featdiv.ops.class_scatter import class_scatter
from featdiv.ops.pair_sums import pair_sums
from featdiv.ops.scatter import Sums, scatter
from featdiv.ops.topk import topk

ROWS = np.random.default_rng(0).normal(size=(3000, 96)).astype(np.float32)


def moments():
    scatter(ROWS, Sums.zeros(96), backend="native")


def moments_of_classes():
    class_scatter(ROWS, np.arange(3000) % 30, classes=30, backend="native")


def histogram_of_pairs():
    pair_sums(ROWS, measure="cosine", bins=32, backend="native")


def neighbours():
    topk(ROWS, ROWS, k=20, measure="inner", backend="native")


JOBS = [moments, moments_of_classes, histogram_of_pairs, neighbours]


@pytest.fixture
def module():
    loaded = _native.module()
    yield loaded
    loaded.watch_stages(False)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_every_stage_takes_time_and_all_together_no_more_than_the_threads_had(module, job):
    module.watch_stages(True)
    start = time.perf_counter()
    job()
    elapsed = time.perf_counter() - start
    pack, product, flush = module.stage_seconds()
    assert min(pack, product, flush) > 0
    assert pack + product + flush <= _native.threads() * elapsed


def test_nothing_is_counted_unwatched_and_watching_starts_from_zero(module):
    module.watch_stages(True)
    moments()
    module.watch_stages(False)
    moments()
    assert module.stage_seconds() == (0.0, 0.0, 0.0)
