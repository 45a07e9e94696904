"""Runs the command line inside the test, and makes files whose scores are known on paper."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from featdiv.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calls ``featdiv`` with the arguments, in an empty folder; returns exit_code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def axes(scales, repeats=16):
    """Rows ±scale along each axis, repeated: centred, singular values sqrt(2 repeats) times the scales."""
    scales = np.asarray(scales, dtype=np.float64)
    return np.tile(np.concatenate([np.diag(scales), -np.diag(scales)]), (repeats, 1))


@pytest.fixture
def isotropic(tmp_path):
    """128 x 4 rows whose four singular values are equal: every rank measure is 4."""
    path = tmp_path / "isotropic.npy"
    np.save(path, axes([1, 1, 1, 1]))
    return path


@pytest.fixture
def stretched(tmp_path):
    """128 x 4 rows, singular values in the ratio 3:1:1:1: participation ratio 12²/84, stable rank 12/9."""
    path = tmp_path / "stretched.npy"
    np.save(path, axes([3, 1, 1, 1]))
    return path
