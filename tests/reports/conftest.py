"""Results of three small models, one of whose names is an attack, and what a ranking of them looks like."""

from __future__ import annotations

import numpy as np
import pytest

import featdiv

ATTACK = "<script>document.title='attacked'</script>\"'&"


@pytest.fixture(scope="session")
def models():
    """Three models of 300 rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 12)) * np.geomspace(4.0, 0.2, 12)
    return {
        "broad": rng.normal(size=(300, 12)),
        ATTACK: x,
        "narrow": rng.normal(size=(300, 8)) * [2, 1, 1, 1, 1, 1, 1, 1],
    }


@pytest.fixture(scope="session")
def labels():
    """Three classes, which chance made."""
    return np.random.default_rng(1).integers(0, 3, size=300)


@pytest.fixture(scope="session")
def pictures():
    """One picture a row, black to white."""
    return [np.full((20, 30), row * 255 // 299, dtype=np.uint8) for row in range(300)]


@pytest.fixture(scope="session")
def results(models, labels, pictures):
    """What a page is made of: results of every kind."""
    made = [
        {
            name: [
                featdiv.spectrum(rows, interval=None),
                featdiv.knn_probe(rows, labels, k=(1, 5, 20)),
                featdiv.directions(rows, pictures, k=2, extremes=3),
            ]
        }
        for name, rows in models.items()
    ]
    return [{"ranking": ranking(list(models))}, *made, featdiv.compare(models, interval=None)]


def ranking(models):
    """The dictionary of a ranking, the last model the best one."""
    m = len(models)
    return {
        "type": "Ranking",
        "schema": 1,
        "scores": {},
        "provenance": {"function": "featdiv.rank_models", "version": featdiv.__version__, "notes": ["5 folds"]},
        "models": models,
        "columns": ["effective_rank", "knn"],
        "values": [[5.0 - i, 0.5 + 0.1 * i] for i in range(m - 1)] + [[None, 0.9]],
        "low": [[4.5 - i, None] for i in range(m)],
        "high": [[5.5 - i, None] for i in range(m)],
        "criterion": "knn",
        "best": models[-1],
        "p_best": [0.1] * (m - 1) + [1.0 - 0.1 * (m - 1)],
        "contenders": models[-2:],
        "regret": 0.002,
        "recommendation": f"Take {models[-1]}.",
        "agreement": [{"score": "effective_rank", "against": "knn", "tau": -1.0}],
        "failed": {"resnet50": "no weights <here>"},
        "steps": [{"model": models[0], "step": "extract", "seconds": 61.0, "cached": False}],
    }


@pytest.fixture(scope="session")
def page(results):
    """The page of all results."""
    return featdiv.report(results, title="A <report> & more")
