"""`featdiv.linear_probe` over 45 values of C against a loop of scikit-learn's LogisticRegression.

The loop takes minutes over all 45, so it fits the middle one of every three: its whole takes three times as long, and
the target is set so.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Contender, Data, Suite, Target, Workload
from suites.spectrum import data as inputs

GRID = 10.0 ** np.linspace(-6, 5, 45)
EVERY_THIRD = np.arange(1, 45, 3)
SOLVED = np.array([4, 13, 22, 28])
"""Where scikit-learn is run to the end for the reference: 1e-5 to 10. Beyond, it takes minutes for each."""

LOOP = "sklearn loop, every third C"
_SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
_ROWS, _FEATURES, _CLASSES = 20_000, 384, 20
_QUICK_ROWS = 2000
_RATE_SECONDS = 0.3
_TOLERANCE = 1e-10


def minilm(folder: Path, quick: bool) -> Data:
    """20,000 of the sentence embeddings with their 20 classes; made from a seed where these are not there."""
    rows = _QUICK_ROWS if quick else _ROWS
    if not (_SHARED / "minilm-docstrings.npy").exists():
        return inputs.labelled(folder, classes=_CLASSES, rows_per_class=rows // _CLASSES, d=_FEATURES)
    x = np.load(_SHARED / "minilm-docstrings.npy", mmap_mode="r")
    labels = np.load(_SHARED / "minilm-docstrings-labels.npy")
    chosen = np.sort(np.random.default_rng(0).choice(len(x), rows, replace=False))
    np.save(folder / "rows.npy", x[chosen].astype(np.float32))
    np.save(folder / "labels.npy", np.unique(labels[chosen], return_inverse=True)[1])
    return Data(path=str(folder / "rows.npy"), n=rows, d=x.shape[1], dtype="float32", labels=str(folder / "labels.npy"))


def primer(folder: Path) -> Data:
    """A small input that goes the same way."""
    folder = folder / "primer"
    folder.mkdir()
    return inputs.labelled(folder, classes=3, rows_per_class=60, d=4)


def loaded(job: Data) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Returns rows and labels."""
    assert job.labels is not None
    return np.load(job.path)[: job.n], np.load(job.labels)[: job.n]


def featdiv_path(job: Data) -> Any:
    import featdiv

    x, labels = loaded(job)
    return featdiv.linear_probe(x, labels, C=GRID, holdout=None)


def sklearn_loop(job: Data) -> Any:
    """One cold start for every third C, to scikit-learn's default tolerance.

    Its default limit of 100 steps ends most fits above C = 1 before that, up to 2.5 % from the optimum.
    """
    import warnings

    from sklearn.linear_model import LogisticRegression

    x, labels = loaded(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [LogisticRegression(C=C, max_iter=10_000).fit(x, labels) for C in GRID[EVERY_THIRD]]
    return np.stack([m.coef_ for m in models]), np.stack([m.intercept_ for m in models])


def objectives(
    job: Data, places: npt.NDArray[np.int64], weights: npt.NDArray[Any], intercepts: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Returns the objective at each C of the grid, in float64; NaN where there are no weights."""
    x, labels = loaded(job)
    wide, rows, found = x.astype(np.float64), np.arange(len(x)), np.full(len(GRID), np.nan)
    for place, w, b in zip(places, weights.astype(np.float64), intercepts, strict=True):
        logits = wide @ w.T + b
        top = logits.max(1)
        loss = top + np.log(np.exp(logits - top[:, None]).sum(1)) - logits[rows, labels]
        found[place] = GRID[place] * loss.sum() + 0.5 * np.square(w).sum()
    return found


def of_probe(job: Data, probe: Any) -> Answer:
    steps = sum(fitted.iterations for fitted in probe.path)
    return {
        "objectives": objectives(job, np.arange(len(GRID)), probe.path_coefficients, probe.path_intercepts),
        "notes": [f"{steps} steps in {probe.provenance.passes} readings, all converged: {probe.converged}"],
    }


def of_models(job: Data, found: Any) -> Answer:
    return {"objectives": objectives(job, EVERY_THIRD, *found)}


def reference(job: Data) -> Answer:
    """scikit-learn to a tolerance of 1e-10 in float64, at some C, and as it comes, at every third."""
    from sklearn.linear_model import LogisticRegression

    x, labels = loaded(job)
    wide, weights, intercepts = x.astype(np.float64), [], []
    # Each start is the last minimum: the minimum does not depend on it, only the time does.
    model = LogisticRegression(tol=_TOLERANCE, max_iter=20_000, warm_start=True)
    for C in GRID[SOLVED]:
        model.set_params(C=C).fit(wide, labels)
        weights.append(model.coef_.copy())
        intercepts.append(model.intercept_.copy())
    return {
        "objectives": objectives(job, SOLVED, np.stack(weights), np.stack(intercepts)),
        "as it comes": objectives(job, EVERY_THIRD, *sklearn_loop(job)),
    }


def errors(answer: Answer, truth: Answer) -> dict[str, float]:
    """How far objectives are above the minimum, and above those of the loop, relative to them: the worst C."""
    found = answer["objectives"]
    above = {name: (found - truth[name]) / truth[name] for name in ("objectives", "as it comes")}
    return {
        "objective": float(np.max(above["objectives"][SOLVED])),
        "above the loop": float(np.max(above["as it comes"][EVERY_THIRD])),
    }


def operations(job: Data) -> float:
    """One evaluation of every C: two products with the stacked weights."""
    return 4.0 * job.n * job.d * _CLASSES * len(GRID)


def blas_rate(job: Data) -> float:
    """Operations a second of a float32 product of rows with the stacked weights of every C."""
    x = np.random.default_rng(0).standard_normal((2048, job.d), dtype=np.float32)
    weights = np.ones((job.d, _CLASSES * len(GRID)), dtype=np.float32)
    best, until = float("inf"), time.perf_counter() + _RATE_SECONDS
    while time.perf_counter() < until:
        start = time.perf_counter()
        x @ weights
        best = min(best, time.perf_counter() - start)
    return 2.0 * x.size * weights.shape[1] / best


SUITE = Suite(
    op="linear",
    workloads=(
        Workload(
            name="path",
            summary="45 values of C, 20,000 x 384 sentence embeddings, 20 classes; scikit-learn fits every third C",
            make=minilm,
            contenders=(
                Contender(
                    name="featdiv.linear_probe",
                    run=featdiv_path,
                    answer=of_probe,
                    accuracy="solved",
                    streams=True,
                    peer=False,
                ),
                Contender(
                    name=LOOP,
                    run=sklearn_loop,
                    answer=of_models,
                    accuracy="default",
                    requires=("sklearn",),
                    streams=True,
                ),
            ),
            reference=reference,
            operations=operations,
            # Eight times as fast as a loop over all, which takes three times as long as one over every third.
            targets=(Target(contender="featdiv.linear_probe", figure="ratio", limit=3 / 8, to=LOOP),),
        ),
    ),
    tables=(),
    errors=errors,
    accuracy={"solved": {"objective": 1e-9, "above the loop": 0.0}, "default": {"objective": 1e-2}},
    rate=blas_rate,
    prime=primer,
    baselines=(LOOP,),
)
