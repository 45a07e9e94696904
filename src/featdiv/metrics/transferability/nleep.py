"""NLEEP: LEEP with the components of a Gaussian mixture in the place of source classes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from featdiv import io
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import opened, provenance_of, read_classes, require_classes
from featdiv.metrics.transferability.labelled_blocks import labelled_blocks, require_two_readings
from featdiv.metrics.transferability.source_probabilities import log_expected_prediction
from featdiv.ops._blas import one_thread
from featdiv.results import Score
from featdiv.stats import ClassMoments, arguments, budget
from featdiv.stats.moments import Float64Array

VARIANCE = 0.8
COMPONENTS_A_CLASS = 5


def core(
    source: io.Embeddings,
    classes: ClassMoments,
    *,
    variance: float = VARIANCE,
    seed: int = 0,
    ignore: int | str | None = None,
    memory: int,
) -> tuple[float, dict[str, int]]:
    """Returns NLEEP of labelled rows whose class moments are known, with details of the fit; see `nleep`.

    Raises:
        NotEnoughData: if there is one class, all rows are equal, or there are fewer than 5 c rows.
        BudgetExceeded: if the projected rows and the mixture do not fit the memory.
    """
    require_classes(classes)
    components = COMPONENTS_A_CLASS * classes.c
    if classes.n < components:
        raise NotEnoughData(f"a mixture of {components} Gaussians needs as many rows; got {classes.n}")
    axes = _axes(classes, variance)
    kept = axes.shape[1]
    needed = _needed_bytes(classes.n, kept, components)
    budget.require(
        needed,
        memory,
        function="nleep",
        what=f"{classes.n} rows of {kept} principal components and a mixture of {components} Gaussians",
        advice="Raise memory=, pass a sample of the rows, or keep less of the variance.",
    )
    z, codes = np.empty((classes.n, kept)), np.empty(classes.n, dtype=np.int64)
    filled = 0
    for rows, part, _ in labelled_blocks(
        source, classes.classes, function="nleep", normalize=classes.normalize, ignore=ignore
    ):
        z[filled : filled + len(rows)] = (rows - classes.mean) @ axes
        codes[filled : filled + len(rows)] = part
        filled += len(rows)
    z *= np.where((z**3).sum(axis=0) < 0.0, -1.0, 1.0)
    # Sorted by their own values, so that the seeded start does not depend on the order of the rows.
    order = np.lexsort(z.T[::-1])
    value = log_expected_prediction(_posteriors(z[order], components, seed), codes[order], classes.c)
    return value, {"classes": classes.c, "components": components, "principal_components": kept, "bytes": needed}


def _axes(classes: ClassMoments, variance: float) -> Float64Array:
    """Returns the (d, p) principal axes that hold that share, divided by the standard deviation along the first."""
    with one_thread(classes.d):
        values, vectors = np.linalg.eigh(classes.total().scatter)
    values, vectors = values[::-1], vectors[:, ::-1]
    if not values[0] > 0.0:
        raise NotEnoughData("all rows are equal: there is no variance to keep")
    kept = int(np.searchsorted(np.cumsum(values), variance * values.sum())) + 1
    axes: Float64Array = vectors[:, :kept] / np.sqrt(values[0] / classes.n)
    return axes


def _needed_bytes(n: int, kept: int, components: int) -> int:
    """Returns what is held at once: rows projected, sorted and weighted; responsibilities and their logarithms."""
    return 8 * (3 * n * kept + 3 * n * components + 4 * components * kept * kept)


def _posteriors(z: Float64Array, components: int, seed: int) -> Float64Array:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_components=components, random_state=seed)
    with warnings.catch_warnings():
        # The published score takes the mixture as it is after these steps; its own warning is for density estimates.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(z)
    posteriors: Float64Array = mixture.predict_proba(z)
    return posteriors


def nleep(
    x: Any,
    labels: Any = None,
    *,
    variance: float = VARIANCE,
    seed: int = 0,
    normalize: str | None = None,
    ignore: int | str | None = None,
    memory: int | float | str | None = None,
) -> Score:
    """NLEEP: `leep` with the posteriors of a Gaussian mixture over the features as source probabilities.

    Rows are projected on the principal components that hold 80 % of the variance, divided by the standard
    deviation of the first; a mixture of 5 c Gaussians with full covariances is fitted by scikit-learn, and its
    posteriors are theta in LEEP. It needs no source classes.

    Args:
        x: rows (array, path, source that can be read by index).
        labels: one integer or string for each row; None where ``x`` carries them.
        variance: share of the variance that is kept.
        seed: of the start of the mixture. The order of rows changes nothing.
        normalize: ``"l2"`` to divide each row by its norm first.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        memory: budget, in bytes or as text; None for a quarter of the RAM.

    Returns:
        A `Score` of at most 0, in nats for each row; ``details`` say how many components were kept, and the bytes that
        the mixture was planned with.

    Raises:
        NotEnoughData: if there is one class, all rows are equal, or there are fewer than 5 c rows.
        InputError: if labels are missing or cannot be used, or the source can be read only once.
        BudgetExceeded: if the projected rows and the mixture do not fit the memory.

    Complexity:
        Two readings of the rows: O(n d^2) for the components, O(n d p) to project, p components kept; then O(n c p^2)
        for each step of the mixture, slow where c p^2 is large. The rows are never in memory, but their projections
        are, and 5 c shares of each: O(n (p + c)), as scikit-learn's mixture wants them.

    Source:
        Li et al. 2021, section 3.3.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1], 60)
        >>> x = rng.normal(size=(120, 3)) + 6.0 * labels[:, None]
        >>> float(featdiv.nleep(x, labels)) > -0.05 > float(featdiv.nleep(x, rng.permutation(labels)))
        True
    """
    arguments.number("nleep", "variance", variance, "a share above 0 and at most 1", lambda share: 0.0 < share <= 1.0)
    arguments.check_seed("nleep", seed)
    if isinstance(x, ClassMoments):
        raise InputError("nleep: x: expected labelled rows; got ClassMoments, which no longer hold them. Pass the rows")
    allowed = budget.budget_bytes(memory, function="nleep")
    with opened(x, labels, function="nleep") as source:
        require_two_readings(source, function="nleep", what="projecting on principal components")
        classes = read_classes(
            source, function="nleep", normalize=normalize, ignore=ignore, precision="float64", backend="auto"
        )
        try:
            value, details = core(source, classes, variance=variance, seed=seed, ignore=ignore, memory=allowed)
        except NotEnoughData as error:
            raise NotEnoughData(f"nleep: {error}") from None
        provenance = provenance_of(classes, function="nleep", source=source, precision="float64")
    return Score(
        name="nleep",
        scores={"nleep": value},
        details=details,
        provenance=dataclasses.replace(
            provenance,
            arguments={**provenance.arguments, "variance": variance},
            method="principal components, then the Gaussian mixture of scikit-learn",
            seed=seed,
            passes=2,
        ),
    )
