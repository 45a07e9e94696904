"""Reading embeddings: `open` turns arrays, files, shards and iterables into `Embeddings`, read in chunks."""

from __future__ import annotations

from featdiv.io.convert import convert
from featdiv.io.embeddings import Chunk, Embeddings
from featdiv.io.sources import open

__all__ = ["Chunk", "Embeddings", "convert", "open"]
