"""Linear predictivity, RSA and mutual neighbours against the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

import featdiv
from featdiv import CrossMoments, InputError, NotEnoughData, ZeroNormError
from featdiv.metrics.similarity import linear_predictivity


def parts_of(x, y, count=5):
    chunks = zip(np.array_split(x, count), np.array_split(y, count), strict=True)
    return [CrossMoments.of({"x": a, "other": b}, precision="float64") for a, b in chunks]


def test_ridge_from_moments_is_ridge_on_rows(pair):
    from sklearn.linear_model import Ridge

    x, y = pair
    fit = linear_predictivity.ridge(CrossMoments.of({"x": x, "other": y}, precision="float64"), x="x", other="other")
    theirs = Ridge(alpha=fit.penalty, tol=1e-12).fit(x, y)
    assert fit.weights == pytest.approx(theirs.coef_.T, abs=1e-8)


def test_the_penalty_is_the_one_that_cross_validates_best(pair):
    """GCV on the rows, with the hat matrix of ridge regression with an intercept."""
    x, y = pair
    n = len(x)
    fit = linear_predictivity.ridge(CrossMoments.of({"x": x, "other": y}, precision="float64"), x="x", other="other")
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = (xc**2).sum() / x.shape[1]

    def gcv(penalty):
        hat = xc @ np.linalg.solve(xc.T @ xc + penalty * np.eye(x.shape[1]), xc.T) + 1.0 / n
        return ((yc - hat @ yc) ** 2).sum() / (1.0 - np.trace(hat) / n) ** 2

    grid = linear_predictivity.LAMBDAS * scale
    assert fit.penalty == pytest.approx(grid[np.argmin([gcv(penalty) for penalty in grid])])


def test_r_squared_is_that_of_rows_left_out(pair):
    from sklearn.linear_model import Ridge

    x, y = pair
    score = featdiv.linear_predictivity(parts_of(x, y))
    folds = np.array_split(np.arange(len(x)), 5)
    residual = variation = 0.0
    for fold, penalty in zip(folds, score.details["penalties"], strict=True):
        train = np.setdiff1d(np.arange(len(x)), fold)
        predicted = Ridge(alpha=penalty, tol=1e-12).fit(x[train], y[train]).predict(x[fold])
        residual += ((y[fold] - predicted) ** 2).sum()
        variation += ((y[fold] - y[train].mean(axis=0)) ** 2).sum()
    assert float(score) == pytest.approx(1.0 - residual / variation, abs=1e-9)
    backwards = featdiv.linear_predictivity(parts_of(y, x))
    assert score.details["backwards"] == pytest.approx(float(backwards), abs=1e-9)


def test_predictivity_of_a_linear_function_is_one_and_of_noise_not_above_zero(pair):
    x = pair[0]
    rng = np.random.default_rng(5)
    assert float(featdiv.linear_predictivity(x, x @ rng.normal(size=(12, 4)) + 3.0)) == pytest.approx(1.0, abs=1e-6)
    assert float(featdiv.linear_predictivity(x, rng.normal(size=(150, 4)))) < 0.02


def test_groups_are_left_out_whole():
    """Rows come in identical pairs: split, they predict each other; kept together, there is nothing to learn."""
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.normal(size=(40, 60)), 32, axis=0), np.repeat(rng.normal(size=(40, 3)), 32, axis=0)
    shuffled = rng.permutation(len(x))
    groups = np.repeat(np.arange(40), 32)[shuffled]
    leaking = featdiv.linear_predictivity(x[shuffled], y[shuffled])
    honest = featdiv.linear_predictivity(featdiv.open(x[shuffled], groups=groups), y[shuffled])
    assert float(leaking) > 0.9
    assert float(honest) < 0.1


def test_predictivity_refusals(pair):
    x, y = pair
    with pytest.raises(InputError, match="linear_predictivity: x: expected rows, or a list of CrossMoments of parts"):
        featdiv.linear_predictivity(CrossMoments.of({"x": x, "other": y}))
    with pytest.raises(
        NotEnoughData, match="linear_predictivity: ridge regression is tested on parts left out; the rows make 1"
    ):
        featdiv.linear_predictivity(x[:10], y[:10])
    with pytest.raises(NotEnoughData, match="linear_predictivity: the rows of x are all the same"):
        featdiv.linear_predictivity(np.ones((150, 2)), y)


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean"])
def test_rsa_is_the_correlation_of_scipy_distances(pair, distance):
    left, right = (pdist(side, distance) for side in pair)
    assert float(featdiv.rsa(*pair, distance=distance)) == pytest.approx(spearmanr(left, right)[0], abs=1e-9)
    score = featdiv.rsa(*pair, distance=distance, definition="pearson")
    assert float(score) == pytest.approx(pearsonr(left, right)[0], abs=1e-9)
    assert score.details["pairs"] == 150 * 149 // 2


def test_rsa_of_bits_does_not_depend_on_the_order_of_features():
    """Rows of bits have few distances, each of many pairs: what rounding makes of equal ones must not rank them."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=(80, 9)).astype(float)
    bits = bits[bits.std(axis=1) > 0.0]
    other = rng.normal(size=(len(bits), 5))
    exact = np.round(pdist(bits, "correlation"), 9)
    truth = spearmanr(exact, pdist(other, "correlation"))[0]
    for changed in (bits, bits[:, rng.permutation(9)], 3.0 * bits):
        assert float(featdiv.rsa(changed, other)) == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("distance", ["correlation", "euclidean"])
def test_rsa_does_not_depend_on_scale(pair, scale, distance):
    options = {"distance": distance, "definition": "pearson"}
    assert float(featdiv.rsa(*pair, **options)) == pytest.approx(
        float(featdiv.rsa(pair[0] * scale, pair[1] * scale, **options)), abs=1e-9
    )


def test_rsa_says_that_it_took_a_sample(pair):
    score = featdiv.rsa(*pair, sample=40, seed=3)
    assert score.provenance.notes == ("from a sample of 40 of 150 rows, seed 3",)
    assert score.details["sample"] == 40
    assert float(featdiv.rsa(*pair, sample=40, seed=3)) == float(score)
    assert float(featdiv.rsa(*pair, sample=40, seed=4)) != float(score)
    assert not featdiv.rsa(*pair).provenance.notes


def test_rsa_refusals(pair):
    x, y = pair
    flat = x[:, :7].copy()
    for value in (2.0, 0.1):  # the mean of seven times 0.1 is not 0.1
        flat[7] = value
        with pytest.raises(
            NotEnoughData, match="rsa: distance='correlation' needs rows with features that are not all equal; row 7"
        ):
            featdiv.rsa(flat, y)
    with pytest.raises(NotEnoughData, match="rsa: the rows of x are all equally far"):
        featdiv.rsa(np.eye(20), y[:20], distance="cosine")
    with pytest.raises(NotEnoughData, match="rsa: two rows have one distance"):
        featdiv.rsa(x[:2], y[:2])
    with pytest.raises(
        InputError, match="rsa: distance: expected one of 'correlation', 'cosine', 'euclidean'; got 'l1'"
    ):
        featdiv.rsa(x, y, distance="l1")
    with pytest.raises(InputError, match="rsa: sample: expected at least 3 rows; got 2"):
        featdiv.rsa(x, y, sample=2)
    with pytest.raises(InputError, match="rsa: x: expected rows; got CrossMoments"):
        featdiv.rsa(CrossMoments.of({"x": x, "y": y}))


@pytest.mark.parametrize("k", [1, 10])
def test_mutual_knn_is_that_of_scikit_learn(pair, k):
    from sklearn.neighbors import NearestNeighbors

    def found(rows):
        model = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(rows)
        return model.kneighbors(return_distance=False)

    shares = [len(set(a) & set(b)) / k for a, b in zip(found(pair[0]), found(pair[1]), strict=True)]
    score = featdiv.mutual_knn(*pair, k=k)
    assert float(score) == pytest.approx(np.mean(shares), abs=1e-12)
    assert score.details["noise"] == pytest.approx(k / 149)


def test_mutual_knn_of_tables_found_before(pair, searches):
    x, y = pair
    tables = [featdiv.Neighbours.of(rows, k=12) for rows in pair]
    of_tables = float(featdiv.mutual_knn(*tables, k=4))
    assert searches == [12, 12]
    assert of_tables == float(featdiv.mutual_knn(x, y, k=4))
    assert searches == [12, 12, 4, 4]
    with pytest.raises(InputError, match="mutual_knn: other: expected Neighbours, as the other side is; got ndarray"):
        featdiv.mutual_knn(tables[0], y)
    with pytest.raises(NotEnoughData, match="x: expected at least k=13 neighbours of each row; got 12"):
        featdiv.mutual_knn(*tables, k=13)
    with pytest.raises(
        InputError, match=r"other: expected leave-one-out neighbours of 150 rows by cosine; got 150 .* l2"
    ):
        featdiv.mutual_knn(tables[0], featdiv.Neighbours.of(y, k=12, distance="l2"))


def test_mutual_knn_refusals(pair):
    x, y = pair
    with pytest.raises(NotEnoughData, match="mutual_knn: k=10 neighbours need at least 11 rows; got 10"):
        featdiv.mutual_knn(x[:10], y[:10])
    with pytest.raises(NotEnoughData, match="mutual_knn: k=10 neighbours need at least 11 rows; got 1"):
        featdiv.mutual_knn(x[:1], y[:1])
    zero = y.copy()
    zero[[4, 9]] = 0.0
    with pytest.raises(ZeroNormError, match=r"mutual_knn: other: .*got 2 zero rows, the first is row 4"):
        featdiv.mutual_knn(x, zero)
    bad = y.copy()
    bad[11, 2] = np.inf
    with pytest.raises(
        featdiv.NonFiniteError, match=r"mutual_knn: other: .*got 1 NaN or infinite entries, the first in row 11"
    ):
        featdiv.mutual_knn(x, bad)
    with pytest.raises(InputError, match="mutual_knn: other: expected 150 rows, as x has; got 149"):
        featdiv.mutual_knn(x, y[:-1])


def test_rows_by_ids_and_from_streams(pair):
    x, y = pair
    ids = np.arange(150)
    order = np.random.default_rng(0).permutation(150)
    shuffled = featdiv.open(y[order], ids=ids[order])
    expected = float(featdiv.mutual_knn(x, y))
    assert float(featdiv.mutual_knn(featdiv.open(x, ids=ids), shuffled)) == expected
    assert float(featdiv.mutual_knn(iter(np.array_split(x, 7)), y)) == expected
    sampled = featdiv.rsa(x, y, sample=30)
    assert float(featdiv.rsa(featdiv.open(x, ids=ids), shuffled, sample=30)) == pytest.approx(float(sampled), abs=1e-12)
    assert float(featdiv.rsa(iter(np.array_split(x, 7)), y, sample=30)) == pytest.approx(float(sampled), abs=1e-12)
    streams = [iter(np.array_split(side, 7)) for side in pair]
    assert float(featdiv.rsa(*streams, sample=30)) == pytest.approx(float(sampled), abs=1e-12)
