"""The exceptions that featdiv raises.

Every message names the function, the argument, what was expected, what came, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping


class FeatdivError(Exception):
    """Base of every error that featdiv raises on purpose."""


class InputError(FeatdivError, ValueError):
    """An argument or its content cannot be used: wrong shape, dtype, range or combination."""


class FormatError(InputError):
    """A file is not what its name or header promises: truncated, wrong magic, refused pickle."""


class SourceNotFound(InputError, FileNotFoundError):
    """No file or directory is there, or no file matches; the message suggests names near it."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class RowError(InputError):
    """Some rows cannot be used.

    Attributes:
        count: how many entries (`NonFiniteError`) or rows (`ZeroNormError`), among those read when the check failed.
        first_row: index, in the source, of the first such row.
    """

    def __init__(self, message: str, *, count: int, first_row: int) -> None:
        super().__init__(message)
        self.count = count
        self.first_row = first_row

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_row_error, (type(self), str(self), self.count, self.first_row)


def _rebuild_row_error(kind: type[RowError], message: str, count: int, first_row: int) -> RowError:
    return kind(message, count=count, first_row=first_row)


class NonFiniteError(RowError):
    """The rows hold NaN or infinity."""


class ZeroNormError(RowError):
    """Rows are to be divided by their norm, and some have norm zero."""


class NotEnoughData(FeatdivError, ValueError):
    """The score is undefined for this input: too few rows, no variance, no spectrum above the floor."""


class BudgetExceeded(FeatdivError, MemoryError):
    """The work needs more memory than the budget allows; the message says how much and what to change."""


class MissingDependency(FeatdivError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class BackendUnavailable(FeatdivError, RuntimeError):
    """No backend can run this operation as asked.

    Attributes:
        reasons: backend name to the reason why it cannot run.
    """

    def __init__(self, message: str, *, reasons: Mapping[str, str]) -> None:
        super().__init__(message)
        self.reasons = dict(reasons)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_unavailable, (str(self), self.reasons)


def _rebuild_unavailable(message: str, reasons: Mapping[str, str]) -> BackendUnavailable:
    return BackendUnavailable(message, reasons=reasons)


class SmallSampleWarning(UserWarning):
    """There are too few rows for the numbers to mean what they are usually taken to mean."""


class NearDuplicateWarning(UserWarning):
    """Some rows to be classified are almost identical to rows that were learned from."""


class ConvergenceWarning(UserWarning):
    """An iterative solver stopped before it reached its tolerance; the result marks what it concerns."""
