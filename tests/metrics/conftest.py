"""Statistics built by hand, so that the scores are tested against NumPy alone, not the scatter op."""

from __future__ import annotations

import numpy as np
import pytest

from featdiv import ClassMoments, Eigenvalues, Moments


def moments_by_hand(x, normalize=None):
    x = np.asarray(x, dtype=np.float64)
    if normalize == "l2":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    mean = x.mean(axis=0)
    centred = x - mean
    return Moments(n=len(x), mean=mean, scatter=centred.T @ centred, normalize=normalize)


def eigenvalues_by_hand(values, n=10_000, d=None, centered=True, floor=1.5e-8, unit_rows=False, total=None):
    values = np.asarray(values, dtype=np.float64)
    return Eigenvalues(
        values=values,
        n=n,
        d=values.size if d is None else d,
        centered=centered,
        floor=floor,
        total=float(values.sum()) if total is None else total,
        unit_rows=unit_rows,
    )


def class_moments_by_hand(x, labels, normalize=None, per_class=True):
    parts = {label: moments_by_hand(x[labels == label], normalize) for label in np.unique(labels).tolist()}
    scatters = np.array([part.scatter for part in parts.values()])
    return ClassMoments(
        classes=np.array(list(parts)),
        counts=np.array([part.n for part in parts.values()]),
        means=np.array([part.mean for part in parts.values()]),
        within=scatters.sum(axis=0),
        scatters=scatters if per_class else None,
        normalize=normalize,
    )


def uneven_labels(n):
    """Five classes; the last has three sevenths of the rows."""
    return np.minimum(np.arange(n) % 7, 4)


@pytest.fixture
def moments_of():
    return moments_by_hand


@pytest.fixture
def class_moments_of():
    return class_moments_by_hand


@pytest.fixture
def labels():
    """Labels of `rows`, in classes of unequal size."""
    return uneven_labels(300)


@pytest.fixture
def eigenvalues():
    return eigenvalues_by_hand


@pytest.fixture
def rows():
    """300 rows of 45 correlated features of unequal variance, off centre, with full rank."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(300, 45)) * np.arange(1.0, 46.0) ** -0.6
    return x @ np.linalg.qr(rng.normal(size=(45, 45)))[0] * np.linspace(0.5, 2.0, 45) + rng.normal(size=45)
