"""Runs what README and docs/ show: every Python example as a doctest, every command with its output."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from featdiv.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BACKEND = re.compile(r"\((?:native|numpy|torch|cuda|triton)\)|(?<=, )(?:native|faiss|numpy|torch)$", re.MULTILINE)
"""What differs from machine to machine in the line that describes a result."""

NEEDS = {"training.md": ("torchmetrics", "lightning", "transformers", "accelerate")}
"""Page to the packages that its examples need, whose warnings are not ours."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """(line number, content) of the fenced blocks in a language."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in found]


def with_blocks(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", with_blocks("python"), ids=name_of)
def test_python_examples(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for package in NEEDS.get(page.name, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed, which examples of this page need")
        warnings.simplefilter("ignore")
    names: dict[str, object] = {}
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for line, content in blocks(page, "python"):
        assert ">>>" in content, f"{name_of(page)}:{line}: an example that is not run"
        example = doctest.DocTestParser().get_doctest(content, names, name_of(page), str(page), line - 1)
        runner.run(example, out=report.append, clear_globs=False)
        names = example.globs
    assert runner.tries > 0
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("page", with_blocks("console"), ids=name_of)
@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_commands(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checker = doctest.OutputChecker()
    for line, content in blocks(page, "console"):
        for step in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            program, *arguments = shlex.split(command)
            assert program == "featdiv", f"{name_of(page)}:{line}: cannot run {command!r}"
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{command}: {result.stderr}"
            if shown.strip():
                same = checker.check_output(BACKEND.sub("()", shown), BACKEND.sub("()", result.stdout), FLAGS)
                assert same, f"{command} printed\n{result.stdout}"


def test_the_runner_sees_a_wrong_example(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n3\n\n```\n```console\n$ featdiv --version\nfeatdiv 99\n```\n")
    ((_, content),) = blocks(page, "python")
    example = doctest.DocTestParser().get_doctest(content, {}, "page", None, 0)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(example, out=lambda _: None).failed == 1
    ((_, shell),) = blocks(page, "console")
    assert shell == "$ featdiv --version\nfeatdiv 99\n"
    assert not doctest.OutputChecker().check_output(
        "featdiv 99\n", CliRunner().invoke(app, ["--version"]).stdout, FLAGS
    )
