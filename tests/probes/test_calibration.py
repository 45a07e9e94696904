from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

import featdiv
from featdiv import InputError, NotEnoughData


def drawn(n=3000, c=4, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.normal(size=(n, c))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return scale * logits, labels


def test_a_table_worked_by_hand():
    # Confidences 0.55, 0.95, 0.95, 1.0; with ten bins: (0.5, 0.6] one row, right; (0.9, 1] three, two right.
    theta = np.array([[0.55, 0.45], [0.95, 0.05], [0.05, 0.95], [0.0, 1.0]])
    calibration = featdiv.ece(theta, ["n", "n", "n", "y"], classes=["n", "y"], bins=10)
    assert float(calibration) == pytest.approx(0.25 * abs(1 - 0.55) + 0.75 * abs(2 / 3 - 2.9 / 3))
    assert calibration.counts.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert calibration.scores["accuracy"] == 0.75


def test_equal_mass_is_a_table_worked_by_hand():
    confidence = np.array([0.6, 0.9, 0.7, 0.8])
    theta = np.column_stack([confidence, 1 - confidence])
    calibration = featdiv.ece(theta, [0, 0, 1, 0], bins=2, definition="equal_mass")
    # Ranks: {0.6 right, 0.7 wrong} and {0.8 right, 0.9 right}.
    assert float(calibration) == pytest.approx(0.5 * abs(0.5 - 0.65) + 0.5 * abs(1.0 - 0.85))
    assert calibration.edges.tolist() == [0.6, 0.7, 0.9]


def test_edges_belong_to_the_bin_below():
    theta = np.full((3, 3), 1 / 3)
    assert featdiv.ece(theta, [0, 1, 2], bins=3).counts.tolist() == [3, 0, 0]


def test_labels_drawn_from_the_probabilities_are_calibrated():
    logits, labels = drawn(40_000)
    assert float(featdiv.ece(softmax(logits, axis=1), labels)) < 0.015
    assert float(featdiv.ece(softmax(3 * logits, axis=1), labels)) > 0.1


def test_the_temperature_is_the_maximum_of_the_likelihood():
    logits, labels = drawn(scale=2.5)
    scaling = featdiv.temperature_scaling(logits, labels)

    def loss(t):
        return -log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean()

    best = minimize_scalar(loss, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-9})
    assert scaling.temperature == pytest.approx(best.x, rel=1e-5)
    assert scaling.temperature == pytest.approx(2.5, rel=0.1)
    assert scaling.scores["nll"] < scaling.scores["nll_before"]
    assert scaling.scores["ece"] < scaling.scores["ece_before"]
    assert scaling.apply(logits[:5]) == pytest.approx(softmax(logits[:5] / scaling.temperature, axis=1))


def test_folds_are_judged_by_a_temperature_that_has_not_seen_them():
    logits, labels = drawn(400, scale=2.0)
    scaling = featdiv.temperature_scaling(logits, labels, folds=4, seed=3)
    fold = np.random.default_rng(3).permutation(400) % 4
    for f in range(4):
        rest = fold != f
        alone = featdiv.temperature_scaling(logits[rest], labels[rest], folds=2).temperature
        assert scaling.fold_temperatures[f] == pytest.approx(alone, rel=1e-6)
        expected = softmax(logits[~rest] / alone, axis=1)
        assert scaling.probabilities[~rest] == pytest.approx(expected, rel=1e-5)


def test_units_of_logits_do_not_matter():
    logits, labels = drawn(500)
    for scale in (1e-6, 1e6):
        found = featdiv.temperature_scaling(scale * logits, labels).temperature / scale
        assert found == pytest.approx(featdiv.temperature_scaling(logits, labels).temperature, rel=1e-5)


def test_the_diagram_shows_every_filled_bin():
    logits, labels = drawn(500)
    calibration = featdiv.ece(softmax(logits, axis=1), labels)
    (ax,) = calibration.plot().axes
    assert len(ax.patches) == 2 * int((calibration.counts > 0).sum())
    assert ax.get_xlabel() == "confidence"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z, y: featdiv.ece(z, y), InputError, "ece: probabilities: expected entries of at least 0"),
        (lambda z, y: featdiv.ece(softmax(z, axis=1), y + 1), InputError, "labels: expected the labels of the 4 col"),
        (lambda z, y: featdiv.ece(softmax(z, axis=1), y.astype(str)), InputError, "Name the columns with classes="),
        (lambda z, y: featdiv.ece(softmax(z, axis=1), y[:-1]), InputError, "expected one for each of 50 rows; got 49"),
        (lambda z, y: featdiv.ece(softmax(z, axis=1), y, bins=0), InputError, "bins: expected a positive integer"),
        (lambda z, y: featdiv.ece(softmax(z, axis=1), y, definition="x"), InputError, "expected one of 'equal_width'"),
        (lambda z, y: featdiv.ece(softmax(z, axis=1), y * 0 - 1), InputError, "-1, which marks a missing label"),
        (lambda z, y: featdiv.ece(softmax(z, axis=1), y, classes=[1, 1, 2, 3]), InputError, "4 different labels"),
        (lambda z, y: featdiv.temperature_scaling(z * np.nan, y), InputError, "expected finite numbers"),
        (lambda z, y: featdiv.temperature_scaling(z[:, 0], y), InputError, r"expected numbers of shape \(n, c\)"),
        (lambda z, y: featdiv.temperature_scaling(z, y, folds=60), NotEnoughData, "folds: expected from 2 to 50"),
        (lambda z, y: featdiv.temperature_scaling(z, y, seed=-1), InputError, "seed: expected a whole number"),
        (lambda z, y: featdiv.temperature_scaling(np.eye(4)[y], y), NotEnoughData, "the best temperature is 0"),
        (lambda z, y: featdiv.temperature_scaling(-np.eye(4)[y], y), NotEnoughData, "the best temperature is infinite"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    logits, labels = drawn(50)
    with pytest.raises(error, match=message):
        call(logits, labels)
