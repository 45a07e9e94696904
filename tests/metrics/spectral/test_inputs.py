from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import featdiv
from featdiv import Eigenvalues, InputError, Interval, Moments, NotEnoughData


@pytest.mark.parametrize("name", ["effective_rank", "participation_ratio", "condition_number", "alpha_req"])
def test_rows_moments_eigenvalues_and_a_spectrum_agree(name, rows, moments_of):
    function = getattr(featdiv, name)
    expected = float(function(moments_of(rows)))
    eig = Eigenvalues.of_rows(rows)
    for x in (rows, rows.astype(np.float32), eig, featdiv.spectrum(rows), Moments.of(rows)):
        assert float(function(x)) == pytest.approx(expected, rel=2e-5)


def test_class_moments_stand_for_all_their_rows(rows):
    classes = featdiv.ClassMoments.of(rows, labels=np.arange(300) % 3, precision="float64")
    for name in ("effective_rank", "rankme", "redundancy"):
        function = getattr(featdiv, name)
        assert float(function(classes)) == pytest.approx(float(function(rows, precision="float64")), rel=1e-9)
    with pytest.raises(InputError, match="mean_cosine: x: expected moments of rows with norm one"):
        featdiv.mean_cosine(classes)


def test_a_path_is_read(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    score = featdiv.effective_rank(tmp_path / "rows.npy")
    assert float(score) == pytest.approx(float(featdiv.effective_rank(rows)), rel=1e-9)
    assert "rows.npy" in score.provenance.source
    assert score.provenance.fingerprint.startswith("sampled-blake2b:")


def test_chunks_are_read_once(rows):
    score = featdiv.rankme(iter(np.array_split(rows, 4)))
    assert float(score) == pytest.approx(float(featdiv.rankme(rows)), rel=1e-5)
    assert score.provenance.n == 300


def narrow():
    """Rows whose tail the float32 floor hides."""
    rng = np.random.default_rng(30)
    return rng.normal(size=(1000, 40)) * np.arange(1.0, 41.0) ** -3.0


def test_a_spectrum_below_the_float32_floor_is_read_again_in_float64():
    score = featdiv.effective_rank(narrow())
    sigma = np.linalg.svd(narrow() - narrow().mean(axis=0), compute_uv=False)
    p = sigma / sigma.sum()
    assert score.value == pytest.approx(np.exp(-p @ np.log(p)), rel=1e-7)
    assert (score.provenance.precision, score.provenance.passes) == ("float64", 2)
    assert score.provenance.notes == (
        "read again in float64: too much of the spectrum lay below the float32 noise floor",
    )


def test_what_can_be_read_once_only_is_told_instead():
    score = featdiv.effective_rank(iter([narrow()]))
    assert (score.provenance.precision, score.provenance.passes) == ("float32", 1)
    assert "below the float32 noise floor, and the source can be read only once" in score.provenance.notes[0]


def test_a_precision_asked_for_is_kept():
    assert featdiv.effective_rank(narrow(), precision="mixed").provenance.precision == "mixed"


def test_normalising_rows_and_not_statistics(rows, moments_of):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = float(featdiv.effective_rank(moments_of(unit)))
    assert float(featdiv.effective_rank(rows, normalize="l2")) == pytest.approx(expected, rel=1e-5)
    assert float(featdiv.effective_rank(moments_of(rows, "l2"), normalize="l2")) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(
        InputError, match=r"normalize: expected None with Moments of rows as they are; got 'l2'. Rows can"
    ):
        featdiv.effective_rank(moments_of(rows), normalize="l2")
    with pytest.raises(InputError, match="with Spectrum of rows as they are"):
        featdiv.effective_rank(featdiv.spectrum(rows), normalize="l2")
    with pytest.raises(InputError, match="effective_rank: normalize: expected None or 'l2'; got 'max'"):
        featdiv.effective_rank(moments_of(rows), normalize="max")


def test_a_spectrum_with_moments_serves_either_kind(rows, moments_of):
    spectrum = featdiv.spectrum(rows, method="gram")
    assert spectrum.moments is not None
    assert float(featdiv.rankme(spectrum)) == pytest.approx(float(featdiv.rankme(moments_of(rows))), rel=1e-5)
    assert featdiv.rankme(spectrum).provenance.function == "featdiv.rankme"


def test_a_spectrum_without_moments_serves_its_own_kind_only(rows):
    spectrum = dataclasses.replace(featdiv.spectrum(rows, method="gram"), moments=None)
    assert float(featdiv.effective_rank(spectrum)) > 1.0
    with pytest.raises(InputError, match=r"rankme: x: expected a Spectrum made with center=False; got one made with"):
        featdiv.rankme(spectrum)
    with pytest.raises(InputError, match=r"redundancy: x: this Spectrum keeps no moments. Pass the rows"):
        featdiv.redundancy(spectrum)


def test_unit_rows_of_a_spectrum(rows):
    spectrum = featdiv.spectrum(rows, normalize="l2", method="gram")
    for name in ("vendi", "mean_cosine", "mean_squared_cosine"):
        function = getattr(featdiv, name)
        assert float(function(spectrum)) == pytest.approx(float(function(rows)), rel=1e-6)
        with pytest.raises(InputError, match=f"{name}: x: expected a Spectrum of rows with norm one"):
            function(featdiv.spectrum(rows, method="gram"))


def test_the_interval_of_a_spectrum_goes_with_its_number_only(rows):
    spectrum = featdiv.spectrum(rows, method="gram", interval=None)
    interval = Interval(low=1.0, high=50.0, standard_error=1.0, method="jackknife", estimand="population", groups=8)
    spectrum = dataclasses.replace(spectrum, intervals={"effective_rank": interval})
    assert featdiv.effective_rank(spectrum).interval is interval
    assert featdiv.effective_rank(spectrum, center=False).interval is None
    assert featdiv.participation_ratio(spectrum).interval is None


def test_the_wrong_centre_is_refused(eigenvalues):
    with pytest.raises(InputError, match="effective_rank: eigenvalues: expected uncentred ones; got centred ones"):
        featdiv.effective_rank(eigenvalues([2.0, 1.0]), center=False)


def test_too_few_rows_name_the_function(moments_of):
    with pytest.raises(NotEnoughData, match="effective_rank: a spectrum needs at least 2 rows when centred; got 1"):
        featdiv.effective_rank(np.ones((1, 3)))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("coding_rate", {"eps_squared": "half"}, "coding_rate: eps_squared: expected a number above 0; got 'half'"),
        ("coding_rate", {"definition": "mine"}, "coding_rate: definition: expected one of"),
        ("components_for", {"q": None}, "components_for: q: expected a share"),
        ("explained_variance", {"k": 1.5}, "explained_variance: k: expected a positive integer, got 1.5"),
        ("alpha_req", {"fit_max": 20.5}, "alpha_req: fit_max: expected a positive integer, got 20.5"),
        ("redundancy", {"definition": None}, "redundancy: definition: expected one of"),
        ("rankme", {"definition": ["garrido2023"]}, "rankme: definition: expected one of"),
        ("vendi", {"q": "one"}, "vendi: q: expected an order"),
    ],
)
def test_arguments_are_refused_before_a_row_is_read(name, arguments, message):
    def rows():
        raise AssertionError("read")
        yield

    with pytest.raises(InputError, match=message):
        getattr(featdiv, name)(rows(), **arguments)


def test_inputs_are_left_alone(rows):
    before = rows.copy()
    featdiv.vendi(rows)
    featdiv.redundancy(rows)
    np.testing.assert_array_equal(rows, before)


def test_arguments_are_recorded(rows):
    score = featdiv.alpha_req(rows, fit_min=5, center=False, definition="agrawal2022")
    assert score.provenance.arguments == {"center": False, "normalize": None, "fit_min": 5, "fit_max": None}
    assert score.provenance.definition == "agrawal2022"
    assert score.to_dict()["scores"]["alpha_req"] == score.value
