"""Pictures of studies: long names neither leave the picture nor cover the points."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

import featdiv

NAMES = [f"vit_base_patch16_clip_224.laion2b_ft_in12k_in1k, epoch {i}" for i in range(10)]


def drawn(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def test_long_names_of_models_stay_in_the_axes_and_keep_their_ends():
    x = dict(zip(NAMES, np.linspace(60.0, 80.0, 10), strict=True))
    y = {name: value + (5.0 if i % 2 else -5.0) for i, (name, value) in enumerate(x.items())}
    figure = featdiv.correlate(x, y, draws=50, permutations=50).plot()
    renderer = drawn(figure)
    (axes,) = figure.axes
    assert axes.get_window_extent().width > 0.8 * figure.bbox.width
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 10
    assert all(0 <= box.x0 < box.x1 <= figure.bbox.width for box in boxes)
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
    assert [text.get_text()[-1] for text in axes.texts] == [str(i) for i in range(10)]


def test_the_legend_of_an_agreement_covers_no_point():
    score = dict(zip(NAMES, np.arange(10.0), strict=True))
    truths = {
        "fine-tuned on a data set of a long name": dict(zip(NAMES, np.arange(10.0) ** 2, strict=True)),
        "linear probe": dict(zip(NAMES, np.sin(np.arange(10.0)), strict=True)),
    }
    figure = featdiv.rank_agreement(score, truths, draws=50).plot()
    renderer = drawn(figure)
    (legend,) = figure.legends
    box = legend.get_window_extent(renderer)
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert not box.overlaps(figure.axes[0].get_window_extent(renderer))
