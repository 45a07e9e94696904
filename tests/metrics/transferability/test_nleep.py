from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

import featdiv
from featdiv import BudgetExceeded, ClassMoments, InputError, NotEnoughData
from featdiv.testing import cases


def test_far_groups_are_certain_whatever_the_mixture_does():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    x = 100.0 * np.eye(3, 5)[labels] + rng.normal(size=(180, 5))
    assert float(featdiv.nleep(x, labels)) == pytest.approx(0.0, abs=1e-6)


def test_groups_that_do_not_know_their_label_cost_its_entropy():
    rng = np.random.default_rng(0)
    group, label = np.repeat(np.arange(2), 200), np.tile([0, 1], 200)
    x = 100.0 * group[:, None] + 1e-3 * rng.normal(size=(400, 2))
    # Ten components for 400 rows find a little by chance; never more than a few hundredths of a nat.
    assert float(featdiv.nleep(x, label)) == pytest.approx(-np.log(2.0), abs=0.06)


def test_it_is_leep_of_the_posteriors_of_a_mixture():
    from sklearn.mixture import GaussianMixture

    x, labels = cases.labelled(300, 10, 3, between=2.0)
    components = PCA().fit(x)
    kept = int((np.cumsum(components.explained_variance_ratio_) < 0.8).sum()) + 1
    z = components.transform(x)[:, :kept]
    found = float(featdiv.nleep(x, labels))
    # Starts differ, so do optima: the published score itself moves by about this much from seed to seed.
    others = [
        float(
            featdiv.leep(
                GaussianMixture(15, random_state=seed).fit(z / z[:, 0].std()).predict_proba(z / z[:, 0].std()), labels
            )
        )
        for seed in range(4)
    ]
    assert min(others) - 0.1 < found < max(others) + 0.1


def test_order_of_rows_changes_nothing():
    x, labels = cases.labelled(200, 6, 3, between=1.0)
    order = np.random.default_rng(1).permutation(200)
    assert float(featdiv.nleep(x[order], labels[order])) == pytest.approx(float(featdiv.nleep(x, labels)), rel=1e-9)


def test_rows_are_streamed_and_the_rest_is_planned_against_the_budget(tmp_path):
    x, labels = cases.labelled(3000, 200, 3, between=3.0)
    np.save(tmp_path / "x.npy", x)
    found = featdiv.nleep(featdiv.open(tmp_path / "x.npy", labels=labels, chunk_rows=100), memory="100MB")
    assert float(found) == pytest.approx(float(featdiv.nleep(x, labels)), rel=1e-9)
    assert found.provenance.passes == 2
    kept = int((np.cumsum(PCA().fit(x).explained_variance_ratio_) < 0.8).sum()) + 1
    assert found.details["principal_components"] == kept
    assert found.details["bytes"] > 8 * 3000 * (kept + 15)
    with pytest.raises(
        BudgetExceeded, match=rf"nleep: memory: 3000 rows of {kept} principal components and a mixture of 15"
    ):
        featdiv.nleep(x, labels, memory=found.details["bytes"] - 1)
    table = featdiv.transferability(
        x, labels, metrics=["logme", "nleep"], interval=None, memory=found.details["bytes"] - 1
    )
    assert "principal components" in table.undefined["nleep"]
    assert table.provenance.passes == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: featdiv.nleep(x[:10], y[:10]), NotEnoughData, r"nleep: a mixture of \d+ Gaussians needs as many"),
        (lambda x, y: featdiv.nleep(x, y * 0), NotEnoughData, "nleep: it compares classes"),
        (lambda x, y: featdiv.nleep(x, y, variance=0.0), InputError, "nleep: variance: expected a share above 0"),
        (lambda x, y: featdiv.nleep(ClassMoments.of(x, y)), InputError, "nleep: x: expected labelled rows"),
        (lambda x, y: featdiv.nleep(iter([x]), y), InputError, "takes a second reading of the rows"),
        (lambda x, y: featdiv.nleep(x * 0, y), NotEnoughData, "nleep: all rows are equal"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    x, labels = cases.labelled(60, 4, 3)
    with pytest.raises(error, match=message):
        call(x, labels)
