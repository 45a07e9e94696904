"""`featdiv.rank_models`: from images and models to a ranking that says how sure it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featdiv.backbones.images import Images, images
from featdiv.errors import InputError
from featdiv.io.embeddings import positive
from featdiv.io.progress import check_progress
from featdiv.stats import arguments as checks
from featdiv.stats import budget
from featdiv.studies.folds import stratified_folds, stratified_sample
from featdiv.studies.ranking import finetuning as finetuning_of
from featdiv.studies.ranking import scores as score_table
from featdiv.studies.ranking.assemble import assemble, by_probe, ordered
from featdiv.studies.ranking.candidates import FUNCTION, Candidate, candidates, imagenet_accuracies, imagenet_note
from featdiv.studies.ranking.crossvalidation import PROBES
from featdiv.studies.ranking.failures import reason
from featdiv.studies.ranking.measure import Measured, Plan, measure
from featdiv.studies.ranking.relations import relate
from featdiv.studies.ranking.result import Ranking
from featdiv.studies.ranking.store import Store

Progress = Callable[[int, int, str], None]


def rank_models(
    models: Any,
    data: Any,
    *,
    scores: Any = "default",
    probes: str | Sequence[str] = ("linear", "knn"),
    folds: int = 5,
    repeats: int = 1,
    split: str | None = None,
    limit: int | None = None,
    imagenet: Any = None,
    finetune: str | int | None = None,
    finetuning: Mapping[str, Any] | None = None,
    pretrained: bool = True,
    extraction: Mapping[str, Any] | None = None,
    interval: str | None = "auto",
    similarity: bool = True,
    directions: int = 3,
    out: Any = None,
    draws: int = 10_000,
    seed: int = 0,
    memory: int | float | str | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Ranks networks by how well their features serve for labelled images, and says how sure the ranking is.

    Model by model, features are extracted once, scored without training, and judged by probes in repeated stratified
    folds that are the same for all models. The first probe is the criterion. Since all models are judged on the same
    images, they are compared image by image:

    * ``p_best``: the share of resamples of the images in which a model has the highest accuracy;
    * ``contenders``: the models that a test against all rivals at once cannot tell from the best at 95 %;
    * ``regret``: what the pick loses against the best, on average over the resamples;
    * ``agreement``: how far each score without training would have given the same order (`rank_agreement`).

    For the page (`Ranking.report`) the models are compared with one another by CKA, and the images at the ends of their
    leading directions are kept as small pictures.

    All four take the images as the sample, in these folds: they do not say what other training sets would give.

    With ``out``, features and the result of every step are kept. A call that is killed and made again goes on after the
    last finished step and gives the same table; a call with further models computes only what concerns those. A kept
    step is used again where weights, images, folds, arguments and version are the same.

    Args:
        models: names of timm, or ``"hf:name"``: a list, or text with commas; or a mapping from names to names, modules,
            or mappings with ``"model"`` and arguments of `featdiv.extract` such as ``"checkpoint"``.
        data: `Images`, or whatever `featdiv.images` opens; every image labelled, every class with two images at least.
        scores: ``"default"``; names of metrics of `diversity` and `transferability`, or ``filter_…``; None for none.
        probes: ``"linear"`` (logistic regression on standardised features; C chosen on a fifth of each training part),
            ``"knn"`` (cosine, votes exp(s/0.07); k chosen by leaving one out of the training part), or both.
        folds: parts of which each is held out once.
        repeats: number of divisions into folds; more take the chance out of the division, not out of the images.
        split: which images. Default: ``"train"`` where the data is divided, so that the test set stays untouched; else
            all.
        limit: rank on a stratified sample of this many images.
        imagenet: CSV file with columns ``model`` and ``top1``, as timm publishes its results; adds a column to the
            table. (The package timm itself does not hold the accuracies of its weights.)
        finetune: which models to fine-tune: ``"top3"``, the best three by the probe, or ``"all"``, once each; or a
            number of runs, spent in rounds on the models that are still undecided, until one can be told from all
            others. The networks are judged on the first fold, the same for all, and fine-tuning becomes the criterion:
            ``p_best`` is then among the models that were fine-tuned, and 0 for the others.
        finetuning: arguments of `featdiv.finetune` for these runs: ``steps``, ``lr``, ``mode``, …. Transform, device,
            workers and what makes the network fast (``autocast``, ``compile``, ``channels_last``) are those of
            ``extraction`` unless they are given here.
        pretrained: False for random weights, of models by name without a checkpoint.
        extraction: arguments of `featdiv.extract` for all models: ``transform``, ``batch_size``, ``device``, ….
        interval: ``"auto"`` for 95 % intervals of spectrum, diversity, transferability and similarity where they are
            valid; None for none, in less time. Probes and fine-tuning always have theirs.
        similarity: whether models are compared by debiased linear CKA.
        directions: how many leading directions of each model are shown by the images at their ends. As many are shown
            that the best model has and the next one lacks, and the other way round. 0 for none.
        out: folder for what is computed; None keeps features in memory, as far as the budget goes.
        draws: number of resamples of the images.
        seed: of folds, samples and resamples.
        memory: budget for features and their copies; None for a quarter of the RAM.
        progress: called with (images done over all steps and models, in all, what is being done).

    Returns:
        A frozen `Ranking`. A model that fails is listed in ``failed``, and the others are ranked without it.

    Raises:
        InputError: if an argument, a name or the labels cannot be used, or no model could be ranked.
        NotEnoughData: if there is one class, or a class of one image.
        SourceNotFound: if a checkpoint or a table is not there.
        DiskFull: if there is no room in ``out``; what is finished is kept.

    Source:
        Confidence set of the best: Gupta 1965, Hsu 1981; resampled maximum: Westfall & Young 1993.

    Example:
        >>> import featdiv
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> data = featdiv.images((digits.images[:80] * 15.9).astype("uint8"), labels=digits.target[:80] % 2)
        >>> small = {"transform": {"input_size": (3, 32, 32), "crop_pct": 1.0}}
        >>> names = ["test_resnet", "test_vit"]
        >>> found = featdiv.rank_models(
        ...     names, data, pretrained=False, scores=["effective_rank"], probes="knn", extraction=small
        ... )
        >>> sorted(found.models), found.columns, round(sum(found.p_best), 6)
        (['test_resnet', 'test_vit'], ('knn', 'effective_rank'), 1.0)
    """
    wanted = _probes(probes)
    asked = score_table.chosen(scores)
    allowed = budget.budget_bytes(memory, function=FUNCTION)
    check_progress(progress, function=FUNCTION, told="images done, images in all, what is being done")
    draws = positive(draws, f"{FUNCTION}: draws")
    checks.check_seed(FUNCTION, seed)
    checks.one_of(FUNCTION, "interval", interval, ("auto", None))
    if directions != 0:
        positive(directions, f"{FUNCTION}: directions")
    _check_finetuning(finetune, finetuning)
    every = candidates(models, {"pretrained": pretrained, **(extraction or {})})
    accuracies = None if imagenet is None else imagenet_accuracies(imagenet, every)
    opened = labelled_images(data, split=split, limit=limit, seed=seed)
    labels = np.asarray(opened.labels, dtype=np.int64)
    division = stratified_folds(labels, folds=folds, repeats=repeats, seed=seed, function=FUNCTION)
    folder = _folder(out)
    plan = Plan(
        data=opened,
        labels=np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64),
        folds=division,
        scores=asked,
        probes=wanted,
        interval=interval,
        directions=directions,
        features=None if folder is None else folder / "features",
        seed=seed,
        memory=allowed,
    )
    store = Store(None if folder is None else folder / "steps")
    measured, failed = _measured(every, plan, store, progress)
    if not measured:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise InputError(f"{FUNCTION}: models: none of {len(every)} could be ranked. {reasons}")
    total = len(every) * plan.steps * len(opened)

    def tell(what: str, runs: int = 0) -> None:
        # The steps of single models are done; what follows has no images to count.
        if progress is not None:
            progress(total, total, what)

    tuned = None
    if finetune is not None:
        ranked, found = by_probe(measured, plan, draws=draws)
        tuned = finetuning_of.run(
            {candidate.name: candidate for candidate in every},
            ranked,
            [ranked[i].name for i in found.contenders],
            plan,
            store,
            wanted=finetune,
            arguments=finetuning or {},
            folder=None if folder is None else folder / "finetune",
            draws=draws,
            tick=tell,
        )
    order = ordered(measured, tuned, plan, draws=draws)
    relations = relate(order.ranked, plan, store, similarity=similarity, tick=tell)
    arguments = {
        "models": [candidate.name for candidate in every],
        "scores": [name for names in asked.values() for name in names],
        "probes": list(wanted),
        "folds": folds,
        "repeats": repeats,
        "split": split,
        "limit": limit,
        "finetune": finetune,
        "finetuning": {name: repr(value) for name, value in (finetuning or {}).items()},
        "interval": interval,
        "similarity": similarity,
        "directions": directions,
        "draws": draws,
        "out": None if folder is None else str(folder),
    }
    return assemble(
        order,
        failed,
        store.steps,
        plan,
        imagenet=accuracies,
        tuned=tuned,
        relations=relations,
        notes=imagenet_note(every, imagenet),
        arguments=arguments,
    )


def labelled_images(data: Any, *, split: str | None, limit: int | None, seed: int) -> Images:
    """Returns the images that models are ranked on.

    Raises:
        InputError: if some have no label, or several.
    """
    opened = images(data)
    if split is None and "train" in opened.splits:
        split = "train"
    if split is not None:
        opened = opened.split(split)
    if opened.labels is None:
        raise InputError(
            f"{FUNCTION}: data: expected labelled images; {opened.description} has no labels. Put images into a folder "
            "for each class, or pass featdiv.images(data, labels=...)"
        )
    if opened.multilabel:
        raise InputError(
            f"{FUNCTION}: data: expected one class an image; {opened.description} has several. featdiv.finetune takes "
            "such images, one model at a time"
        )
    missing = int((opened.labels < 0).sum())
    if missing:
        raise InputError(
            f"{FUNCTION}: data: expected a label for each image; {missing} of {len(opened)} have none. Leave them out: "
            "data.subset(data.labels >= 0)"
        )
    if limit is not None:
        opened = opened.subset(stratified_sample(opened.labels, limit, seed=seed, function=FUNCTION))
    return opened


def _check_finetuning(finetune: Any, finetuning: Mapping[str, Any] | None) -> None:
    if finetune is not None:
        finetuning_of.check(finetune, finetuning or {})
    elif finetuning:
        raise InputError(f"{FUNCTION}: finetuning: expected finetune= with it, which says what is fine-tuned; got None")


def _probes(probes: Any) -> tuple[str, ...]:
    wanted = (probes,) if isinstance(probes, str) else tuple(dict.fromkeys(probes or ()))
    unknown = [name for name in wanted if name not in PROBES]
    if unknown or not wanted:
        got = repr(unknown[0]) if unknown else "none"
        raise InputError(f"{FUNCTION}: probes: expected some of {', '.join(map(repr, PROBES))}; got {got}")
    return wanted


def _folder(out: Any) -> Path | None:
    if out is None:
        return None
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{FUNCTION}: out: {folder} is a file; expected a folder")
    return folder


def _measured(
    every: Sequence[Candidate], plan: Plan, store: Store, progress: Progress | None
) -> tuple[list[Measured], dict[str, str]]:
    """Returns what was found out about each model, and why others are missing."""
    measured: list[Measured] = []
    failed: dict[str, str] = {}
    held = 0
    share = plan.steps * len(plan.data)
    for place, candidate in enumerate(every):

        def tick(what: str, done: int, place: int = place, name: str = candidate.name) -> None:
            if progress is not None:
                label = f"{place + 1}/{len(every)} {name}: {what}"
                progress(place * share + done, len(every) * share, label)

        try:
            found = measure(candidate, plan, store, tick)
            held += _bytes_in_memory(found)
            measured.append(found if held <= plan.memory else dataclasses.replace(found, features=None))
        except Exception as error:
            # A network runs code of its own, which may raise anything; that must not cost the other models.
            failed[candidate.name] = reason(error)
    return measured, failed


def _bytes_in_memory(found: Measured) -> int:
    """Returns the size of a model's features, if nothing but memory holds them."""
    features = found.features
    return 0 if features is None or features.directory is not None else (features.n or 0) * features.d * 4
