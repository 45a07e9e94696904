"""Keeps DESIGN.md true: who imports whom, what importing costs, how long files are, what no file holds."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import featdiv

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "featdiv"

LEAVES = {"errors", "_optional", "results", "io", "protocols"}
"""Anyone may import these; they import one another only."""

LAYERS = (
    {"_cpu", "_cuda"},
    {"ops"},
    {"stats"},
    {"metrics"},
    {"probes"},
    {"analyses"},
    {"backbones", "engines", "pretrain"},
    {"reports"},
    {"studies", "integrations"},
    {"cli"},
    {"__main__"},
)
"""From the bottom (the native modules) up; a room imports itself, rooms of lower layers, and the leaves."""

EXCEPTIONS = {
    ("results", "metrics"): "Result.cite looks up the sources of its scores in the catalogue, when called",
}
"""Imports against the rule, each with the reason why it is better than keeping the rule."""

HEAVY = ("torch", "scipy", "sklearn", "matplotlib", "pandas", "pyarrow", "faiss", "timm", "h5py", "fsspec")
LONGEST_FILE = 400
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    """The part of the package that a file belongs to: ``ops``, ``errors``; empty for featdiv/__init__.py."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def room_of_import(name: str) -> str | None:
    """The room that a dotted name reaches; a public name counts for the room that defines it."""
    parts = name.split(".")
    if parts[0] != "featdiv":
        return None
    if len(parts) == 1:
        return "featdiv"
    if parts[1] in featdiv._PUBLIC:
        return featdiv._PUBLIC[parts[1]].split(".")[1]
    return None if parts[1].startswith("__version") else parts[1]


@functools.cache
def imported_rooms(code: str) -> frozenset[str]:
    """Rooms that a module imports anywhere, inside functions and under TYPE_CHECKING too."""
    rooms = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            rooms |= {room_of_import(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            whole_package = node.module == "featdiv"
            names = [f"featdiv.{alias.name}" for alias in node.names] if whole_package else [str(node.module)]
            rooms |= {room_of_import(name) for name in names}
    return frozenset(rooms - {None})


def may_import(importer: str, imported: str) -> bool:
    if imported == "testing":
        return importer == "testing"
    if importer in ("testing", "", imported) or imported in LEAVES:
        return True
    if importer in LEAVES:
        return False
    if imported == "featdiv":
        return importer == "cli"
    return HEIGHT[imported] < HEIGHT[importer]


@pytest.mark.parametrize(
    ("importer", "code", "allowed"),
    [
        ("stats", "from featdiv.ops import scatter", True),
        ("ops", "from featdiv.stats import Moments", False),
        ("ops", "def later():\n    from featdiv import Moments", False),
        ("io", "from featdiv.ops._dispatch import PRECISIONS", False),
        ("metrics", "import featdiv", False),
        ("cli", "import featdiv", True),
        ("cli", "from featdiv.testing import laws", False),
        ("testing", "from featdiv.cli import main", True),
        ("probes", "from featdiv.backbones import model", False),
        ("metrics", "from featdiv import __version__", True),
    ],
)
def test_the_rule_itself_tells_right_from_wrong(importer, code, allowed):
    assert all(may_import(importer, room) for room in imported_rooms(code)) is allowed


def test_imports_point_down_only():
    files = python_files("src/featdiv")
    assert len(files) > 100
    homeless = {room_of(path) for path in files} - HEIGHT.keys() - LEAVES - {"testing", ""}
    assert not homeless, f"{homeless} have no place in LAYERS"
    wrong = {
        (name_of(path), room)
        for path in files
        for room in imported_rooms(path.read_text(encoding="utf-8"))
        if not may_import(room_of(path), room) and (room_of(path), room) not in EXCEPTIONS
    }
    assert not wrong, f"a file may not import from these rooms: {sorted(wrong)}"


def test_every_exception_is_still_needed():
    used = {
        (room_of(path), room)
        for path in python_files("src/featdiv")
        for room in imported_rooms(path.read_text(encoding="utf-8"))
    }
    assert set(EXCEPTIONS) <= used


def loaded_after(statement: str) -> set[str]:
    """Top-level packages in ``sys.modules`` of a fresh interpreter after ``statement``."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_featdiv_loads_nothing_heavy():
    loaded = loaded_after("import featdiv")
    assert "featdiv" in loaded
    assert not loaded & {*HEAVY, "numpy", "typer", "rich"}


def test_opening_an_array_loads_nothing_that_it_does_not_need():
    loaded = loaded_after("import featdiv, numpy; featdiv.open(numpy.ones((3, 2)))")
    assert "numpy" in loaded
    assert not loaded & (set(HEAVY) - {"fsspec"})


def test_no_file_outgrows_a_screenful_of_ideas():
    files = python_files("src", "tests", "benchmarks", "examples", "docs")
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert len(lines) > 100
    longer = {name: count for name, count in lines.items() if count > LONGEST_FILE}
    assert not longer, f"split these: {longer}"


def test_no_file_has_a_name_that_says_nothing():
    assert not [name_of(path) for path in python_files("src", "tests", "benchmarks") if path.stem in VAGUE_NAMES]


def tracked_text() -> list[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of the files that belong to the repository")
    texts = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        try:
            texts.append((name, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    assert len(texts) > 20
    return texts


FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:home|root|Users|work|opt|tmp)/[A-Za-z0-9_]"),
    "the host of a package index": re.compile(r"(?:pypi\.org/simple|pythonhosted\.org|download\.pytorch\.org)"),
    "an open end": re.compile(r"\b(?:TODO|FIXME|XXX)\b"),
    "a banner comment": re.compile(r"^\s*(?:#|//)\s*[-=*#]{4,}", re.MULTILINE),
    "unsafe loading": re.compile(r"allow_pickle=True|weights_only=False"),
}
"""What no file holds; this one, which names it, and the tests of refusals are let off below."""


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_repository_holds_no(what):
    found = [
        f"{name}: {match.group().strip()}"
        for name, text in tracked_text()
        if name != name_of(Path(__file__)) and not (what == "unsafe loading" and name.startswith("tests/"))
        for match in FORBIDDEN[what].finditer(text)
    ]
    assert not found
