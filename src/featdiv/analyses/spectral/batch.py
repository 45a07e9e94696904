"""`featdiv.spectra`: the spectra of a batch of problems of the same shape."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from featdiv import __version__, io
from featdiv.analyses.spectral import run
from featdiv.analyses.spectral.assemble import FUNCTION as SINGLE
from featdiv.analyses.spectral.assemble import Options
from featdiv.analyses.spectral.result import Spectrum
from featdiv.errors import InputError, NotEnoughData, SmallSampleWarning
from featdiv.results import Provenance, Result
from featdiv.stats import arguments, budget, grouped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FUNCTION = "featdiv.spectra"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SpectrumBatch(Result):
    """The spectra of b problems of n rows and d features; a sequence of `Spectrum`.

    ``scores`` holds them flat, as ``"<index>/<name>"``.

    Attributes:
        spectra: the b spectra, in order.
    """

    spectra: tuple[Spectrum, ...]

    _array_fields: ClassVar[tuple[str, ...]] = ("spectra",)

    def __len__(self) -> int:
        return len(self.spectra)

    def __getitem__(self, index: int) -> Spectrum:
        return self.spectra[index]

    def __iter__(self) -> Iterator[Spectrum]:
        return iter(self.spectra)

    @property
    def eigenvalues(self) -> npt.NDArray[np.float64]:
        """(b, r) descending eigenvalues of each problem."""
        return np.stack([spectrum.eigenvalues for spectrum in self.spectra])

    @property
    def singular_values(self) -> npt.NDArray[np.float64]:
        """(b, r) descending singular values of each problem."""
        return np.stack([spectrum.singular_values for spectrum in self.spectra])

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Returns the (b,) values of one score.

        Raises:
            NotEnoughData: if it is undefined for one of the problems; the message names the first.
        """
        values = np.empty(len(self.spectra))
        for index, spectrum in enumerate(self.spectra):
            try:
                values[index] = spectrum.read(name)
            except NotEnoughData as error:
                raise NotEnoughData(f"SpectrumBatch.column: problem {index}: {error}") from None
        return values

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws all spectra on one pair of log-log axes."""
        from featdiv.analyses.spectral import plot

        return plot.draw_many({str(index): spectrum for index, spectrum in enumerate(self.spectra)}, ax)

    def __repr__(self) -> str:
        return f"SpectrumBatch({len(self)} spectra of {self.spectra[0].n} x {self.spectra[0].d})"


def spectra(
    x: Any,
    *,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    device: str | None = None,
    interval: str | None = None,
    memory: int | float | str | None = None,
    nonfinite: str = "raise",
    seed: int = 0,
) -> SpectrumBatch:
    """Returns the spectra of a batch of problems: layers, checkpoints, classes of equal size.

    Args:
        x: (b, n, d) NumPy, torch or CuPy array, or a sequence of b arrays of shape (n, d).
        center, normalize, precision, backend, device, interval, memory, nonfinite, seed: as in `spectrum`.

    Returns:
        A frozen `SpectrumBatch`.

    Raises:
        InputError: if ``x`` is not a batch, and for everything that `spectrum` refuses; the message names the problem.
        NotEnoughData: if a problem has no spectrum; the message names it.

    Warns:
        SmallSampleWarning: once, if there are fewer than five rows for each feature.

    Complexity:
        b times that of `spectrum`.

    Example:
        >>> import featdiv, numpy as np
        >>> layers = np.random.default_rng(0).normal(size=(3, 200, 8))
        >>> batch = featdiv.spectra(layers)
        >>> batch.eigenvalues.shape, len(batch.column("effective_rank"))
        ((3, 8), 3)
    """
    arguments.check(
        FUNCTION,
        normalize=normalize,
        precision=precision,
        backend=backend,
        nonfinite=nonfinite,
        seed=seed,
        center=center,
    )
    options = Options(
        center=bool(center),
        normalize=normalize,
        method="auto",
        precision=precision,
        backend=backend,
        device=grouped.check_device(device, function=FUNCTION),
        interval=interval,
        memory=budget.budget_bytes(memory, function=FUNCTION),
        nonfinite=nonfinite,
        seed=seed,
        progress=None,
    )
    problems = _problems(x)
    found: list[Spectrum] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SmallSampleWarning)
        for index, problem in enumerate(problems):
            try:
                found.append(run.of_source(io.open(problem), options))
            except (InputError, NotEnoughData) as error:
                error.args = (f"{FUNCTION}: x[{index}]: {str(error).removeprefix(SINGLE + ': x: ')}",)
                raise
    if caught:
        warnings.warn(str(caught[0].message).replace(SINGLE, FUNCTION), SmallSampleWarning, stacklevel=2)
    first = found[0]
    return SpectrumBatch(
        scores={f"{i}/{name}": value for i, s in enumerate(found) for name, value in s.scores.items()},
        undefined={f"{i}/{name}": reason for i, s in enumerate(found) for name, reason in s.undefined.items()},
        intervals={f"{i}/{name}": interval for i, s in enumerate(found) for name, interval in s.intervals.items()},
        provenance=Provenance(
            function=FUNCTION,
            version=__version__,
            arguments={**first.provenance.arguments, "batch": len(found)},
            backends=first.provenance.backends,
            method=first.provenance.method,
            precision=precision,
            dtype=first.provenance.dtype,
            n=first.n,
            d=first.d,
            seed=seed,
            source=f"batch of {len(found)} x {first.n} x {first.d}",
        ),
        spectra=tuple(found),
    )


def _problems(x: Any) -> list[Any]:
    shape = getattr(x, "shape", None)
    if shape is None and isinstance(x, (list, tuple)):
        problems = list(x)
        shapes = {tuple(getattr(problem, "shape", ())) for problem in problems}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2:
            raise InputError(
                f"{FUNCTION}: x: expected arrays of one shape (n, d); got shapes {sorted(shapes)}. "
                "For problems of different shapes, call featdiv.spectrum on each."
            )
    elif shape is not None and len(shape) == 3:
        problems = [x[index] for index in range(int(shape[0]))]
    else:
        got = type(x).__name__ if shape is None else f"shape {tuple(shape)}"
        raise InputError(
            f"{FUNCTION}: x: expected a batch of shape (b, n, d); got {got}. For rows (n, d) use featdiv.spectrum."
        )
    if not problems:
        raise InputError(f"{FUNCTION}: x: expected at least one problem; got an empty batch")
    return problems
