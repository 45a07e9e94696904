"""A call of `featdiv.finetune` with its arguments checked, its images divided and its network loaded."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featdiv.backbones import cache, finetune_data, forward, transforms
from featdiv.backbones.finetune_arguments import FUNCTION, Grid, check_grid, check_recipe, with_metric
from featdiv.backbones.finetune_division import Division, divide
from featdiv.backbones.finetune_judge import Judge
from featdiv.backbones.finetune_network import Start
from featdiv.backbones.finetune_search import rungs
from featdiv.backbones.finetune_setting import Recipe, Setting
from featdiv.backbones.finetune_store import FORMAT, Store
from featdiv.backbones.jobs import fit_to
from featdiv.backbones.models import Model, inside_wrappers, load_model
from featdiv.errors import InputError
from featdiv.stats.grouped import check_device


class Job:
    """A call that has been checked, with its images and its network, ready to train."""

    def __init__(self, model: Any, data: Any, arguments: Mapping[str, Any], *, report: Any) -> None:
        self.arguments = arguments
        given = arguments.__getitem__
        self.recipe: Recipe = check_recipe(arguments)
        self.grid: Grid = check_grid(arguments)
        self.device = check_device(given("device"), function=FUNCTION) or _default_device()
        recipe = None if given("transform") is None or callable(given("transform")) else given("protocol")
        size = transforms.size_wanted(given("transform"), recipe, function=FUNCTION)
        # Weights that are drawn anew need not be fetched first.
        loaded = _loaded(model, given("checkpoint"), given("pretrained") and given("mode") != "scratch", size)
        views = finetune_data.views(
            given("transform"),
            given("augmentation"),
            loaded.data_config,
            protocol=given("protocol"),
            function=FUNCTION,
        )
        automatic = given("workers") == "auto" and not self.device.startswith("cuda")
        self.division: Division = divide(
            data,
            val=given("val"),
            test=given("test"),
            holdout=given("holdout"),
            seed=self.grid.seeds[0],
            keep=automatic or given("workers") == 0,
            function=FUNCTION,
        )
        self.grid = with_metric(self.grid, multilabel=self.division.train.labels.ndim == 2)
        n = len(self.division.both)
        self.workers = 0 if automatic else forward.workers_for(given("workers"), self.device, n, FUNCTION)
        fit_to(loaded, views.input_size)
        self.model = loaded
        self.views = views
        name = model if isinstance(model, str) else None
        start = Start(loaded, name, given("mode"), len(self.division.classes), views.input_size, FUNCTION)
        self.facts = self._facts()
        store = Store(self._folder(given("out")), FUNCTION)
        self.planned = rungs(self.grid.points, self.grid.steps, self.grid.halving)
        self.total = sum(rung.points * rung.steps for rung in self.planned) + self.final_runs * self.grid.steps
        self.done = 0
        self.report = report
        self.setting = Setting(
            start=start,
            recipe=self.recipe,
            views=views,
            pools={"train": self.division.train, "both": self.division.both},
            store=store,
            device=self.device,
            room=forward.Room(self.device, FUNCTION),
            workers=self.workers,
            steps_done=self._advance,
            function=FUNCTION,
        )

    @property
    def final_runs(self) -> int:
        """Runs after the search."""
        return len(self.grid.seeds) - (not self.arguments["refit"])

    def _advance(self, steps: int) -> None:
        self.done += steps
        if self.report is not None:
            self.total = max(self.total, self.done)
            self.report(self.done, self.total)

    def _facts(self) -> dict[str, Any]:
        parts = {"train": self.division.train, "val": self.division.val, "test": self.division.test}
        return {
            "model": self.model.name,
            "layer": self.arguments["mode"],
            "weights": self.model.weights,
            "weights_hash": self.model.weights_hash(),
            **self.model.code(),
            "views": self.views.text,
            "images": {name: None if pool is None else pool.fingerprint for name, pool in parts.items()},
            "classes": list(self.division.classes),
            "seed": self.grid.seeds[0],
            "recipe": {name: value for name, value in vars(self.recipe).items() if name not in ("checkpoint_every",)},
            "format": FORMAT,
        }

    def _folder(self, out: Any) -> Path | None:
        if out is None:
            return None
        if not self.views.text:
            raise InputError(
                f"{FUNCTION}: augmentation, transform: runs on disk are found again by what becomes of the images; "
                "this callable has neither a repr nor code that says so; give it a __repr__, or leave out= out"
            )
        root = Path(os.path.expanduser(os.fspath(out)))
        if root.exists() and not root.is_dir():
            raise InputError(f"{FUNCTION}: out: {root} is a file; expected a folder")
        name = "".join(c if c.isalnum() or c in "._-" else "_" for c in self.model.name)[:60]
        return root / f"{name}-{self.arguments['mode']}-{cache.key_of(self.facts)}"

    def judge(self, which: str) -> Judge:
        """Returns what judges networks on ``"val"`` or ``"test"``."""
        pool = self.division.val if which == "val" else self.division.test
        assert pool is not None
        return Judge(
            pool,
            self.views.test,
            classes=len(self.division.classes),
            device=self.device,
            autocast=self.recipe.autocast,
            batch_size=max(self.recipe.batch_size, forward.BATCH_CPU),
            workers=self.workers,
            function=FUNCTION,
        )


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _loaded(model: Any, checkpoint: Any, pretrained: bool, size: tuple[int, ...] | None) -> Model:
    """Returns the network; a copy of a module that the caller passed, so that training leaves the original alone."""
    import torch

    if isinstance(model, Model):
        return Model(**{**vars(model), "module": copy.deepcopy(model.module)})
    if isinstance(model, torch.nn.Module):
        model = copy.deepcopy(inside_wrappers(model))
    return load_model(model, checkpoint=checkpoint, pretrained=pretrained, input_size=size)
