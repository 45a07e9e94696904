from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import ClassMoments, InputError, NotEnoughData


def simplex(c, d, scale=1.0, offset=0.0):
    """Vertices of a regular simplex in a random c - 1 dimensional plane of d dimensions."""
    rng = np.random.default_rng(c)
    basis = np.linalg.qr(rng.normal(size=(d, c)))[0].T
    return scale * (basis - basis.mean(axis=0)) + offset * rng.normal(size=d)


def by_matrices(x, labels, weighted=False):
    """NC1 and NC2 as they are printed, with matrices and NumPy's pseudo-inverse."""
    classes, counts = np.unique(labels, return_counts=True)
    c, (n, d) = len(classes), x.shape
    means = np.array([x[labels == k].mean(axis=0) for k in classes])
    weights = counts / n if weighted else np.full(c, 1.0 / c)
    mu = weights @ means
    between, within = np.zeros((d, d)), np.zeros((d, d))
    for weight, mean in zip(weights, means, strict=True):
        between += weight * np.outer(mean - mu, mean - mu)
    for row, label in zip(x, labels, strict=True):
        gap = row - means[np.searchsorted(classes, label)]
        within += np.outer(gap, gap) / n
    norms = np.array([np.linalg.norm(mean - mu) for mean in means])
    angles = [
        abs((means[a] - mu) @ (means[b] - mu) / (norms[a] * norms[b]) + 1.0 / (c - 1))
        for a in range(c)
        for b in range(c)
        if a != b
    ]
    nearest = ((x[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    return {
        "nc1": np.trace(within @ np.linalg.pinv(between, rcond=1e-12)) / c,
        "nc2_equinorm": norms.std() / norms.mean(),
        "nc2_equiangular": np.mean(angles),
        "nc4": np.mean(classes[nearest] == labels),
    }


@pytest.fixture
def some():
    rng = np.random.default_rng(7)
    labels = np.minimum(rng.integers(0, 8, size=120), 4)
    return rng.normal(size=(120, 12)) + rng.normal(size=(5, 12))[labels], labels


@pytest.mark.parametrize("definition", ["balanced", "weighted"])
def test_it_is_the_published_formula(definition, some):
    found = featdiv.neural_collapse(*some, definition=definition, precision="float64")
    assert dict(found.scores) == pytest.approx(by_matrices(*some, definition == "weighted"), rel=1e-10)
    assert found.rank == 4
    assert found.provenance.definition == definition


def test_fewer_features_than_classes(some):
    x, labels = some[0][:, :3], some[1]
    found = featdiv.neural_collapse(x, labels, precision="float64")
    assert dict(found.scores) == pytest.approx(by_matrices(x, labels), rel=1e-10)
    assert found.rank == 3


@pytest.mark.parametrize(("c", "d"), [(2, 2), (4, 10), (10, 64)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_simplex_of_points_is_full_collapse(c, d, offset):
    labels = np.arange(6 * c) % c
    x = simplex(c, d, scale=3.0, offset=offset)[labels]
    found = featdiv.neural_collapse(x, labels)
    assert found.nc1 == pytest.approx(0.0, abs=1e-12)
    assert found.nc2_equinorm == pytest.approx(0.0, abs=1e-10)
    assert found.nc2_equiangular == pytest.approx(0.0, abs=1e-10)
    assert found.nc4 == 1.0
    assert found.rank == c - 1
    np.testing.assert_allclose(found.norms, 3.0 * np.sqrt(1.0 - 1.0 / c), rtol=1e-9)


def test_isotropic_scatter_about_a_simplex_has_a_closed_form():
    # S_B has c - 1 eigenvalues s^2/c, so NC1 = (c - 1) v c / (s^2 c) for exact scatter v I within classes.
    c, d, v, s = 4, 7, 0.3, 2.0
    cross = np.concatenate([np.eye(d), -np.eye(d)]) * np.sqrt(v * d)
    x = np.concatenate([mean + cross for mean in simplex(c, d, scale=s)])
    found = featdiv.neural_collapse(x, np.repeat(np.arange(c), 2 * d), precision="float64")
    assert found.nc1 == pytest.approx((c - 1) * v / s**2, rel=1e-12)


def test_directions_without_class_means_do_not_count():
    # Three means on a line: rounding spans a second direction, which the cut-off leaves out.
    rng = np.random.default_rng(8)
    line = np.outer([-1.0, 0.3, 2.0], rng.normal(size=20))
    labels = np.repeat([0, 1, 2], 40)
    noise = rng.normal(size=(120, 20))
    for k in range(3):
        noise[labels == k] -= noise[labels == k].mean(axis=0)
    x = line[labels] + noise
    found = featdiv.neural_collapse(x, labels)
    assert found.rank == 1
    assert found.nc1 == pytest.approx(by_matrices(x, labels)["nc1"], rel=1e-5)
    assert found.provenance.arguments["cutoff"] == 1e-6


def test_halves_merge_to_the_whole(some):
    x, labels = some
    halves = [ClassMoments.of(x[part], labels[part], precision="float64") for part in (slice(31), slice(31, None))]
    merged = featdiv.neural_collapse(halves[0] + halves[1])
    expected = by_matrices(x, labels)
    expected.pop("nc4")
    assert dict(merged.scores) == pytest.approx(expected, rel=1e-10)


def test_nc4_is_undefined_without_a_second_look_at_the_rows(some):
    x, labels = some
    found = featdiv.neural_collapse(ClassMoments.of(x, labels))
    with pytest.raises(NotEnoughData, match=r"nc4 is undefined: it needs the rows, .*got class moments"):
        _ = found.nc4
    assert found.to_dict()["scores"]["nc4"] is None
    found = featdiv.neural_collapse(iter([(x, labels)]))
    assert "the source can be read only once" in found.undefined["nc4"]


def test_coinciding_class_means_leave_nc4_only():
    x = np.concatenate([np.eye(3), -np.eye(3)] * 2) + 1e3
    found = featdiv.neural_collapse(x, np.repeat([0, 1], 6))
    assert set(found.undefined) == {"nc1", "nc2_equinorm", "nc2_equiangular"}
    assert "class means coincide" in found.undefined["nc1"]
    assert found.nc4 == 0.5
    assert found.rank == 0


def test_a_class_mean_at_the_centre_has_no_angle():
    x = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    found = featdiv.neural_collapse(x, ["l", "m", "r"])
    assert found.undefined == {"nc2_equiangular": "the mean of class 'm' is the mean of all, so it has no direction"}
    assert found.nc1 == 0.0
    assert found.nc2_equinorm == pytest.approx(np.std([1, 0, 1]) / np.mean([1, 0, 1]))


def test_float16_rows_and_a_large_mean(some):
    x, labels = (some[0] + 100.0).astype(np.float16), some[1]
    found = featdiv.neural_collapse(x, labels)
    assert dict(found.scores) == pytest.approx(by_matrices(x.astype(np.float64), labels), rel=1e-5)


@pytest.mark.parametrize("cutoff", [0.0, 1.0, float("nan"), -1e-3])
def test_the_cut_off_is_a_share(cutoff, some):
    with pytest.raises(InputError, match="neural_collapse: cutoff: expected a share between 0 and 1"):
        featdiv.neural_collapse(*some, cutoff=cutoff)


def test_it_prints_and_cites(some):
    found = featdiv.neural_collapse(*some)
    assert repr(found).startswith("NeuralCollapse(nc1=")
    assert "Papyan" in found.cite()
    assert found.to_dict()["classes"] == [0, 1, 2, 3, 4]


def test_two_gaussians():
    # Means at +-m along one axis, unit covariance: S_B = m^2 along it; the nearest mean is right with chance Phi(m).
    from scipy.stats import norm

    m, n = 0.8, 40_000
    rng = np.random.default_rng(14)
    labels = np.repeat([0, 1], n // 2)
    x = rng.normal(size=(n, 3))
    x[:, 1] += np.where(labels == 0, -m, m)
    found = featdiv.neural_collapse(x, labels)
    assert found.nc1 == pytest.approx(1.0 / (2.0 * m**2), rel=0.03)
    assert found.nc2_equinorm == pytest.approx(0.0, abs=1e-12)
    assert found.nc2_equiangular == pytest.approx(0.0, abs=1e-12)
    assert found.nc4 == pytest.approx(norm.cdf(m), abs=0.01)
    assert float(featdiv.lidar(x, labels)) == pytest.approx(1.0, abs=1e-5)
