"""The arguments of a kNN probe, checked, and what follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featdiv.errors import InputError, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.io.progress import Progress, check_progress
from featdiv.probes.knn_labels import FUNCTION, speaking_for_probe
from featdiv.probes.knn_result import rule_name
from featdiv.probes.knn_vote import VOTES, Rule, rules
from featdiv.stats import arguments
from featdiv.stats.neighbours import DISTANCES, Neighbours


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of a probe, checked.

    Attributes:
        k, votes, temperatures: what `knn_vote.rules` combines.
        distance, index, backend, memory, progress: as `Neighbours.of` takes them.
        duplicates: cosine from which two rows are near-duplicates.
    """

    k: tuple[int, ...]
    votes: tuple[str, ...]
    temperatures: tuple[float, ...]
    distance: str
    index: str
    backend: str
    memory: int | float | str | None
    progress: Progress | None
    duplicates: float

    @classmethod
    def checked(
        cls,
        given: Mapping[str, Any],
        *,
        index: str,
        backend: str,
        memory: int | float | str | None,
        progress: Progress | None,
        duplicates: float,
    ) -> Options:
        """Returns the options of a call.

        Args:
            given: k, vote, temperature and distance, one or several of each but the last.
            index, backend, memory, progress, duplicates: as `featdiv.knn_probe` takes them.

        Raises:
            InputError: if one cannot be used.
        """
        numbers = given["k"] if isinstance(given["k"], (Sequence, np.ndarray)) else (given["k"],)
        votes = (given["vote"],) if isinstance(given["vote"], str) else tuple(given["vote"])
        values = given["temperature"]
        temperatures = tuple(
            float(value) for value in (values if isinstance(values, (Sequence, np.ndarray)) else (values,))
        )
        for name, items in (("k", numbers), ("vote", votes), ("temperature", temperatures)):
            if not len(items):
                raise InputError(f"{FUNCTION}: {name}: expected at least one; got none")
        for vote in votes:
            arguments.one_of(FUNCTION, "vote", vote, VOTES)
        for temperature in temperatures:
            if not (np.isfinite(temperature) and temperature > 0.0):
                raise InputError(f"{FUNCTION}: temperature: expected positive numbers; got {temperature}")
        arguments.one_of(FUNCTION, "distance", given["distance"], DISTANCES)
        check_progress(progress, function=FUNCTION)
        if not 0.0 < duplicates <= 1.0:
            raise InputError(f"{FUNCTION}: duplicates: expected a cosine above 0 and up to 1; got {duplicates}")
        return cls(
            k=tuple(positive(number, f"{FUNCTION}: k") for number in numbers),
            votes=votes,
            temperatures=temperatures,
            distance=given["distance"],
            index=index,
            backend=backend,
            memory=memory,
            progress=progress,
            duplicates=duplicates,
        )

    def fitting(self, available: int) -> tuple[tuple[Rule, ...], dict[str, str]]:
        """Returns the rules for which there are enough neighbours, and the reasons against the others.

        Raises:
            NotEnoughData: if there are enough for none.
        """
        every = rules(self.k, self.votes, self.temperatures)
        undefined = {
            rule_name(rule): f"k={rule.k} neighbours; each row has {available} to choose from"
            for rule in every
            if rule.k > available
        }
        fitting = tuple(rule for rule in every if rule.k <= available)
        if not fitting:
            raise NotEnoughData(
                f"{FUNCTION}: k: expected at most {available}, the rows that can be neighbours; got {min(self.k)} "
                "and above. Ask for fewer"
            )
        return fitting, undefined

    def search(self, gallery: Any, queries: Any, k: int, *, progress: bool = True) -> Neighbours:
        """Returns the neighbours."""
        with speaking_for_probe():
            return Neighbours.of(
                gallery,
                queries,
                k=k,
                distance=self.distance,
                index=self.index,
                backend=self.backend,
                memory=self.memory,
                progress=self.progress if progress else None,
            )
