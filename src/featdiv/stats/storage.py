"""Files of moments: uncompressed ``.npz`` that NumPy alone can read, without pickle.

Entries of schema 1, besides ``format`` ("featdiv.Moments" or "featdiv.ClassMoments"), ``schema`` and
``version`` (of the featdiv that wrote it): ``n`` or ``classes`` and ``counts``; ``mean`` or ``means``;
``scatter`` or ``within`` and perhaps ``scatters``, each as its upper triangle row by row, d(d+1)/2 numbers;
perhaps ``weighted`` and ``fourth``; ``normalize`` (empty for None), ``error_bound``, ``measured_error``
(NaN for None), ``dtype``, ``backend``, ``extraction`` (JSON, empty for None; absent from the files of
earlier versions).
"""

from __future__ import annotations

import contextlib
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from featdiv.errors import FormatError, SourceNotFound
from featdiv.io.writers import replacing
from featdiv.stats.class_moments import ClassMoments
from featdiv.stats.moments import Float64Array, Moments, NormSums

SCHEMA_VERSION = 1
"""Version of the layout; raised when an entry changes its meaning, or a new one must not be overlooked."""

_PREFIX = "featdiv."
_DAMAGE = (ValueError, KeyError, EOFError, OSError, MemoryError, RuntimeError, zlib.error, zipfile.BadZipFile)


def save_moments(moments: Moments, path: str | os.PathLike[str]) -> None:
    """Writes `Moments` to a file."""
    entries: dict[str, Any] = {
        "n": np.int64(moments.n),
        "mean": moments.mean,
        "scatter": packed(moments.scatter),
    }
    if moments.norm_sums is not None:
        entries["weighted"] = moments.norm_sums.weighted
        entries["fourth"] = np.float64(moments.norm_sums.fourth)
    write(path, "Moments", entries, moments)


def save_class_moments(moments: ClassMoments, path: str | os.PathLike[str]) -> None:
    """Writes `ClassMoments` to a file."""
    entries: dict[str, Any] = {
        "classes": moments.classes,
        "counts": moments.counts,
        "means": moments.means,
        "within": packed(moments.within),
        "dropped": np.int64(moments.dropped),
    }
    if moments.scatters is not None:
        entries["scatters"] = packed(moments.scatters)
    write(path, "ClassMoments", entries, moments)


def load_moments(path: str | os.PathLike[str]) -> Moments:
    """Reads `Moments` from a file.

    Raises:
        FormatError: if the file is not a complete one of this kind.
        SourceNotFound: if there is no such file.
    """
    with reading(path, "Moments") as entries:
        d = entries.array("mean", np.float64, (None,)).size
        norm_sums = None
        if "weighted" in entries:
            norm_sums = NormSums(
                weighted=entries.array("weighted", np.float64, (d,)),
                fourth=entries.number("fourth", least=0.0),
            )
        return Moments(
            n=entries.count("n"),
            mean=entries.array("mean", np.float64, (d,)),
            scatter=entries.symmetric("scatter", d),
            norm_sums=norm_sums,
            **entries.provenance(),
        )


def load_class_moments(path: str | os.PathLike[str]) -> ClassMoments:
    """Reads `ClassMoments` from a file.

    Raises:
        FormatError: if the file is not a complete one of this kind.
        SourceNotFound: if there is no such file.
    """
    with reading(path, "ClassMoments") as entries:
        means = entries.array("means", np.float64, (None, None))
        c, d = means.shape
        counts = entries.array("counts", np.int64, (c,))
        if (counts < 1).any():
            entries.refuse("counts", "at least one row in every class", f"{int(counts.min())}")
        return ClassMoments(
            classes=entries.labels(c),
            counts=counts,
            means=means,
            within=entries.symmetric("within", d),
            scatters=entries.symmetric("scatters", d, leading=(c,)) if "scatters" in entries else None,
            dropped=entries.count("dropped"),
            **entries.provenance(),
        )


def packed(matrix: Float64Array) -> Float64Array:
    """Returns the upper triangles of (..., d, d) matrices, row by row: (..., d(d+1)/2)."""
    triangle: Float64Array = matrix[(..., *np.triu_indices(matrix.shape[-1]))]
    return triangle


def unpacked(triangle: Float64Array, d: int) -> Float64Array:
    """Returns the symmetric matrices of which `packed` made ``triangle``."""
    matrix = np.zeros((*triangle.shape[:-1], d, d))
    upper = np.triu_indices(d)
    matrix[(..., *upper)] = triangle
    matrix[(..., upper[1], upper[0])] = triangle
    return matrix


def facts_as_text(facts: Mapping[str, Any] | None) -> str:
    """Returns facts of an extraction, which are plain JSON values, as JSON; nothing for None."""
    return "" if facts is None else json.dumps(dict(facts))


def facts_of_text(text: str) -> dict[str, Any] | None:
    """Returns what `facts_as_text` made the text of.

    Raises:
        ValueError: if it is of something else.
    """
    facts = json.loads(text) if text else None
    if facts is not None and not isinstance(facts, dict):
        raise ValueError("expected a JSON object")
    return facts


def write(path: str | os.PathLike[str], kind: str, entries: Mapping[str, Any], moments: Moments | ClassMoments) -> None:
    """Writes one file, with the entries that every kind of statistic has.

    Args:
        path: the file.
        kind: name of the class.
        entries: name to array, of this class alone.
        moments: whose provenance is written.
    """
    from featdiv import __version__

    measured = moments.measured_error
    with replacing(path) as file:
        write_arrays(
            file,
            format=np.array(_PREFIX + kind),
            schema=np.int64(SCHEMA_VERSION),
            version=np.array(__version__),
            normalize=np.array(moments.normalize or ""),
            error_bound=np.float64(moments.error_bound),
            measured_error=np.float64(np.nan if measured is None else measured),
            dtype=np.array(moments.dtype),
            backend=np.array(moments.backend),
            extraction=np.array(facts_as_text(moments.extraction)),
            **entries,
        )


def write_arrays(file: IO[bytes], **arrays: Any) -> None:
    """Writes named arrays as ``np.savez`` does, whose older versions take ``allow_pickle`` for the name of an array.

    Raises:
        ValueError: if an array holds objects, which only pickle could write.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], kind: str) -> Iterator[_Entries]:
    """Opens a file of one kind, and turns whatever damage shows while it is read into a FormatError."""
    function = f"{kind}.load"
    if not os.path.isfile(path):
        raise SourceNotFound(f"{function}: path: no such file: {os.fspath(path)}")
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise FormatError(
                f"{function}: path: expected a moments file, as {kind}.save writes it; "
                f"{os.fspath(path)} is not a .npz archive"
            )
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                entries = _Entries(archive, function, os.fspath(path))
                entries.check_kind(kind)
                yield entries
        except FormatError:
            raise
        except _DAMAGE as error:
            raise FormatError(
                f"{function}: path: {os.fspath(path)} is damaged or incomplete ({error}); copy or make it again"
            ) from None


class _Entries:
    """The entries of an archive, each checked when it is taken out."""

    def __init__(self, archive: Mapping[str, npt.NDArray[Any]], function: str, path: str) -> None:
        self._archive = archive
        self._function = function
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._archive

    def refuse(self, name: str, expected: str, got: str) -> NoReturn:
        """Raises FormatError about an entry."""
        raise FormatError(f"{self._function}: path: {self._path}: {name}: expected {expected}; got {got}")

    def check_kind(self, kind: str) -> None:
        """Raises FormatError unless this is a file of that kind which this version can read."""
        found = self.text("format") if "format" in self else ""
        if not found.startswith(_PREFIX):
            raise FormatError(
                f"{self._function}: path: expected a moments file, as {kind}.save writes it; {self._path} is "
                "a .npz archive of something else"
            )
        if found != _PREFIX + kind:
            other = found.removeprefix(_PREFIX)
            raise FormatError(
                f"{self._function}: path: expected a file of {kind}; {self._path} holds {other}. "
                f"Read it with {other}.load."
            )
        schema = self.count("schema")
        if not 1 <= schema <= SCHEMA_VERSION:
            writer = self.text("version") if "version" in self else "unknown"
            raise FormatError(
                f"{self._function}: path: {self._path} has schema {schema}, written by featdiv {writer}; "
                f"this featdiv reads schema 1 to {SCHEMA_VERSION}. Update featdiv."
            )

    def array(self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """Returns a finite array of that dtype and shape; None stands for any size."""
        value = self._take(name)
        fits = len(shape) == value.ndim and all(
            want in (None, size) for want, size in zip(shape, value.shape, strict=True)
        )
        if value.dtype != dtype or not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            expected = f"{np.dtype(dtype).name} of shape ({wanted})"
            self.refuse(name, expected, f"{value.dtype.name} of shape {value.shape}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            self.refuse(name, "finite numbers", "NaN or infinity")
        return value

    def symmetric(self, name: str, d: int, leading: tuple[int, ...] = ()) -> Float64Array:
        """Returns matrices from their packed triangles; their diagonals may not be negative."""
        matrix = unpacked(self.array(name, np.float64, (*leading, d * (d + 1) // 2)), d)
        lowest = float(np.einsum("...ii->...i", matrix).min(initial=0.0))
        if lowest < 0.0:
            self.refuse(name, "sums of squares on the diagonal", f"{lowest}")
        return matrix

    def labels(self, c: int) -> npt.NDArray[Any]:
        """Returns c sorted unique labels."""
        classes = self._take("classes")
        if classes.shape != (c,) or not (classes.dtype == np.int64 or classes.dtype.kind == "U"):
            got = f"{classes.dtype.name} of shape {classes.shape}"
            self.refuse("classes", f"{c} integers or strings", got)
        if c > 1 and not (classes[1:] > classes[:-1]).all():
            self.refuse("classes", "sorted labels without repeats", "labels in another order")
        return classes

    def texts(self, name: str, count: int) -> tuple[str, ...]:
        """Returns ``count`` different strings."""
        value = self._take(name)
        if value.dtype.kind != "U" or value.shape != (count,) or len(set(value.tolist())) != count:
            self.refuse(name, f"{count} different texts", f"{value.dtype.name} of shape {value.shape}")
        return tuple(value.tolist())

    def count(self, name: str) -> int:
        """Returns a number of things."""
        value = int(self.array(name, np.int64, ()))
        if value < 0:
            self.refuse(name, "a number that is not negative", str(value))
        return value

    def number(self, name: str, *, least: float) -> float:
        """Returns a finite number that is not below ``least``."""
        value = float(self.array(name, np.float64, ()))
        if value < least:
            self.refuse(name, f"at least {least}", str(value))
        return value

    def text(self, name: str) -> str:
        """Returns a string."""
        value = self._take(name)
        if value.dtype.kind != "U" or value.ndim:
            self.refuse(name, "text", f"{value.dtype.name} of shape {value.shape}")
        return str(value)

    def provenance(self) -> dict[str, Any]:
        """Returns the arguments that every kind of moments has."""
        normalize = self.text("normalize") or None
        if normalize not in (None, "l2"):
            self.refuse("normalize", "'' or 'l2'", repr(normalize))
        measured = self._take("measured_error")
        unmeasured = measured.dtype == np.float64 and measured.shape == () and bool(np.isnan(measured))
        return {
            "normalize": normalize,
            "error_bound": self.number("error_bound", least=0.0),
            "measured_error": None if unmeasured else self.number("measured_error", least=0.0),
            "dtype": self.text("dtype"),
            "backend": self.text("backend"),
            "extraction": self.extraction("extraction"),
        }

    def extraction(self, name: str) -> dict[str, Any] | None:
        """Returns what the rows were extracted with; None for files of earlier versions, which do not say."""
        text = self.text(name) if name in self else ""
        try:
            return facts_of_text(text)
        except ValueError:
            self.refuse(name, "a JSON object", repr(text[:40]))

    def _take(self, name: str) -> npt.NDArray[Any]:
        if name not in self:
            raise FormatError(f"{self._function}: path: {self._path} has no entry {name!r}; make it again")
        try:
            value = self._archive[name]
        except (TypeError, tokenize.TokenError) as error:
            # NumPy parses the header of an array as a Python expression, and does not catch the errors of the parser.
            raise ValueError(f"the header of {name}: {error}") from None
        if not isinstance(value, np.ndarray):
            # NumPy hands over as bytes what does not begin as an array.
            self.refuse(name, "an array", "something else")
        return value
