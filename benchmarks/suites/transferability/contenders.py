"""Who competes: featdiv, the published algorithm of LogME, and a loop over episodes."""

from __future__ import annotations

from typing import Any

from harness.registry import Answer, Contender, Data
from suites import resident
from suites.transferability import reference


def featdiv_logme(data: Data) -> Any:
    import featdiv

    return featdiv.logme(data.path, data.labels)


def published_logme(data: Data) -> Any:
    rows, labels = reference.read(data)
    return reference.published_logme(rows.astype("float64"), labels, exact=False)


def featdiv_fewshot(held: Any) -> Any:
    import featdiv

    rows, labels = held
    return featdiv.fewshot_probe(rows, labels, shots=reference.SHOTS)


def loop_fewshot(held: Any) -> Any:
    rows, labels = held
    return reference.loop_of_episodes(rows, labels, reference.EPISODES)


def featdiv_table(data: Data) -> Any:
    import featdiv

    return featdiv.transferability(data.path, data.labels)


def featdiv_table_without_intervals(data: Data) -> Any:
    import featdiv

    return featdiv.transferability(data.path, data.labels, interval=None)


def _of_logme(data: Data, found: Any) -> Answer:
    return {"logme": float(found)}


def _of_accuracy(data: Data, found: Any) -> Answer:
    return {"accuracy": float(found if isinstance(found, float) else found.scores[f"{reference.SHOTS}_shot"])}


def _of_table(data: Data, found: Any) -> Answer:
    return {"logme": found["logme"], "notes": [f"{len(found.scores)} scores, {found.provenance.passes} readings"]}


LOGME = (
    Contender(name="featdiv.logme", run=featdiv_logme, answer=_of_logme, accuracy="float64", streams=True, peer=False),
    Contender(name="published algorithm", run=published_logme, answer=_of_logme, accuracy="float64"),
)
FEWSHOT = (
    Contender(
        name="featdiv.fewshot_probe",
        load=resident.labelled,
        run=featdiv_fewshot,
        answer=_of_accuracy,
        accuracy="sampled",
        peer=False,
    ),
    Contender(name="NumPy loop", load=resident.labelled, run=loop_fewshot, answer=_of_accuracy, accuracy="sampled"),
)
TABLE = (
    Contender(
        name="featdiv.transferability",
        run=featdiv_table,
        answer=_of_table,
        accuracy="float64",
        streams=True,
        peer=False,
    ),
    Contender(
        name="featdiv.transferability(interval=None)",
        run=featdiv_table_without_intervals,
        answer=_of_table,
        accuracy="float64",
        streams=True,
        peer=False,
    ),
)
