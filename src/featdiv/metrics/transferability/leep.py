"""LEEP: the log-likelihood of the labels under a predictor read off the source model's probabilities."""

from __future__ import annotations

from typing import Any

from featdiv.metrics.transferability.source_probabilities import SourceProbabilities, log_expected_prediction
from featdiv.results import Score


def core(found: SourceProbabilities) -> float:
    """Returns LEEP; see `leep`."""
    return log_expected_prediction(found.theta, found.codes, len(found.classes))


def leep(source_probs: Any, labels: Any, *, ignore: int | str | None = None) -> Score:
    """LEEP: (1/n) sum_i ln sum_z P(y_i|z) theta(x_i)_z, z over the classes of the source model.

    P(y|z) = P(y, z)/P(z) with P(y, z) = (1/n) sum over rows i of class y of theta(x_i)_z: the label that rows
    like this one have, as far as the source classes tell.

    Args:
        source_probs: (n, z) probabilities that the model gives to the classes it was trained on.
        labels: one integer or string for each row: the labels of the new task.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.

    Returns:
        A `Score` of at most 0, in nats for each row; -H(Y) where the probabilities say nothing of the label, 0
        with labels of one class.

    Raises:
        InputError: if rows of probabilities have negative entries or do not sum to one within 1e-3 (within that
            they are rescaled), or labels are missing or cannot be used.
        NotEnoughData: if no labelled row is left.

    Complexity:
        O(n z) time.

    Source:
        Nguyen et al. 2020, equation 2.

    Example:
        >>> import featdiv, numpy as np
        >>> sure = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> float(featdiv.leep(sure, ["a", "a", "b", "b"]))
        0.0
        >>> round(float(featdiv.leep(sure, ["a", "b", "a", "b"])), 6)  # -ln 2
        -0.693147
    """
    found = SourceProbabilities.of(source_probs, labels, function="leep", ignore=ignore)
    return Score(
        name="leep",
        scores={"leep": core(found)},
        details={"classes": len(found.classes), "source_classes": found.theta.shape[1]},
        provenance=found.provenance("leep"),
    )
