"""Runs pytest with the arguments given where Triton interprets kernels; test_interpreted.py starts it.

The interpreter swaps the functions of triton.language for its own at each launch, and again whenever a kernel calls
another jitted function. Here it does so once for the whole process, which needs no others: a quarter of the time.
"""

from __future__ import annotations

import inspect
import sys

import pytest


def swap_once() -> None:
    """Lets the interpreter swap functions of triton.language, and of its core, once and for good."""
    import triton.language as tl
    from triton.runtime import interpreter

    swap, swapped = interpreter._patch_lang, set()

    def unless_swapped(function):
        modules = (value for value in function.__globals__.values() if inspect.ismodule(value))
        languages = frozenset(module.__name__ for module in modules if module in (tl, tl.core))
        if languages not in swapped:
            swapped.add(languages)
            swap(function)
        return interpreter._LangPatchScope()

    interpreter._patch_lang = unless_swapped


if __name__ == "__main__":
    swap_once()
    # On a device an overflow is no event; NumPy, which plays it, warns.
    options = ["-q", "-W", "ignore::RuntimeWarning", "-p", "no:cacheprovider", "-p", "no:xdist"]
    sys.exit(pytest.main([*options, *sys.argv[1:]]))
