"""CCA, SVCCA, PWCCA, Procrustes and subspace overlap against other packages, rows and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from scipy.stats import ortho_group

import featdiv
from featdiv import CrossMoments, InputError, NotEnoughData


def canonical(x, y):
    """Canonical correlations as cosines of the principal angles between column spaces, by QR of the rows."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.sort(np.cos(scipy.linalg.subspace_angles(x, y)))[::-1]


def test_cca_is_the_mean_cosine_of_principal_angles(pair):
    rho = canonical(*pair)
    score = featdiv.cca(*pair)
    assert score.details["correlations"] == pytest.approx(rho.tolist(), abs=1e-9)
    assert float(score) == pytest.approx(rho.mean(), abs=1e-9)
    assert float(featdiv.cca(*pair, definition="mean_squared")) == pytest.approx((rho**2).mean(), abs=1e-9)


def test_cca_agrees_with_scikit_learn(pair):
    from sklearn.cross_decomposition import CCA

    x, y = pair
    model = CCA(n_components=3, scale=False, max_iter=5000, tol=1e-12).fit(x, y)
    u, v = model.transform(x, y)
    theirs = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)]
    assert featdiv.cca(x, y).details["correlations"][:3] == pytest.approx(theirs, abs=1e-4)


def test_cca_of_a_rank_deficient_side_uses_its_rank(pair):
    x, y = pair
    doubled = np.hstack([x, x[:, :5] @ np.ones((5, 3))])
    assert featdiv.cca(doubled, y).details["ranks"] == [12, 9]
    assert float(featdiv.cca(doubled, y)) == pytest.approx(float(featdiv.cca(x, y)), abs=1e-9)


def test_cca_of_noise_is_what_the_details_say():
    rng = np.random.default_rng(0)
    scores = [
        featdiv.cca(rng.normal(size=(60, 8)), rng.normal(size=(60, 5)), definition="mean_squared") for _ in range(200)
    ]
    # tr(P_x P_y) has expectation d_x d_y / (n - 1), so the mean square has 8/59.
    assert np.mean([float(score) for score in scores]) == pytest.approx(8 / 59, rel=0.05)
    assert scores[0].details["mean_squared_noise"] == pytest.approx(8 / 59)


def test_cca_is_undefined_where_it_would_be_one_for_all():
    rng = np.random.default_rng(0)
    with pytest.raises(NotEnoughData, match=r"cca: 30 rows have at most 29 directions, and one side uses 29 of them"):
        featdiv.cca(rng.normal(size=(30, 40)), rng.normal(size=(30, 3)))


def test_svcca_is_cca_of_the_components_kept(pair):
    x, y = (side - side.mean(axis=0) for side in pair)

    def kept(z):
        _, sigma, components = np.linalg.svd(z, full_matrices=False)
        count = int(np.searchsorted(np.cumsum(sigma**2) / (sigma**2).sum(), 0.9)) + 1
        return z @ components[:count].T

    score = featdiv.svcca(*pair, variance=0.9)
    assert score.details["components"] == [kept(x).shape[1], kept(y).shape[1]]
    assert float(score) == pytest.approx(canonical(kept(x), kept(y)).mean(), abs=1e-9)
    assert float(featdiv.svcca(*pair, variance=1.0)) == pytest.approx(float(featdiv.cca(*pair)), abs=1e-9)


def test_svcca_works_where_cca_cannot():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 40)) + 1e-3 * rng.normal(size=(30, 40))
    assert 0.0 <= float(featdiv.svcca(x, x[:, :3])) <= 1.0
    with pytest.raises(InputError, match=r"svcca: variance: expected a share in \(0, 1\]; got 1.5"):
        featdiv.svcca(x, x, variance=1.5)


def test_pwcca_from_rows(pair):
    """Weights by the definition, from canonical variables of the rows themselves."""
    x, y = (side - side.mean(axis=0) for side in pair)
    qx, qy = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    left, rho, _ = np.linalg.svd(qx.T @ qy, full_matrices=False)
    variables = qx @ left
    alpha = np.abs(variables.T @ x).sum(axis=1)
    assert float(featdiv.pwcca(*pair)) == pytest.approx((alpha * rho).sum() / alpha.sum(), abs=1e-9)
    assert float(featdiv.pwcca(*pair[::-1])) != pytest.approx(float(featdiv.pwcca(*pair)), abs=1e-3)


def test_procrustes_is_what_scipy_leaves_after_rotation(pair):
    x, y = pair[0], np.hstack([pair[1], np.zeros((150, 3))])
    from scipy.spatial import procrustes

    # SciPy scales one side freely: its disparity is 1 - s^2, with s the cosine of the angle.
    disparity = procrustes(x, y)[2]
    assert np.cos(float(featdiv.procrustes(*pair))) ** 2 == pytest.approx(1.0 - disparity, abs=1e-9)
    squared = float(featdiv.procrustes(*pair, definition="squared"))
    assert squared == pytest.approx(2.0 - 2.0 * np.sqrt(1.0 - disparity), abs=1e-9)


def test_procrustes_keeps_the_triangle_inequality():
    rng = np.random.default_rng(0)
    models = {name: rng.normal(size=(40, d)) for name, d in (("a", 5), ("b", 7), ("c", 3))}
    ab, bc, ac = (float(featdiv.procrustes(models[p], models[q])) for p, q in ("ab", "bc", "ac"))
    assert ac <= ab + bc
    assert ab <= ac + bc


def test_rotation_is_no_difference_and_stretching_is_one(pair):
    x = pair[0]
    turned = x @ ortho_group.rvs(12, random_state=1)
    stretched = x * np.geomspace(1.0, 30.0, 12)
    assert float(featdiv.cka(x, turned)) == pytest.approx(1.0, abs=1e-9)
    assert float(featdiv.procrustes(x, turned)) < 1e-6
    assert float(featdiv.cca(x, stretched)) == pytest.approx(1.0, abs=1e-9)
    assert float(featdiv.procrustes(x, stretched)) > 0.3
    assert float(featdiv.cka(x, stretched)) < 0.9


def test_subspace_overlap_of_planes_at_a_known_angle():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(400, 4)) - 0.0)
    basis -= basis.mean(axis=0)
    basis, _ = np.linalg.qr(basis)
    angle = 0.4
    x = basis * [9.0, 5.0, 1.0, 1.0]
    turn = np.eye(4)
    turn[np.ix_([0, 2], [0, 2])] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    # One of two leading directions is turned by the angle out of the plane.
    assert float(featdiv.subspace_overlap(x, x @ turn, k=2)) == pytest.approx(
        (1.0 + np.cos(angle) ** 2) / 2.0, abs=1e-9
    )
    assert float(featdiv.subspace_overlap(x, x @ turn, k=1)) == pytest.approx(np.cos(angle) ** 2, abs=1e-9)


def test_subspace_overlap_needs_one_feature_space_and_enough_directions(pair):
    x, y = pair
    with pytest.raises(InputError, match=r"subspace_overlap: other: expected d=12 features, as x has.*got d=9"):
        featdiv.subspace_overlap(x, y)
    with pytest.raises(NotEnoughData, match="subspace_overlap: x has 12 directions with variance; k=13 were asked for"):
        featdiv.subspace_overlap(x, x, k=13)
    with pytest.raises(InputError, match="subspace_overlap: k: expected a positive integer"):
        featdiv.subspace_overlap(x, x, k=0)


def test_what_does_not_hold_a_pair_is_refused(pair):
    x, y = pair
    both = CrossMoments.of({"x": x, "y": y, "z": x})
    with pytest.raises(InputError, match=r"cca: x: expected CrossMoments of two models; got 3: x, y, z. Choose two"):
        featdiv.cca(both)
    with pytest.raises(InputError, match="cca: other: expected None with CrossMoments"):
        featdiv.cca(both.select("x", "y"), y)
    with pytest.raises(InputError, match="cca: other: expected rows, as x is; got CrossMoments"):
        featdiv.cca(x, both)
    with pytest.raises(InputError, match="cca: other: expected rows, or CrossMoments of two models; got Moments"):
        featdiv.cca(x, featdiv.Moments.of(y))
    with pytest.raises(InputError, match="cca: other: expected a second representation of the rows of x; got None"):
        featdiv.cca(x)
    with pytest.raises(InputError, match="cca: normalize: expected None with CrossMoments of rows as they are"):
        featdiv.cca(both.select("x", "y"), normalize="l2")
    with pytest.raises(NotEnoughData, match="cca: x: expected at least 2 rows; got 0"):
        featdiv.cca(CrossMoments.empty({"x": 3, "y": 2}))
