"""What a ranking recommends, in words, with how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CRITERIA = {
    "linear": "the linear probe",
    "knn": "the nearest-neighbour probe",
    "finetune": "fine-tuning",
}
FROZEN = "Probes judge frozen features: fine-tuning can order models otherwise, most of all those that are close."


def recommendation(
    *,
    ranked: Sequence[str],
    accuracy: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]],
    p_best: Mapping[str, float],
    contenders: Sequence[str],
    regret: float,
    criterion: str,
    n: int,
    failed: int,
) -> str:
    """Returns a paragraph.

    Args:
        ranked: models, the best first.
        accuracy: model to criterion.
        bounds: model to the 95 % interval of it.
        p_best: model to its probability of being the best.
        contenders: models that cannot be told from the best, itself among them.
        regret: expected loss of the pick against the best.
        criterion: by what models are ranked.
        n: images that models were judged on.
        failed: models that are missing.
    """
    best = ranked[0]
    low, high = bounds[best]
    how = CRITERIA[criterion]
    score = f"{how} gets {100 * accuracy[best]:.1f} % of {n:,} images right (95 %: {100 * low:.1f} to {100 * high:.1f})"
    others = [name for name in ranked if name in contenders and name != best]
    lines = []
    if len(ranked) == 1:
        lines.append(f"{best} is the only model that was ranked: {score}.")
    elif not others:
        lines.append(f"Take {best}: {score}, and it is told from all {len(ranked) - 1} others at 95 %.")
    else:
        lines.append(
            f"Take {best}, with a probability of {_probability(p_best[best])} the best of {len(ranked)}: {score}."
        )
        some = "All others" if len(others) == len(ranked) - 1 and len(others) > 1 else _listed(others)
        lines.append(f"{some} cannot be told from it at 95 %.")
        lines.append(f"Taking it is expected to cost {_points(regret)} against the best of them.")
        lines.append(
            "More images or repeats narrow this down; what else speaks for a model, such as speed, may decide."
        )
    if criterion != "finetune":
        lines.append(FROZEN)
    if failed:
        lines.append(f"{failed} model{'s' if failed > 1 else ''} could not be ranked.")
    return " ".join(lines)


def _probability(p: float) -> str:
    return "more than 0.99" if p > 0.99 else f"{p:.2f}"


def _points(regret: float) -> str:
    points = 100 * regret
    return "less than 0.01 points" if points < 0.01 else f"{points:.2g} points"


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:4]) + ([f"{len(names) - 4} more"] if len(names) > 4 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
