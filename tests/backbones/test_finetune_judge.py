from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics

from featdiv.backbones.finetune_judge import Judgement, judged


def test_images_with_several_classes_against_scikit_learn():
    random = np.random.default_rng(0)
    table = (random.uniform(size=(40, 5)) < 0.3).astype(np.int64)
    logits = (random.normal(size=(40, 5)) + table).astype(np.float32)
    found = judged(logits, table)
    assert found.map == pytest.approx(metrics.average_precision_score(table, logits), rel=1e-9)
    assert found.per_class == pytest.approx(metrics.average_precision_score(table, logits, average=None), rel=1e-9)
    probabilities = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    losses = [metrics.log_loss(table[:, j], probabilities[:, j]) for j in range(5)]
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-6)
    np.testing.assert_array_equal(found.predictions, probabilities > 0.5)
    assert (found.accuracy, found.mean_per_class, found.metrics) == (None, None, ("map",))


def test_a_class_without_images_does_not_count():
    table = np.array([[1, 0], [0, 0], [1, 0]])
    found = judged(np.array([[0.1, 9.0], [0.3, 9.0], [0.2, 9.0]], dtype=np.float32), table)
    # The images of the first class come second and third: precisions 1/2 and 2/3.
    assert found.map == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert np.isnan(found.per_class[1])


@pytest.mark.parametrize("labels", [np.array([0, 1, 1]), np.array([[1, 0], [0, 1], [1, 1]])])
def test_a_judgement_is_plain_json_and_back(labels):
    found = judged(np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]], dtype=np.float32), labels)
    again = Judgement.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again.to_dict() == found.to_dict()
    np.testing.assert_array_equal(again.predictions, found.predictions)


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([[1, 0], [0, 1]])])
def test_logits_that_are_not_finite_have_no_loss(labels):
    assert np.isnan(judged(np.array([[np.inf, 0.0], [np.nan, 1.0]], dtype=np.float32), labels).loss)
