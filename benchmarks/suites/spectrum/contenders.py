"""Who competes: featdiv, the bare product as the limit, and what people use today.

Every contender starts from the file. Peers get the memory map where they take one, float32 rows where the file has
float16, and the centring they lack done as cheaply as NumPy can.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.registry import Answer, Contender, Data
from suites.spectrum.reference import effective_rank, rows_of

if TYPE_CHECKING:
    import torch

_TILE_ROWS = 8192
_LEADING = 64


def _float32(data: Data) -> npt.NDArray[np.float32]:
    rows = rows_of(data)
    return rows if rows.dtype == np.float32 else rows.astype(np.float32)


def _torch_float32(data: Data) -> torch.Tensor:
    import torch

    # torch refuses read-only maps.
    return torch.from_numpy(np.array(rows_of(data), dtype=np.float32))


def _of_eigenvalues(data: Data, ascending: npt.ArrayLike) -> Answer:
    eigenvalues = np.sort(np.asarray(ascending, dtype=np.float64), axis=-1)[..., ::-1]
    return {"eigenvalues": eigenvalues, "effective_rank": effective_rank(eigenvalues)}


def _of_singular_values(data: Data, sigma: Any) -> Answer:
    return _of_eigenvalues(data, np.square(np.asarray(sigma, dtype=np.float64)) / (data.n - 1))


def featdiv_spectrum(data: Data) -> Any:
    import featdiv

    return featdiv.spectrum(data.path)


def featdiv_without_intervals(data: Data) -> Any:
    import featdiv

    return featdiv.spectrum(data.path, interval=None)


def _of_spectrum(data: Data, spectrum: Any) -> Answer:
    provenance = spectrum.provenance
    how = f"method {provenance.method}, scatter by {', '.join(provenance.backends.values()) or 'no backend'}"
    passes = f"{provenance.passes} pass{'es' if provenance.passes != 1 else ''}"
    return {
        "eigenvalues": spectrum.eigenvalues,
        "effective_rank": spectrum.effective_rank,
        "notes": [f"{how}, {passes}, {len(spectrum.intervals)} intervals"],
    }


def bare_product(data: Data) -> Any:
    """X^T X and nothing else: featdiv's reader, its buffer, and one product a tile, added up in float64."""
    import featdiv

    with featdiv.open(data.path) as source:
        gram = np.zeros((source.d, source.d))
        wide = np.empty((_TILE_ROWS, source.d), dtype=np.float32)
        for chunk in source.chunks():
            for start in range(0, len(chunk.rows), _TILE_ROWS):
                tile = chunk.rows[start : start + _TILE_ROWS]
                if tile.dtype != np.float32:
                    buffer = wide[: len(tile)]
                    buffer[...] = tile
                    tile = buffer
                gram += tile.T @ tile
    return gram


def _of_gram(data: Data, gram: npt.NDArray[np.float64]) -> Answer:
    return dict(_of_eigenvalues(data, np.linalg.eigvalsh(gram) / data.n)) | {"centered": False}


def sklearn_pca(data: Data) -> Any:
    from sklearn.decomposition import PCA

    return PCA().fit(_float32(data)).explained_variance_


def sklearn_incremental_pca(data: Data) -> Any:
    """Batch by batch, as its documentation has it for data that do not fit in memory, with its own batch size."""
    from sklearn.decomposition import IncrementalPCA

    rows, model = rows_of(data), IncrementalPCA()
    batch = 5 * data.d
    # Every batch needs at least as many rows as there are components: a short last one is joined to its neighbour.
    edges = [*range(0, max(1, data.n - data.d), batch), data.n]
    for start, stop in itertools.pairwise(edges):
        model.partial_fit(np.array(rows[start:stop], dtype=np.float32))
    return model.explained_variance_


def numpy_cov(data: Data) -> Any:
    return np.linalg.eigvalsh(np.cov(rows_of(data), rowvar=False))


def numpy_svd(data: Data) -> Any:
    rows = _float32(data)
    return np.linalg.svd(rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32), compute_uv=False)


def torch_svdvals(data: Data) -> Any:
    import torch

    rows = _torch_float32(data)
    rows -= rows.mean(dim=0)
    return torch.linalg.svdvals(rows).numpy()


def torch_pca_lowrank(data: Data) -> Any:
    import torch

    torch.manual_seed(0)
    return torch.pca_lowrank(_torch_float32(data), q=data.d)[1].numpy()


def torch_pca_lowrank_leading(data: Data) -> Any:
    import torch

    torch.manual_seed(0)
    return torch.pca_lowrank(_torch_float32(data), q=min(_LEADING, data.d))[1].numpy()


def _of_leading(data: Data, sigma: Any) -> Answer:
    answer = dict(_of_singular_values(data, sigma))
    del answer["effective_rank"]
    return answer | {"notes": [f"the {len(sigma)} leading components only: no effective rank"]}


FEATDIV = Contender(
    name="featdiv.spectrum",
    run=featdiv_spectrum,
    answer=_of_spectrum,
    accuracy="float32",
    streams=True,
    peer=False,
)

BARE = Contender(
    name="bare product", run=bare_product, answer=_of_gram, accuracy="plain float32", streams=True, peer=False
)

CONTENDERS = (
    FEATDIV,
    Contender(
        name="featdiv.spectrum(interval=None)",
        run=featdiv_without_intervals,
        answer=_of_spectrum,
        accuracy="float32",
        streams=True,
        peer=False,
    ),
    BARE,
    Contender(
        name="sklearn PCA",
        run=sklearn_pca,
        answer=_of_eigenvalues,
        accuracy="plain float32",
        requires=("sklearn",),
    ),
    Contender(
        name="sklearn IncrementalPCA",
        run=sklearn_incremental_pca,
        answer=_of_eigenvalues,
        accuracy="plain float32",
        requires=("sklearn",),
    ),
    Contender(name="eigvalsh(np.cov)", run=numpy_cov, answer=_of_eigenvalues, accuracy="float64"),
    Contender(name="numpy.linalg.svd", run=numpy_svd, answer=_of_singular_values, accuracy="plain float32"),
    Contender(
        name="torch.linalg.svdvals",
        run=torch_svdvals,
        answer=_of_singular_values,
        accuracy="plain float32",
        requires=("torch",),
    ),
    Contender(
        name="torch.pca_lowrank(q=d)",
        run=torch_pca_lowrank,
        answer=_of_singular_values,
        accuracy="plain float32",
        requires=("torch",),
    ),
    Contender(
        name=f"torch.pca_lowrank(q={_LEADING})",
        run=torch_pca_lowrank_leading,
        answer=_of_leading,
        accuracy="leading",
        requires=("torch",),
    ),
)


def featdiv_per_class(data: Data) -> Any:
    import featdiv

    return featdiv.spectrum(data.path, labels=data.labels)


def _of_per_class(data: Data, spectrum: Any) -> Answer:
    found = [spectrum.per_class[label] for label in sorted(spectrum.per_class)]
    ways = sorted({one.provenance.method for one in found})
    return {
        "eigenvalues": np.stack([one.eigenvalues for one in found]),
        "effective_rank": np.array([one.effective_rank for one in found]),
        "notes": [
            f"{len(found)} classes by method {', '.join(ways)}, {len(found[0].intervals)} intervals each, and the "
            "spectrum of all rows besides"
        ],
    }


def _by_class(data: Data) -> list[npt.NDArray[Any]]:
    assert data.labels is not None
    labels = np.load(data.labels)[: data.n]
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(rows_of(data)[order], edges)


def numpy_cov_loop(data: Data) -> Any:
    return np.stack([np.linalg.eigvalsh(np.cov(rows, rowvar=False)) for rows in _by_class(data)])


def sklearn_pca_loop(data: Data) -> Any:
    from sklearn.decomposition import PCA

    return np.stack([PCA().fit(rows).explained_variance_ for rows in _by_class(data)])


PER_CLASS = (
    Contender(
        name="featdiv.spectrum",
        run=featdiv_per_class,
        answer=_of_per_class,
        accuracy="float32",
        streams=True,
        peer=False,
    ),
    Contender(name="loop of eigvalsh(np.cov)", run=numpy_cov_loop, answer=_of_eigenvalues, accuracy="float64"),
    Contender(
        name="loop of sklearn PCA",
        run=sklearn_pca_loop,
        answer=_of_eigenvalues,
        accuracy="plain float32",
        requires=("sklearn",),
    ),
)
