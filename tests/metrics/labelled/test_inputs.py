"""Labels: what every labelled score makes of them, good and bad."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import ClassMoments, InputError, Moments, NotEnoughData

NAMES = (
    "intra_class_distance",
    "class_separation",
    "neural_collapse",
    "lidar",
    "rate_reduction",
    "silhouette",
    "calinski_harabasz",
)
COMPARING = NAMES[1:]
"""Those that need two classes."""

OF_MOMENTS = ("class_separation", "neural_collapse", "lidar", "rate_reduction", "calinski_harabasz")
"""Those that class moments are enough for."""


@pytest.fixture
def x():
    return np.random.default_rng(4).normal(size=(90, 6)) + 1.0


@pytest.fixture
def labels():
    return np.minimum(np.arange(90) % 5, 2)


def scores(name, x, labels=None, **options):
    return dict(getattr(featdiv, name)(x, labels, **options).scores)


@pytest.mark.parametrize("name", NAMES)
def test_classes_may_have_any_names(name, x, labels):
    expected = scores(name, x, labels)
    named = np.array(["zebra", "ant", "mole"])[labels]
    for other in (labels * 1000 - 7, named, named.tolist(), labels.astype(np.uint8)):
        found = scores(name, x, other)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_may_carry_the_labels(name, x, labels):
    assert scores(name, featdiv.open(x, labels=labels)) == scores(name, x, labels)


@pytest.mark.parametrize("name", NAMES)
def test_missing_labels_are_refused_unless_ignored(name, x, labels):
    labels[[3, 50]] = -1
    with pytest.raises(InputError, match=rf"{name}: labels: expected a class for every row; got -1.*Use ignore=-1"):
        scores(name, x, labels)
    kept = labels >= 0
    result = getattr(featdiv, name)(x, labels, ignore=-1)
    assert dict(result.scores) == pytest.approx(scores(name, x[kept], labels[kept]), rel=1e-9)
    assert result.provenance.n == 88
    assert "2 rows were left out by their label" in result.provenance.notes


@pytest.mark.parametrize("name", NAMES)
def test_no_labels_are_refused(name, x):
    with pytest.raises(InputError, match=rf"{name}: labels: expected one label for each row; got None"):
        scores(name, x)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_the_wrong_length_are_refused(name, x, labels):
    with pytest.raises(InputError, match="labels: expected 90 entries, one for each row; got 89"):
        scores(name, x, labels[:-1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.eye(3)[np.arange(90) % 3], r"labels: expected a 1-D array.*got shape \(90, 3\)"),
        (np.linspace(0.0, 1.0, 90), "labels: expected integers or strings; got dtype float64"),
        ([None, 1] * 45, "labels: expected all strings or all integers, none missing"),
    ],
    ids=["one-hot", "floats", "none"],
)
def test_what_is_no_label_is_refused(name, x, bad, message):
    with pytest.raises(InputError, match=message):
        scores(name, x, bad)


@pytest.mark.parametrize("name", COMPARING)
def test_one_class_is_not_enough(name, x):
    with pytest.raises(NotEnoughData, match=rf"{name}: it compares classes and needs at least 2; got 1"):
        scores(name, x, ["one"] * 90)


@pytest.mark.parametrize("name", NAMES)
def test_all_rows_ignored_are_not_enough(name, x):
    with pytest.raises(NotEnoughData, match=rf"{name}: .*(no labelled rows|expected labelled rows)"):
        scores(name, x, np.full(90, -1), ignore=-1)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_without_classes_are_refused(name, x):
    for other in (Moments.of(x), featdiv.Eigenvalues.of_rows(x), featdiv.spectrum(x)):
        kind = type(other).__name__
        with pytest.raises(InputError, match=rf"{name}: x: expected ClassMoments or labelled rows; got {kind}"):
            scores(name, other)


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_class_moments_bring_their_labels(name, x, labels):
    moments = ClassMoments.of(x, labels, normalize="l2", per_class=True)
    with pytest.raises(InputError, match=rf"{name}: labels: expected None with ClassMoments"):
        scores(name, moments, labels)
    with pytest.raises(InputError, match=rf"{name}: ignore: expected None with ClassMoments"):
        scores(name, moments, ignore=-1)


@pytest.mark.parametrize("name", ["neural_collapse", "lidar", "rate_reduction", "silhouette", "calinski_harabasz"])
def test_rows_may_be_normalised_first(name, x, labels):
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert scores(name, x, labels, normalize="l2") == pytest.approx(scores(name, u, labels), rel=1e-6)
    with pytest.raises(InputError, match="normalize: expected"):
        scores(name, x, labels, normalize="max")


@pytest.mark.parametrize("name", ["neural_collapse", "lidar", "rate_reduction", "calinski_harabasz"])
def test_moments_cannot_be_normalised_after_the_fact(name, x, labels):
    moments = ClassMoments.of(x, labels, per_class=True)
    with pytest.raises(InputError, match=rf"{name}: x: expected class moments of rows with norm one"):
        scores(name, moments, normalize="l2")


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_chunks_with_labels_are_read_once(name, x, labels):
    chunks = ((x[start : start + 20], labels[start : start + 20]) for start in range(0, 90, 20))
    result = getattr(featdiv, name)(chunks)
    expected = scores(name, x, labels)
    expected.pop("nc4", None)
    assert dict(result.scores) == pytest.approx(expected, rel=1e-5)
    assert (result.provenance.n, result.provenance.passes) == (90, 1)


def test_a_class_that_a_chunk_lacks_is_no_matter(x, labels):
    parts = [ClassMoments.of(x[labels == k], labels[labels == k], normalize="l2") for k in (2, 0, 1)]
    merged = parts[0] + parts[1] + parts[2]
    assert float(featdiv.class_separation(merged)) == pytest.approx(
        float(featdiv.class_separation(x, labels)), rel=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_half_precision_are_rows(name, x, labels):
    torch = pytest.importorskip("torch")
    half = torch.from_numpy(x).to(torch.bfloat16)
    assert scores(name, half, torch.from_numpy(labels)) == pytest.approx(
        scores(name, half.double().numpy(), labels), rel=1e-5
    )


@pytest.mark.parametrize(
    ("score", "beside"),
    [(featdiv.lidar, "delta"), (featdiv.rate_reduction, "eps_squared"), (featdiv.transrate, "eps")],
)
def test_features_that_swallow_what_is_added_to_their_scatter(score, beside):
    # Scatter of rank two, entries of 1e24: adding less than 1e8 to its diagonal leaves it singular.
    random = np.random.default_rng(0)
    x = 1e12 * random.normal(size=(60, 2)) @ random.normal(size=(2, 7))
    with pytest.raises(NotEnoughData, match=rf"{score.__name__}: the features are so large beside {beside} that"):
        score(x, np.arange(60) % 3, precision="float64")
