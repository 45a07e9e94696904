"""What a ranking has computed already: one small JSON file for each step of each model, whole or not there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featdiv import __version__
from featdiv.backbones.cache import FULL, DiskFull
from featdiv.errors import FormatError
from featdiv.io.writers import replacing

FORMAT = "featdiv.ranking"
STORE_VERSION = 2
"""Version of the layout; part of every key, like that of featdiv: what another version wrote is left alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One step that was taken for one model.

    Attributes:
        model: the model.
        step: what was done.
        seconds: how long it took when it was done.
        cached: whether that was in an earlier call.
    """

    model: str
    step: str
    seconds: float
    cached: bool


class Store:
    """The results of steps, on disk or, without a folder, nowhere.

    Args:
        folder: where the files lie; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.steps: list[Step] = []

    def step(
        self, model: str, name: str, facts: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Returns what a step computes, from its file if it is there.

        Args:
            model: the model, for the file's name.
            name: of the step.
            facts: everything that shapes the result, as plain JSON values.
            compute: does the work; its result is plain JSON values.

        Raises:
            FormatError: if the file is damaged.
            DiskFull: if there is no room for it.
        """
        path = self._path(model, name, facts)
        if path is not None and path.exists():
            content, seconds = self._read(path)
            self.steps.append(Step(model=model, step=name, seconds=seconds, cached=True))
            return content
        started = time.perf_counter()
        content = compute()
        seconds = round(time.perf_counter() - started, 3)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = {"format": FORMAT, "version": STORE_VERSION, "seconds": seconds, "facts": facts, "content": content}
            _write(path, json.dumps(whole, allow_nan=False).encode() + b"\n")
        self.steps.append(Step(model=model, step=name, seconds=seconds, cached=False))
        return content

    def _path(self, model: str, name: str, facts: Mapping[str, Any]) -> Path | None:
        if self.folder is None:
            return None
        text = json.dumps([FORMAT, STORE_VERSION, __version__, name, facts], sort_keys=True)
        key = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        readable = re.sub(r"[^\w.-]+", "_", f"{model}-{name}").strip("_")[:80]
        return self.folder / f"{readable}-{key}.json"

    @staticmethod
    def _read(path: Path) -> tuple[dict[str, Any], float]:
        try:
            whole = json.loads(path.read_text(encoding="utf-8"))
            if whole["format"] != FORMAT or whole["version"] != STORE_VERSION:
                raise ValueError(f"it says {whole['format']!r}, version {whole['version']!r}")
            return dict(whole["content"]), float(whole["seconds"])
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"featdiv.rank_models: out: {path}: expected a finished step of a ranking ({error}); delete the file "
                "to compute it anew"
            ) from None


def _write(path: Path, content: bytes) -> None:
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFull(
            f"featdiv.rank_models: out: the disk is full: {len(content)} bytes of {path.name} found no room; finished "
            f"steps are kept. Free space on {path.parent} and call again",
            needed=len(content),
        ) from None
