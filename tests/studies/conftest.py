"""Tables that published papers print, which not every machine has beside the repository."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

PAPERS = Path(__file__).resolve().parents[3] / "shared" / "papers"


@pytest.fixture
def papers():
    """Reads a table by its name: a list of dictionaries."""
    if not PAPERS.is_dir():
        pytest.skip("needs the tables of published papers in ../shared/papers, which this machine does not have")

    def read(name):
        with (PAPERS / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read
