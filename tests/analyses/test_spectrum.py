"""`featdiv.spectrum` against closed forms and NumPy: methods, floors, offsets, chunks, classes, the result."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import torch

import featdiv
from featdiv.errors import InputError, NotEnoughData, SmallSampleWarning


def orthogonal(d: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


def exact_rows(n: int, sigma: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rows whose centred singular values are exactly ``sigma``."""
    random = np.random.default_rng(seed)
    left = random.standard_normal((n, len(sigma)))
    left -= left.mean(axis=0)
    left = np.linalg.qr(left)[0]
    return left * sigma @ orthogonal(len(sigma), seed + 1).T


def effective_rank(sigma: np.ndarray) -> float:
    p = sigma / sigma.sum()
    p = p[p > 0]
    return math.exp(-(p * np.log(p)).sum())


def rankme(sigma: np.ndarray) -> float:
    p = sigma / sigma.sum() + 1e-7
    return math.exp(-(p * np.log(p)).sum())


def singular_values(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(x, dtype=np.float64)
    return np.linalg.svd(x - x.mean(axis=0), compute_uv=False), np.linalg.svd(x, compute_uv=False)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        yield


@pytest.mark.parametrize("method", ["gram", "svd", "tsqr", "dual"])
@pytest.mark.parametrize("center", [True, False])
def test_methods_agree_with_numpy(method, center):
    x = np.random.default_rng(0).standard_normal((300, 20)) * np.arange(1, 21) + 3.0
    found = featdiv.spectrum(x, method=method, center=center, precision="float64")
    centred, uncentred = singular_values(x)
    sigma = centred if center else uncentred
    # A random matrix has singular values apart, so that each can be compared.
    shown = found.singular_values[: len(sigma)]
    np.testing.assert_allclose(shown, sigma[: len(shown)], rtol=1e-9)
    assert found.provenance.method == method
    assert found.rankme == pytest.approx(rankme(uncentred), rel=1e-10)
    assert found.effective_rank == pytest.approx(effective_rank(sigma), rel=1e-10)
    assert found.participation_ratio == pytest.approx((sigma**2).sum() ** 2 / (sigma**4).sum(), rel=1e-10)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12)


def test_randomized_finds_the_leading_part_and_says_what_it_cannot_know():
    sigma = 0.9 ** np.arange(600)
    x = exact_rows(700, sigma)
    found = featdiv.spectrum(x, method="randomized", seed=3)
    assert len(found.eigenvalues) == 256
    np.testing.assert_allclose(found.singular_values[:100], sigma[:100], rtol=1e-6)
    assert found.total_variance == pytest.approx((sigma**2).sum() / 699, rel=1e-10)
    assert found.stable_rank == pytest.approx((sigma**2).sum(), rel=1e-6)
    with pytest.raises(NotEnoughData, match=r"Spectrum.effective_rank is undefined: .*only the leading 256"):
        _ = found.effective_rank
    assert found.to_dict()["scores"]["effective_rank"] is None


@pytest.mark.parametrize(
    "sigma",
    [
        pytest.param(np.arange(1, 257) ** -1.5, id="lambda = i^-3"),
        pytest.param(np.concatenate([np.ones(64), np.zeros(192)]), id="rank 64 of 256"),
        pytest.param(np.arange(1, 257) ** -0.5, id="lambda = 1/i"),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_floor_rule_keeps_ranks_right(sigma, offset):
    x = exact_rows(3000, sigma * math.sqrt(2999))
    # Offsets in units of the standard deviation of the largest column; the reference sees the same float32 rows.
    x = (x + offset * x.std()).astype(np.float32)
    centred, uncentred = singular_values(x)
    found = featdiv.spectrum(x, method="auto", interval=None)
    tolerance = 1e-4 if offset else 1e-5
    assert found.effective_rank == pytest.approx(effective_rank(centred), rel=tolerance)
    assert found.rankme == pytest.approx(rankme(uncentred), rel=tolerance)


def test_float32_alone_is_wrong_there_and_says_so():
    x = exact_rows(3000, np.arange(1, 257) ** -1.5 * math.sqrt(2999)).astype(np.float32)
    truth = effective_rank(singular_values(x)[0])
    coarse = featdiv.spectrum(x, method="gram")
    assert any("lies below the noise floor" in note for note in coarse.provenance.notes)
    rerun = featdiv.spectrum(x)
    assert rerun.provenance.precision == "float64"
    assert rerun.provenance.passes == 2
    assert abs(rerun.effective_rank - truth) < abs(coarse.effective_rank - truth)


def test_a_one_pass_source_cannot_be_read_again_and_the_result_says_so():
    x = exact_rows(3000, np.arange(1, 257) ** -1.5 * math.sqrt(2999)).astype(np.float32)
    found = featdiv.spectrum(iter([x[:1000], x[1000:]]))
    assert any("can be read only once" in note for note in found.provenance.notes)
    assert found.provenance.passes == 1


def test_four_columns_far_away():
    random = np.random.default_rng(4)
    x = random.standard_normal((4000, 32)) * np.arange(1, 33) ** -0.5
    x[:, [3, 9, 14, 30]] += 1e6 * x[:, [3, 9, 14, 30]].std(axis=0)
    x = x.astype(np.float32)
    centred, uncentred = singular_values(x)
    found = featdiv.spectrum(x, method="gram")
    assert found.effective_rank == pytest.approx(effective_rank(centred), rel=1e-4)
    assert found.rankme == pytest.approx(rankme(uncentred), rel=1e-4)


def test_tsqr_resolves_what_squaring_loses():
    sigma = np.concatenate([[1.0], np.full(9, 1e-11)])
    x = exact_rows(4000, sigma)
    found = featdiv.spectrum(x, method="tsqr")
    np.testing.assert_allclose(found.singular_values[1:], 1e-11, rtol=1e-3)
    gram = featdiv.spectrum(x, method="gram", precision="float64")
    assert gram.noise_floor > 1e-9


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_chunks_order_and_shards_change_nothing(precision, tmp_path):
    x = np.random.default_rng(5).standard_normal((5000, 24)) @ np.diag(np.arange(1, 25)) + 2.0
    reference = featdiv.spectrum(x, method="gram", precision=precision, interval=None)
    tolerance = 1e-12 if precision == "float64" else 1e-6
    for rows in (1, 7, 333, 5000):
        if rows == 1 and precision == "float32":
            continue
        source = featdiv.open(x[:800] if rows == 1 else x, chunk_rows=rows)
        other = featdiv.spectrum(source, method="gram", precision=precision, interval=None)
        same = featdiv.spectrum(x[:800], method="gram", precision=precision, interval=None) if rows == 1 else reference
        np.testing.assert_allclose(other.eigenvalues, same.eigenvalues, rtol=tolerance)
    shuffled = featdiv.spectrum(
        x[np.random.default_rng(6).permutation(5000)], method="gram", precision=precision, interval=None
    )
    np.testing.assert_allclose(shuffled.eigenvalues, reference.eigenvalues, rtol=tolerance)
    merged = featdiv.Moments.empty(24)
    for part in np.array_split(x, 8)[::-1]:
        merged = merged + featdiv.Moments.of(part, precision=precision)
    np.testing.assert_allclose(featdiv.spectrum(merged).eigenvalues, reference.eigenvalues, rtol=tolerance)
    np.save(tmp_path / "x.npy", x)
    from_file = featdiv.spectrum(tmp_path / "x.npy", method="gram", precision=precision, interval=None)
    np.testing.assert_allclose(from_file.eigenvalues, reference.eigenvalues, rtol=tolerance)


def test_torch_and_numpy_rows_give_the_same(tmp_path):
    x = np.random.default_rng(7).standard_normal((900, 16)).astype(np.float32)
    a, b = featdiv.spectrum(x, method="gram"), featdiv.spectrum(torch.from_numpy(x), method="gram")
    np.testing.assert_allclose(a.eigenvalues, b.eigenvalues, rtol=1e-6)
    half = torch.from_numpy(x).to(torch.bfloat16)
    c = featdiv.spectrum(half, method="gram")
    assert c.provenance.dtype == "bfloat16"
    truth = singular_values(half.to(torch.float64).numpy())[0]
    np.testing.assert_allclose(c.singular_values, truth, rtol=1e-5)


def test_unit_rows_bring_the_cosine_scores():
    x = np.random.default_rng(8).standard_normal((500, 12)) + 0.5
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    kernel = unit @ unit.T
    cosines = kernel[np.triu_indices(500, 1)]
    weights = np.linalg.eigvalsh(kernel / 500)
    weights = weights[weights > 1e-12]
    for found in (featdiv.spectrum(x, normalize="l2"), featdiv.spectrum(unit), featdiv.spectrum(unit, method="gram")):
        assert found.mean_cosine == pytest.approx(cosines.mean(), rel=1e-6)
        assert found.mean_squared_cosine == pytest.approx((cosines**2).mean(), rel=1e-6)
        assert found.vendi == pytest.approx(math.exp(-(weights * np.log(weights)).sum()), rel=1e-6)
    with pytest.raises(InputError, match="no score named 'vendi'"):
        _ = featdiv.spectrum(x).vendi


def test_per_class_spectra():
    random = np.random.default_rng(9)
    x = random.standard_normal((400, 5))
    labels = np.array(["cat", "dog", "eel", "one"])[np.r_[np.zeros(150), np.ones(150), np.full(99, 2), 3].astype(int)]
    x[labels == "eel"] = 7.0
    order = random.permutation(400)
    found = featdiv.spectrum(x[order], labels=labels[order])
    assert list(found.per_class) == ["cat", "dog"]
    for name in ("cat", "dog"):
        np.testing.assert_allclose(found.per_class[name].singular_values, singular_values(x[labels == name])[0])
    assert "constant" in found.per_class_skipped["eel"]
    assert "at least 2 rows; the class has 1" in found.per_class_skipped["one"]
    assert set(found.to_dict()["per_class"]) == {"cat", "dog"}


@pytest.mark.filterwarnings("ignore::featdiv.SmallSampleWarning")
def test_labels_that_are_missing_or_no_classes():
    x = np.random.default_rng(3).standard_normal((60, 4))
    labels = np.arange(60) % 3 - 1
    found = featdiv.spectrum(x, labels=labels)
    assert list(found.per_class) == [0, 1]
    assert found.per_class_skipped == {-1: "-1 marks a missing label"}
    with pytest.raises(InputError, match=r"featdiv\.spectrum: labels: expected integers or strings; got dtype float64"):
        featdiv.spectrum(x, labels=np.where(labels < 0, np.nan, labels))


def test_a_class_larger_than_the_budget_is_streamed(tmp_path):
    x = np.random.default_rng(10).standard_normal((6000, 64)).astype(np.float32)
    labels = np.arange(6000) % 2
    np.save(tmp_path / "x.npy", x)
    small = featdiv.spectrum(tmp_path / "x.npy", labels=labels, memory="2MB", method="gram", interval=None)
    np.testing.assert_allclose(small.per_class[1].singular_values, singular_values(x[1::2])[0], rtol=1e-5)


def test_batches():
    x = np.random.default_rng(11).standard_normal((3, 120, 6))
    batch = featdiv.spectra(x)
    assert len(batch) == 3
    for index in range(3):
        np.testing.assert_allclose(batch.singular_values[index], singular_values(x[index])[0])
    assert batch.column("effective_rank")[1] == batch[1].effective_rank
    assert batch.scores["2/rankme"] == batch[2].rankme
    assert json.loads(batch.to_json())["spectra"][0]["type"] == "Spectrum"
    same = featdiv.spectra([torch.from_numpy(problem) for problem in x])
    np.testing.assert_allclose(same.eigenvalues, batch.eigenvalues)


def test_batch_errors_name_the_problem():
    x = np.zeros((2, 10, 3))
    x[0] = np.random.default_rng(0).standard_normal((10, 3))
    with pytest.raises(NotEnoughData, match=r"featdiv.spectra: x\[1\]: .*constant"):
        featdiv.spectra(x)
    with pytest.raises(
        InputError, match=r"expected a batch of shape \(b, n, d\); got shape \(10, 3\).*featdiv.spectrum"
    ):
        featdiv.spectra(x[0])
    with pytest.raises(InputError, match="expected arrays of one shape"):
        featdiv.spectra([np.ones((3, 2)), np.ones((4, 2))])
    with pytest.raises(InputError, match="at least one problem"):
        featdiv.spectra(np.ones((0, 4, 2)))


def test_the_result_contract(tmp_path):
    x = np.random.default_rng(12).standard_normal((2500, 10)) * np.arange(1, 11)
    found = featdiv.spectrum(x, precision="float64")
    assert "alpha_req" in found.undefined
    with pytest.raises(NotEnoughData, match=r"Spectrum\.alpha_req is undefined: a power law needs at least 10"):
        _ = found.alpha_req
    content = json.loads(found.to_json())
    assert content["scores"]["alpha_req"] is None
    assert content["undefined"]["alpha_req"].startswith("a power law")
    assert content["provenance"]["fingerprint"].startswith("sampled-blake2b:")
    assert content["intervals"]["effective_rank"]["groups"] == 9
    assert found.to_scalars("val/")["val/effective_rank"] == found.effective_rank
    assert "<table>" in found._repr_html_()
    assert "Roy" in found.cite()
    with pytest.raises(AttributeError):
        found.n = 3
    with pytest.raises(ValueError, match="read-only"):
        found.mean[0] = 1.0
    found.plot().savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    assert found.explained_variance_ratio.sum() == pytest.approx(1.0)
    assert found.components_for(1.0) == 10
    with pytest.raises(InputError, match=r"components_for: q: expected a share in \(0, 1\]; got 1.5"):
        found.components_for(1.5)


def test_to_pandas_has_a_row_a_score():
    pytest.importorskip("pandas")
    frame = featdiv.spectrum(np.random.default_rng(0).standard_normal((100, 4))).to_pandas()
    assert frame.loc["effective_rank", "value"] > 1
    assert "power law" in frame.loc["alpha_req", "undefined"]


def test_same_call_same_numbers():
    x = np.random.default_rng(13).standard_normal((3000, 20)).astype(np.float32)
    assert featdiv.spectrum(x).to_json() == featdiv.spectrum(x).to_json()


def test_provenance_tells_how():
    x = np.random.default_rng(14).standard_normal((30_000, 16)).astype(np.float32)
    with featdiv.use_backend("torch"):
        provenance = featdiv.spectrum(x).provenance
    assert provenance.backends == {"scatter": "torch"}
    assert provenance.precision == "float32"
    assert provenance.error_bound == 1e-6
    assert provenance.measured_error is not None
    assert 0.0 < provenance.measured_error < 1e-6
    assert (provenance.n, provenance.d, provenance.passes, provenance.dtype) == (30_000, 16, 1, "float32")


def test_few_rows_are_warned_of_once_at_the_callers_line():
    x = np.random.default_rng(15).standard_normal((40, 30))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = featdiv.spectrum(x)
    assert [w.category for w in caught] == [SmallSampleWarning]
    assert "40 rows for 30 features" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert any("40 rows for 30 features" in note for note in found.provenance.notes)


def test_progress_reaches_the_end():
    seen = []
    x = np.zeros((1000, 3))
    x[:, 0] = np.arange(1000)
    featdiv.spectrum(featdiv.open(x, chunk_rows=300), method="gram", progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (1000, 1000)


def test_extreme_scales():
    x = np.random.default_rng(21).standard_normal((2000, 8))
    reference = featdiv.spectrum(x, method="gram")
    for scale in (1e-30, 1e30):
        found = featdiv.spectrum((x * scale).astype(np.float32), method="gram")
        assert found.effective_rank == pytest.approx(reference.effective_rank, rel=1e-5)


def test_eigenvalues_that_rounding_made_negative_count_as_unresolved():
    # A scatter whose rounding happened to be downwards everywhere: clipping alone would call the tail exactly zero.
    sigma = np.concatenate([np.ones(8), np.zeros(8)])
    basis = orthogonal(16, 3)
    scatter = (basis * (sigma**2 - 1e-7)) @ basis.T * 999
    moments = featdiv.Moments(n=1000, mean=np.zeros(16), scatter=(scatter + scatter.T) / 2, error_bound=1e-6)
    found = featdiv.spectrum(moments)
    assert found.eigen.share_below_floor == pytest.approx(math.sqrt(1e-7), rel=1e-3)
    assert any("below the noise floor" in note for note in found.provenance.notes)


@pytest.mark.parametrize("d", [1, 2, 12])
def test_the_picture_shows_every_eigenvalue_above_the_floor(d):
    x = np.random.default_rng(0).normal(size=(400, max(d - 1, 1))) @ np.random.default_rng(1).normal(
        size=(max(d - 1, 1), d)
    )
    found = featdiv.spectrum(x)
    eigenvalues, shares = found.plot().axes
    points = eigenvalues.lines[0].get_xydata()
    assert len(points) == max(d - 1, 1)
    places = eigenvalues.transLimits.transform(eigenvalues.transScale.transform(points))
    assert ((places > 0.0) & (places < 1.0)).all()
    assert shares.lines[0].get_xydata()[[0, -1]] == pytest.approx(np.array([[0.0, 0.0], [d, 1.0]]))


@pytest.mark.parametrize(("scale", "shown"), [(1e-14, True), (1.0, False)])
def test_the_legend_says_where_the_floor_lies_below_the_picture(scale, shown):
    x = np.random.default_rng(0).normal(size=(400, 20))
    x[:, 10:] *= 1e-6 if shown else 1.0
    x[:, 19] = x[:, 18]
    x[:, 18:] *= scale
    axes = featdiv.spectrum(x, method="gram", precision="float64").plot().axes[0]
    floors = [line for line in axes.lines if "numerical noise floor" in str(line.get_label())]
    (label,) = [text.get_text() for text in axes.get_legend().get_texts() if "noise floor" in text.get_text()]
    assert len(floors) == 1
    assert label.startswith("numerical noise floor (" if shown else "below the picture: numerical noise floor (")
    level = floors[0].get_ydata()
    assert (len(level) > 0 and axes.get_ylim()[0] < level[0]) if shown else not len(level)
