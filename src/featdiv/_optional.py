"""Optional packages: loaded on use, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from featdiv.errors import MissingDependency


def require(module: str, *, extra: str, needed_by: str) -> Any:
    """Imports and returns ``module``.

    Args:
        module: name to import, for example ``"pyarrow.parquet"``.
        extra: the featdiv extra that installs it.
        needed_by: what needs it, as the user would say it, for example ``"reading parquet files"``.

    Raises:
        MissingDependency: if the package is not installed. An import error of another package that the module
            itself needs is chained, so that a broken installation is not reported as a missing one.
    """
    try:
        loaded: ModuleType = importlib.import_module(module)
    except ImportError as error:
        top = module.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name in (module, top):
            raise MissingDependency(
                f"{needed_by} needs the package {top!r}, which is not installed; run: pip install 'featdiv[{extra}]'"
            ) from None
        raise MissingDependency(f"{needed_by} needs {module!r}, whose import failed: {error}") from error
    return loaded
