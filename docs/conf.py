"""Sphinx configuration; the pages on definitions, commands and names are written from the code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402
from docutils.nodes import Text, literal_block  # noqa: E402

from featdiv import __version__  # noqa: E402

project = "featdiv"
author = "The featdiv authors"
copyright = author
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"featdiv {release}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "py:obj"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# References to public names must resolve. Those of other packages have no inventory to resolve in, a name in
# single backticks inside a docstring may be an argument, and a type may live in a module that is not public.
nitpick_ignore_regex = [
    (r"py:obj", r".*"),
    (r"py:.*", r"(?!featdiv\.\w+$).*"),
]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def keep_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escapes the bars of |x| in docstrings, in which reStructuredText would see a substitution."""
    in_example = False
    for i, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            parts = line.split("``")
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[i] = "``".join(parts)


def trim(app: Any, document: Any) -> None:
    """Takes the blank lines off the ends of examples, which doctest wants there."""
    for block in document.findall(literal_block):
        block.children = [Text(block.astext().rstrip())]
        block.rawsource = block.rawsource.rstrip()


def setup(app: Any) -> None:
    """Writes the generated pages before Sphinx looks for sources."""
    generate.write_pages(HERE / "_generated")
    app.connect("autodoc-process-docstring", keep_bars)
    app.connect("doctree-read", trim)
