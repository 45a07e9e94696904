"""Files of `Neighbours`: uncompressed ``.npz`` that NumPy alone can read, without pickle.

Entries of schema 1, besides ``format`` ("featdiv.Neighbours"), ``schema`` and ``version``: ``indices``, ``values``,
``n_gallery``, ``d``, ``distance``, ``leave_one_out`` (0 or 1), ``backend``, ``index``, perhaps ``recall``,
``gallery`` and ``queries`` (fingerprints, empty for None), ``gallery_extraction`` and ``queries_extraction`` (JSON,
empty for None; absent from the files of earlier versions), ``notes`` (one a line).
"""

from __future__ import annotations

import os

import numpy as np

from featdiv.io.writers import replacing
from featdiv.stats.neighbours import DISTANCES, Neighbours
from featdiv.stats.storage import SCHEMA_VERSION, facts_as_text, reading, write_arrays

_KIND = "Neighbours"


def save(neighbours: Neighbours, path: str | os.PathLike[str]) -> None:
    """Writes `Neighbours` to a file."""
    from featdiv import __version__

    measured = {} if neighbours.recall is None else {"recall": np.float64(neighbours.recall)}
    with replacing(path) as file:
        write_arrays(
            file,
            format=np.array(f"featdiv.{_KIND}"),
            schema=np.int64(SCHEMA_VERSION),
            version=np.array(__version__),
            indices=neighbours.indices,
            values=neighbours.values,
            n_gallery=np.int64(neighbours.n_gallery),
            d=np.int64(neighbours.d),
            distance=np.array(neighbours.distance),
            leave_one_out=np.int64(neighbours.leave_one_out),
            backend=np.array(neighbours.backend),
            index=np.array(neighbours.index),
            gallery=np.array(neighbours.fingerprints.get("gallery") or ""),
            queries=np.array(neighbours.fingerprints.get("queries") or ""),
            gallery_extraction=np.array(facts_as_text(neighbours.extractions.get("gallery"))),
            queries_extraction=np.array(facts_as_text(neighbours.extractions.get("queries"))),
            notes=np.array("\n".join(neighbours.notes)),
            **measured,
        )


def load(path: str | os.PathLike[str]) -> Neighbours:
    """Reads `Neighbours` from a file.

    Raises:
        FormatError: if the file is not a complete one of this kind.
        SourceNotFound: if there is no such file.
    """
    with reading(path, _KIND) as entries:
        indices = entries.array("indices", np.int64, (None, None))
        values = entries.array("values", np.float32, indices.shape)
        n_gallery = entries.count("n_gallery")
        if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < n_gallery):
            entries.refuse("indices", f"rows 0 to {n_gallery - 1}", f"{int(indices.min())} to {int(indices.max())}")
        distance = entries.text("distance")
        if distance not in DISTANCES:
            entries.refuse("distance", "'cosine' or 'l2'", repr(distance))
        steps = np.diff(values, axis=1)
        if ((steps > 0) if distance == "cosine" else (steps < 0)).any():
            entries.refuse("values", "neighbours from near to far", "another order")
        leave_one_out = entries.count("leave_one_out") > 0
        if leave_one_out and (len(indices) != n_gallery or (indices == np.arange(len(indices))[:, None]).any()):
            entries.refuse("indices", "every row of the gallery without itself", f"{len(indices)} rows of {n_gallery}")
        return Neighbours(
            indices=indices,
            values=values,
            n_gallery=n_gallery,
            d=entries.count("d"),
            distance=distance,
            leave_one_out=leave_one_out,
            backend=entries.text("backend"),
            index=entries.text("index"),
            recall=entries.number("recall", least=0.0) if "recall" in entries else None,
            fingerprints={name: entries.text(name) or None for name in ("gallery", "queries")},
            extractions={name: entries.extraction(f"{name}_extraction") for name in ("gallery", "queries")},
            notes=tuple(entries.text("notes").splitlines()),
        )
