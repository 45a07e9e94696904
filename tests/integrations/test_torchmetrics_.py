from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch

import featdiv
from featdiv import InputError, NotEnoughData
from featdiv.testing.compare import assert_close_statistic

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

CLASSES = {
    "effective_rank": "EffectiveRank",
    "rankme": "RankMe",
    "participation_ratio": "ParticipationRatio",
    "stable_rank": "StableRank",
    "alpha_req": "AlphaReQ",
    "vendi": "Vendi",
}


@pytest.fixture
def tm(load):
    return load("torchmetrics_")


def fed(metric, batches):
    for batch in batches:
        metric.update(batch)
    return metric


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("sizes", [[500], [499, 1], [64] * 7 + [52]])
def test_batches_give_the_score_of_all_rows_at_once(rows, truth, tm, name, sizes):
    metric = getattr(tm, CLASSES[name])(num_features=45)
    value = fed(metric, rows.split(sizes)).compute()
    assert value.dtype == torch.float64
    assert float(value) == pytest.approx(truth(rows, name), rel=1e-9)


@pytest.mark.parametrize("name", ["spectral_entropy", "redundancy", "mean_cosine", "coding_rate"])
def test_any_other_score_of_moments_by_name(rows, tm, name):
    metric = fed(tm.SpectralMetric(name, 45), rows.split(100))
    expected = getattr(featdiv, name)(rows.double().numpy(), precision="float64")
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-9)


def test_definitions_and_orders(rows, tm):
    x = rows.double().numpy()
    for definition in ("stable-pretraining", "reptrix"):
        metric = fed(tm.RankMe(45, definition=definition), rows.split(100))
        expected = featdiv.rankme(x, definition=definition, precision="float64")
        assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-9)
    metric = fed(tm.Vendi(45, q=math.inf), rows.split(100))
    assert float(metric.compute()) == pytest.approx(float(featdiv.vendi(x, q=math.inf, precision="float64")), rel=1e-9)
    metric = fed(tm.AlphaReQ(45, definition="stringer2019"), rows.split(100))
    expected = featdiv.alpha_req(x, definition="stringer2019", precision="float64")
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-9)


def test_forward_gives_the_batch_and_keeps_the_whole(rows, truth, tm):
    metric = tm.EffectiveRank(45)
    for batch in rows.split(100):
        assert float(metric(batch)) == pytest.approx(truth(batch, "effective_rank"), rel=1e-9)
    assert float(metric.compute()) == pytest.approx(truth(rows, "effective_rank"), rel=1e-9)


def test_a_state_that_is_read_between_updates_holds_all_rows_so_far(rows, tm):
    metric, seen = tm.RankMe(45), 0
    for batch in rows.split(60):  # fewer than make a product
        metric.update(batch)
        seen += len(batch)
        state = metric.metric_state["moments"]
        found = tm.packed.to_moments(state, function="here")
        assert_close_statistic(found, featdiv.Moments.of(rows[:seen].double(), precision="float64"), 1e-12)


def test_small_batches_make_few_products(rows, tm, monkeypatch):
    of_rows, products = tm.packed.of_rows, []
    monkeypatch.setattr(tm.packed, "of_rows", lambda x, **how: products.append(len(x)) or of_rows(x, **how))
    metric = fed(tm.RankMe(45), rows.split(10))
    metric.compute()
    assert products == [250, 250]


def test_reset(rows, truth, tm):
    metric = fed(tm.RankMe(45), [rows + 100.0])
    metric.compute()
    metric.reset()
    assert float(fed(metric, [rows]).compute()) == pytest.approx(truth(rows, "rankme"), rel=1e-9)


def test_merge_state(rows, truth, tm):
    a, b = fed(tm.EffectiveRank(45), [rows[:33]]), fed(tm.EffectiveRank(45), rows[33:].split(100))
    b.compute()
    before = b.moments.clone()
    a.compute()
    a.merge_state(b)
    assert float(a.compute()) == pytest.approx(truth(rows, "effective_rank"), rel=1e-9)
    assert torch.equal(b.moments, before)
    into_empty = tm.EffectiveRank(45)
    into_empty.merge_state(b.metric_state)
    assert float(fed(into_empty, [rows[:33]]).compute()) == pytest.approx(truth(rows, "effective_rank"), rel=1e-9)


def test_metrics_that_do_not_match_are_not_merged(tm):
    with pytest.raises(InputError, match=r"EffectiveRank.merge_state: incoming_state: expected a state of shape"):
        tm.EffectiveRank(3).merge_state(tm.EffectiveRank(4))
    with pytest.raises(InputError, match="window=None"):
        tm.EffectiveRank(3).merge_state(tm.EffectiveRank(3, window=2))
    with pytest.raises(InputError, match="expected normalize=None; got 'l2'"):
        tm.EffectiveRank(3).merge_state(tm.Vendi(3))


@pytest.mark.parametrize("window", [None, 3])
def test_pickle_and_copy_and_state_dict(rows, tm, window):
    metric = fed(tm.Vendi(45, q=2.0, window=window), rows.split(100))
    expected = float(metric.compute())
    more = torch.flip(rows, [1])[:77]
    continued = float(fed(copy.deepcopy(metric), [more]).compute())
    restored = tm.Vendi(45, q=2.0, window=window)
    metric.persistent(True)
    restored.load_state_dict(metric.state_dict())
    restored._update_count = 1  # torchmetrics does not save it, and warns that nothing was seen
    for other in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), restored):
        assert float(other.compute()) == expected
        assert float(fed(other, [more]).compute()) == pytest.approx(continued, rel=1e-14)


def test_a_collection_shares_one_state_and_one_update(rows, truth, tm, monkeypatch):
    import torchmetrics

    collection = torchmetrics.MetricCollection({name: getattr(tm, kind)(45) for name, kind in CLASSES.items()})
    collection.update(rows[:100])
    groups = sorted(sorted(group) for group in collection.compute_groups.values())
    assert groups == [sorted(set(CLASSES) - {"vendi"}), ["vendi"]]
    check_rows, updates = tm.packed.check_rows, []
    monkeypatch.setattr(tm.packed, "check_rows", lambda *args, **how: updates.append(how) or check_rows(*args, **how))
    for batch in rows[100:].split(100):
        collection.update(batch)
    assert len(updates) == 2 * 4
    for name, value in collection.compute().items():
        assert float(value) == pytest.approx(truth(rows, name), rel=1e-9)
    collection.reset()
    collection.update(rows[:100])
    assert float(collection.compute()["rankme"]) == pytest.approx(truth(rows[:100], "rankme"), rel=1e-9)


def test_unit_rows_do_not_make_one_group_of_what_normalises_and_what_does_not(rows, truth, tm):
    import torchmetrics

    collection = torchmetrics.MetricCollection({"rankme": tm.RankMe(45), "vendi": tm.Vendi(45)})
    collection.update(torch.nn.functional.normalize(rows[:250].double()))
    collection.update(rows[250:])
    assert len(collection.compute_groups) == 2
    seen = torch.cat([torch.nn.functional.normalize(rows[:250].double()), rows[250:].double()])
    for name, value in collection.compute().items():
        assert float(value) == pytest.approx(truth(seen, name), rel=1e-9)


def test_autocast_does_not_reach_the_state(rows, truth, tm):
    metric = tm.EffectiveRank(45)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fed(metric, rows.split(100))
        value = metric.compute()
    assert float(value) == pytest.approx(truth(rows, "effective_rank"), rel=1e-9)


def test_inference_mode_may_come_and_go(rows, truth, tm):
    metric = tm.EffectiveRank(45)
    with torch.inference_mode():
        fed(metric, [rows[:100]])
    metric(rows[100:300])
    with torch.inference_mode():
        fed(metric, [rows[300:]])
    assert float(metric.compute()) == pytest.approx(truth(rows, "effective_rank"), rel=1e-9)


@pytest.mark.parametrize("change", [lambda m: m.half(), lambda m: m.float(), lambda m: m.set_dtype(torch.bfloat16)])
def test_the_state_stays_float64(rows, truth, tm, change):
    metric = fed(tm.EffectiveRank(45), [rows[:200]])
    assert change(metric) is metric
    metric.update(rows[200:])
    assert metric.moments.dtype == torch.float64
    assert float(metric.compute()) == pytest.approx(truth(rows, "effective_rank"), rel=1e-9)
    metric.reset()
    assert metric.moments.dtype == torch.float64


@pytest.mark.parametrize("window", [1, 3, 10])
def test_a_window_counts_the_latest_updates_exactly(rows, truth, tm, window):
    batches = rows.split([40, 60, 80, 100, 120, 100])
    metric, by_forward = tm.EffectiveRank(45, window=window), tm.EffectiveRank(45, window=window)
    for seen, batch in enumerate(batches, start=1):
        metric.update(batch)
        assert float(by_forward(batch)) == pytest.approx(truth(batch, "effective_rank"), rel=1e-9)
        latest = torch.cat(batches[max(0, seen - window) : seen])
        assert float(metric.compute()) == pytest.approx(truth(latest, "effective_rank"), rel=1e-9)
        assert float(by_forward.compute()) == pytest.approx(truth(latest, "effective_rank"), rel=1e-9)
    other = fed(tm.EffectiveRank(45, window=window), batches)
    metric.merge_state(other)
    twice = torch.cat(batches[-window:]).repeat(2, 1)
    assert float(metric.compute()) == pytest.approx(truth(twice, "effective_rank"), rel=1e-9)


def test_nonfinite_rows(rows, truth, tm):
    x = rows.clone()
    x[13, 5] = torch.nan
    with pytest.raises(InputError, match="EffectiveRank: rows: expected finite values; 1 rows held NaN"):
        fed(tm.EffectiveRank(45), x.split(100)).compute()
    dropped = fed(tm.EffectiveRank(45, nonfinite="drop"), x.split(100)).compute()
    kept = torch.cat([rows[:13], rows[14:]])
    assert float(dropped) == pytest.approx(truth(kept, "effective_rank"), rel=1e-9)


def test_too_few_rows(tm):
    with pytest.raises(NotEnoughData, match="effective_rank: a spectrum needs at least 2 rows"):
        fed(tm.EffectiveRank(3), [torch.ones(1, 3)]).compute()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tm: tm.EffectiveRank(0), "EffectiveRank: num_features: expected a positive integer; got 0"),
        (lambda tm: tm.EffectiveRank(3, window=0), "window: expected None or a positive number of updates; got 0"),
        (lambda tm: tm.EffectiveRank(3, nonfinite="ignore"), "nonfinite: expected one of"),
        (lambda tm: tm.RankMe(3, definition="mine"), "rankme: definition: expected one of 'garrido2023'"),
        (lambda tm: tm.Vendi(3, q=0.0), r"vendi: q: expected an order in \(0, inf\]"),
        (lambda tm: tm.SpectralMetric("frechet_distance", 3), "needs two moments"),
        (
            lambda tm: tm.EffectiveRank(3).update(torch.zeros(2, 4)),
            r"EffectiveRank.update: rows: expected d=3 features",
        ),
        (lambda tm: tm.EffectiveRank(3).update(torch.zeros(2, 3, 3)), "Pool tokens"),
    ],
)
def test_wrong_arguments(tm, make, message):
    with pytest.raises(InputError, match=message):
        make(tm)


def test_plot(rows, tm):
    import matplotlib.pyplot as plt

    metric = tm.EffectiveRank(45)
    values = [metric(batch) for batch in rows.split(100)]
    figure, axes = metric.plot(values)
    assert len(axes.lines[0].get_ydata()) == 5
    plt.close(figure)
