from __future__ import annotations

import pytest
import typer

from featdiv.analyses.spectral import plan
from featdiv.cli import options
from featdiv.ops import _dispatch


def test_choices_are_those_of_the_library():
    assert tuple(options.Precision) == tuple(_dispatch.PRECISIONS)
    assert tuple(options.Method) == plan.METHODS


@pytest.mark.parametrize("text", ["8GB", "512 MiB", "1.5g", None])
def test_memory_sizes_that_are_understood(text):
    options.check_memory(text)


@pytest.mark.parametrize("text", ["much", "-1GB", "0", "", "8 bananas"])
def test_memory_sizes_that_are_refused(text):
    with pytest.raises(typer.BadParameter, match="--memory: expected a size such as 8GB or 512MiB"):
        options.check_memory(text)


def test_backend_names():
    options.check_backend("auto")
    options.check_backend("numpy")
    with pytest.raises(typer.BadParameter, match=r"--backend: expected auto, native, numpy.*got 'fast'"):
        options.check_backend("fast")


def test_key_splits_at_commas():
    assert options.split_key(None) is None
    assert options.split_key("features") == "features"
    assert options.split_key("a,b") == ["a", "b"]


def test_output_in_a_folder_that_does_not_exist_is_refused_before_work_starts(tmp_path):
    options.require_writable(str(tmp_path / "out.json"), "--json")
    options.require_writable("-", "--json")
    with pytest.raises(typer.BadParameter, match=r"--json: the directory .*nowhere' does not exist"):
        options.require_writable(str(tmp_path / "nowhere" / "out.json"), "--json")
    with pytest.raises(typer.BadParameter, match=r"--plot: .* is a directory"):
        options.require_writable(str(tmp_path), "--plot")


def test_a_picture_of_no_known_kind_is_refused_before_work_starts(tmp_path):
    import matplotlib.backend_bases

    known = matplotlib.backend_bases.FigureCanvasBase.filetypes
    assert {suffix.removeprefix(".") for suffix in options.PICTURES} <= set(known)
    for name in ("out", *(f"out{suffix}" for suffix in options.PICTURES), "out.PNG"):
        options.require_writable(str(tmp_path / name), "--plot")
    options.require_writable(str(tmp_path / "out.html"), "--report")
    for option in ("--plot", "--plot-grid", "--dendrogram"):
        with pytest.raises(typer.BadParameter, match=rf"{option}: expected a picture \(\.png .*; got .*out\.html"):
            options.require_writable(str(tmp_path / "out.html"), option)
