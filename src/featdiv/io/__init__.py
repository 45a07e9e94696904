"""Reading embeddings: `open` turns arrays, files, shards and iterables into `Embeddings`, which fill buffers."""

from __future__ import annotations

from featdiv.io.convert import convert
from featdiv.io.embeddings import Chunk, Embeddings
from featdiv.io.sources import open

__all__ = ["Chunk", "Embeddings", "convert", "open"]
