"""`featdiv.compare`: one call from representations of the same rows to a `Comparison`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__
from featdiv.analyses.comparison import kernels, plan
from featdiv.analyses.comparison.assemble import assembled
from featdiv.analyses.comparison.matrix import Matrix, fill_from_moments, fill_from_rows
from featdiv.analyses.comparison.models import FUNCTION, layout, opened
from featdiv.analyses.comparison.result import Comparison
from featdiv.errors import InputError
from featdiv.metrics.similarity import cka_kernels
from featdiv.metrics.similarity.inputs import chosen_precision
from featdiv.metrics.similarity.measures import measure
from featdiv.metrics.similarity.rows import read_rows
from featdiv.results import Provenance
from featdiv.stats import CrossMoments, arguments, budget, cross_moments_align, cross_moments_read, grouped, partition

if TYPE_CHECKING:
    from featdiv.io import Embeddings
    from featdiv.io.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of one call, checked."""

    normalize: str | None
    precision: str | None
    backend: str
    device: str | None
    interval: str | None
    memory: int
    nonfinite: str
    seed: int
    progress: Progress | None
    parameters: Mapping[str, Any]


def compare(
    x: Any,
    other: Any = None,
    *,
    metric: str = "cka",
    definition: str | None = None,
    ids: Any = None,
    other_ids: Any = None,
    groups: Any = None,
    normalize: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
    device: str | None = None,
    interval: str | None = "auto",
    memory: int | float | str | None = None,
    nonfinite: str = "raise",
    seed: int = 0,
    progress: Progress | None = None,
    **parameters: Any,
) -> Comparison:
    """Compares representations of the same rows, and returns a named matrix of their similarities.

    All models are read side by side in one pass (more, where the budget is too small for all pairs at once), and every
    pair is computed from what that pass leaves: the whole matrix for the price of one reading. Where linear CKA of many
    features is wanted for few rows, the pass leaves n x n kernels instead of scatters: the same numbers for less work;
    ``provenance.method`` says which.

    Args:
        x: rows of one model (array, path, source); a mapping from names to the rows of several models, or layers; or
            `CrossMoments` made elsewhere.
        other: rows of a second model, or a mapping for a rectangular matrix: layers of one model against layers of
            another. None where ``x`` holds all models.
        metric: a name of the similarity family: ``"cka"``, ``"cca"``, ``"svcca"``, ``"pwcca"``, ``"procrustes"``,
            ``"subspace_overlap"``, ``"linear_predictivity"``, ``"rsa"``, ``"mutual_knn"``.
        definition: named formula of that metric, such as ``"biased"``; None for its default.
        ids: (n,) id of each row of x, or a mapping from names to ids. Where every model has ids, rows with the same id
            belong together whatever their order; otherwise rows belong together by position.
        other_ids: ids of the rows of ``other``.
        groups: (n,) group of each row, in the order of the first model: the jackknife leaves whole groups out.
        normalize: ``"l2"`` divides each row of each model by its Euclidean norm first.
        precision: arithmetic of the products; None for float32 with CKA and subspace overlap (float64 where that costs
            next to nothing), float64 with the others.
        backend: backend of the products.
        device: torch device on which to accumulate; None for where the rows are.
        interval: ``"auto"`` (95 % jackknife intervals for linear CKA, CCA and Procrustes where they fit the budget),
            ``"jackknife"`` (or an error that says why there are none), or None for no intervals.
        memory: budget, in bytes or as text (``"2GB"``); None for a quarter of the RAM.
        nonfinite: ``"raise"``, or ``"drop"`` for leaving out rows that hold NaN or infinity in any model.
        seed: seed of spot checks and samples.
        progress: called with (rows done, rows in all or None) after every chunk.
        **parameters: what the metric takes beside these: ``k=``, ``variance=``, ``distance=``, ``sample=``,
            ``bandwidth=``.

    Returns:
        A frozen `Comparison`. With debiased CKA, its ``biased`` holds the biased values beside.

    Raises:
        InputError: if an argument cannot be used, or the models do not hold the same rows.
        NotEnoughData: if no pair has a value, for example with fewer than four rows.
        BudgetExceeded: if no plan fits the memory budget.

    Complexity:
        n D^2 multiply-adds for D features in all; memory O(D^2), twenty times that while intervals are wanted. Linear
        CKA by kernels: n^2 D and O(n D + n^2) for each model, with or without intervals.

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(2000, 16))
        >>> layers = {"stem": x, "body": x @ rng.normal(size=(16, 8)), "noise": rng.normal(size=(2000, 8))}
        >>> comparison = featdiv.compare(layers)
        >>> comparison["stem", "body"] > 0.5 > comparison["stem", "noise"]
        True
        >>> 0.0 in comparison.interval("stem", "noise")
        True
    """
    chosen = measure(metric, definition, function=FUNCTION)
    arguments.check(
        FUNCTION,
        normalize=normalize,
        precision="float32" if precision is None else precision,
        backend=backend,
        nonfinite=nonfinite,
        seed=seed,
        progress=progress,
    )
    arguments.one_of(FUNCTION, "interval", interval, ("auto", "jackknife", None))
    given = chosen.parameters(parameters, function=FUNCTION)
    if "seed" in given:
        given["seed"] = seed
    options = Options(
        normalize=normalize,
        precision=precision,
        backend=backend,
        device=grouped.check_device(device, function=FUNCTION),
        interval=interval,
        memory=budget.budget_bytes(memory, function=FUNCTION),
        nonfinite=nonfinite,
        seed=seed,
        progress=progress,
        parameters=given,
    )
    found, models = layout(x, other)
    matrix = Matrix.of(found, chosen)
    if isinstance(x, CrossMoments):
        return _of_statistic(x, matrix, options, annotated=any(value is not None for value in (ids, other_ids, groups)))
    with opened(found, models, ids=ids, other_ids=other_ids, groups=groups) as sources:
        order = cross_moments_align.orders(sources, function=FUNCTION)
        if chosen.takes == "rows":
            provenance = _from_rows(matrix, sources, order, options)
        else:
            provenance = _from_moments(matrix, sources, order, options)
    return assembled(matrix, provenance)


def _of_statistic(x: CrossMoments, matrix: Matrix, options: Options, *, annotated: bool) -> Comparison:
    chosen = matrix.measure
    if annotated:
        raise InputError(f"{FUNCTION}: ids and groups go with rows; x is CrossMoments, which have forgotten them")
    if chosen.takes != "moments":
        raise InputError(f"{FUNCTION}: metric: {chosen.metric.name} needs the rows; x is CrossMoments")
    if options.normalize is not None and x.normalize != options.normalize:
        raise InputError(
            f"{FUNCTION}: normalize: expected None with CrossMoments of rows as they are; got {options.normalize!r}. "
            "Make the CrossMoments with normalize='l2'"
        )
    if options.interval == "jackknife":
        raise InputError(
            f"{FUNCTION}: interval: 'jackknife' needs rows; x is CrossMoments, one part that cannot be divided"
        )
    fill_from_moments(matrix, x, (), options.parameters, intervals=False)
    provenance = Provenance(
        function=FUNCTION,
        version=__version__,
        arguments=_recorded(matrix, options) | {"normalize": x.normalize},
        backends={"scatter": x.joint.backend} if x.joint.backend else {},
        method="cross moments",
        error_bound=x.joint.error_bound,
        measured_error=x.joint.measured_error,
        dtype=x.joint.dtype or None,
        n=x.n,
        d=sum(x.sizes),
        seed=options.seed,
        source="CrossMoments",
        passes=0,
    )
    return assembled(matrix, provenance)


def _recorded(matrix: Matrix, options: Options) -> dict[str, Any]:
    return {
        "metric": matrix.measure.metric.name,
        "normalize": options.normalize,
        "interval": options.interval,
        "nonfinite": options.nonfinite,
        **options.parameters,
    }


def _provenance(
    matrix: Matrix, sources: Mapping[str, Embeddings], options: Options, *, n: int, passes: int, precision: str | None
) -> Provenance:
    first = next(iter(sources.values()))
    return Provenance(
        function=FUNCTION,
        version=__version__,
        arguments=_recorded(matrix, options)
        | {
            "models": {name: f"{source.description}" for name, source in sources.items()},
            "fingerprints": {name: source.fingerprint for name, source in sources.items()},
            "extractions": {name: source.extraction for name, source in sources.items() if source.extraction},
            "aligned_by": "ids" if all(source.ids is not None for source in sources.values()) else "position",
        },
        precision=precision,
        dtype=first.dtype,
        n=n,
        d=sum(source.d for source in sources.values()),
        seed=options.seed,
        source="; ".join(source.description for source in sources.values()),
        fingerprint=first.fingerprint,
        passes=passes,
    )


def _from_moments(
    matrix: Matrix,
    sources: Mapping[str, Embeddings],
    order: Mapping[str, cross_moments_align.Order | None],
    options: Options,
) -> Provenance:
    n = next((source.n for source in sources.values() if source.n is not None), None)
    sizes = {name: source.d for name, source in sources.items()}
    groups = cross_moments_align.groups_of(sources, function=FUNCTION)
    # Whoever names the arithmetic, the backend or the device means that of the scatters.
    free = options.precision in (None, "float64") and options.backend == "auto" and options.device is None
    if free and cka_kernels.at_hand(sources) and kernels.cheaper(matrix.measure, sizes, n, memory=options.memory):
        made = _from_kernels(matrix, sources, order, options, groups)
        if made is not None:
            return made
    chosen = plan.make(
        matrix.measure,
        matrix.found,
        sizes,
        n=n,
        groups=None if groups is None else len(np.unique(groups)),
        one_pass=any(source.one_pass for source in sources.values()),
        interval=options.interval,
        memory=options.memory,
    )
    precision = chosen_precision(
        options.precision, exact=matrix.measure.exact, n=n, features=sum(sizes[name] for name in chosen.passes[0])
    )
    dropped = tiles = tiles_in_float64 = 0
    for names in chosen.passes:
        read = cross_moments_read.read(
            {name: sources[name] for name in names},
            order,
            function=FUNCTION,
            buckets=chosen.parts,
            slab=chosen.slab,
            groups=groups,
            normalize=options.normalize,
            precision=precision,
            backend=options.backend,
            device=options.device,
            nonfinite=options.nonfinite,
            seed=options.seed,
            progress=options.progress,
        )
        enough = not chosen.no_interval and len(read.parts) >= partition.LEAST_PARTS
        fill_from_moments(matrix, read.total, read.parts, options.parameters, intervals=enough)
        dropped = max(dropped, read.dropped)
        tiles, tiles_in_float64 = tiles + read.tiles, tiles_in_float64 + read.tiles_in_float64
        joint = read.total.joint
    notes = _notes(chosen, sources, options, dropped=dropped)
    if tiles_in_float64 and precision != "float64":
        notes.append(
            f"{tiles_in_float64} of {tiles} tiles were multiplied in float64, where {precision} sums would have drifted"
        )
    return dataclasses.replace(
        _provenance(matrix, sources, options, n=joint.n, passes=len(chosen.passes), precision=precision),
        backends={"scatter": joint.backend},
        method="cross moments",
        error_bound=joint.error_bound,
        measured_error=joint.measured_error,
        notes=tuple(notes),
    )


def _from_kernels(
    matrix: Matrix,
    sources: Mapping[str, Embeddings],
    order: Mapping[str, cross_moments_align.Order | None],
    options: Options,
    groups: npt.NDArray[Any] | None,
) -> Provenance | None:
    """Fills the matrix; returns None where a row cannot be used, which the other route refuses or leaves out."""
    n = next(source.n for source in sources.values() if source.n is not None)
    dealt = cka_kernels.parts(n, groups, interval=options.interval, function=FUNCTION)
    read = cka_kernels.read(
        sources,
        order,
        dealt,
        groups=groups,
        normalize=options.normalize,
        memory=options.memory,
        function=FUNCTION,
    )
    if read is None:
        return None
    if options.progress is not None:
        options.progress(n, n)
    kernels.fill(matrix, read, intervals=not dealt.no_interval)
    chosen = plan.Plan(parts=dealt.parts, slab=dealt.slab, no_interval=dealt.no_interval, passes=(matrix.found.keys,))
    return dataclasses.replace(
        _provenance(matrix, sources, options, n=n, passes=1, precision="float64"),
        method=cka_kernels.METHOD,
        error_bound=read.error_bound,
        notes=tuple(_notes(chosen, sources, options, dropped=0)),
    )


def _notes(chosen: plan.Plan, sources: Mapping[str, Embeddings], options: Options, *, dropped: int) -> list[str]:
    notes = []
    if dropped:
        notes.append(f"{dropped} rows with NaN or infinity in some model were left out of all")
    if len(chosen.passes) > 1:
        notes.append(
            f"read {len(chosen.passes)} times, some of the models each time: all moments at once do not fit the memory "
            "budget"
        )
    if chosen.no_interval and options.interval is not None:
        notes.append(f"no intervals: {chosen.no_interval}")
    return [*notes, *_alignment_note(sources)]


def _alignment_note(sources: Mapping[str, Embeddings]) -> list[str]:
    with_ids = [name for name, source in sources.items() if source.ids is not None]
    if not with_ids or len(with_ids) == len(sources):
        return []
    return [f"rows were matched by position: {', '.join(with_ids)} carry ids, the others do not"]


def _from_rows(
    matrix: Matrix,
    sources: Mapping[str, Embeddings],
    order: Mapping[str, cross_moments_align.Order | None],
    options: Options,
) -> Provenance:
    name = matrix.measure.metric.name
    if options.interval == "jackknife":
        reason = matrix.measure.metric.jackknife or "it is computed from rows, whose parts do not add up"
        raise InputError(f"{FUNCTION}: interval: 'jackknife' cannot be had for {name}: {reason}")
    if options.nonfinite == "drop":
        raise InputError(f"{FUNCTION}: nonfinite: 'drop' is for measures of moments; {name} needs the rows as they are")
    if options.device is not None or options.precision is not None:
        raise InputError(
            f"{FUNCTION}: device and precision are for measures of moments; {name} works on the rows themselves, on "
            "the CPU"
        )
    rows, index = read_rows(
        sources,
        order,
        function=FUNCTION,
        normalize=options.normalize,
        sample=options.parameters.get("sample"),
        seed=options.seed,
        memory=options.memory,
    )
    taken = len(next(iter(rows.values())))
    fill_from_rows(matrix, rows, options.parameters)
    n = next((source.n for source in sources.values() if source.n is not None), taken)
    notes = [] if index is None else [f"from a sample of {taken} of {n} rows, seed {options.seed}"]
    return dataclasses.replace(
        _provenance(matrix, sources, options, n=n, passes=1, precision=None),
        method="rows",
        notes=(*notes, *_alignment_note(sources)),
    )
