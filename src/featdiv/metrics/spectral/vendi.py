"""Vendi score: the effective number of different rows under a similarity kernel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import BudgetExceeded, InputError
from featdiv.metrics.spectral.eigenvalues import EPSILON, Eigenvalues, Float64Array
from featdiv.metrics.spectral.entropy import renyi_entropy
from featdiv.metrics.spectral.inputs import FLOOR_SHARE, is_spectrum, resolve_eigenvalues, unit
from featdiv.metrics.spectral.stable_rank import jackknife_problem
from featdiv.results import Provenance, Score
from featdiv.stats import Moments, arguments, grouped

Kernel = Callable[[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any]]

LARGEST_KERNEL = 16_384
"""Rows up to which an n x n kernel matrix is formed (2 GiB of float64)."""


def core(eig: Eigenvalues, q: float = 1.0) -> float:
    """Returns the Vendi score of the cosine kernel, from uncentred eigenvalues of unit rows."""
    check_order(q)
    eig.require_centered(False, function="vendi")
    if not eig.unit_rows:
        raise InputError("vendi: eigenvalues: expected those of unit rows (unit_rows=True); got those of other rows")
    shares = eig.shares()
    if q < 1.0:
        # Orders below one weigh tiny eigenvalues up: p = 1e-16 counts 0.03 at q = 0.1. Noise must not.
        shares = shares[: eig.resolved] / shares[: eig.resolved].sum()
    return math.exp(renyi_entropy(shares, q))


def check_order(q: float) -> None:
    """Raises `InputError` unless q is in (0, inf]."""
    arguments.number("vendi", "q", q, "an order in (0, inf]", lambda order: order > 0.0)


def of_kernel(kernel: npt.NDArray[Any], q: float = 1.0) -> float:
    """Returns the Vendi score of an (n, n) kernel matrix.

    Args:
        kernel: symmetric, without negative eigenvalues, ones on the diagonal.
        q: order, in (0, inf].

    Raises:
        InputError: if the matrix is not like that.

    Complexity:
        O(n^3) time, O(n^2) memory.
    """
    import scipy.linalg

    check_order(q)
    k = np.asarray(kernel, dtype=np.float64)
    if k.ndim != 2 or k.shape[0] != k.shape[1] or not k.size:
        raise InputError(f"vendi: kernel: expected a matrix of shape (n, n); got {k.shape}")
    n = len(k)
    if not np.isfinite(k).all():
        raise InputError("vendi: kernel: expected finite similarities; got NaN or infinity")
    if not np.allclose(np.diagonal(k), 1.0, rtol=0.0, atol=1e-6):
        raise InputError("vendi: kernel: expected similarity 1 of every row with itself; got other diagonal entries")
    if not np.allclose(k, k.T, rtol=0.0, atol=1e-6):
        raise InputError("vendi: kernel: expected a symmetric matrix; got one that is not")
    values: Float64Array = scipy.linalg.eigh(k / n, eigvals_only=True, check_finite=False, driver="evd")
    if values[0] < -1e-6:
        raise InputError(
            f"vendi: kernel: expected no negative eigenvalue; the lowest of K/n is {values[0]:.3g}, "
            "so the function is not a positive semidefinite kernel"
        )
    values = np.where(values > n * EPSILON * values[-1], values, 0.0)
    return math.exp(renyi_entropy(values / values.sum(), q))


def _details(eig: Eigenvalues, q: float) -> dict[str, int]:
    return {"below_floor": eig.rank_limit - eig.resolved} if q < 1.0 else {}


def vendi(
    x: Any,
    *,
    q: float = 1.0,
    kernel: str | Kernel = "cosine",
    sample: int | None = None,
    seed: int = 0,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> Score:
    """Vendi score: exp of the Rényi entropy of order q of the eigenvalues of K/n, K the similarity matrix.

    exp(ln(sum lambda_i^q) / (1 - q)); for q = 1 exp(-sum lambda_i ln lambda_i), for q = inf 1/lambda_1. Low
    orders count rare kinds of rows, high orders the common ones. With the cosine kernel, K = U U^T has the
    eigenvalues of the d x d matrix U^T U of the unit rows U = x/|x|: exact for all n in one pass.

    Args:
        x: `Moments` of unit rows (``normalize="l2"``), a `Spectrum` made with ``normalize="l2"``, or rows
            (array, path, source), which are normalised on the way in. Other kernels need rows.
        q: order, in (0, inf].
        kernel: ``"cosine"``, or a function of two (m, d) arrays that returns their (m, m) similarities,
            symmetric, positive semidefinite, 1 on the diagonal; for example
            `sklearn.metrics.pairwise.rbf_kernel`.
        sample: for such a function, how many rows to draw without replacement; None for all.
        seed: seed of the draw.
        precision: arithmetic of the second moments; for rows only. For q < 1 a run in float32 is repeated in
            float64 where any eigenvalue lies below its noise floor; what lies below that of float64 is left
            out.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where it costs little; ``"jackknife"``
            for one at any cost, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `Score` between 1 and min(n, d) (another kernel: n), in rows. A sample is stated in ``details`` and
        in the notes of the provenance: its value is that of the sample, which is lower than that of all rows.

    Raises:
        InputError: if q is not positive, a row is zero, the kernel is not one, or ``x`` holds moments of rows
            that were not normalised.
        BudgetExceeded: if a kernel matrix of more than 16,384 rows would be formed.

    Complexity:
        Cosine: O(n d^2) for rows, O(d^3) from `Moments`. Other kernels: O(m^3) for m rows.

    Source:
        Friedman & Dieng 2023, definition 3.1; Pasarkar & Dieng 2023 for orders other than 1.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 5.0]])  # two kinds of rows
        >>> round(float(featdiv.vendi(x)), 6), round(float(featdiv.vendi(x, q=np.inf)), 6)
        (2.0, 2.0)
    """
    check_order(q)
    arguments.check_seed("vendi", seed)
    if callable(kernel):
        if interval is not None or groups is not None:
            raise InputError(
                "vendi: interval: expected None (and no groups) with a kernel of your own, whose matrix has no parts "
                f"to leave out; got {interval!r}"
            )
        return _by_kernel(x, q=q, kernel=kernel, sample=sample, seed=seed)
    if kernel != "cosine":
        raise InputError(f"vendi: kernel: expected 'cosine' or a function of two arrays of rows; got {kernel!r}")
    if sample is not None:
        raise InputError("vendi: sample: expected None with the cosine kernel, which takes all rows in one pass")
    resolved = resolve_eigenvalues(
        x,
        function="vendi",
        center=False,
        normalize=unit(x),
        precision=precision,
        backend=backend,
        interval=interval,
        groups=groups,
        unit_rows=True,
        floor_share=FLOOR_SHARE if q >= 1.0 else 0.0,
    )
    # Of infinite order it is the reciprocal of the leading share, as the stable rank is.
    reason = jackknife_problem(resolved.statistic) if math.isinf(q) else None
    return resolved.score(core, details=_details, no_interval=reason, q=q)


def _by_kernel(x: Any, *, q: float, kernel: Kernel, sample: int | None, seed: int) -> Score:
    if isinstance(x, (Moments, Eigenvalues)) or is_spectrum(x):
        raise InputError(
            f"vendi: x: a kernel other than cosine needs the rows; got {type(x).__name__}, which no longer holds them"
        )
    with grouped.opened(x, function="vendi") as source:
        if source.n is None:
            raise InputError(
                "vendi: x: a kernel other than cosine needs rows that can be picked by index; got an iterable of "
                "chunks of unknown length. Pass an array or a file."
            )
        if sample is not None and not 1 <= sample <= source.n:
            raise InputError(f"vendi: sample: expected 1 to n = {source.n}; got {sample}")
        m = source.n if sample is None else sample
        if m > LARGEST_KERNEL:
            raise BudgetExceeded(
                f"vendi: a kernel matrix of {m} rows takes {8 * m * m / 2**30:.1f} GiB; expected at most "
                f"{LARGEST_KERNEL} rows. Pass sample={LARGEST_KERNEL // 2}, or kernel='cosine', which needs "
                f"no matrix."
            )
        index = np.arange(m) if sample is None else np.random.default_rng(seed).choice(source.n, m, replace=False)
        rows = source.take(index)
        provenance = Provenance(
            function="featdiv.vendi",
            version=__version__,
            arguments={"kernel": getattr(kernel, "__name__", repr(kernel)), "q": q, "sample": sample},
            method="kernel matrix",
            dtype=source.dtype,
            n=source.n,
            d=source.d,
            source=source.description,
            fingerprint=source.fingerprint,
            extraction=source.extraction,
            passes=1,
        )
    host = rows if isinstance(rows, np.ndarray) else rows.detach().cpu().double().numpy()
    value = of_kernel(kernel(host, host), q)
    details = {}
    if sample is not None:
        provenance = dataclasses.replace(
            provenance,
            seed=seed,
            notes=(f"a sample of {m} of {provenance.n} rows; all rows would give more",),
        )
        details = {"sample": m}
    return Score(name="vendi", scores={"vendi": value}, details=details, provenance=provenance)
