"""NLEEP: LEEP with the components of a Gaussian mixture in the place of source classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.errors import InputError, NotEnoughData
from featdiv.metrics.labelled.inputs import dropped_note, opened, require_classes
from featdiv.metrics.labelled.rows import LabelledRows
from featdiv.metrics.transferability.source_probabilities import log_expected_prediction
from featdiv.results import Provenance, Score
from featdiv.stats import ClassMoments
from featdiv.stats.moments import Float64Array

VARIANCE = 0.8
COMPONENTS_A_CLASS = 5


def core(x: Float64Array, labels: npt.ArrayLike, *, variance: float = VARIANCE, seed: int = 0) -> float:
    """Returns NLEEP of rows in memory; see `nleep`."""
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    require_classes(names.tolist())
    codes = codes.reshape(-1)
    z = _principal(x, variance)
    components = COMPONENTS_A_CLASS * len(names)
    if len(z) < components:
        raise NotEnoughData(f"a mixture of {components} Gaussians needs as many rows; got {len(z)}")
    # An order that the rows themselves fix, so that the seeded start does not depend on how they are listed.
    order = np.lexsort(z.T[::-1])
    return log_expected_prediction(_posteriors(z[order], components, seed), codes[order], len(names))


def _principal(x: Float64Array, variance: float) -> Float64Array:
    centred = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    if not values[0] > 0.0:
        raise NotEnoughData("all rows are equal: there is no variance to keep")
    kept = int(np.searchsorted(np.cumsum(values), variance * values.sum())) + 1
    z = centred @ vectors[:, :kept]
    z *= np.where((z**3).sum(axis=0) < 0.0, -1.0, 1.0)
    scaled: Float64Array = z / np.sqrt(values[0] / len(x))
    return scaled


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

    Returns:
        A `Score` of at most 0, in nats for each row.

    Raises:
        NotEnoughData: if there is one class, all rows are equal, or there are fewer than 5 c rows.
        InputError: if labels are missing or cannot be used, or the source can be read only once.

    Complexity:
        O(n c p^2) for each step of the mixture, p components kept; memory O(n (d + c)). Slow where c p^2 is large.

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
    if not 0.0 < variance <= 1.0:
        raise InputError(f"nleep: variance: expected a share above 0 and at most 1; got {variance!r}")
    if isinstance(x, ClassMoments):
        raise InputError("nleep: x: expected labelled rows; got ClassMoments, which no longer hold them. Pass the rows")
    with opened(x, labels, function="nleep") as source:
        rows = LabelledRows.of(source, function="nleep", ignore=ignore, normalize=normalize)
        kept = np.flatnonzero(rows.codes >= 0)
        try:
            value = core(rows.take(kept), rows.codes[kept], variance=variance, seed=seed)
        except NotEnoughData as error:
            raise NotEnoughData(f"nleep: {error}") from None
        return Score(
            name="nleep",
            scores={"nleep": value},
            details={"classes": len(rows.classes), "components": COMPONENTS_A_CLASS * len(rows.classes)},
            provenance=Provenance(
                function="featdiv.nleep",
                version=__version__,
                arguments={"variance": variance, "normalize": normalize, "classes": len(rows.classes)},
                method="Gaussian mixture of scikit-learn",
                precision="float64",
                dtype=source.dtype,
                n=len(kept),
                d=source.d,
                seed=seed,
                source=source.description,
                fingerprint=source.fingerprint,
                passes=1,
                notes=dropped_note(rows.dropped),
            ),
        )
