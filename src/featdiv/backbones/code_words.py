"""Words that identify what is code: transforms, and networks of a user's own. They are part of the keys of caches."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ADDRESS = " at 0x"
PACKAGES = ("torch", "torchvision", "timm", "transformers")
"""Packages whose networks are known by their structure as printed."""


def words_for(value: Any) -> str:
    """Returns words that identify a value, or none.

    A function is known by its name, code and what it holds; any other value by its ``repr`` and the functions that it
    holds, which a ``repr`` often leaves out. They do not cover the globals that a function reads.
    """
    if isinstance(value, functools.partial):
        return _joined("partial", [value.func, *value.args, *sorted(value.keywords.items())])
    if isinstance(value, types.MethodType):
        return _joined("method", [value.__func__, value.__self__])
    if isinstance(value, (set, frozenset)):
        # Their order follows the seed of the process's hashes.
        return _joined(type(value).__name__, sorted(value, key=repr))
    if isinstance(value, types.CodeType):
        return _joined(f"{value.co_code.hex()} {value.co_names!r}", value.co_consts)
    shown = " ".join(repr(value).split())
    if ADDRESS in shown and hasattr(value, "__code__"):
        return _of_function(value)
    shown = re.sub(r"<function .*? at 0x[0-9a-fA-F]+>", "<function>", shown)
    if ADDRESS in shown:
        return ""
    held = list(_functions_in(value, set()))
    return _joined(shown, held) if held else shown


def words_for_module(module: torch.nn.Module) -> str:
    """Returns the hash of the code of a network's own classes, which weights and structure do not tell; or none.

    Classes of `PACKAGES` are left out.
    """
    words = set()
    for part in module.modules():
        for kind in type(part).__mro__:
            if kind is object or kind.__module__.partition(".")[0] in PACKAGES:
                continue
            for name, member in vars(kind).items():
                if isinstance(member, types.FunctionType):
                    own: Any = inspect.unwrap(member)
                    words.add(f"{kind.__qualname__}.{name} {words_for(own.__code__)}")
    return _hash("\n".join(sorted(words)).encode()) if words else ""


def _of_function(function: Any) -> str:
    code = function.__code__
    held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    held += [*(getattr(function, "__defaults__", None) or ()), *code.co_consts]
    words = [words_for(value) for value in held]
    if not all(words):
        return ""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    return f"{name} {_hash(code.co_code + repr((code.co_names, words)).encode())}"


def _joined(name: str, values: Iterable[Any]) -> str:
    words = [words_for(value) for value in values]
    return f"{name} {_hash(repr(words).encode())}" if all(words) else ""


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _functions_in(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yields the functions among the attributes of a value, and of what these hold, in their order."""
    if id(value) in seen or isinstance(value, (type, types.ModuleType)):
        return
    seen.add(id(value))
    if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
        yield value
        return
    inside: Iterable[Any] = vars(value).values() if hasattr(value, "__dict__") else ()
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, (list, tuple)):
        inside = value
    for part in inside:
        yield from _functions_in(part, seen)
