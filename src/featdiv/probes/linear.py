"""`linear_probe`: logistic regression on features, over a whole grid of C at once."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featdiv import __version__, io, protocols
from featdiv.errors import InputError
from featdiv.io.embeddings import positive
from featdiv.io.progress import Progress, check_progress
from featdiv.probes import linear_input as given
from featdiv.probes.linear_input import FUNCTION
from featdiv.probes.linear_result import MOST_FOR_TOP5, LinearProbe
from featdiv.results import Provenance
from featdiv.stats import arguments, budget, grouped

if TYPE_CHECKING:
    from featdiv.probes.linear_rows import Rows
    from featdiv.probes.linear_scores import Judged
    from featdiv.probes.linear_solve import Settings, Solution

DINOV2_C = tuple(float(C) for C in 10.0 ** np.linspace(-6, 5, 45))
"""The grid of DINOv2: 45 values from 1e-6 to 1e5."""

ONE_LABEL = ("accuracy", "top5_accuracy", "mean_per_class")
SEVERAL_LABELS = ("map", "map_voc2007")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """What C is chosen on: for each subset, the weights of its rows and the rows that it holds out."""

    by: str | None
    weights: npt.NDArray[np.float64]
    held_out: tuple[npt.NDArray[np.bool_], ...] = ()


def linear_probe(
    train: Any,
    labels: Any = None,
    *,
    val: Any = None,
    val_labels: Any = None,
    test: Any = None,
    test_labels: Any = None,
    groups: Any = None,
    val_groups: Any = None,
    test_groups: Any = None,
    folds: Any = None,
    holdout: float | None = 0.1,
    C: Any = DINOV2_C,
    protocol: str | None = None,
    metric: str | None = None,
    refit: bool = True,
    normalize: str | None = None,
    standardize: bool = False,
    intercept: bool = True,
    class_weight: str | Mapping[Any, float] | None = None,
    ignore: int | str | None = None,
    solver: str = "lbfgs",
    tol: float = 1e-11,
    max_iter: int = 1000,
    precision: str = "auto",
    device: str | None = None,
    seed: int | Sequence[int] = 0,
    memory: int | float | str | None = None,
    progress: Progress | None = None,
) -> LinearProbe:
    """Linear probe: L2-regularised logistic regression for every C, all fitted together.

    Minimises C sum_i s_i loss(x_i W + b, y_i) + |W|^2 / 2 with b free: the objective of scikit-learn's
    ``LogisticRegression(C)``. With more than two classes the loss is softmax with one column for each class; with two
    it is binomial with a single column, as there; with (n, l) labels each label is such a binary problem. A fit to
    rows of one class alone predicts that class.

    Values of C, folds, seeds and labels are one batch: each reading of the rows is one matrix product with the
    weights of all problems that are still running. They are solved by L-BFGS, preconditioned with the second moment of
    the rows weighted by how uncertain they are, in float32 products first and float64 ones last. C so large that ten
    readings bring it nowhere near wait for the smaller ones: they begin where those ended, carried on along log C, with
    a block of the Hessian for each class. Each C reports how well it was solved.

    C is chosen on ``val``; else on ``folds``; else on a stratified share of ``train``. The model is then fitted to all
    rows, ``val`` among them, and judged once on ``test``. Among equals, the smallest C is chosen.

    Args:
        train: rows (n, d): array, path, source; an iterable that fits the memory budget.
        labels: one integer or string for each row, or (n, l) zeros and ones; None where the source carries them.
        val: rows to choose C on.
        val_labels: their labels.
        test: rows to judge the chosen model on.
        test_labels: their labels. A class that ``train`` lacks is an error.
        groups: (n,) group of each row of ``train`` (video, patient, document), integers or strings: folds and hold-out
            keep groups whole, and intervals take their rows for alike; see `featdiv.probes.proportion.of_groups`.
        val_groups: the same of ``val``.
        test_groups: the same of ``test``.
        folds: number of cross-validation folds, or the fold of each row of ``train`` that is not ignored.
        holdout: share of ``train`` to choose C on where there is neither ``val`` nor ``folds`` and more than one C;
            None fits every C to all of ``train`` and chooses none.
        C: inverse strengths of the penalty, in any order; twice is once. The default is DINOv2's. Papers that list
            strengths (Kornblith et al. 2019, Ericsson et al. 2021) mean 1 / C.
        protocol: name of a published protocol whose values take the place of defaults, such as ``"dinov2-logreg"``.
        metric: what C is chosen by: ``"accuracy"`` (the default), ``"top5_accuracy"`` (of more than five classes),
            ``"mean_per_class"``; with several labels a row ``"map"`` (the default) or ``"map_voc2007"``, the 11-point
            variant.
        refit: whether the chosen C is fitted again to all rows.
        normalize: ``"l2"`` to divide each row by its norm first.
        standardize: whether to subtract the mean of ``train`` and divide by its standard deviation; the penalty then
            applies to the weights of standardised features, the reported ones are of the rows as they are. Held-out
            parts of ``train`` count in mean and deviation.
        intercept: whether to fit b.
        class_weight: ``"balanced"`` (n / (c n_k) in each subset), or label to weight; None for 1.
        ignore: rows with this label are left out; -1, which marks a missing label, is refused otherwise.
        solver: ``"lbfgs"``.
        tol: a C is done when its estimated distance to the minimum, relative to the objective, is below this.
        max_iter: steps that a C may take; beyond, it is marked and warned of. Where the grid leaves gaps of more than a
            factor of 30 among large C, up to eight C in between are solved roughly, in 40 steps at most.
        precision: products in ``"float32"``, ``"float64"``, or ``"auto"``: float64 only to the end.
        device: torch device to compute on; None for where the rows are.
        seed: of hold-out and folds; several repeat them.
        memory: budget, in bytes or as text; None for a quarter of the RAM. Rows that do not fit a third of it are read
            from their source in every pass.
        progress: called with (rows read so far, None) after every pass.

    Returns:
        A frozen `LinearProbe`: the path with certificates, the chosen C, scores with Wilson intervals, weights.

    Raises:
        InputError: if an argument cannot be used, labels are missing, or ``val`` or ``test`` hold other classes.
        NotEnoughData: if there is one class, or several labels a row of which rows to judge on have none.
        NonFiniteError: if a row holds NaN or infinity.
        BudgetExceeded: if the solver's vectors do not fit the budget.

    Warns:
        ConvergenceWarning: naming the C that did not reach ``tol``.

    Complexity:
        4 n d c operations for each C and step; memory about 40 d c float64 for each C and subset. Large C take
        20 to 200 steps each; c blocks of d^2 are made every 25 of them where they are affordable beside the steps.

    Source:
        Liu & Nocedal 1989 (L-BFGS); Böhning 1992 (second-moment bound of the curvature); Oquab et al. 2023 (protocol).

    Example:
        >>> import featdiv, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(["cat", "dog", "owl"], 60)
        >>> x = rng.normal(size=(180, 4)) + 3.0 * (labels[:, None] == ["cat", "dog", "owl", "-"])
        >>> probe = featdiv.linear_probe(x, labels, C=[0.01, 1.0, 100.0], folds=3)
        >>> probe.C, probe.converged, probe.scores["folds_accuracy"] > 0.9
        (0.01, True, True)
    """
    taken = {"C": C, "normalize": normalize, "standardize": standardize, "intercept": intercept, "refit": refit}
    notes: tuple[str, ...] = ()
    if protocol is not None:
        defaults = {name: inspect.signature(linear_probe).parameters[name].default for name in taken}
        resolution = protocols.get(protocol).resolve(FUNCTION, taken, defaults)
        taken, notes = dict(resolution.arguments), resolution.notes
    grid = given.check_grid(taken["C"])
    arguments.one_of(FUNCTION, "normalize", taken["normalize"], (None, "l2"))
    arguments.one_of(FUNCTION, "solver", solver, ("lbfgs",))
    arguments.one_of(FUNCTION, "precision", precision, ("auto", "float32", "float64"))
    arguments.one_of(FUNCTION, "metric", metric, (None, *ONE_LABEL, *SEVERAL_LABELS))
    check_progress(progress, function=FUNCTION, told="rows read so far, None")
    annotated = {"val": (val, val_labels, val_groups), "test": (test, test_labels, test_groups)}
    given.check_sides(annotated, folds=folds)
    seeds = given.check_seeds(seed)
    tol = arguments.number(FUNCTION, "tol", tol, "a positive number", lambda value: value > 0.0)
    max_iter = positive(max_iter, f"{FUNCTION}: max_iter")
    allowed = budget.budget_bytes(memory, function=FUNCTION)
    where = grouped.check_device(device, function=FUNCTION)

    from featdiv.probes.linear_solve import Settings

    settings = Settings(
        tolerance=tol,
        max_iterations=max_iter,
        precision=precision,
        intercept=bool(taken["intercept"]),
        standardize=bool(taken["standardize"]),
        memory=allowed,
    )
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(given.opened(rows, known, alike, name=name, memory=allowed, ignore=ignore))
            for name, (rows, known, alike) in {"train": (train, labels, groups), **annotated}.items()
            if rows is not None or name == "train"
        }
        probe = _Probe(sides, settings, taken["normalize"], where, allowed, progress)
        notes += given.remarks(sides["train"][1])
        probe.check_metric(metric)
        plan = probe.plan(folds, None if len(grid) == 1 else holdout, seeds, class_weight)
        return probe.run(plan, grid, bool(taken["refit"]), class_weight, protocol, seeds, notes)


class _Probe:
    """One call, its sources open."""

    def __init__(
        self,
        sides: Mapping[str, tuple[io.Embeddings, npt.NDArray[Any]]],
        settings: Settings,
        normalize: str | None,
        device: str | None,
        memory: int,
        progress: Progress | None,
    ) -> None:
        import torch

        from featdiv.probes.linear_rows import Rows

        self.source, known = sides["train"]
        self.classes = given.classes_of(known)
        self.several = known.ndim == 2
        self.settings, self.normalize = settings, normalize
        self.targets = {
            name: given.numbered(labels, self.classes, several=self.several, name=name)
            for name, (_, labels) in sides.items()
        }
        self.groups = {name: source.groups for name, (source, _) in sides.items()}
        for name, (source, _) in sides.items():
            if source.d != self.source.d:
                raise InputError(f"{FUNCTION}: {name}: expected {self.source.d} features, like train; got {source.d}")

        def read(*names: str) -> Rows:
            return Rows(
                [sides[name][0] for name in names],
                device=torch.device(device or self.source.device),
                keep_bytes=memory // (3 * len(sides)),
                normalize=normalize,
                function=FUNCTION,
                progress=progress,
            )

        self.rows: dict[str, Rows] = {name: read(name) for name in sides}
        for name, rows in self.rows.items():
            if rows.n != len(self.targets[name]):
                words = "labels" if name == "train" else f"{name}_labels"
                raise InputError(
                    f"{FUNCTION}: {words}: expected {rows.n} rows, like {name}; got {len(self.targets[name])}"
                )
            if name != "train":  # which the solver checks as it first reads it
                rows.finite_sum(name)
            given.require_positives(self.targets[name], f"{name}_labels")

    def check_metric(self, metric: str | None) -> None:
        known = SEVERAL_LABELS if self.several else ONE_LABEL
        if metric is not None and metric not in known:
            kind = "several labels a row" if self.several else "one label a row"
            raise InputError(f"{FUNCTION}: metric: expected one of {', '.join(known)} with {kind}; got {metric!r}")
        if metric == "top5_accuracy" and len(self.classes) <= MOST_FOR_TOP5:
            raise InputError(
                f"{FUNCTION}: metric: expected 'accuracy' or 'mean_per_class' with {len(self.classes)} classes, all of "
                f"which are among the five largest logits; got {metric!r}"
            )
        self.metric = metric or known[0]

    def plan(self, folds: Any, holdout: float | None, seeds: Sequence[int], class_weight: Any) -> _Plan:
        """Returns what to fit on and what to choose C on."""
        targets, groups = self.targets["train"], self.groups["train"]
        everything = np.ones(len(targets), dtype=np.bool_)
        if "val" in self.rows or (folds is None and holdout is None):
            by = "val" if "val" in self.rows else None
            return _Plan(by=by, weights=given.row_weights(targets, self.classes, [everything], class_weight))
        if folds is not None:
            number = given.folds_of(folds, targets, seeds, groups)
            held = [column == fold for column in number.T for fold in range(int(column.max()) + 1)]
        else:
            assert holdout is not None
            held = list(given.held_out_of(holdout, targets, seeds, groups).T)
        for mask in held:
            given.require_positives(targets[mask], "holdout" if folds is None else "folds")
        return _Plan(
            by="folds" if folds is not None else "holdout",
            weights=given.row_weights(targets, self.classes, [~mask for mask in held], class_weight),
            held_out=tuple(held),
        )

    def solve(self, rows: Rows, targets: npt.NDArray[np.int64], weights: Any, grid: Any, near: Any = None) -> Solution:
        from featdiv.probes.linear_solve import solve

        return solve(rows, targets, weights, grid, classes=len(self.classes), settings=self.settings, near=near)

    def judge(self, name: str, keep: Any, solution: Solution, index: npt.NDArray[np.int64]) -> Judged:
        import torch

        from featdiv.probes.linear_scores import judge

        problems = torch.as_tensor(index, device=solution.minimum.theta.device)
        theta = solution.minimum.theta[problems]
        return judge(self.rows[name], self.targets[name], keep, solution.objective, theta, problems, self.groups[name])

    def run(
        self,
        plan: _Plan,
        grid: npt.NDArray[np.float64],
        refit: bool,
        class_weight: Any,
        protocol: str | None,
        seeds: Sequence[int],
        notes: tuple[str, ...],
    ) -> LinearProbe:
        """Solves the path, chooses, fits again, judges."""
        from featdiv.probes import linear_assemble as assemble

        subsets = plan.weights.shape[1]
        if not refit and subsets > 1:
            raise InputError(f"{FUNCTION}: refit: expected True with folds or several seeds, which have no one fit")
        path = self.solve(self.rows["train"], self.targets["train"], plan.weights, grid)
        shape = (len(grid), subsets, len(self.classes) if self.several else 1)
        index = np.arange(np.prod(shape)).reshape(shape)
        judged = [
            self.judge("val" if plan.by == "val" else "train", mask, path, index[:, place].ravel())
            for place, mask in enumerate(plan.held_out or ((None,) if plan.by == "val" else ()))
        ]
        selection = np.mean([found.values(self.metric) for found in judged], axis=0) if judged else None
        chosen = int(np.argmax(selection)) if selection is not None else (0 if len(grid) == 1 else None)
        fitted = assemble.path(grid, shape, path, selection)
        final, place = path, index[chosen if chosen is not None else -1, 0]
        n_final = "train"
        if refit and chosen is not None and plan.by is not None:
            near = (path, index[chosen, 0])
            final, place = self._again(float(grid[chosen]), class_weight, near), np.arange(shape[2])
            n_final = "train and val" if plan.by == "val" else "train"
        on_test = self.judge("test", None, final, place) if "test" in self.rows and chosen is not None else None
        return assemble.result(
            classes=self.classes,
            several=self.several,
            metric=self.metric,
            by=plan.by,
            pooled=not self.several and (len(seeds) == 1 or plan.by == "val"),
            path=path,
            final=final,
            place=place,
            index=index,
            fitted=fitted,
            chosen=chosen,
            judged=judged,
            on_test=on_test,
            provenance=self._provenance(protocol, grid, class_weight, seeds, refit, n_final, notes),
        )

    def _again(self, C: float, class_weight: Any, near: Any) -> Solution:
        names = [name for name in ("train", "val") if name in self.rows]
        rows = self.rows["train"] if len(names) == 1 else self.rows["train"].joined(self.rows["val"])
        targets = np.concatenate([self.targets[name] for name in names])
        weights = given.row_weights(targets, self.classes, [np.ones(len(targets), dtype=np.bool_)], class_weight)
        return self.solve(rows, targets, weights, np.array([C]), near)

    def _provenance(
        self,
        protocol: str | None,
        grid: npt.NDArray[np.float64],
        class_weight: Any,
        seeds: Sequence[int],
        refit: bool,
        fitted_to: str,
        notes: tuple[str, ...],
    ) -> Provenance:
        recorded = class_weight if class_weight is None or isinstance(class_weight, str) else dict(class_weight)
        return Provenance(
            function=f"featdiv.{FUNCTION}",
            version=__version__,
            definition=None if protocol is None else protocols.get(protocol).identity,
            arguments={
                "C": grid.tolist(),
                "normalize": self.normalize,
                "standardize": self.settings.standardize,
                "intercept": self.settings.intercept,
                "class_weight": recorded,
                "tol": self.settings.tolerance,
                "max_iter": self.settings.max_iterations,
                "refit": refit,
                "fitted_to": fitted_to,
                "seeds": list(seeds),
            },
            backends={"product": "torch"},
            method="preconditioned L-BFGS along C",
            precision=self.settings.precision,
            dtype=self.source.dtype,
            n=self.rows["train"].n,
            d=self.source.d,
            seed=seeds[0],
            source=self.source.description,
            fingerprint=self.source.fingerprint,
            extraction=self.source.extraction,
            passes=self.rows["train"].passes,
            notes=notes,
        )
