"""Neural collapse: how far classes have shrunk to points, and the points spread evenly."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv.errors import NotEnoughData
from featdiv.io import Embeddings
from featdiv.metrics import jackknife
from featdiv.metrics.labelled.inputs import opened, provenance_of, read_parts, require_classes, resolve_classes
from featdiv.ops.scatter import reference
from featdiv.results import Provenance, Result
from featdiv.stats import ClassMoments, arguments
from featdiv.stats.class_labels import as_labels

Float64Array = npt.NDArray[np.float64]

DEFINITIONS = ("balanced", "weighted")
CUTOFF = 1e-6
"""Singular values of the centred class means up to this share of the largest count as zero."""

_ROWS = 4096
_NEED_ROWS = "it needs the rows, to find the nearest class mean of each; got class moments"
_NEED_TWO_PASSES = "it needs the rows a second time, and the source can be read only once"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NeuralCollapse(Result):
    """Result of `neural_collapse`.

    Attributes:
        classes: the labels, sorted.
        norms: (c,) float64, |mu_c - mu| of each class.
        rank: directions that the class means span, at most min(c - 1, d); NC1 is taken over them.
    """

    classes: npt.NDArray[Any]
    norms: Float64Array
    rank: int

    _array_fields = ("classes", "norms", "rank")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.6g}" for name, value in self.scores.items())
        return f"NeuralCollapse({shown})"

    @property
    def nc1(self) -> float:
        """Scatter within classes relative to that between them; 0 when classes are points."""
        return self.read("nc1")

    @property
    def nc2_equinorm(self) -> float:
        """Coefficient of variation of |mu_c - mu|; 0 when the class means are equally far out."""
        return self.read("nc2_equinorm")

    @property
    def nc2_equiangular(self) -> float:
        """Mean deviation of the cosines between class means from -1/(c - 1); 0 for a simplex."""
        return self.read("nc2_equiangular")

    @property
    def nc4(self) -> float:
        """Share of rows that are nearer to the mean of their own class than to any other."""
        return self.read("nc4")


def core(classes: ClassMoments, definition: str = "balanced", cutoff: float = CUTOFF) -> float:
    """Returns NC1 = Tr(S_W S_B^+)/c; see `neural_collapse`."""
    weights = _weights(classes, definition)
    sigma, directions = _between(classes, weights, cutoff)
    within = np.einsum("ki,ki->k", directions @ (classes.within / classes.n), directions)
    return float((within / sigma**2).sum()) / classes.c


def equinorm(classes: ClassMoments, definition: str = "balanced") -> float:
    """Returns the coefficient of variation of the distances of the class means from their mean."""
    norms = np.linalg.norm(_centred(classes, _weights(classes, definition)), axis=1)
    if not norms.any():
        raise NotEnoughData("the class means coincide")
    return float(norms.std() / norms.mean())


def equiangular(classes: ClassMoments, definition: str = "balanced") -> float:
    """Returns the mean over pairs of classes of the distance of their cosine from -1/(c - 1)."""
    centred = _centred(classes, _weights(classes, definition))
    norms = np.linalg.norm(centred, axis=1)
    if not norms.any():
        raise NotEnoughData("the class means coincide")
    if norms.min() <= CUTOFF * norms.max():
        at = classes.classes[int(norms.argmin())].item()
        raise NotEnoughData(f"the mean of class {at!r} is the mean of all, so it has no direction")
    unit = centred / norms[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(classes.c, 1)]
    return float(np.abs(cosines + 1.0 / (classes.c - 1)).mean())


CORES: dict[str, Callable[..., float]] = {
    "nc1": core,
    "nc2_equinorm": equinorm,
    "nc2_equiangular": equiangular,
}
"""Score name to its pure core, for the scores that need no rows."""


def nearest_centre(source: Embeddings, classes: ClassMoments, *, ignore: int | str | None = None) -> float:
    """Returns the share of rows that are nearest to the mean of their own class; a tie goes to the first class."""
    centre = classes.means.mean(axis=0)
    means = classes.means - centre
    squares = np.einsum("ij,ij->i", means, means)
    agreeing = seen = 0
    for chunk in source.chunks():
        labels = as_labels(chunk.labels, function="neural_collapse")
        keep = np.arange(len(labels)) if ignore is None else np.flatnonzero(labels != ignore)
        codes = np.searchsorted(classes.classes, labels[keep])
        for start in range(0, len(keep), _ROWS):
            part = slice(start, start + _ROWS)
            rows = reference.transformed(chunk.rows[keep[part]], normalize=classes.normalize) - centre
            nearest = (squares - 2.0 * (rows @ means.T)).argmin(axis=1)
            agreeing += int(np.count_nonzero(nearest == codes[part]))
        seen += len(keep)
    return agreeing / seen


def check(definition: str, cutoff: float) -> None:
    """Raises `InputError` for a definition that does not exist, or a cut-off that is no share."""
    arguments.one_of("neural_collapse", "definition", definition, DEFINITIONS)
    arguments.number("neural_collapse", "cutoff", cutoff, "a share between 0 and 1", lambda share: 0.0 < share < 1.0)


def _weights(classes: ClassMoments, definition: str) -> Float64Array:
    check(definition, CUTOFF)
    require_classes(classes)
    return np.full(classes.c, 1.0 / classes.c) if definition == "balanced" else classes.counts / classes.n


def _centred(classes: ClassMoments, weights: Float64Array) -> Float64Array:
    """Returns the class means about their mean; what rounding left of coinciding ones is zero."""
    from_first = classes.means - classes.means[0]
    centred: Float64Array = from_first - weights @ from_first
    rounding = 64.0 * np.finfo(np.float64).eps * np.abs(classes.means).max()
    return np.zeros_like(centred) if np.abs(centred).max() <= rounding else centred


def _between(classes: ClassMoments, weights: Float64Array, cutoff: float) -> tuple[Float64Array, Float64Array]:
    """Returns singular values and right singular vectors of the weighted, centred class means.

    Squares and vectors are the eigenvalues and eigenvectors of S_B, without squaring what is to be inverted.
    """
    import scipy.linalg

    check(DEFINITIONS[0], cutoff)
    centred = _centred(classes, weights)
    if not centred.any():
        raise NotEnoughData("the class means coincide: there is no scatter between classes")
    _, sigma, directions = scipy.linalg.svd(np.sqrt(weights)[:, None] * centred, full_matrices=False)
    # Centred class means sum to zero: they span c - 1 dimensions at most.
    kept = min(int(np.count_nonzero(sigma > cutoff * sigma[0])), classes.c - 1)
    return sigma[:kept], directions[:kept]


def neural_collapse(
    x: Any,
    labels: Any = None,
    *,
    definition: str = "balanced",
    cutoff: float = CUTOFF,
    normalize: str | None = None,
    ignore: int | str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    interval: str | None = None,
    groups: Any = None,
) -> NeuralCollapse:
    """Neural collapse: NC1 (variability), NC2 (equal norms and angles), NC4 (nearest class mean).

    With mu_c the class means, mu their mean, S_W = 1/n sum_i (x_i - mu_c(i))(x_i - mu_c(i))^T over all rows
    and S_B = 1/c sum_c (mu_c - mu)(mu_c - mu)^T:

    * ``nc1`` = Tr(S_W S_B^+) / c; in the pseudo-inverse, singular values of the centred class means up to
      ``cutoff`` times the largest (eigenvalues of S_B up to its square) count as zero, and no more than c - 1
      are kept;
    * ``nc2_equinorm`` = standard deviation over mean of |mu_c - mu|;
    * ``nc2_equiangular`` = mean over pairs of classes of abs(cos(mu_c - mu, mu_c' - mu) + 1/(c - 1));
    * ``nc4`` = share of rows that are nearest, in Euclidean distance, to the mean of their own class. (The
      paper compares the nearest mean with the network's own decision, which features do not hold.)

    The first three are 0 in full collapse, where the class means are a simplex equiangular tight frame; the
    last is 1. NC3, the alignment with the classifier's weights, needs the classifier. Definitions:

    * ``"balanced"``: every class has the same weight in mu and S_B, as above.
    * ``"weighted"``: class c has weight n_c/n in both, so that mu is the mean of all rows.

    Args:
        x: rows (array, path, source), or `ClassMoments`, which leave ``nc4`` undefined.
        labels: one integer or string for each row; None where ``x`` carries them.
        definition: one of the above.
        cutoff: of the pseudo-inverse, between 0 and 1.
        normalize: ``"l2"`` to divide each row by its norm first; for rows only.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        precision: arithmetic of the second moments; for rows only.
        backend: backend of the second moments; for rows only.
        interval: None for no interval; ``"auto"`` for a 95 % jackknife interval where rows can be dealt to parts;
            ``"jackknife"`` for one, or an error that says why there is none. For rows only.
        groups: (n,) group ids (video, patient, document): the jackknife leaves whole groups out; for rows only.

    Returns:
        A `NeuralCollapse`. A score that does not exist is undefined, with its reason: all but ``nc4`` where
        the class means coincide; ``nc2_equiangular`` where one of them is the mean; ``nc4`` for class moments
        and for rows that can be read only once. A class of one row counts, with no scatter within.

    Raises:
        NotEnoughData: if there is one class.
        InputError: if labels are missing or cannot be used.

    Complexity:
        O(n d^2) and, for ``nc4``, O(n c d) in a second pass; O(c^2 d + c d^2) from `ClassMoments`.

    Source:
        Papyan, Han & Donoho 2020.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.eye(3)[[0, 0, 1, 1, 2, 2]]  # three points: a simplex
        >>> featdiv.neural_collapse(x, [0, 0, 1, 1, 2, 2]).nc1
        0.0
    """
    if isinstance(x, ClassMoments):
        resolved = resolve_classes(
            x,
            labels,
            function="neural_collapse",
            normalize=normalize,
            ignore=ignore,
            interval=interval,
            groups=groups,
        )
        found = _result(resolved.statistic, resolved.provenance, definition, cutoff, {}, {"nc4": _NEED_ROWS})
        return _with_intervals(found, resolved.statistic, resolved.rests, definition, cutoff)
    check(definition, cutoff)
    jackknife.check("neural_collapse", interval)
    with opened(x, labels, function="neural_collapse", groups=groups) as source:
        classes, rests = read_parts(
            source,
            function="neural_collapse",
            interval=interval,
            normalize=normalize,
            ignore=ignore,
            precision=precision,
            backend=backend,
        )
        provenance = provenance_of(classes, function="neural_collapse", source=source, precision=precision)
        if source.one_pass or classes.c < 2:
            found = _result(classes, provenance, definition, cutoff, {}, {"nc4": _NEED_TWO_PASSES})
            return _with_intervals(found, classes, rests, definition, cutoff)
        nc4 = nearest_centre(source, classes, ignore=ignore)
    provenance = dataclasses.replace(provenance, passes=2)
    found = _result(classes, provenance, definition, cutoff, {"nc4": nc4}, {})
    return _with_intervals(found, classes, rests, definition, cutoff)


def _with_intervals(
    found: NeuralCollapse, classes: ClassMoments, rests: jackknife.Rests, definition: str, cutoff: float
) -> NeuralCollapse:
    cores = {name: functools.partial(function, definition=definition) for name, function in CORES.items()}
    cores["nc1"] = functools.partial(cores["nc1"], cutoff=cutoff)
    scores = {name: value for name, value in found.scores.items() if name in cores}
    intervals, notes = rests.intervals("neural_collapse", classes, scores, cores)
    if rests.asked is None:
        return found
    provenance = dataclasses.replace(
        found.provenance,
        arguments={**found.provenance.arguments, "interval": rests.asked},
        notes=(*found.provenance.notes, *notes),
    )
    return dataclasses.replace(found, intervals=intervals, provenance=provenance)


def _result(
    classes: ClassMoments,
    provenance: Provenance,
    definition: str,
    cutoff: float,
    of_rows: dict[str, float],
    missing: dict[str, str],
) -> NeuralCollapse:
    try:
        weights = _weights(classes, definition)
    except NotEnoughData as error:
        raise NotEnoughData(f"neural_collapse: {error}") from None
    scores: dict[str, float] = {}
    undefined: dict[str, str] = {}
    for name, function in CORES.items():
        arguments = {"cutoff": cutoff} if name == "nc1" else {}
        try:
            scores[name] = function(classes, definition, **arguments)
        except NotEnoughData as error:
            undefined[name] = str(error)
    return NeuralCollapse(
        scores={**scores, **of_rows},
        undefined={**undefined, **missing},
        provenance=dataclasses.replace(
            provenance, definition=definition, arguments={**provenance.arguments, "cutoff": cutoff}
        ),
        classes=classes.classes,
        norms=np.linalg.norm(_centred(classes, weights), axis=1),
        rank=0 if "nc1" in undefined else len(_between(classes, weights, cutoff)[0]),
    )
