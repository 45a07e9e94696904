"""`featdiv.directions`: from rows and their images to what the leading directions show."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from featdiv import __version__
from featdiv.analyses.principal import extremes as ends
from featdiv.analyses.principal import missing, thumbnails
from featdiv.analyses.principal.result import Directions
from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.metrics.similarity.inputs import resolve_pair
from featdiv.results import Provenance
from featdiv.stats import Moments, arguments, grouped
from featdiv.stats.moments import Float64Array

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress

FUNCTION = "featdiv.directions"
SIDE = 56
"""Pixels of the longest side of a picture: enough to tell a dog from a boat."""

IMAGE_BUDGET = 400_000
"""Bytes of the pictures of one model; a page of twenty stays under 5 MB with the sections' own limit."""


def directions(
    x: Any,
    images: Any = None,
    *,
    other: Any = None,
    other_name: str | None = None,
    k: int = 5,
    extremes: int = 6,
    center: bool = True,
    normalize: str | None = None,
    precision: str = "float64",
    backend: str = "auto",
    thumbnail: int = SIDE,
    image_budget: int = IMAGE_BUDGET,
    progress: Progress | None = None,
) -> Directions:
    """Finds the leading directions of a representation, and the rows at the two ends of each.

    The directions are principal components: eigenvectors of the covariance, or with ``center=False`` of X^T X, the
    right singular vectors of the rows as they are. With ``other``, a second representation
    of the same rows, they are those that x has and the other lacks: the leading eigenvectors of the scatter that is
    left of x after ridge regression from the other, on rows left out of the fit. A direction of x that the other side
    also has, in any linear disguise, is not among them.

    Args:
        x: (n, d) rows: array, path or source. It is read twice.
        images: ``images[i]`` is the picture of row i: what `featdiv.images` gives, or a sequence of PIL images or uint8
            arrays (h, w) or (h, w, 3); None for no pictures.
        other: the same rows in another representation, or None.
        other_name: what the report calls it; None for where it comes from.
        k: how many directions.
        extremes: how many rows at each end.
        center: whether to subtract the mean first; without, shares are of the sum of squares, and projections about
            zero. Not without, where there is ``other``: a regression has an intercept.
        normalize: ``"l2"`` divides each row by its Euclidean norm first.
        precision: arithmetic of the products.
        backend: backend of the products.
        thumbnail: longest side of a picture, in pixels.
        image_budget: bytes of all pictures together; they are compressed, then made smaller, to fit.
        progress: called with (rows done, rows in all or None) after every chunk of each reading.

    Returns:
        A frozen `Directions`; `featdiv.report` shows it.

    Raises:
        InputError: if an argument cannot be used, the source can be read only once, or there are not as many images
            as rows.
        NotEnoughData: if the rows do not vary (with ``center=False``: are zero), or with ``other`` are too few for
            parts to be left out.
        MissingDependency: if there are images and Pillow is not installed.

    Complexity:
        n d^2 + n d k multiply-adds and O(d^3); memory O(d^2). With ``other``, n (d + d')^2 and five times O(d'^3).

    Source:
        Pearson 1901; Hotelling 1933. With ``other``: eigenvectors of the partial covariance (Anderson 2003, section
        2.5), with ridge regression in place of least squares.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(500, 8)) * [9, 3, 1, 1, 1, 1, 1, 1]
        >>> found = featdiv.directions(x, k=2, extremes=3)
        >>> bool(found.high[0, 0] == x[:, 0].argmax()), bool(found.low[1, 0] == x[:, 1].argmin())
        (True, True)
        >>> lacking = featdiv.directions(x, other=x[:, [0, 2]], k=1)  # which of the features that it lacks varies most?
        >>> int(lacking.components[0].argmax())
        1
    """
    arguments.check(
        FUNCTION, normalize=normalize, precision=precision, backend=backend, progress=progress, center=center
    )
    if other is not None and not center:
        raise InputError(f"{FUNCTION}: center: expected True with other=; got {center}")
    counts = {"k": k, "extremes": extremes, "thumbnail": thumbnail, "image_budget": image_budget}
    for name, value in counts.items():
        positive(value, f"{FUNCTION}: {name}")
    with grouped.opened(x, function=FUNCTION) as source:
        _check(source, images, k)
        most = min(extremes, source.n or extremes)
        moments, left, provenance = _statistics(source, other, normalize, precision, backend, progress)
        found = _assembled(source, moments, left, k, most, center, normalize, progress, provenance, other_name)
    if images is None:
        return found
    rows = sorted({int(row) for row in np.concatenate([found.low.ravel(), found.high.ravel()])})
    return dataclasses.replace(found, thumbnails=thumbnails.encode(images, rows, side=thumbnail, budget=image_budget))


def _check(source: Embeddings, images: Any, k: int) -> None:
    if source.one_pass:
        raise InputError(
            f"{FUNCTION}: x: expected rows that can be read twice; got {source.description}. Write them to a file"
        )
    if k > source.d:
        raise InputError(f"{FUNCTION}: k: expected at most the {source.d} features of x; got {k}")
    if images is not None and source.n is not None and hasattr(images, "__len__") and len(images) != source.n:
        raise InputError(f"{FUNCTION}: images: expected {source.n} images, one for each row; got {len(images)}")


def _statistics(
    source: Embeddings, other: Any, normalize: str | None, precision: str, backend: str, progress: Progress | None
) -> tuple[Moments, Float64Array | None, Provenance]:
    """Returns the moments of x, what the other side leaves of its scatter (None without one), and their provenance."""
    given = {"normalize": normalize}
    if other is None:
        moments = grouped.read(
            source, function=FUNCTION, normalize=normalize, precision=precision, backend=backend, progress=progress
        ).total
        left = None
    else:
        pair = resolve_pair(
            source,
            other,
            function="directions",
            normalize=normalize,
            precision=precision,
            backend=backend,
            exact=True,
            parts=True,
        )
        whole = pair.parts[0]
        for part in pair.parts[1:]:
            whole = whole.merge(part)
        moments, left = whole.moments("x"), missing.residual(pair.parts)
        given |= {name: pair.provenance.arguments[name] for name in ("other", "other_d", "aligned_by")}
    provenance = Provenance(
        function=FUNCTION,
        version=__version__,
        arguments=given,
        backends={"scatter": moments.backend},
        method="principal components" if other is None else "ridge residuals",
        precision=precision,
        error_bound=moments.error_bound,
        measured_error=moments.measured_error,
        dtype=source.dtype,
        n=moments.n,
        d=source.d,
        source=source.description,
        fingerprint=source.fingerprint,
        extraction=source.extraction,
        passes=2,
    )
    return moments, left, provenance


def _assembled(
    source: Embeddings,
    moments: Moments,
    left: Float64Array | None,
    k: int,
    most: int,
    center: bool,
    normalize: str | None,
    progress: Progress | None,
    provenance: Provenance,
    other_name: str | None,
) -> Directions:
    squares = moments.scatter if center else moments.gram
    total = float(np.trace(squares))
    if not total > 0.0:
        raise NotEnoughData(f"{FUNCTION}: the rows of x are all {'the same' if center else 'zero'}")
    components = _eigenvectors(squares if left is None else left, k)
    along = np.einsum("ij,ij->i", components @ squares, components)
    explained = None
    if left is not None:
        unexplained = np.einsum("ij,ij->i", components @ left, components)
        explained = 1.0 - unexplained / np.maximum(along, np.finfo(np.float64).tiny)
    about = moments.mean if center else np.zeros_like(moments.mean)
    low, high = ends.find(source, about, components, most=most, normalize=normalize, progress=progress)
    shares = along / total
    return Directions(
        scores={f"direction_{place + 1}": float(share) for place, share in enumerate(shares)},
        components=components,
        mean=moments.mean,
        shares=shares,
        explained=explained,
        low=low.rows,
        high=high.rows,
        low_values=low.values,
        high_values=high.values,
        other=None if left is None else other_name or str(provenance.arguments["other"]),
        provenance=dataclasses.replace(
            provenance, arguments={**provenance.arguments, "center": bool(center), "k": k, "extremes": most}
        ),
    )


def _eigenvectors(matrix: Float64Array, k: int) -> Float64Array:
    """Returns the (k, d) leading eigenvectors, the entry of largest magnitude of each positive."""
    import scipy.linalg

    d = len(matrix)
    _, vectors = scipy.linalg.eigh(matrix, subset_by_index=(d - k, d - 1), check_finite=False)
    rows: Float64Array = vectors.T[::-1].copy()
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    rows *= np.sign(largest)
    return rows
