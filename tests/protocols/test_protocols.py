from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
from importlib import resources

import numpy as np
import pytest

import featdiv
from featdiv import protocols


@pytest.fixture(params=protocols.names())
def protocol(request):
    return protocols.get(request.param)


def test_every_file_is_complete_and_named_for_itself(protocol):
    file = resources.files("featdiv.protocols") / f"{protocol.name}.toml"
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    assert content["schema"] == protocols.SCHEMA_VERSION
    assert content.keys() - {"schema"} == {field.name for field in dataclasses.fields(protocol)}
    assert protocol.source.keys() == {"paper", "code", "read"}
    assert {"features", "images", "split", "metric"} <= protocol.presumes.keys()
    assert protocol.defects
    assert {"extract"} < protocol.parameters.keys()
    json.dumps(protocol.to_dict(), allow_nan=False)


def test_parameters_are_arguments_of_the_function(protocol):
    for function in ("knn_probe", "linear_probe", "fewshot_probe", "finetune"):
        if function in protocol.parameters and hasattr(featdiv, function):
            arguments = inspect.signature(getattr(featdiv, function)).parameters
            assert protocol.parameters_of(function).keys() <= arguments.keys()


def test_dinov2_knn():
    assert dict(protocols.get("dinov2-knn").parameters_of("knn_probe")) == {
        "k": (10, 20, 100, 200),
        "vote": ("exp",),
        "temperature": 0.07,
        "distance": "cosine",
    }
    assert protocols.get("dinov2-knn").parameters_of("extract")["normalize"] == "l2"


@pytest.mark.parametrize(
    ("name", "exponents"), [("dinov2-logreg", (-6, 5)), ("kornblith2019", (-5, 6)), ("ericsson2021", (-5, 6))]
)
def test_grids_of_c(name, exponents):
    found = protocols.get(name).parameters_of("linear_probe")
    np.testing.assert_allclose(found["C"], np.logspace(*exponents, 45), rtol=1e-12)
    assert found["normalize"] is None


def test_strengths_of_the_published_runs_lie_on_the_grid():
    # 1 / logspace(-6, 5, 45) is the grid of C in the order of the published code.
    grid = protocols.get("ericsson2021").parameters_of("linear_probe")["C"]
    np.testing.assert_allclose(sorted(1.0 / np.logspace(-6, 5, 45)), grid, rtol=1e-12)


def test_finetuning_grids():
    found = protocols.get("kornblith2019").parameters_of("finetune")
    assert found["weight_decay"][0] == 0.0
    np.testing.assert_allclose(found["weight_decay"][1:], np.logspace(-6, -3, 7))
    np.testing.assert_allclose(found["lr"], np.logspace(-4, -1, 7))
    scratch = protocols.get("kornblith2019").parameters_of("finetune", mode="scratch")
    np.testing.assert_allclose(scratch["weight_decay"], np.logspace(-5, -1.5, 8))
    np.testing.assert_allclose(scratch["lr"], np.logspace(-3, 0, 7))
    assert scratch["steps"] == 40_000
    assert scratch["batch_size"] == found["batch_size"] == 256
    same = protocols.get("ericsson2021")
    assert same.parameters_of("finetune", mode="scratch") == same.parameters_of("finetune")


def test_differences_are_those_to_what_the_mode_is_given():
    kornblith = protocols.get("kornblith2019")
    found = {"lr": np.logspace(-3, 0, 7), "mode": "scratch"}
    assert kornblith.differences(found, function="finetune") == ()
    assert [str(each.parameter) for each in kornblith.differences({**found, "mode": "full"}, function="finetune")] == [
        "lr"
    ]


def test_differences():
    logreg = protocols.get("dinov2-logreg")
    assert logreg.differences({"C": np.logspace(-6, 5, 45), "normalize": None, "seed": 3}) == ()
    (found,) = logreg.differences({"C": np.logspace(-5, 6, 45), "intercept": True})
    assert (found.function, found.parameter) == ("linear_probe", "C")
    assert str(found) == "C: 1e-05, 1.77828e-05 … 1e+06 (45 values) instead of 1e-06, 1.77828e-06 … 100000 (45 values)"
    assert logreg.unrecorded({"C": [1.0]}) == ("normalize", "standardize", "intercept", "refit")


def test_true_is_not_one():
    (found,) = protocols.get("dinov2-logreg").differences({"refit": 1})
    assert found.parameter == "refit"


def test_a_call_takes_the_protocol_where_it_is_at_its_defaults_and_records_what_it_changes():
    defaults = {"k": (1, 5), "temperature": 0.1, "vote": ("exp", "uniform"), "seed": 0}
    resolved = protocols.get("dinov2-knn").resolve("knn_probe", {**defaults, "k": 20}, defaults)
    assert resolved.arguments == {"k": 20, "temperature": 0.07, "vote": ("exp",), "seed": 0}
    assert [found.parameter for found in resolved.deviations] == ["k"]
    assert resolved.notes == ("departs from protocol dinov2-knn@1: k: 20 instead of 10, 20, 100, 200",)
    followed = protocols.get("dinov2-knn").resolve("knn_probe", defaults, defaults)
    assert followed.arguments["k"] == (10, 20, 100, 200)
    assert followed.notes == ()


def test_protocols_are_frozen(protocol):
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol.version = 2
    with pytest.raises(TypeError):
        protocol.parameters_of("extract")["crop"] = 1


def test_what_cannot_be_done():
    with pytest.raises(featdiv.InputError, match=r"name: expected one of dinov2-knn, .*; got 'dino'"):
        protocols.get("dino")
    with pytest.raises(featdiv.InputError, match=r"linear_probe: protocol: 'dinov2-knn' prescribes nothing"):
        protocols.get("dinov2-knn").parameters_of("linear_probe")
    with pytest.raises(featdiv.InputError, match="say which is meant"):
        protocols.get("ericsson2021").differences({})
