from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import CrossMoments, InputError, NonFiniteError, NotEnoughData


def u_statistic(K, L):
    """HSIC of Song et al. 2012, equation 5, with n x n matrices as printed."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    return (
        np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2.0 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


def debiased(x, y):
    K, L = x @ x.T, y @ y.T
    return u_statistic(K, L) / np.sqrt(u_statistic(K, K) * u_statistic(L, L))


def centred_alignment(K, L):
    n = len(K)
    H = np.eye(n) - 1.0 / n
    K, L = H @ K @ H, H @ L @ H
    return (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_debiased_is_the_u_statistic(pair, offset):
    x, y = (side - side.mean(axis=0) for side in pair)
    score = featdiv.cka(pair[0] + offset, pair[1] - offset, precision="float64")
    assert float(score) == pytest.approx(debiased(x, y), abs=1e-9)
    # The N x N formula does not depend on the shift either, which is why central sums will do.
    assert debiased(x + 1.0, y) == pytest.approx(debiased(x, y), abs=1e-9)


@pytest.mark.parametrize("n", [4, 5, 9])
def test_debiased_with_few_rows(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 7)), rng.normal(size=(n, 3))
    assert float(featdiv.cka(x, y)) == pytest.approx(debiased(x, y), abs=1e-9)


def test_debiased_agrees_between_merged_shards_and_rows(pair):
    x, y = pair
    parts = [CrossMoments.of({"x": x[s], "y": y[s]}, precision="float64") for s in (slice(0, 31), slice(31, 150))]
    score = featdiv.cka(parts[0] + parts[1])
    assert float(score) == pytest.approx(float(featdiv.cka(x, y)), abs=1e-12)
    assert score.provenance.passes == 0


def test_biased_is_the_centred_kernel_alignment(pair):
    x, y = pair
    expected = centred_alignment(x @ x.T, y @ y.T)
    assert float(featdiv.cka(x, y, definition="biased")) == pytest.approx(expected, abs=1e-12)
    assert featdiv.cka(x, y).details["biased"] == pytest.approx(expected, abs=1e-12)


def test_rbf_is_the_alignment_of_gaussian_kernels(pair):
    def kernel(x, bandwidth):
        squared = ((x[:, None] - x[None]) ** 2).sum(axis=2)
        median = np.median(squared[np.triu_indices(len(x), 1)])
        return np.exp(-squared / (2.0 * bandwidth**2 * median))

    for bandwidth in (0.4, 1.0):
        expected = centred_alignment(kernel(pair[0], bandwidth), kernel(pair[1], bandwidth))
        score = featdiv.cka(*pair, definition="rbf", bandwidth=bandwidth)
        assert float(score) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("bandwidth", [1e4, 1e7])
def test_a_wide_kernel_is_the_one_of_squared_distances(pair, bandwidth):
    """exp(-t) - 1 is -t for small t, and centring takes constants away: that is linear CKA."""
    score = featdiv.cka(*pair, definition="rbf", bandwidth=bandwidth)
    assert float(score) == pytest.approx(float(featdiv.cka(*pair, definition="biased")), abs=1e-6)
    with pytest.raises(NotEnoughData, match="cka: the kernel of one side is the same for all pairs of rows"):
        featdiv.cka(*pair, definition="rbf", bandwidth=1e200)


@pytest.mark.parametrize("scale", [1e-40, 1e40])
@pytest.mark.parametrize("definition", ["biased", "debiased"])
def test_scale_changes_nothing(pair, scale, definition):
    expected = float(featdiv.cka(*pair, definition=definition))
    scaled = featdiv.cka(pair[0] * scale, pair[1] * scale, definition=definition)
    assert float(scaled) == pytest.approx(expected, rel=1e-9)


def test_rbf_in_blocks_is_rbf_at_once(pair, monkeypatch):
    whole = float(featdiv.cka(*pair, definition="rbf"))
    monkeypatch.setattr("featdiv.metrics.similarity.cka_rbf.BLOCK_ENTRIES", 1000)
    assert float(featdiv.cka(*pair, definition="rbf")) == pytest.approx(whole, abs=1e-12)


def test_independent_noise_is_zero_when_debiased_and_near_one_when_not():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(256, 2048)), rng.normal(size=(256, 2048))
    score = featdiv.cka(x, y)
    # Its standard deviation is about sqrt(2)/n here.
    assert abs(float(score)) < 0.03
    assert score.details["biased"] == pytest.approx(0.889, abs=0.005)
    assert score.details["biased_noise"] == pytest.approx(2048 / 2304)


def test_biased_at_its_floor_says_so():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 300)), rng.normal(size=(100, 200))
    assert "biased CKA is at its floor" in featdiv.cka(x, y, definition="biased").provenance.notes[-1]
    related = featdiv.cka(x, x[:, :200], definition="biased", normalize="l2")
    assert not any("floor" in note for note in related.provenance.notes)


def test_float32_agrees_with_float64_far_from_zero():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 40))
    y = x @ rng.normal(size=(40, 30)) + 5.0 * rng.normal(size=(3000, 30))
    exact = float(featdiv.cka(x, y, precision="float64"))
    low = featdiv.cka((x + 100.0).astype(np.float32), (y - 100.0).astype(np.float32), precision="float32")
    assert float(low) == pytest.approx(exact, abs=2e-5)
    assert low.provenance.precision == "float32"


@pytest.fixture
def wide():
    """50 rows of 90 and 60 features, which share some directions; one side is far from the origin."""
    rng = np.random.default_rng(3)
    shared = rng.normal(size=(50, 8))
    x = shared @ rng.normal(size=(8, 90)) + rng.normal(size=(50, 90)) + 1e3
    return x, shared @ rng.normal(size=(8, 60)) + 2.0 * rng.normal(size=(50, 60))


@pytest.mark.parametrize("definition", ["debiased", "biased"])
def test_few_rows_of_many_features_give_by_kernels_what_moments_give(wide, definition):
    given = {"definition": definition, "interval": "jackknife", "groups": np.arange(50) % 7}
    ours = featdiv.cka(*wide, **given)
    theirs = featdiv.cka(*wide, **given, precision="float64", backend="numpy")
    assert (ours.provenance.method, theirs.provenance.method) == ("n x n kernels", "cross moments")
    x, y = (side - side.mean(axis=0) for side in wide)
    expected = debiased(x, y) if definition == "debiased" else centred_alignment(x @ x.T, y @ y.T)
    assert float(ours) == pytest.approx(expected, rel=1e-9)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-9)
    assert ours.details == pytest.approx(theirs.details, rel=1e-9)
    assert (ours.interval.low, ours.interval.high) == pytest.approx(
        (theirs.interval.low, theirs.interval.high), rel=1e-7
    )
    assert ours.interval.groups == theirs.interval.groups == 7
    assert (ours.provenance.n, ours.provenance.d, ours.provenance.passes) == (50, 90, 1)
    assert ours.provenance.arguments == theirs.provenance.arguments


def test_what_kernels_cannot_take_is_left_to_moments(wide):
    x, y = wide
    stream = featdiv.cka(iter(np.split(x, 2)), y)
    assert stream.provenance.method == "cross moments"
    assert float(stream) == pytest.approx(float(featdiv.cka(x, y)), rel=1e-5)
    assert featdiv.cka(x, y, precision="float32").provenance.method == "cross moments"
    turned = np.random.default_rng(4).permutation(50)
    by_id = featdiv.cka(featdiv.open(x, ids=np.arange(50)), featdiv.open(y[turned], ids=turned))
    assert by_id.provenance.method == "n x n kernels"
    assert float(by_id) == pytest.approx(float(featdiv.cka(x, y)), rel=1e-9)
    with pytest.raises(InputError, match="cka: interval: 'jackknife' cannot be had here: a jackknife needs at least 5"):
        featdiv.cka(x, y, interval="jackknife")
    assert featdiv.cka(x, y, interval="auto").provenance.notes[0].startswith("no interval: a jackknife needs")
    y[5, 3] = np.nan
    with pytest.raises(NonFiniteError, match=r"cka: other: expected finite rows; .* the first in row 5"):
        featdiv.cka(x, y)


def test_too_few_rows():
    x = np.eye(3)
    with pytest.raises(NotEnoughData, match=r"cka: debiased CKA needs at least 4 rows; got 3. definition='biased'"):
        featdiv.cka(x, x)
    assert float(featdiv.cka(x, x, definition="biased")) == pytest.approx(1.0)


def test_rows_without_anything_to_compare():
    rng = np.random.default_rng(0)
    with pytest.raises(NotEnoughData, match="cka: the rows of other are all the same"):
        featdiv.cka(rng.normal(size=(9, 3)), np.ones((9, 2)))
    # The corners of a simplex are equally far from one another: HSIC of the side with itself is 0.
    with pytest.raises(NotEnoughData, match="cka: the rows of x are all equally far from one another"):
        featdiv.cka(np.eye(9), rng.normal(size=(9, 3)))
    with pytest.raises(NotEnoughData, match="cka: the median distance between rows of other is zero"):
        featdiv.cka(rng.normal(size=(9, 3)), np.ones((9, 2)), definition="rbf")


def test_arguments_that_no_one_knows(pair):
    with pytest.raises(InputError, match="cka: definition: expected one of 'debiased', 'biased', 'rbf'; got 'mine'"):
        featdiv.cka(*pair, definition="mine")
    with pytest.raises(InputError, match="cka: bandwidth: expected a positive multiple"):
        featdiv.cka(*pair, definition="rbf", bandwidth=0.0)
    with pytest.raises(InputError, match="cka: precision: expected one of"):
        featdiv.cka(*pair, precision="float8")


@pytest.mark.parametrize("definition", ["debiased", "biased"])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_is_that_of_compare(definition, grouped):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 6))
    y = x @ rng.normal(size=(6, 4)) + rng.normal(size=(3000, 4))
    given = {"definition": definition, "groups": np.arange(3000) // 40 if grouped else None, "interval": "jackknife"}
    alone = featdiv.cka(x, y, **given).interval
    truth = featdiv.compare({"x": x, "other": y}, **given).interval("x", "other")
    assert (alone.low, alone.high) == pytest.approx((truth.low, truth.high), rel=1e-9)
    assert (alone.groups, alone.method, alone.estimand) == (truth.groups, truth.method, truth.estimand)
    assert featdiv.cka(x, y, definition=definition).interval is None


def test_independent_rows_have_zero_in_the_interval_and_related_ones_have_not():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4000, 10)), rng.normal(size=(4000, 10))
    assert 0.0 in featdiv.cka(x, y, interval="auto").interval
    assert featdiv.cka(x, x[:, :5] + y[:, :5], interval="auto").interval.low > 0.1


def test_intervals_that_cannot_be_had():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    few = featdiv.cka(x, y, interval="auto")
    assert few.interval is None
    assert any("needs at least 5 slabs of 256 rows; got 400 rows" in note for note in few.provenance.notes)
    with pytest.raises(InputError, match="cka: interval: 'jackknife' cannot be had here"):
        featdiv.cka(x, y, interval="jackknife")
    with pytest.raises(InputError, match="cka: interval: expected None with definition='rbf'"):
        featdiv.cka(x, y, definition="rbf", interval="auto")
    moments = CrossMoments.from_sources({"x": x, "other": y})
    with pytest.raises(InputError, match="cka: interval: 'jackknife' needs rows; x is CrossMoments"):
        featdiv.cka(moments, interval="jackknife")
    with pytest.raises(InputError, match="groups: expected 400 entries"):
        featdiv.cka(x, y, interval="auto", groups=np.arange(7))
