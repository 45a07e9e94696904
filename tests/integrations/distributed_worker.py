"""One process of the group of two that test_distributed.py starts: follows uneven rows by every integration."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

SCORES = ("effective_rank", "rankme", "vendi")


def batches_of(rank: int) -> list[torch.Tensor]:
    """Three batches on rank 0, two smaller ones on rank 1, far from those of rank 0."""
    random = np.random.default_rng(60 + rank)
    sizes = [(64, 64, 7), (33, 20)][rank]
    scale = np.arange(1.0, 25.0) ** -0.5
    return [torch.from_numpy((random.normal(size=(m, 24)) * scale + 4.0 * rank).astype(np.float32)) for m in sizes]


def with_torchmetrics(rank: int) -> dict[str, Any]:
    from featdiv.integrations.torchmetrics_ import EffectiveRank, RankMe, SpectralMetric

    metrics = {name: SpectralMetric(name, 24) for name in SCORES}
    windowed = EffectiveRank(24, window=2)
    only_first = RankMe(24)
    for batch in batches_of(rank):
        for metric in (*metrics.values(), windowed, *([only_first] if rank == 0 else [])):
            metric.update(batch)
    found = {name: float(metric.compute()) for name, metric in metrics.items()}
    before = metrics["rankme"].moments.clone()
    metrics["rankme"].sync()
    found["bits"] = metrics["rankme"].moments.numpy().tobytes().hex()
    metrics["rankme"].unsync()
    assert torch.equal(metrics["rankme"].moments, before)
    return found | {"window": float(windowed.compute()), "only first": float(only_first.compute())}


def with_a_watcher(rank: int) -> dict[str, Any]:
    from featdiv.integrations.layers import LayerWatcher

    watcher = LayerWatcher(function="here", layer="", names=SCORES)
    found: dict[str, Any] = {"nothing": watcher.scores()}
    for batch in batches_of(rank):
        watcher.see(batch)
    found["both"] = watcher.scores()
    watcher.reset()
    if rank == 0:
        watcher.see(batches_of(0)[0])
    found["only first"] = watcher.scores()
    strict = LayerWatcher(function="here", layer="", names=("rankme",), nonfinite="raise")
    strict.see(batches_of(rank)[0] / (1.0 - rank))
    try:
        strict.scores()
    except ValueError as error:
        found["error"] = str(error)
    return found


def with_lightning(rank: int, folder: Path) -> dict[str, Any]:
    import lightning.pytorch as pl

    from featdiv.integrations.lightning import LayerScores

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = torch.nn.Identity()
            self.head = torch.nn.Linear(24, 2)

        def training_step(self, batch, index):
            return self.head(self.backbone(batch)).square().mean()

        def validation_step(self, batch, index):
            self.head(self.backbone(batch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        callbacks=[LayerScores("backbone", SCORES)],
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    loaders = [torch.utils.data.DataLoader(x, batch_size=None) for x in (batches_of(0)[:1], batches_of(rank))]
    trainer.fit(Module(), *loaders)
    return {name: float(trainer.callback_metrics[f"featdiv/backbone/{name}"]) for name in SCORES}


def with_transformers(rank: int, folder: Path) -> dict[str, Any]:
    import transformers

    from featdiv.integrations.transformers_ import LayerScores

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = torch.nn.Identity()
            self.head = torch.nn.Linear(24, 2)

        def forward(self, x, labels=None):
            logits = self.head(self.encoder(x))
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = torch.cat(batches_of(0))[:128]
    trainer = transformers.Trainer(
        model=Model(),
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            per_device_eval_batch_size=32,
            ddp_backend="gloo",
        ),
        eval_dataset=[{"x": row, "labels": 0} for row in rows],
    )
    LayerScores("encoder", SCORES).attach(trainer)
    returned = trainer.evaluate()
    return {name: returned[f"eval_encoder_{name}"] for name in SCORES}


def main(rank: int, port: int, folder: Path) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "NODE_RANK": "0",
    }
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo")
    found: dict[str, Any] = {"watcher": with_a_watcher(rank)}
    if importlib.util.find_spec("torchmetrics"):
        found["torchmetrics"] = with_torchmetrics(rank)
    if importlib.util.find_spec("transformers") and importlib.util.find_spec("accelerate"):
        found["transformers"] = with_transformers(rank, folder / "transformers")
    if importlib.util.find_spec("lightning"):
        found["lightning"] = with_lightning(rank, folder / "lightning")
    (folder / f"{rank}.json").write_text(json.dumps(found))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
