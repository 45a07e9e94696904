"""Linear CKA by n x n kernels: the numbers of the formula, those of moments, and when each way is taken."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv.analyses.comparison import kernels
from featdiv.errors import InputError, NonFiniteError, ZeroNormError
from featdiv.metrics.similarity.measures import measure

WIDE = {"a": 60, "b": 90, "c": 40}


def models_of(n, sizes=WIDE, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 8))
    return {
        name: shared @ rng.normal(size=(8, d)) + spread * rng.normal(size=(n, d)) + offset
        for (name, d), spread, offset in zip(sizes.items(), (1.0, 3.0, 0.2), (0.0, 1e4, -5.0), strict=True)
    }


@pytest.fixture
def by_moments(monkeypatch):
    def compared(*args, **given):
        with monkeypatch.context() as patched:
            patched.setattr(kernels, "cheaper", lambda *_, **__: False)
            found = featdiv.compare(*args, **{"precision": "float64", **given})
        assert found.provenance.method == "cross moments"
        return found

    return compared


@pytest.fixture
def by_kernels(monkeypatch):
    def compared(*args, **given):
        with monkeypatch.context() as patched:
            patched.setattr(kernels, "cheaper", lambda *_, **__: True)
            return featdiv.compare(*args, **given)

    return compared


def hsic_of_formula(k, l):  # noqa: E741
    """Song et al. 2012, equation 5, letter by letter."""
    n = len(k)
    k, l = (kernel - np.diag(np.diag(kernel)) for kernel in (k, l))  # noqa: E741
    one = np.ones(n)
    inner = np.trace(k @ l) + one @ k @ one * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    return inner / (n * (n - 3))


def test_few_rows_of_many_features_give_the_numbers_of_the_formula():
    models = models_of(24)
    found = featdiv.compare(models)
    assert found.provenance.method == "n x n kernels"
    assert (found.provenance.precision, found.provenance.passes, found.provenance.n) == ("float64", 1, 24)
    centred = {name: rows - rows.mean(axis=0) for name, rows in models.items()}
    gram = {name: rows @ rows.T for name, rows in centred.items()}
    biased = featdiv.compare(models, definition="biased")
    for a, b in (("a", "b"), ("a", "c"), ("b", "c")):
        k, l = gram[a], gram[b]  # noqa: E741
        debiased = hsic_of_formula(k, l) / np.sqrt(hsic_of_formula(k, k) * hsic_of_formula(l, l))
        assert found[a, b] == found[b, a] == pytest.approx(debiased, rel=1e-9)
        plain = (k * l).sum() / np.linalg.norm(k) / np.linalg.norm(l)
        assert biased[a, b] == pytest.approx(plain, rel=1e-9)
        assert found.biased[found.rows.index(a), found.rows.index(b)] == pytest.approx(plain, rel=1e-9)
    assert found.values.diagonal().tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "given",
    [
        {"groups": np.arange(70) % 7},
        # More groups than parts, not in the order of their names.
        {
            "groups": np.repeat(
                [9, 3, 23, 7, 1, 21, 5, 0, 22, 8, 2, 20, 6, 4, 19, 10, 18, 11, 17, 12, 16, 13, 15, 14], 3
            )[:70]
        },
        {"groups": np.arange(70) % 7, "definition": "biased"},
        {"groups": np.arange(70) % 7, "normalize": "l2", "interval": "jackknife"},
    ],
)
def test_values_and_intervals_are_those_of_moments(by_moments, by_kernels, given):
    models = models_of(70)
    ours, theirs = by_kernels(models, **given), by_moments(models, **given)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-9)
    assert len(ours.intervals) == 3
    np.testing.assert_allclose(ours.low, theirs.low, rtol=1e-9)
    np.testing.assert_allclose(ours.high, theirs.high, rtol=1e-9)
    if theirs.biased is not None:
        np.testing.assert_allclose(ours.biased, theirs.biased, rtol=1e-9)
        np.testing.assert_array_equal(ours.biased_noise, theirs.biased_noise)


def test_slabs_of_rows_are_left_out_as_moments_leave_them_out(by_moments, by_kernels):
    # Five slabs of 256 rows and a rest that belongs to the first part again.
    models = models_of(1300, {"a": 3, "b": 4, "c": 2})
    ours, theirs = (way(models, interval="jackknife") for way in (by_kernels, by_moments))
    np.testing.assert_allclose(ours.low, theirs.low, rtol=1e-9)
    np.testing.assert_allclose(ours.high, theirs.high, rtol=1e-9)


def test_a_rectangle_and_rows_found_by_id(by_moments, by_kernels):
    models = models_of(24)
    whole = by_moments(models)
    found = by_kernels({"a": models["a"]}, {"b": models["b"], "c": models["c"]})
    np.testing.assert_allclose(found.values, whole.values[:1, 1:], rtol=1e-9)
    turned = np.random.default_rng(1).permutation(24)
    by_id = by_kernels(
        models["a"], models["b"][turned], ids=[f"i{i}" for i in range(24)], other_ids=[f"i{i}" for i in turned]
    )
    assert by_id.value == pytest.approx(whole["a", "b"], rel=1e-9)


def test_rows_that_cannot_be_used_are_refused_or_left_out_in_the_usual_words():
    models = models_of(24)
    models["b"][5, 3] = np.nan
    with pytest.raises(NonFiniteError, match=r"featdiv.compare: b: .* the first in row 5. Use nonfinite='drop'"):
        featdiv.compare(models)
    found = featdiv.compare(models, nonfinite="drop")
    kept = np.delete(np.arange(24), 5)
    expected = featdiv.compare({name: rows[kept] for name, rows in models.items()})
    assert expected.provenance.method == "n x n kernels"
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    assert "1 rows with NaN" in found.provenance.notes[0]
    models["b"][5] = 0.0
    with pytest.raises(ZeroNormError, match="normalize='l2' expected rows of non-zero norm; got 1 zero rows"):
        featdiv.compare(models, normalize="l2")


def test_rows_that_are_all_the_same_have_no_value():
    models = models_of(24) | {"flat": np.full((24, 50), 0.1)}
    found = featdiv.compare(models)
    assert found.provenance.method == "n x n kernels"
    assert found.undefined["a ~ flat"] == "the rows of flat are all the same"
    assert len(found.scores) == 3


@pytest.mark.parametrize("scale", [1e2, 1e5])
def test_parts_that_held_nearly_all_of_a_kernel_are_left_out_without_cancelling(by_kernels, monkeypatch, scale):
    models = models_of(40, {"a": 60, "b": 90, "c": 4})
    models["b"] -= 1e4
    groups = np.arange(40) % 5
    for name in ("a", "b"):
        models[name][7] *= scale
    seen = []
    monkeypatch.setattr(kernels.left_out, "interval", lambda names, value, found, **given: seen.append((names, found)))
    by_kernels(models, groups=groups)
    assert len(seen) == 3
    for names, found in seen:
        kept = (models[name][groups != 7 % 5] for name in names)
        k, l = (rows @ rows.T for rows in (rows - rows.mean(axis=0) for rows in kept))  # noqa: E741
        debiased = hsic_of_formula(k, l) / np.sqrt(hsic_of_formula(k, k) * hsic_of_formula(l, l))
        assert found[7 % 5].values[names] == pytest.approx(debiased, abs=1e-6)


def test_without_rows_that_differ_there_is_no_interval(by_kernels):
    models = models_of(40)
    models["a"][np.arange(40) % 5 != 2] = 0.1
    found = by_kernels(models, groups=np.arange(40) % 5, definition="biased")
    assert list(found.intervals) == ["b ~ c"]


def test_when_kernels_are_taken():
    models = models_of(24)

    def method(value=models, **given):
        return featdiv.compare(value, **given).provenance.method

    seen = []
    assert method(progress=lambda done, total: seen.append((done, total))) == "n x n kernels"
    assert seen == [(24, 24)]
    assert method(precision="float64") == "n x n kernels"
    assert method(precision="float32") == method(backend="numpy") == method(device="cpu") == "cross moments"
    assert method(metric="procrustes", interval=None) == "cross moments"
    # As many rows as features, a stream, and rows for whose kernels the budget has no room.
    assert method(models_of(200)) == "cross moments"
    stream = {name: iter(np.split(rows, 2)) for name, rows in models.items()}
    assert method(stream) == "cross moments"
    cka = measure("cka", None, function="test")
    assert not kernels.cheaper(cka, {"a": 4096, "b": 4096}, 1000, memory=100_000_000)
    assert kernels.cheaper(cka, {"a": 4096, "b": 4096}, 1000, memory=200_000_000)


def test_an_interval_that_cannot_be_had_is_refused():
    with pytest.raises(InputError, match="'jackknife' cannot be had here: a jackknife needs at least 5 slabs"):
        featdiv.compare(models_of(24), interval="jackknife")
    assert featdiv.compare(models_of(24)).provenance.notes == (
        "no intervals: a jackknife needs at least 5 slabs of 256 rows; got 24 rows",
    )
