"""NCE: how uncertain the label stays once the source model's decision is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from featdiv.metrics.transferability.source_probabilities import SourceProbabilities
from featdiv.results import Score


def core(found: SourceProbabilities) -> float:
    """Returns the negative conditional entropy; see `nce`."""
    decisions = found.theta.argmax(axis=1)
    joint = np.zeros((len(found.classes), found.theta.shape[1]))
    np.add.at(joint, (found.codes, decisions), 1.0)
    marginal = np.broadcast_to(joint.sum(axis=0), joint.shape)
    seen = joint > 0.0
    return float((joint[seen] * np.log(joint[seen] / marginal[seen])).sum()) / len(found.codes)


def nce(source_probs: Any, labels: Any, *, ignore: int | str | None = None) -> Score:
    """NCE: -H(Y|Z) = sum over y, z of P(y, z) ln(P(y, z)/P(z)), Z the source class of largest probability.

    Args:
        source_probs: (n, z) probabilities that the model gives to the classes it was trained on; of equal
            largest ones, the first class counts.
        labels: one integer or string for each row: the labels of the new task.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.

    Returns:
        A `Score` between -ln c and 0, in nats; -H(Y) where the decisions say nothing of the label.

    Raises:
        InputError: if rows of probabilities have negative entries or do not sum to one within 1e-3, or labels
            are missing or cannot be used.
        NotEnoughData: if no labelled row is left.

    Complexity:
        O(n z) time.

    Source:
        Tran et al. 2019.

    Example:
        >>> import featdiv
        >>> probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]]
        >>> float(featdiv.nce(probabilities, [0, 0, 1, 1]))
        0.0
        >>> round(float(featdiv.nce(probabilities, [0, 1, 0, 1])), 6)  # -ln 2
        -0.693147
    """
    found = SourceProbabilities.of(source_probs, labels, function="nce", ignore=ignore)
    return Score(
        name="nce",
        scores={"nce": core(found) + 0.0},
        details={"classes": len(found.classes), "source_classes": found.theta.shape[1]},
        provenance=found.provenance("nce"),
    )
