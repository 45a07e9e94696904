from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

import featdiv
from featdiv.backbones.decoding import UnreadableImage
from featdiv.errors import BudgetExceeded, FormatError, InputError, NonFiniteError, NotEnoughData


def rows_of(features):
    return np.asarray(features.take(np.arange(features.n)), dtype=np.float64)


def test_rows_are_those_of_a_plain_loop_in_order(run, expected, means):
    features = run()
    assert (features.n, features.d, features.dtype) == (50, 4, "float32")
    np.testing.assert_allclose(rows_of(features), expected, rtol=1e-6, atol=1e-7)
    assert features.labels.tolist() == [index % 3 for index in range(50)]
    assert features.ids.tolist() == [str(index) for index in range(50)]
    assert features.classes == ("0", "1", "2")
    assert means.batches == [8, 8, 8, 8, 8, 8, 2]
    assert features.description == "penultimate of Means (weights as given) on array of 50 images"


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("shard_rows", [1, 16, 50, 1000])
def test_batches_and_shards_change_nothing(run, expected, batch_size, shard_rows, tmp_path):
    features = run(batch_size=batch_size, shard_rows=shard_rows, out=tmp_path)
    np.testing.assert_allclose(rows_of(features), expected, rtol=1e-6, atol=1e-7)


def test_output_and_named_layers(run, expected, means):
    with torch.no_grad():
        logits = means.fc(torch.from_numpy(expected).float()).numpy()
    np.testing.assert_allclose(rows_of(run(layer="output")), logits, rtol=1e-5, atol=1e-6)
    for layer in ("mix", "fc:input"):
        np.testing.assert_allclose(rows_of(run(layer=layer)), expected, rtol=1e-6, atol=1e-7)
    assert not means.mix._forward_hooks
    assert not means.fc._forward_pre_hooks


def test_every_later_result_says_what_the_features_are(run, tmp_path):
    features = run(out=tmp_path)
    facts = features.extraction
    assert facts["weights_hash"]
    assert facts["transform"]
    given = {"test": features, "test_labels": features.labels}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [
            featdiv.spectrum(features, interval=None),
            featdiv.diversity(features, interval=None),
            featdiv.rankme(features),
            featdiv.uniformity(features),
            featdiv.intra_class_distance(features, features.labels),
            featdiv.knn_probe(features, features.labels, k=3, **given),
            featdiv.linear_probe(features, features.labels, C=(1.0,), **given),
            featdiv.directions(features, k=1, extremes=2),
            featdiv.spectrum(features.path, interval=None),
        ]
        bare = [
            featdiv.Moments.of(features),
            featdiv.ClassMoments.of(features, features.labels),
            featdiv.ClassMoments.of(features, features.labels).total(),
            features.moments,
            features.class_moments,
            featdiv.spectrum(features, method="tsqr").moments,
            featdiv.spectrum(features, labels=features.labels).per_class[0].moments,
            run(store=False, out=tmp_path).moments,
        ]
    for result in results:
        assert result.provenance.extraction == facts, result.provenance.function
        assert json.loads(result.to_json())["provenance"]["extraction"] == facts
    assert [statistic.extraction for statistic in bare] == [facts] * len(bare)
    near = featdiv.Neighbours.of(features, rows_of(features), k=2)
    assert dict(near.extractions) == {"gallery": facts, "queries": None}
    table = featdiv.Neighbours.of(features, k=3)
    for score in (
        featdiv.effective_rank(bare[0]),
        featdiv.spectrum(bare[0]),
        featdiv.diversity(bare[1], interval=None),
        featdiv.h_score(bare[1]),
        featdiv.transferability(bare[1]),
        featdiv.mutual_knn(table, table, k=3),
    ):
        assert score.provenance.extraction == facts, score.provenance.function
    both = featdiv.compare({"one": features, "other": run(layer="output")}, interval=None)
    found = both.provenance.arguments["extractions"]
    assert found["one"] == facts
    assert found["other"]["layer"] == "output"
    assert featdiv.spectrum(rows_of(features), interval=None).provenance.extraction is None


def test_maps_and_tokens_become_rows_as_asked(pixels, scaled):
    torch.manual_seed(0)
    maps = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, stride=4), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0
    with torch.no_grad():
        maps(x)
        expected = maps[0](x).double()

    def rows(pool):
        found = featdiv.extract(maps, pixels, layer="0", pool=pool, transform=scaled, batch_size=16, workers=0)
        return rows_of(found)

    np.testing.assert_allclose(rows("mean"), expected.mean(dim=(2, 3)), rtol=1e-5, atol=1e-6)
    gem = expected.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
    np.testing.assert_allclose(rows("gem"), gem, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows("none"), expected.flatten(1), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="pool: '0' gives maps, which have no class token; use pool='mean'"):
        rows("cls")


def test_the_network_is_left_as_it_was(run, means):
    means.train()
    means.mix.eval()
    run()
    assert means.training
    assert not means.mix.training


@pytest.mark.parametrize("wrong", [{"transform": "nonsense"}, {"layer": "nowhere"}, {"batch_size": 0}])
def test_the_network_is_left_as_it_was_where_an_argument_is_wrong(run, means, wrong):
    means.train()
    means.mix.eval()
    with pytest.raises(InputError):
        run(**wrong)
    assert means.training
    assert not means.mix.training
    assert not means.mix._forward_hooks


def test_shards_that_another_call_cut_otherwise_meanwhile_are_refused(run, tmp_path):
    def interfere(done, total):
        if done == total:
            (folder,) = tmp_path.iterdir()
            np.save(folder / "features-00000.npy", np.zeros((25, 4), dtype=np.float32))

    with pytest.raises(FormatError, match=r"expected 50 rows in its shards; got 65\. Another call .* at the same time"):
        run(out=tmp_path, progress=interfere)


def test_memory_that_does_not_suffice_halves_the_batch(run, expected, means, monkeypatch, tmp_path):
    forward = means.forward

    def limited(x):
        if len(x) > 3:
            means.batches.append(-len(x))
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(x)

    monkeypatch.setattr(means, "forward", limited)
    np.testing.assert_allclose(rows_of(run(batch_size=16)), expected, rtol=1e-6, atol=1e-7)
    assert means.batches[:3] == [-16, -8, -4]
    assert max(means.batches) == 2
    assert sum(size for size in means.batches if size > 0) == 50
    description = json.loads((run(batch_size=16, out=tmp_path).directory / "extraction.json").read_text())
    assert description["images_at_once"] == 2


def test_one_image_that_does_not_fit_is_an_error(run, means, monkeypatch):
    def never(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(means, "forward", never)
    with pytest.raises(BudgetExceeded, match=r"one image of shape \(3, 6, 6\) needs more memory than cpu has"):
        run()


def test_moments_without_rows(run, expected, means, tmp_path):
    features = run(store=False, out=tmp_path)
    assert not features.stored
    assert not list(tmp_path.rglob("features-*"))
    np.testing.assert_allclose(features.moments.mean, expected.mean(axis=0), rtol=1e-6)
    centred = expected - expected.mean(axis=0)
    np.testing.assert_allclose(features.moments.scatter, centred.T @ centred, rtol=1e-5, atol=1e-6)
    assert features.class_moments.counts.tolist() == [17, 17, 16]
    np.testing.assert_allclose(features.class_moments.means[2], expected[2::3].mean(axis=0), rtol=1e-6)
    assert featdiv.effective_rank(features.moments).value > 1
    with pytest.raises(InputError, match=r"these features were not stored \(store=False\); use their .moments"):
        list(features.chunks())
    again = run(store=False, out=tmp_path)
    assert means.batches == []
    np.testing.assert_array_equal(again.moments.scatter, features.moments.scatter)


def test_moments_of_stored_rows_are_read(run, expected, pixels):
    features = run()
    np.testing.assert_allclose(features.moments.mean, expected.mean(axis=0), rtol=1e-6)
    assert features.class_moments.counts.tolist() == [17, 17, 16]
    unlabelled = run(data=featdiv.images(pixels))
    with pytest.raises(NotEnoughData, match="expected a label for each image"):
        _ = unlabelled.class_moments
    assert run(data=featdiv.images(pixels), store=False).moments.n == 50


@pytest.mark.parametrize(("dtype", "relative"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_half_types_are_rounded_once(run, expected, dtype, relative, tmp_path):
    for out in (None, tmp_path):
        features = run(dtype=dtype, out=out)
        assert features.dtype == dtype
        rows = features.take(np.arange(50))
        rows = rows.float().numpy() if dtype == "bfloat16" else rows
        np.testing.assert_allclose(rows.astype(np.float64), expected, rtol=1.01 * relative, atol=1e-7)


def test_autocast_computes_in_that_type(run, means):
    kinds = []
    means.mix.register_forward_hook(lambda _, __, output: kinds.append(output.dtype))
    features = run(autocast="bfloat16")
    assert set(kinds) == {torch.bfloat16}
    assert features.dtype == "float32"


def test_compile_and_channels_last_change_nothing(run, expected):
    np.testing.assert_allclose(rows_of(run(compile="eager")), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(rows_of(run(channels_last=True)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_give_the_same_rows(run, expected):
    np.testing.assert_allclose(rows_of(run(workers=2)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_one_clear_error(run, folder, workers):
    (folder / "test" / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(UnreadableImage) as caught:
        run(data=featdiv.images(folder), workers=workers)
    assert "Traceback" not in str(caught.value)
    assert str(caught.value).startswith("featdiv.images: ")
    assert caught.value.reason == "the file has no bytes"
    assert run(data=featdiv.images(folder, corrupt="skip")).n == 7


def test_splits_and_paths(means, folder, scaled):
    features = featdiv.extract(means, folder, split="test", transform=scaled)
    assert features.ids.tolist() == ["test/cat/0.png", "test/dog/0.png", "test/dog/1.png"]
    assert features.labels.tolist() == [0, 1, 1]


def test_features_that_are_not_finite(run, means):
    with torch.no_grad():
        means.mix.weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="features that are NaN or infinite, the first image 0") as caught:
        run()
    assert caught.value.count == 10


def test_layers_in_one_pass(means, pixels, scaled, expected, tmp_path):
    data = featdiv.images(pixels)
    arguments = {"transform": scaled, "batch_size": 10, "shard_rows": 20, "out": tmp_path}
    layers = featdiv.extract_layers(means, data, ["mix", "f*", "penultimate"], **arguments)
    assert list(layers) == ["mix", "fc", "penultimate"]
    assert sum(means.batches) == 50
    np.testing.assert_allclose(rows_of(layers["mix"]), expected, rtol=1e-6, atol=1e-7)
    assert layers["fc"].d == 2
    means.batches.clear()
    one = featdiv.extract(means, data, layer="fc", **arguments)
    assert means.batches == []
    np.testing.assert_array_equal(rows_of(one), rows_of(layers["fc"]))
    (one.directory / "features-00001.npy").unlink()
    featdiv.extract_layers(means, data, ["mix", "fc"], **arguments)
    assert sum(means.batches) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "mixx"}, "layer: Means has no layer 'mixx'; did you mean 'mix'"),
        ({"pool": "max"}, "pool: expected one of 'auto', 'cls'"),
        ({"dtype": "float64"}, "dtype: expected one of 'float32', 'float16', 'bfloat16'; got 'float64'"),
        ({"autocast": "float32"}, "autocast: expected one of None"),
        ({"compile": "fastest"}, "compile: expected True, False or a backend of torch.compile .*; got 'fastest'"),
        ({"batch_size": 0}, "batch_size: expected a positive integer, got 0"),
        ({"shard_rows": -1}, "shard_rows: expected a positive integer"),
        ({"workers": -1}, "workers: expected 'auto' or a number from 0 on"),
        ({"device": "cuda:99"}, "device: expected a device of this machine"),
        ({"transform": "model"}, "transform: the model does not say how its images are prepared"),
        ({"transform": None}, "transform: expected a tensor .* got Image"),
        ({"transform": lambda image: image}, "Let transform= end with ToTensor"),
        ({"protocol": "nobody2000"}, "protocol: expected one of dinov2-knn"),
        ({"protocol": "dinov2-knn"}, "protocol: 'dinov2-knn' prepares the images; leave transform= out"),
        ({"split": "test"}, "expected one of the splits"),
        ({"transform": {"crop": 1}}, "transform: unknown crop; expected input_size"),
    ],
)
def test_arguments_are_checked(run, arguments, message):
    with pytest.raises(InputError, match=message):
        run(**arguments)


def test_tensors_of_different_shapes(means, folder, scaled, write):
    write(folder / "train" / "cat" / "0.png")
    from PIL import Image

    Image.new("RGB", (5, 9)).save(folder / "train" / "cat" / "1.png")
    with pytest.raises(InputError, match=r"tensors of one shape; got \(3, 9, 5\) and \(3, 12, 12\)"):
        featdiv.extract(means, folder, transform=scaled)


def test_prepared_tensors(means, expected, pixels, scaled):
    from PIL import Image

    x = torch.stack([scaled(Image.fromarray(image)) for image in pixels])
    data = torch.utils.data.TensorDataset(x, torch.arange(50) % 3)
    features = featdiv.extract(means, data, transform=None)
    np.testing.assert_allclose(rows_of(features), expected, rtol=1e-6, atol=1e-7)
    with pytest.raises(InputError, match="tensors that are prepared already; pass transform=None"):
        featdiv.extract(means, data, transform=scaled)


def test_extract_layers_names_an_unknown_argument(means, pixels):
    with pytest.raises(InputError, match="extract_layers: no argument 'layer'; expected pool"):
        featdiv.extract_layers(means, pixels, ["fc"], layer="mix")
