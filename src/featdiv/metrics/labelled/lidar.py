"""LiDAR: the effective rank of the linear discriminants of surrogate classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featdiv.errors import NotEnoughData
from featdiv.metrics.labelled.inputs import require_classes, resolve_classes, root_of
from featdiv.results import Score
from featdiv.stats import ClassMoments, arguments

EPSILON = 1e-7
"""Added to every share, as in RankMe."""


def core(classes: ClassMoments, delta: float = 1e-4) -> float:
    """Returns LiDAR; see `lidar`."""
    import scipy.linalg

    check_delta(delta)
    require_classes(classes)
    if classes.n == classes.c:
        raise NotEnoughData("scatter within classes needs a class of 2 rows or more; every class has 1")
    within = classes.within / classes.n
    within[np.diag_indices_from(within)] += delta
    # S_W^-1/2 S_B S_W^-1/2 has the eigenvalues of Y Y^T, Y = (S_W^1/2)^-1 times the class means: no matrix that
    # is to be inverted is squared, and any square root of S_W will do.
    from_first = classes.means - classes.means[0]
    centred = from_first - from_first.mean(axis=0)
    rounding = 64.0 * np.finfo(np.float64).eps * np.abs(classes.means).max()
    if np.abs(centred).max() <= rounding:
        raise NotEnoughData("the class means coincide: there is no scatter between classes")
    root = root_of(within, beside="delta")
    whitened = scipy.linalg.solve_triangular(root, centred.T, lower=True, check_finite=False)
    sigma = scipy.linalg.svd(whitened, compute_uv=False, check_finite=False)
    # Centred class means span c - 1 dimensions at most; the other eigenvalues of the d are zero.
    eigenvalues = np.zeros(classes.d)
    kept = min(len(sigma), classes.c - 1)
    eigenvalues[:kept] = sigma[:kept] ** 2
    p = eigenvalues / eigenvalues.sum() + EPSILON
    return math.exp(-float(p @ np.log(p)))


def check_delta(delta: float) -> None:
    """Raises `InputError` unless delta is positive."""
    arguments.number("lidar", "delta", delta, "a number above 0", lambda value: 0.0 < value < math.inf)


def lidar(
    x: Any,
    labels: Any = None,
    *,
    delta: float = 1e-4,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float64",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """LiDAR: exp(-sum p_i ln p_i), p_i = lambda_i / sum(lambda) + 1e-7, the effective rank of class means.

    The lambda_i are the eigenvalues of (S_W + delta I)^-1/2 S_B (S_W + delta I)^-1/2, with
    S_B = 1/c sum_c (mu_c - mu)(mu_c - mu)^T the covariance of the class means about their mean, and
    S_W = 1/n sum_i (x_i - mu_c(i))(x_i - mu_c(i))^T that within classes. All d of them count, so that each
    zero one adds 1.6e-6 to the exponent.

    The classes are surrogates: one for each of a sample of clean inputs, its rows the features of several
    augmented views of it; labels are the indices of the inputs.

    It falls short when classes are few: it cannot exceed min(c - 1, d). The paper takes 1,000 inputs and 50
    views.

    Args:
        x: `ClassMoments`, or rows (array, path, source, iterable).
        labels: one integer or string for each row, the same for views of the same input; None where ``x``
            carries them.
        delta: added to the diagonal of S_W, in the squared units of the features; the paper's is 1e-4.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows only. float64 by default, since S_W is inverted.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where rows can be dealt to parts;
            ``"jackknife"`` for one, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 1 and min(c - 1, d), in dimensions.

    Raises:
        NotEnoughData: if there is one class, every class has one row, or the class means coincide.
        InputError: if delta is not positive, or labels are missing or cannot be used.

    Complexity:
        O(n d^2) for rows, O(d^3 + c d^2) from `ClassMoments`.

    Source:
        Thilak et al. 2023.

    Example:
        >>> import featdiv, numpy as np
        >>> inputs = np.kron(np.eye(3), np.ones((4, 1)))  # 3 inputs, 4 views of each
        >>> views = inputs + 0.01 * np.random.default_rng(0).normal(size=(12, 3))
        >>> round(float(featdiv.lidar(views, np.repeat([0, 1, 2], 4))), 2)
        2.0
    """
    check_delta(delta)
    resolved = resolve_classes(
        x,
        labels,
        function="lidar",
        normalize=normalize,
        ignore=ignore,
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
    )
    return resolved.score(core, delta=delta, details=lambda classes, delta: {"classes": classes.c})
