"""`knn_probe`: how well the labels of a row's nearest neighbours tell its own."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__, io, protocols
from featdiv.errors import InputError, NearDuplicateWarning, NotEnoughData
from featdiv.io.embeddings import positive
from featdiv.io.progress import Progress
from featdiv.probes import knn_fewshot
from featdiv.probes.knn_labels import FUNCTION, Labelled, labelled
from featdiv.probes.knn_options import Options
from featdiv.probes.knn_result import Cell, KnnProbe, mean_accuracy, rule_name
from featdiv.probes.knn_vote import TEMPERATURE, VOTES, Rule, Tally, tally
from featdiv.probes.proportion import of_rows
from featdiv.results import Provenance
from featdiv.stats import arguments, budget
from featdiv.stats.neighbours import Neighbours

NEIGHBOURS = (1, 5, 10, 20, 50, 100, 200)


def knn_probe(
    train: Any,
    labels: Any = None,
    *,
    test: Any = None,
    test_labels: Any = None,
    groups: Any = None,
    test_groups: Any = None,
    k: int | Sequence[int] = NEIGHBOURS,
    vote: str | Sequence[str] = VOTES,
    temperature: float | Sequence[float] = TEMPERATURE,
    distance: str = "cosine",
    protocol: str | None = None,
    select: str = "evaluated",
    per_class: int | None = None,
    seeds: int | Sequence[int] = 3,
    ignore: int | str | None = None,
    neighbours: Neighbours | None = None,
    duplicates: float = 0.9999,
    index: str = "flat",
    backend: str = "auto",
    memory: int | float | str | None = None,
    progress: Progress | None = None,
) -> KnnProbe:
    """Nearest-neighbour probe: each row takes the label of its k nearest training rows, for every k from one search.

    A class has the sum of the weights of its neighbours: 1 each (``"uniform"``), or exp(s / T) (``"exp"``), s the
    cosine, or -|x - y|^2 / 2 where the distance is Euclidean. Equal sums are decided by the larger sum of s, then by
    the lower label. Without a test set every training row is classified by all the others. scikit-learn's
    ``KNeighborsClassifier`` gives ties to the lower label at once, so that uniform votes differ there, and only there.

    Args:
        train: rows that vote (array, path, source), of any size: what does not fit the memory budget is read in shards.
        labels: one integer or string for each; None where ``train`` carries them.
        test: rows to classify; None to leave one out.
        test_labels: their labels. A class that ``train`` lacks is an error.
        groups: (n,) group of each training row (video, patient, document), integers or strings. In leave-one-out,
            intervals take the rows of a group for alike; see `featdiv.probes.proportion.of_groups`.
        test_groups: the same of the test rows.
        k: numbers of neighbours. Those that the gallery is too small for are undefined in the result.
        vote: ``"exp"``, ``"uniform"`` or both.
        temperature: T of ``"exp"``, or several.
        distance: ``"cosine"`` or ``"l2"``, the Euclidean distance.
        protocol: name of a published protocol, such as ``"dinov2-knn"``, whose values take the place of defaults.
        select: where the best cell is chosen: ``"evaluated"``, on the rows that its accuracy is of, which is
            optimistic; ``"train"``, by leaving one out of ``train``, which costs a second search.
        per_class: few-shot probe: draw so many training rows of every class, repeatedly. Without a test set, the rows
            that were not drawn are classified.
        seeds: draws of a few-shot probe: their number (seeds 0, 1, …) or their seeds.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        neighbours: a table found before, of ``test`` in ``train`` (leave-one-out of ``train`` without a test set): no
            search is made.
        duplicates: cosine from which a row and one that votes are near-duplicates, which are counted and warned of.
            Where the distance is Euclidean, a pair is one if it is as near as rows of that cosine would be at the
            median distance of the last neighbour found.
        index: ``"flat"``, or a FAISS factory string; see `Neighbours.of`.
        backend: what searches; see `Neighbours.of`.
        memory: budget; None for a quarter of the machine's RAM.
        progress: called with (rows done, rows in all).

    Returns:
        A frozen `KnnProbe` with a cell for every k and weighting.

    Raises:
        InputError: if an argument cannot be used, labels are missing, or test has a class that train lacks.
        NotEnoughData: if there is one class, or no k fits the gallery, or a class has too few rows to draw.
        ZeroNormError: for cosines, if a row is zero.

    Complexity:
        One search, n m d multiply-adds, and O(m k log k) for the vote of each k, whatever the number of classes.

    Source:
        Wu et al. 2018, section 3.4 for the weights; Caron et al. 2021 (DINO) and Oquab et al. 2023 (DINOv2) for the
        protocol.

    Example:
        >>> import featdiv, numpy as np
        >>> x = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.4], [0.2, 1.0], [0.1, 1.0], [0.0, 1.0]])
        >>> probe = featdiv.knn_probe(x, ["cat", "cat", "dog", "dog", "dog", "dog"], k=(1, 3), vote="uniform")
        >>> {cell.name: round(cell.top1, 3) for cell in probe.cells}  # the dog that looks like a cat is mistaken
        {'k=1 uniform': 0.833, 'k=3 uniform': 0.5}
        >>> probe.predictions(probe.cell(1, "uniform")).tolist()
        ['cat', 'cat', 'cat', 'dog', 'dog', 'dog']
    """
    given = {"k": k, "vote": vote, "temperature": temperature, "distance": distance}
    notes: tuple[str, ...] = ()
    if protocol is not None:
        defaults = {name: inspect.signature(knn_probe).parameters[name].default for name in given}
        resolution = protocols.get(protocol).resolve(FUNCTION, given, defaults)
        given, notes = dict(resolution.arguments), resolution.notes
    options = Options.checked(
        given, index=index, backend=backend, memory=memory, progress=progress, duplicates=duplicates
    )
    arguments.one_of(FUNCTION, "select", select, ("evaluated", "train"))
    allowed = budget.budget_bytes(memory, function=FUNCTION)
    if test is None and test_labels is not None:
        raise InputError(f"{FUNCTION}: test_labels: expected test= with them; got labels of no rows")
    if test is None and test_groups is not None:
        raise InputError(f"{FUNCTION}: test_groups: expected test= with them; got groups of no rows")
    gallery = labelled(train, labels, groups, name="train", labels_name="labels", memory=allowed, ignore=ignore)
    queries = None
    if test is not None:
        checked: dict[str, Any] = {"labels_name": "test_labels", "memory": allowed, "ignore": ignore}
        queries = labelled(test, test_labels, test_groups, name="test", **checked)
        queries = queries.coded_as(gallery)
    provenance = _provenance(gallery, queries, options, protocol=protocol, select=select, notes=notes)
    if per_class is not None:
        if neighbours is not None or select != "evaluated":
            raise InputError(f"{FUNCTION}: per_class: expected neither neighbours= nor select='train' beside it")
        return knn_fewshot.probe(
            gallery,
            queries,
            per_class=positive(per_class, f"{FUNCTION}: per_class"),
            seeds=seeds,
            fitting=options.fitting,
            search=options.search,
            provenance=provenance,
        )
    return _probe(gallery, queries, options, neighbours=neighbours, select=select, provenance=provenance)


def _probe(
    gallery: Labelled,
    queries: Labelled | None,
    options: Options,
    *,
    neighbours: Neighbours | None,
    select: str,
    provenance: Provenance,
) -> KnnProbe:
    asked = gallery if queries is None else queries
    fitting, undefined = options.fitting(gallery.n - (queries is None))
    widest = fitting[-1].k
    if neighbours is None:
        neighbours = options.search(gallery.source, None if queries is None else queries.source, widest)
    else:
        _check_table(neighbours, gallery, asked, widest, options.distance, leave_one_out=queries is None)
    tallies = tuple(tally(neighbours, gallery.codes, asked.codes, fitting))
    train_scores = None
    if select == "train":
        train_scores = _scores_on_train(gallery, neighbours, tallies, fitting, options)
    copies = _near_duplicates(neighbours, options.duplicates)
    notes = [*provenance.notes, *neighbours.notes]
    if copies:
        notes.append(_duplicate_note(copies, asked.n, options, leave_one_out=queries is None))
        warnings.warn(f"{FUNCTION}: {notes[-1]}", NearDuplicateWarning, stacklevel=3)
    best_by = "evaluated" if train_scores is None else "train"
    if best_by == "evaluated" and len(fitting) > 1:
        remedy = (
            "with rows to test on, select='train' chooses without them"
            if queries is None
            else "select='train' chooses by leaving one out of the training rows"
        )
        notes.append(
            f"the best of {len(fitting)} cells was chosen on the rows that its accuracy is of, which makes it "
            f"optimistic; {remedy}"
        )
    if queries is None and gallery.groups is not None:
        notes.append(
            "rows of one group vote for one another, which makes the accuracy optimistic; give test= of other groups"
        )
    if neighbours.recall is not None:
        notes.append(f"approximate neighbours: index {neighbours.index} has a recall of {neighbours.recall:.4f}")
    counts = np.bincount(asked.codes, minlength=len(gallery.classes)).astype(np.int64)
    cells = tuple(_cell(found, asked, counts, leave_one_out=queries is None) for found in tallies)
    return KnnProbe(
        scores={cell.name: cell.top1 for cell in cells},
        undefined=undefined,
        intervals={cell.name: cell.interval for cell in cells if cell.interval is not None},
        provenance=dataclasses.replace(provenance, backends={"neighbours": neighbours.backend}, notes=tuple(notes)),
        cells=cells,
        classes=gallery.classes,
        counts=counts,
        best_by=best_by,
        near_duplicates=copies,
        train_scores=train_scores,
        neighbours=neighbours,
        _tallies=tallies,
        _codes=gallery.codes,
        _truth=asked.codes,
    )


def _cell(found: Tally, asked: Labelled, counts: npt.NDArray[np.int64], *, leave_one_out: bool) -> Cell:
    correct = found.correct()
    estimand = (
        "leave-one-out accuracy of these rows" if leave_one_out else "accuracy on the population of the test rows"
    )
    return Cell(
        k=found.rule.k,
        vote=found.rule.vote,
        temperature=found.rule.temperature,
        top1=correct / asked.n,
        top5=found.correct(5) / asked.n,
        mean_per_class=mean_accuracy(found, asked.codes, counts),
        interval=of_rows(found.rank == 0, asked.groups, estimand=estimand),
    )


def _scores_on_train(
    gallery: Labelled,
    neighbours: Neighbours,
    tallies: Sequence[Tally],
    fitting: Sequence[Rule],
    options: Options,
) -> dict[str, float]:
    """Returns the leave-one-out accuracy of each rule on the training rows."""
    if neighbours.leave_one_out:
        raise InputError(f"{FUNCTION}: select='train': expected a test set; without one, train is what is evaluated")
    if fitting[-1].k > gallery.n - 1:
        raise NotEnoughData(f"{FUNCTION}: select='train': leaving one out of {gallery.n} rows has no {fitting[-1].k}")
    own = options.search(gallery.source, None, fitting[-1].k, progress=False)
    found = tally(own, gallery.codes, gallery.codes, fitting)
    return {rule_name(each.rule): each.correct() / gallery.n for each in found}


def _near_duplicates(neighbours: Neighbours, threshold: float) -> int:
    """Returns for how many queries the nearest row is all but the same."""
    nearest = neighbours.values[:, 0]
    if neighbours.distance == "cosine":
        return int((nearest >= threshold).sum())
    reach = float(np.median(neighbours.values[:, -1])) * np.sqrt(2.0 * (1.0 - threshold))
    return int((nearest <= reach).sum())


def _duplicate_note(copies: int, n: int, options: Options, *, leave_one_out: bool) -> str:
    where = "other rows" if leave_one_out else "training rows"
    near = f"cosine >= {options.duplicates:g}" if options.distance == "cosine" else "a negligible distance"
    return (
        f"{copies} of {n} rows ({copies / n:.1%}) have near-duplicates ({near}) among the {where} that vote for them, "
        "which makes the accuracy optimistic; remove copies before splitting"
    )


def _check_table(
    table: Neighbours, gallery: Labelled, asked: Labelled, k: int, distance: str, *, leave_one_out: bool
) -> None:
    fits = (
        table.n_gallery == gallery.n
        and table.n == asked.n
        and table.distance == distance
        and table.leave_one_out == leave_one_out
        and table.k >= k
    )
    if not fits:
        kind = "leave-one-out" if leave_one_out else "test in train"
        raise InputError(
            f"{FUNCTION}: neighbours: expected {k} or more neighbours of {asked.n} rows among {gallery.n} by "
            f"{distance} ({kind}); got {table.k} of {table.n} among {table.n_gallery} by {table.distance}, "
            f"leave_one_out={table.leave_one_out}"
        )


def _provenance(
    gallery: Labelled,
    queries: Labelled | None,
    options: Options,
    *,
    protocol: str | None,
    select: str,
    notes: tuple[str, ...],
) -> Provenance:
    source: io.Embeddings = gallery.source
    return Provenance(
        function=f"featdiv.{FUNCTION}",
        version=__version__,
        arguments={
            "k": options.k,
            "vote": options.votes,
            "temperature": options.temperatures,
            "distance": options.distance,
            "index": options.index,
            "protocol": None if protocol is None else protocols.get(protocol).identity,
            "select": select,
            "test": None if queries is None else queries.source.description,
            "test_n": None if queries is None else queries.n,
        },
        method="leave-one-out" if queries is None else "test",
        precision="float32",
        dtype=source.dtype,
        n=source.n,
        d=source.d,
        source=source.description,
        fingerprint=source.fingerprint,
        extraction=source.extraction,
        passes=1,
        notes=notes,
    )
