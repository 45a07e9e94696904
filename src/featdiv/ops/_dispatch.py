"""The only place that picks a backend.

An *op* is a package under ``featdiv.ops`` with a contract (its ``__init__``) and backends, one a module. Each
backend module exports a function of the op's name and ``unsupported_reason(request) -> str | None``: a pure
function of device, dtype, shape and availability that says in words why the backend cannot run the request.

``auto`` takes the first backend, in the order of the device, that gives no reason. A backend asked for by name
(argument, then `use_backend`, then the variable ``FEATDIV_BACKEND``) runs or raises `BackendUnavailable`: there
is no fallback from an explicit choice. An exception raised inside a backend is an error, never "unsupported".
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from featdiv.errors import BackendUnavailable, InputError

ENVIRONMENT_VARIABLE = "FEATDIV_BACKEND"

ORDER = {
    "cpu": ("native", "numpy", "torch"),
    "cuda": ("torch", "triton", "cuda", "cupy"),
    "other": ("torch",),
}
"""Backends in the order in which ``auto`` tries them, by device type.

On a GPU torch stands first because no table of measurements in ``benchmarks/results`` says otherwise: featdiv's own
GPU kernels have been compiled and interpreted, but not yet run on hardware. They run when asked for by name.
"""

NAMES = ("native", "numpy", "torch", "cuda", "triton", "cupy", "reference")
"""Every backend name; ``reference`` runs only when asked for."""

OPS: dict[str, tuple[str, ...]] = {
    "scatter": ("native", "numpy", "torch", "triton", "cuda", "reference"),
    "class_scatter": ("native", "numpy", "torch", "triton", "cuda", "reference"),
    "pair_sums": ("native", "torch", "triton", "cuda", "reference"),
    "topk": ("native", "numpy", "torch", "triton", "cuda", "reference"),
    "cross_gram": ("native", "numpy", "torch", "triton", "cuda", "reference"),
    "eigvals_batched": ("numpy", "torch", "cuda", "cupy", "reference"),
    "nearest_centroid": ("native", "numpy", "torch", "triton", "cuda", "reference"),
}
"""Op name to the backends it has; the module of backend ``b`` is ``featdiv.ops.<op>.<b>_`` or ``reference``."""

_chosen: ContextVar[str | None] = ContextVar("featdiv_backend", default=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a backend is asked to run.

    Attributes:
        op: op name.
        device: torch device type of the rows: ``"cpu"``, ``"cuda"``, ``"mps"`` …
        dtype: element type name, for example ``"bfloat16"``.
        n: rows, where known.
        d: features.
        precision: one of `PRECISIONS`.
    """

    op: str
    device: str = "cpu"
    dtype: str = "float32"
    n: int | None = None
    d: int = 1
    precision: str = "float32"


PRECISIONS = {"float64": 1e-14, "float32": 1e-6, "mixed": 2.0**-14, "bfloat16": 5e-3}
"""Precision name to the bound on the relative error of second moments that every backend must keep."""


def check_name(name: Any, *, argument: str) -> str:
    """Returns ``name`` if it is ``auto`` or a backend name.

    Raises:
        InputError: otherwise.
    """
    if not isinstance(name, str) or (name != "auto" and name not in NAMES):
        raise InputError(f"{argument}: expected 'auto' or one of {', '.join(NAMES)}; got {name!r}")
    return name


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Makes every op inside the ``with`` block use one backend, or raise if it cannot.

    Args:
        name: a backend name, or ``"auto"``, which also hides ``FEATDIV_BACKEND``.

    Example:
        >>> import featdiv, numpy as np
        >>> with featdiv.use_backend("numpy"):
        ...     spectrum = featdiv.spectrum(np.random.default_rng(0).normal(size=(500, 8)))
        >>> spectrum.provenance.backends["scatter"]
        'numpy'
    """
    token = _chosen.set(check_name(name, argument="use_backend: name"))
    try:
        yield
    finally:
        _chosen.reset(token)


def requested(backend: str = "auto") -> str:
    """Returns the backend name in force: the argument, else `use_backend`, else the environment, else ``auto``."""
    if check_name(backend, argument="backend") != "auto":
        return backend
    scoped = _chosen.get()
    if scoped is not None:
        return scoped
    return check_name(os.environ.get(ENVIRONMENT_VARIABLE) or "auto", argument=ENVIRONMENT_VARIABLE)


def load(op: str, backend: str) -> ModuleType:
    """Imports the module of one backend of one op."""
    return importlib.import_module(f"featdiv.ops.{op}.{backend if backend == 'reference' else backend + '_'}")


def unsupported_reason(request: Request, backend: str) -> str | None:
    """Returns why ``backend`` cannot run ``request``, or None if it can."""
    if backend not in OPS[request.op]:
        return f"{request.op} has no {backend} backend"
    try:
        reason: str | None = load(request.op, backend).unsupported_reason(request)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return "torch is not installed; run: pip install torch"
    return reason


def choose(request: Request, backend: str = "auto") -> str:
    """Returns the name of the backend that will run ``request``.

    Raises:
        BackendUnavailable: if the backend asked for cannot, or, for ``auto``, if none can.
    """
    name = requested(backend)
    if name != "auto":
        reason = unsupported_reason(request, name)
        if reason is None:
            return name
        raise BackendUnavailable(
            f"{request.op}: backend {name!r} cannot run this: {reason}. Choose another backend, or backend='auto'; "
            "`featdiv doctor` lists what runs here.",
            reasons={name: reason},
        )
    reasons: dict[str, str] = {}
    for candidate in ORDER.get(request.device, ORDER["other"]):
        if candidate not in OPS[request.op]:
            continue
        reason = unsupported_reason(request, candidate)
        if reason is None:
            return candidate
        reasons[candidate] = reason
    listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise BackendUnavailable(
        f"{request.op}: no backend can run {request.dtype} rows of {request.d} features on {request.device!r} "
        f"({listed}). Move the rows to the CPU, or convert them.",
        reasons=reasons,
    )
