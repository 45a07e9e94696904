from __future__ import annotations

import numpy as np
import pytest

import featdiv
from featdiv import InputError, NonFiniteError, NotEnoughData
from featdiv.metrics.weights import filters


def of(*matrices, **options):
    return featdiv.filter_diversity({f"l{i}.weight": w for i, w in enumerate(matrices)}, **options)


def by_definition(w):
    """The four measures of one matrix; clusters by merging the closest pair of clusters again and again."""
    u = w / np.linalg.norm(w, axis=1, keepdims=True)
    cosines = u @ u.T
    m = len(u)
    sigma = np.linalg.svd(u, compute_uv=False)
    p = sigma[sigma > 1e-12] / sigma.sum()
    clusters = [[i] for i in range(m)]
    while len(clusters) > 1:
        means = {
            (a, b): np.mean([cosines[i, j] for i in clusters[a] for j in clusters[b]])
            for a in range(len(clusters))
            for b in range(a)
        }
        (a, b), best = max(means.items(), key=lambda item: item[1])
        if best < 0.5:
            break
        clusters[b] += clusters.pop(a)
    return {
        "filter_cosine": 1.0 - np.mean([abs(cosines[i, j]) for i in range(m) for j in range(i)]),
        "filter_effective_rank": np.exp(-p @ np.log(p)) / min(w.shape),
        "filter_participation_ratio": (sigma**2).sum() ** 2 / (sigma**4).sum(),
        "filter_clusters": len(clusters) / m,
    }


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (2, 5), (9, 2)])
def test_the_four_measures(shape):
    rng = np.random.default_rng(0)
    w = rng.normal(size=shape) + 1.0
    assert dict(of(w).scores) == pytest.approx(by_definition(w), rel=1e-10)


def test_orthogonal_filters_are_as_diverse_as_can_be():
    found = of(np.eye(6, 10) * np.arange(1.0, 7.0)[:, None])
    assert found.cosine == pytest.approx(1.0, abs=1e-15)
    assert found.effective_rank == pytest.approx(1.0, rel=1e-12)
    assert found.participation_ratio == pytest.approx(6.0, rel=1e-12)
    assert found.clusters == 1.0


def test_duplicates_are_as_uniform_as_can_be():
    rng = np.random.default_rng(1)
    found = of(np.outer(rng.uniform(0.1, 9.0, size=8), rng.normal(size=20)))
    assert found.cosine == pytest.approx(0.0, abs=1e-14)
    assert found.effective_rank == pytest.approx(1.0 / 8.0, rel=1e-12)
    assert found.participation_ratio == pytest.approx(1.0, rel=1e-12)
    assert found.clusters == 1.0 / 8.0


def test_each_filter_twice_halves_ranks_and_clusters():
    found = of(np.repeat(np.eye(5, 40), 2, axis=0))
    assert found.cosine == pytest.approx(1.0 - 5.0 / 45.0)
    assert found.effective_rank == pytest.approx(0.5, rel=1e-12)
    assert found.participation_ratio == pytest.approx(5.0, rel=1e-12)
    assert found.clusters == 0.5


def test_opposite_filters_are_alike_in_cosine_but_two_clusters():
    w = np.random.default_rng(2).normal(size=30)
    found = of(np.stack([w, -2.0 * w]))
    assert found.cosine == pytest.approx(0.0, abs=1e-14)
    assert found.clusters == 1.0


def test_clusters_that_meet_at_exactly_one_half_are_one():
    assert of(np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])).clusters == 0.5
    assert of(np.array([[1.0, 0.0], [0.499, np.sqrt(1.0 - 0.499**2)]])).clusters == 1.0


def test_random_filters_have_the_cosine_of_the_sphere():
    # The mean absolute cosine of random directions in f dimensions is Gamma(f/2) / (sqrt(pi) Gamma((f+1)/2)).
    from scipy.special import gammaln

    f = 50
    expected = 1.0 - np.exp(gammaln(f / 2) - gammaln((f + 1) / 2)) / np.sqrt(np.pi)
    assert of(np.random.default_rng(3).normal(size=(400, f))).cosine == pytest.approx(expected, abs=1e-3)


def test_order_and_positive_scale_of_filters_do_not_matter():
    rng = np.random.default_rng(4)
    w = rng.normal(size=(20, 15)) + 0.5
    expected = dict(of(w).scores)
    assert dict(of(w[rng.permutation(20)]).scores) == pytest.approx(expected, rel=1e-12)
    assert dict(of(w * np.geomspace(1e-200, 1e150, 20)[:, None]).scores) == pytest.approx(expected, rel=1e-12)
    assert dict(of(w + 0.3).scores) != pytest.approx(expected, rel=1e-3)


def test_the_model_is_the_mean_of_its_layers_weighted_by_parameters():
    rng = np.random.default_rng(5)
    a, b, c = rng.normal(size=(8, 6)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(10, 2, 5)) + 2.0
    found = of(a, b, c)
    parts = [by_definition(w.reshape(len(w), -1)) for w in (a, b, c)]
    for name, value in found.scores.items():
        assert value == pytest.approx(np.average([part[name] for part in parts], weights=[48, 108, 100]), rel=1e-10)
    assert [(layer.name, layer.kind, layer.filters, layer.fan_in) for layer in found.layers] == [
        ("l0.weight", "linear", 8, 6),
        ("l1.weight", "convolution", 4, 27),
        ("l2.weight", "convolution", 10, 10),
    ]


def test_grouped_convolutions_are_compared_within_groups():
    rng = np.random.default_rng(6)
    w = rng.normal(size=(12, 3, 3, 3))
    found = of(w, groups={"l0": 4})
    parts = [by_definition(part.reshape(3, 27)) for part in np.split(w, 4)]
    for name, value in found.scores.items():
        assert value == pytest.approx(np.mean([part[name] for part in parts]), rel=1e-10)
    assert found.layers[0].blocks == 4
    assert dict(of(w).scores) != pytest.approx(dict(found.scores), rel=1e-3)


def test_depthwise_filters_are_patterns_in_space():
    w = np.random.default_rng(7).normal(size=(16, 1, 3, 3))
    found = of(w, groups={"l0": 16})
    assert dict(found.scores) == pytest.approx(by_definition(w.reshape(16, 9)), rel=1e-10)
    assert found.layers[0].blocks == 1


def test_heads_are_compared_apart_where_asked():
    rng = np.random.default_rng(8)
    w = rng.normal(size=(3 * 8, 10))
    state = {"blocks.0.attn.qkv.weight": w, "blocks.0.mlp.fc1.weight": rng.normal(size=(6, 10))}
    whole = featdiv.filter_diversity(state)
    assert [(layer.kind, layer.blocks) for layer in whole.layers] == [("attention", 1), ("linear", 1)]
    assert whole.layers[0].cosine == pytest.approx(by_definition(w)["filter_cosine"], rel=1e-12)
    split = featdiv.filter_diversity(state, split_heads=2)
    parts = [by_definition(part)["filter_cosine"] for part in np.split(w, 6)]
    assert split.layers[0].cosine == pytest.approx(np.mean(parts), rel=1e-12)
    assert [layer.blocks for layer in split.layers] == [6, 1]
    named = featdiv.filter_diversity(state, split_heads={"blocks.0.attn.qkv": 2})
    assert dict(named.scores) == dict(split.scores)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("q_proj", 4),
        ("attn.k_proj", 4),
        ("attention.self.query", 4),
        ("to_v", 4),
        ("in_proj", 12),
        ("attn.c_attn", 12),
        ("to_kv", 8),
        ("out_proj", 1),
        ("monkey", 1),
        ("proj", 1),
    ],
)
def test_which_names_are_attention_projections(name, blocks):
    w = np.random.default_rng(9).normal(size=(24, 7))
    found = featdiv.filter_diversity({f"{name}.weight": w}, split_heads=4)
    assert found.layers[0].blocks == blocks


def test_zero_filters_are_left_out_and_counted():
    w = np.eye(4, 8)
    w[[0, 2]] = 0.0
    found = of(w, np.eye(3))
    assert found.layers[0].zero_filters == 2
    assert found.layers[0].cosine == 1.0
    w[1] = 0.0
    found = of(w, np.eye(3))
    assert found.skipped == {"l0.weight": "fewer than two filters that are not zero"}


def test_what_is_skipped_is_listed_with_its_rule():
    state = {
        "conv.weight": np.random.default_rng(10).normal(size=(4, 3, 3, 3)),
        "conv.bias": np.ones(4),
        "bn.weight": np.ones(4),
        "bn.running_var": np.ones(4),
        "bn.num_batches_tracked": np.array(7),
        "tok_embeddings.weight": np.ones((50, 4)),
        "pos_embed": np.ones((1, 9, 4)),
        "gate.weight": np.ones((5, 1)),
        "head.weight": np.ones((1, 20)),
        "codes.weight": np.ones((5, 5), dtype=np.int8),
    }
    found = featdiv.filter_diversity(state)
    assert [layer.name for layer in found.layers] == ["conv.weight"]
    one = "one-dimensional: a bias, or the scale, shift or statistics of a normalisation"
    other = "not the weight of a convolution, linear layer or attention projection"
    assert dict(found.skipped) == {
        "conv.bias": one,
        "bn.weight": one,
        "bn.running_var": one,
        "bn.num_batches_tracked": one,
        "tok_embeddings.weight": "a lookup table: its rows are entries, not filters",
        "pos_embed": other,
        "gate.weight": "one weight a filter, which has a sign but no direction",
        "head.weight": "one filter, or one in each group: there is nothing to compare it with",
        "codes.weight": other,
    }
    assert found.to_dict()["skipped"]["pos_embed"] == other


def test_layers_too_large_for_their_pairs_are_skipped(monkeypatch):
    monkeypatch.setattr(filters, "LARGEST", 5)
    found = of(np.eye(6), np.eye(5))
    assert found.skipped == {"l0.weight": "6 filters: all pairs are formed for 5 at most"}


@pytest.mark.parametrize("state", [{}, {"bn.weight": np.ones(3)}, {"w": np.eye(3)}])
def test_a_model_without_filters_is_not_enough(state):
    with pytest.raises(NotEnoughData, match="filter_diversity: no layer has filters to compare"):
        featdiv.filter_diversity(state)


@pytest.mark.parametrize("model", [None, 3, [np.eye(3)], np.eye(3)])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(InputError, match=r"filter_diversity: model: expected a torch\.nn\.Module, a state dict or the"):
        featdiv.filter_diversity(model)


def test_weights_must_be_finite():
    w = np.eye(4)
    w[2, 1] = np.inf
    with pytest.raises(NonFiniteError, match=r"filter_diversity: l0.weight: expected finite weights; .* in row 2"):
        of(w)


@pytest.mark.parametrize("heads", [0, -1, 2.5, True, "all"])
def test_heads_must_be_a_number_of_them(heads):
    with pytest.raises(InputError, match="filter_diversity: split_heads: expected a positive number of heads"):
        of(np.eye(4), split_heads=heads)


@pytest.mark.parametrize("argument", ["split_heads", "groups"])
def test_named_layers_must_exist_and_divide(argument):
    with pytest.raises(InputError, match=f"filter_diversity: {argument}: expected names of layers; got nope, which"):
        of(np.eye(4), **{argument: {"nope": 2}})
    w = np.random.default_rng(11).normal(size=(4, 3, 3) if argument == "groups" else (4, 3))
    with pytest.raises(InputError, match=r"filter_diversity: l0\.weight: expected filters in .* of equal size; got 4"):
        of(w, **{argument: {"l0": 3}})
    with pytest.raises(InputError, match=f"{argument}: expected a positive number for l0.weight; got 0"):
        of(w, **{argument: {"l0": 0}})


def test_a_state_dict_says_that_it_does_not_know_groups():
    assert "does not tell grouped" in of(np.ones((3, 3, 3)) + np.eye(3)).provenance.notes[0]
    assert of(np.eye(3)).provenance.notes == ()


def test_it_prints_and_cites():
    found = of(np.eye(3))
    assert repr(found) == ("FilterDiversity(1 layers, cosine=1, effective_rank=1, participation_ratio=3, clusters=1)")
    assert "Nayman" in found.cite()
    assert found.to_scalars("w/")["w/filter_cosine"] == 1.0
    assert found.to_dict()["layers"][0]["name"] == "l0.weight"


def test_the_table_has_a_line_for_each_layer_and_one_for_all():
    table = featdiv.filter_diversity({"<b>.weight": np.eye(3), "c.weight": np.eye(4)})._repr_html_()
    assert table.count("<tr>") == 4
    assert "&lt;b&gt;.weight" in table
    assert "<td>all layers</td>" in table
