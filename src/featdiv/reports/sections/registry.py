"""Which section shows which results, in the order of the page: the one place to add a section to."""

from __future__ import annotations

from featdiv.reports.section import Builder
from featdiv.reports.sections import (
    definitions,
    directions,
    diversity,
    other,
    overview,
    probes,
    ranking,
    remarks,
    runs,
    similarity,
    spectra,
    transferability,
)

BUILDERS: tuple[Builder, ...] = (
    Builder(kinds=ranking.KINDS, build=ranking.build),
    Builder(kinds=overview.KINDS, build=overview.build),
    Builder(kinds=("*",), build=remarks.build),
    Builder(kinds=spectra.KINDS, build=spectra.build),
    Builder(kinds=diversity.KINDS, build=diversity.build),
    Builder(kinds=similarity.KINDS, build=similarity.build),
    Builder(kinds=probes.KINDS, build=probes.build),
    Builder(kinds=transferability.KINDS, build=transferability.build),
    Builder(kinds=directions.KINDS, build=directions.build),
    Builder(kinds=("*",), build=other.build),
    Builder(kinds=("*",), build=runs.build),
    Builder(kinds=("*",), build=definitions.build),
)
"""Every builder is given the entries of its kinds; ``"*"`` those of all kinds."""
