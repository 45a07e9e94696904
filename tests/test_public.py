"""The public names: each resolves, is documented, and shows how it is used."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import featdiv

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(featdiv._PUBLIC)

SHOWN_ELSEWHERE = {
    "Comparison": "returned by featdiv.compare, whose example shows it",
    "Directions": "returned by featdiv.directions, whose example shows it",
    "CrossNormSums": "part of CrossMoments",
    "DimensionUsage": "returned by featdiv.dimension_usage, whose example shows it",
    "Eigenvalues": "part of a Spectrum; the cores of the metrics take it",
    "Embeddings": "made by featdiv.open, whose example shows it",
    "Features": "returned by featdiv.extract, whose example shows it",
    "FineTune": "returned by featdiv.finetune, whose example shows it",
    "FilterDiversity": "returned by featdiv.filter_diversity, whose example shows it",
    "Images": "made by featdiv.images, whose example shows it",
    "Interval": "part of a result",
    "KnnProbe": "returned by featdiv.knn_probe, whose example shows it",
    "LayerDiversity": "part of a FilterDiversity",
    "LinearProbe": "returned by featdiv.linear_probe, whose example shows it",
    "NeuralCollapse": "returned by featdiv.neural_collapse, whose example shows it",
    "NormSums": "part of Moments",
    "Provenance": "part of a result",
    "RankAgreement": "returned by featdiv.rank_agreement, whose example shows it",
    "Correlation": "returned by featdiv.correlate, whose example shows it",
    "Ranking": "returned by featdiv.rank_models, whose example shows it",
    "Result": "base of the results",
    "Calibration": "returned by featdiv.ece, whose example shows it",
    "FewshotProbe": "returned by featdiv.fewshot_probe, whose example shows it",
    "Transferability": "returned by featdiv.transferability, whose example shows it",
    "TransferScores": "returned by featdiv.transfer_scores, whose example shows it",
    "TemperatureScaling": "returned by featdiv.temperature_scaling, whose example shows it",
    "RidgeProbe": "returned by featdiv.ridge_probe, whose example shows it",
    "Score": "returned by the metric functions, whose examples show it",
    "Spectrum": "returned by featdiv.spectrum, whose example shows it",
    "SpectrumBatch": "returned by featdiv.spectra, whose example shows it",
}
"""Public names without an example of their own, and where a reader finds one. Errors are met, not made."""


def test_public_names_resolve_to_what_they_say():
    for name in NAMES:
        value = getattr(featdiv, name)
        assert value.__name__ == name
        assert inspect.getmodule(value).__name__.startswith("featdiv."), name


def test_public_names_are_documented():
    documentation = {name: inspect.getdoc(getattr(featdiv, name)) or "" for name in NAMES}
    assert not [name for name, text in documentation.items() if not text[:1].isupper()]


def test_public_names_show_an_example():
    shown = {name for name in NAMES if ">>>" in inspect.getdoc(getattr(featdiv, name))}
    errors = {name for name, module in featdiv._PUBLIC.items() if module == "featdiv.errors"}
    assert not {*NAMES} - shown - errors - SHOWN_ELSEWHERE.keys()


def test_public_methods_are_documented():
    undocumented = [
        f"{name}.{member}"
        for name in NAMES
        if name[0].isupper()
        for member, value in inspect.getmembers(getattr(featdiv, name))
        if (inspect.isfunction(value) or isinstance(value, property))
        and not member.startswith("_")
        and not inspect.getdoc(value)
    ]
    assert not undocumented


def _telling() -> dict[str, Callable[..., Any]]:
    """Every public function and class method that takes ``progress``, by name."""
    public = {name: getattr(featdiv, name) for name in NAMES}
    methods = {
        f"{name}.{member}": value
        for name, owner in public.items()
        if inspect.isclass(owner)
        for member, value in inspect.getmembers(owner, inspect.ismethod)
    }
    callables = {name: value for name, value in public.items() if inspect.isfunction(value)} | methods
    return {name: value for name, value in callables.items() if "progress" in inspect.signature(value).parameters}


def test_progress_that_cannot_be_called_is_refused_before_anything_is_opened(tmp_path):
    telling = _telling()
    assert {"convert", "spectrum", "knn_probe", "extract", "rank_models", "Moments.from_source"} <= telling.keys()
    for name, function in telling.items():
        needed = {
            parameter.name: 1 if parameter.name == "k" else str(tmp_path / "missing.npy")
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
        }
        with pytest.raises(featdiv.InputError, match=rf"{name}: progress: expected None or a function .*; got True"):
            function(**needed, progress=True)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'featdiv' has no attribute 'spectrun'"):
        featdiv.spectrun  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "src" / "featdiv" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == featdiv._PUBLIC


def test_public_rooms_are_modules():
    assert {room: getattr(featdiv, room).__name__ for room in featdiv._ROOMS} == {
        room: f"featdiv.{room}" for room in featdiv._ROOMS
    }


def test_dir_lists_the_public_names():
    assert set(featdiv.__all__) <= set(dir(featdiv))


def test_installed_version_is_the_version_of_the_code():
    try:
        installed = importlib.metadata.version("featdiv")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("featdiv runs from its source folder here, not from an installation")
    assert installed == featdiv.__version__


def test_citation_names_the_same_version():
    assert f"\nversion: {featdiv.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_extra_that_an_error_may_name_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = set()
    for path in (ROOT / "src").rglob("*.py"):
        for part in path.read_text(encoding="utf-8").split('extra="')[1:]:
            wanted.add(part.partition('"')[0])
    assert wanted
    assert wanted <= extras.keys()


def test_every_pinned_requirement_has_a_pin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    installed_by_make = [
        requirement
        for extra in ("arrow", "hdf5", "remote", "pandas", "test", "lint", "docs", "conformance")
        for requirement in project["optional-dependencies"][extra]
    ]
    names = {
        requirement.partition(">=")[0].lower()
        for requirement in [*project["dependencies"], *installed_by_make]
        if not requirement.startswith("featdiv[")
    }
    assert names <= pinned


def test_a_misspelt_name_is_answered_with_the_right_one():
    with pytest.raises(AttributeError) as caught:
        featdiv.efective_rank  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("efective_rank", featdiv)


def test_completion_offers_what_is_public_alone():
    assert {name for name in dir(featdiv) if not name.startswith("__")} == {*featdiv.__all__} - {"__version__"}
    assert featdiv.backbones.load_model
    assert featdiv.integrations
