from __future__ import annotations

import pytest

from featdiv.backbones.finetune_assemble import _add_convergence
from featdiv.backbones.finetune_result import Point
from featdiv.backbones.finetune_search import rungs


@pytest.mark.parametrize(
    ("points", "steps", "halving", "expected"),
    [
        (9, 900, 3, [(9, 100), (3, 300), (1, 900)]),
        (8, 800, 2, [(8, 100), (4, 200), (2, 400), (1, 800)]),
        (10, 2700, 3, [(10, 100), (4, 300), (2, 900), (1, 2700)]),
        (9, 45, 3, [(9, 10), (3, 15), (1, 45)]),
        (9, 4, 3, [(9, 4)]),
        (9, 30, 3, [(9, 10), (1, 30)]),
        (1, 100, 3, [(1, 100)]),
        (56, 100, None, [(56, 100)]),
    ],
)
def test_rungs_by_hand(points, steps, halving, expected):
    assert [(rung.points, rung.steps) for rung in rungs(points, steps, halving)] == expected


def curve(accuracies):
    return tuple(
        Point(
            step=10 * (i + 1),
            seconds=float(i),
            lr=0.1,
            train_loss=1.0,
            val_loss=1.0,
            accuracy=a,
            mean_per_class=a,
            map=a,
        )
        for i, a in enumerate(accuracies)
    )


@pytest.mark.parametrize(
    ("accuracies", "m", "step"),
    [
        # Odds 1, 3, 4, 4.26: 90 % of the best is 3.83, which 4 is the first to reach; of accuracies it would be 0.75.
        ([0.5, 0.75, 0.8, 0.81], 100, 30),
        # Odds 9 of 10 images, then all of them: half an image less is 0.95, odds 19, of which 9 is less than 90 %.
        ([0.9, 1.0, 1.0], 10, 20),
        # The best comes first and is not reached again.
        ([0.8, 0.6, 0.7], 10, 10),
    ],
)
def test_steps_to_90_percent_of_the_best_odds(accuracies, m, step):
    scores, undefined = {}, {}
    _add_convergence(curve(accuracies), m, scores, undefined)
    assert scores == {"steps_to_90": step, "seconds_to_90": step / 10 - 1}
    assert not undefined


def test_steps_to_90_are_undefined_where_nothing_was_right():
    scores, undefined = {}, {}
    _add_convergence(curve([0.0, 0.0]), 10, scores, undefined)
    assert not scores
    assert undefined.keys() == {"steps_to_90", "seconds_to_90"}
