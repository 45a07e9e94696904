"""What a spectral score may be given, and the statistic that it becomes.

Every public function takes `Moments` (or the total of `ClassMoments`), a `Spectrum`, `Eigenvalues`, or rows:
an array, a path, an `Embeddings`, an iterable of chunks. `resolve_eigenvalues` and `resolve_moments` turn any
of these into the one statistic that the pure core of the score wants, with the provenance that its `Score`
will carry.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics import jackknife
from featdiv.metrics.jackknife import Rests
from featdiv.metrics.spectral import left_out
from featdiv.metrics.spectral.eigenvalues import Eigenvalues, has_unit_rows
from featdiv.results import Interval, Provenance, Score
from featdiv.stats import ClassMoments, Moments, arguments, grouped
from featdiv.stats.grouped import GroupedMoments

Statistic = TypeVar("Statistic", ClassMoments, Eigenvalues, Moments)

FLOOR_SHARE = 1e-5
"""Share of the sum of singular values that may lie below the noise floor before rows are read in float64."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved(Generic[Statistic]):
    """A statistic, and how it came to be.

    Attributes:
        function: name of the score, for messages and the result.
        statistic: what the core takes.
        provenance: how the statistic was made.
        spectrum: the `Spectrum` it was taken from, or None.
        rests: the statistic without each part of the rows, where an interval is wanted.
    """

    function: str
    statistic: Statistic
    provenance: Provenance
    spectrum: Any = None
    rests: Rests = dataclasses.field(default_factory=Rests)

    def score(
        self,
        core: Callable[..., float],
        *,
        definition: str | None = None,
        details: Callable[..., Mapping[str, Any]] | None = None,
        notes: tuple[str, ...] = (),
        no_interval: str | None = None,
        **parameters: Any,
    ) -> Score:
        """Runs a core and wraps its number.

        Args:
            core: called with the statistic and the parameters (and ``definition``, where one is given).
            definition: named formula.
            details: called as the core is; gives `Score.details`.
            notes: remarks to add to the provenance.
            no_interval: why the parameters of this call make a jackknife invalid, or None.
            **parameters: of the core; recorded as arguments in the provenance.

        Raises:
            NotEnoughData: if the core says so; the message is given the function's name.
        """
        named = {"definition": definition} if definition is not None else {}
        try:
            value = float(core(self.statistic, **named, **parameters))
            extra = details(self.statistic, **named, **parameters) if details else {}
        except NotEnoughData as error:
            raise NotEnoughData(f"{self.function}: {error}") from None
        if not math.isfinite(value):
            raise NotEnoughData(f"{self.function}: the value overflows float64; scale the rows down")
        interval = self._of_spectrum(value)
        remarks: tuple[str, ...] = ()
        if not interval:

            def alone(statistic: Any) -> float:
                return float(core(statistic, **named, **parameters))

            interval, remarks = self.rests.intervals(
                self.function, self.statistic, {self.function: value}, {self.function: alone}, reason=no_interval
            )
        asked = {} if self.rests.asked is None else {"interval": self.rests.asked}
        provenance = dataclasses.replace(
            self.provenance,
            definition=definition,
            arguments={**self.provenance.arguments, **asked, **parameters},
            notes=(*self.provenance.notes, *notes, *remarks),
        )
        return Score(
            name=self.function,
            scores={self.function: value},
            intervals=interval,
            details=extra,
            provenance=provenance,
        )

    def _of_spectrum(self, value: float) -> dict[str, Interval]:
        # The spectrum's interval belongs to this score only if it is the same number.
        scores = getattr(self.spectrum, "scores", {})
        intervals = getattr(self.spectrum, "intervals", {})
        if self.function not in intervals or not math.isclose(
            scores.get(self.function, math.nan), value, rel_tol=1e-12
        ):
            return {}
        return {self.function: intervals[self.function]}


def resolve_eigenvalues(
    x: Any,
    *,
    function: str,
    center: bool,
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    unit_rows: bool = False,
    floor_share: float = FLOOR_SHARE,
    interval: str | None = None,
    groups: Any = None,
) -> Resolved[Eigenvalues]:
    """Returns the eigenvalues that ``x`` stands for.

    Args:
        x: `Eigenvalues`, `Moments`, a `Spectrum`, or rows.
        function: name of the score.
        center: whether they are to be taken about the mean.
        normalize: ``"l2"`` to divide rows by their norm first.
        precision: arithmetic of the second moments, for rows.
        backend: scatter backend, for rows.
        unit_rows: whether the score is defined for rows of norm one only.
        floor_share: what may lie below the noise floor before rows are read again in float64.
        interval: ``"auto"``, ``"jackknife"`` or None.
        groups: group of each row, for rows.

    Raises:
        InputError: if ``x`` is of the wrong kind, or was made with another ``center`` or ``normalize``.
        NotEnoughData: if there is no spectrum.
    """
    arguments.check(function, center=center)
    x = _without_classes(x)
    rests = _rests_of(x, function=function, interval=interval, groups=groups)
    if isinstance(x, Eigenvalues):
        _check_normalize(normalize, "l2" if x.unit_rows else None, function=function, kind="Eigenvalues")
        eig, provenance, spectrum = x, _provenance(function, n=x.n, d=x.d), None
        x.require_centered(center, function=function)
    elif is_spectrum(x):
        eig, provenance = _of_spectrum(x, function=function, center=center, normalize=normalize)
        spectrum = x
    elif isinstance(x, Moments):
        _check_normalize(normalize, x.normalize, function=function, kind="Moments")
        eig, provenance, spectrum = _eigenvalues(x, center, function), _of_moments(x, function), None
    else:
        eig, provenance, rests = _of_rows(
            x,
            function=function,
            center=center,
            normalize=normalize,
            precision=precision,
            backend=backend,
            floor_share=floor_share,
            interval=interval,
            groups=groups,
        )
        spectrum = None
    if unit_rows and not eig.unit_rows:
        raise InputError(_need_unit_rows(function, x))
    made = {**provenance.arguments, "center": center, "normalize": normalize}
    provenance = dataclasses.replace(provenance, arguments=made)
    return Resolved(function=function, statistic=eig, provenance=provenance, spectrum=spectrum, rests=rests)


def resolve_moments(
    x: Any,
    *,
    function: str,
    argument: str = "x",
    normalize: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    unit_rows: bool = False,
    interval: str | None = None,
    groups: Any = None,
) -> Resolved[Moments]:
    """Returns the moments that ``x`` stands for; arguments and errors as `resolve_eigenvalues`."""
    x = _without_classes(x)
    rests = _rests_of(x, function=function, interval=interval, groups=groups)
    if isinstance(x, Moments):
        _check_normalize(normalize, x.normalize, function=function, kind="Moments", argument=argument)
        moments, provenance, spectrum = x, _of_moments(x, function), None
    elif is_spectrum(x):
        if x.moments is None:
            raise InputError(
                f"{function}: {argument}: this Spectrum keeps no moments. Pass the rows, or Moments.from_source(...)"
            )
        _check_normalize(normalize, x.moments.normalize, function=function, kind="Spectrum", argument=argument)
        moments, spectrum = x.moments, x
        provenance = dataclasses.replace(x.provenance, function=f"featdiv.{function}")
    elif isinstance(x, Eigenvalues):
        raise InputError(
            f"{function}: {argument}: expected Moments, a Spectrum or rows; got Eigenvalues, which do not hold the "
            "means and directions that this score needs"
        )
    else:
        annotations = jackknife.given(groups=groups)
        with grouped.opened(x, function=function, argument=argument, **annotations) as source:
            parts = jackknife.dealt(source, function=function, interval=interval, decomposed=False)
            read = jackknife.read(
                source,
                parts,
                function=function,
                argument=argument,
                normalize=normalize,
                precision=precision,
                backend=backend,
            )
            moments, rests = read.total, jackknife.of_moments(read, parts, interval=interval)
            provenance = _of_source(moments, source, function=function, precision=precision)
        spectrum = None
    if unit_rows and not has_unit_rows(moments):
        raise InputError(_need_unit_rows(function, x))
    made = {**provenance.arguments, "normalize": moments.normalize}
    provenance = dataclasses.replace(provenance, arguments=made)
    return Resolved(function=function, statistic=moments, provenance=provenance, spectrum=spectrum, rests=rests)


def is_spectrum(x: Any) -> bool:
    """Whether ``x`` is a `Spectrum`, told by its fields: metrics do not import analyses."""
    return isinstance(getattr(x, "eigen", None), Eigenvalues) and hasattr(x, "moments")


def unit(x: Any) -> str | None:
    """Returns the ``normalize`` that makes unit rows of ``x``: None for statistics, which no longer hold rows."""
    return None if isinstance(x, (ClassMoments, Eigenvalues, Moments)) or is_spectrum(x) else "l2"


def _without_classes(x: Any) -> Any:
    return x.total() if isinstance(x, ClassMoments) else x


def _of_spectrum(x: Any, *, function: str, center: bool, normalize: str | None) -> tuple[Eigenvalues, Provenance]:
    eig: Eigenvalues = x.eigen
    unit_rows = eig.unit_rows or (x.moments is not None and has_unit_rows(x.moments))
    made = x.provenance.arguments.get("normalize") or (x.moments.normalize if x.moments is not None else None)
    _check_normalize(normalize, made, function=function, kind="Spectrum")
    provenance = dataclasses.replace(x.provenance, function=f"featdiv.{function}")
    if eig.centered == center:
        return dataclasses.replace(eig, unit_rows=unit_rows), provenance
    if x.moments is None:
        raise InputError(
            f"{function}: x: expected a Spectrum made with center={center}; got one made with "
            f"center={not center} that keeps no moments. Pass the rows, or featdiv.spectrum(rows, "
            f"center={center})."
        )
    return _eigenvalues(x.moments, center, function), provenance


def _of_rows(
    x: Any,
    *,
    function: str,
    center: bool,
    normalize: str | None,
    precision: str,
    backend: str,
    floor_share: float,
    interval: str | None,
    groups: Any,
) -> tuple[Eigenvalues, Provenance, Rests]:
    with grouped.opened(x, function=function, **jackknife.given(groups=groups)) as source:
        parts = jackknife.dealt(source, function=function, interval=interval, decomposed=True)

        def read(arithmetic: str) -> tuple[GroupedMoments, Eigenvalues]:
            found = jackknife.read(
                source, parts, function=function, normalize=normalize, precision=arithmetic, backend=backend
            )
            return found, _eigenvalues(found.total, center, function)

        found, eig = read(precision)
        used, passes = precision, 1
        notes: tuple[str, ...] = ()
        if precision == "float32" and eig.share_below_floor > floor_share:
            if source.one_pass:
                notes = (
                    f"{eig.share_below_floor:.1e} of the sum of singular values lies below the float32 "
                    "noise floor, and the source can be read only once; precision='float64' resolves it",
                )
            else:
                used, passes = "float64", 2
                notes = ("read again in float64: too much of the spectrum lay below the float32 noise floor",)
                found, eig = read(used)
        provenance = _of_source(found.total, source, function=function, precision=used)
    rests = left_out.rests(found, parts, function=function, interval=interval, center=center)
    return eig, dataclasses.replace(provenance, passes=passes, notes=notes), rests


def _rests_of(x: Any, *, function: str, interval: str | None, groups: Any) -> Rests:
    """Returns why a statistic has no parts; for rows, what comes of them is not known yet."""
    jackknife.check(function, interval)
    if is_spectrum(x) and function in x.intervals and groups is None:
        return Rests(asked=interval, reason="the Spectrum has the interval of another number under this name")
    if is_spectrum(x) or isinstance(x, (Eigenvalues, Moments)):
        return jackknife.of_statistic(x, function=function, interval=interval, groups=groups)
    return Rests(asked=interval)


def _eigenvalues(moments: Moments, center: bool, function: str) -> Eigenvalues:
    try:
        return Eigenvalues.of_moments(moments, center)
    except NotEnoughData as error:
        raise NotEnoughData(f"{function}: {error}") from None


def _check_normalize(asked: str | None, made: str | None, *, function: str, kind: str, argument: str = "x") -> None:
    if asked not in (None, "l2"):
        raise InputError(f"{function}: normalize: expected None or 'l2'; got {asked!r}")
    if asked is not None and asked != made:
        raise InputError(
            f"{function}: normalize: expected None with {kind} of rows as they are; got {asked!r}. Rows cannot be "
            f"normalised after the fact: make the {kind} with normalize={asked!r}, or pass the rows as {argument}."
        )


def _need_unit_rows(function: str, x: Any) -> str:
    if isinstance(x, Moments):
        return (
            f"{function}: x: expected moments of rows with norm one; got moments of rows as they are. Make them with "
            "Moments.from_source(rows, normalize='l2'), or pass the rows. (Rows that have norm one already prove it "
            "with norm_sums=True.)"
        )
    kind = type(x).__name__
    return (
        f"{function}: x: expected a {kind} of rows with norm one; got one of rows as they are. "
        "Make it with normalize='l2', or pass the rows."
    )


def _provenance(function: str, *, n: int, d: int) -> Provenance:
    return Provenance(function=f"featdiv.{function}", version=__version__, n=n, d=d)


def _of_moments(moments: Moments, function: str) -> Provenance:
    return dataclasses.replace(
        _provenance(function, n=moments.n, d=moments.d),
        backends={"scatter": moments.backend} if moments.backend else {},
        method="gram",
        error_bound=moments.error_bound,
        measured_error=moments.measured_error,
        dtype=moments.dtype or None,
        extraction=moments.extraction,
    )


def _of_source(moments: Moments, source: Any, *, function: str, precision: str) -> Provenance:
    return dataclasses.replace(
        _of_moments(moments, function),
        precision=precision,
        source=source.description,
        fingerprint=source.fingerprint,
        passes=1,
    )
