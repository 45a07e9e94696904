"""How features change while a network learns CIFAR-10, and what that means for other tasks.

A small timm network is trained from random weights; after every epoch its spectrum, diversity, kNN, linear probe and
fine-tuning are measured on MNIST and on hand signs. ``--data`` is a folder with ``cifar10-{train,test}.parquet``,
``mnist-{train,test}.parquet`` and ``sign-digits-{train,test}.parquet`` in the Hugging Face image layout.

A small run, the defaults, under half an hour on two cores:

    python examples/cifar10_checkpoints/study.py --data DATA --out OUT

The whole of it, with a GPU:

    python examples/cifar10_checkpoints/study.py --data DATA --out OUT --device cuda --images 50000 --epochs 60 \
        --seeds 0 1 2 --target-images 3000 --target-test-images 5000 --finetune-steps 1000 --finetune-lr 0.01 0.03 0.1

An interrupted run goes on after the last finished checkpoint. Checkpoints stay in OUT/weights; results.csv,
summary.json and checkpoints.png are what the README shows.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import featdiv
from featdiv.backbones import load_model

SIZE = 32
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
PREPARED = {"input_size": (3, SIZE, SIZE), "crop_pct": 1.0, "mean": MEAN, "std": STD}
TARGETS = {"mnist": "mild-crop", "sign-digits": "mild-crop"}
CHEAP = ("effective_rank", "rankme", "participation_ratio", "alpha_req", "vendi", "mean_cosine", "uniformity")
CHEAP += ("intrinsic_dimension", "filter_effective_rank", "cifar10_accuracy", "knn_accuracy", "linear_accuracy")


def arguments() -> argparse.Namespace:
    """The sizes and places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="test_resnet", help="any timm name that takes 32 x 32 images")
    parser.add_argument("--images", type=int, default=4000, help="of CIFAR-10 to train on")
    parser.add_argument("--test-images", type=int, default=1000, help="of CIFAR-10 to test on")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--target-images", type=int, default=600, help="of each target to learn from")
    parser.add_argument("--target-test-images", type=int, default=500)
    parser.add_argument("--finetune-steps", type=int, default=80)
    parser.add_argument("--finetune-lr", type=float, nargs="+", default=[0.03])
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def first_of(path: Path, count: int) -> featdiv.Images:
    """The first images of each class, in equal numbers; the rows of the files are shuffled."""
    data = featdiv.images(path)
    each = -(-count // len(data.classes))
    rows = [np.flatnonzero(data.labels == label)[:each] for label in range(len(data.classes))]
    return data.subset(np.sort(np.concatenate(rows))[:count])


def pixels(data: featdiv.Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 3, h, w) as 8-bit integers, and their labels."""
    stacked = np.stack([np.asarray(image) for image, _ in data])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2), torch.from_numpy(np.asarray(data.labels))


def normalised(x: torch.Tensor) -> torch.Tensor:
    """Pixels as the network gets them, in featdiv too."""
    mean, std = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (x.float() / 255.0 - mean) / std


def augmented(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Shifts each batch by up to four pixels and mirrors half of its images."""
    across, down = torch.randint(-4, 5, (2,), generator=random).tolist()
    flip = torch.rand(len(x), generator=random).to(x.device) < 0.5
    shifted = torch.roll(x, (down, across), dims=(2, 3))
    return torch.where(flip.view(-1, 1, 1, 1), shifted.flip(3), shifted)


def train(options: argparse.Namespace, seed: int) -> list[tuple[Path, float]]:
    """Trains a network, keeps the weights of every epoch, and returns them with their accuracy on CIFAR-10."""
    folder = options.out / "weights" / f"seed-{seed}"
    log = folder / "accuracy.json"
    if log.exists():
        kept: dict[str, float] = json.loads(log.read_text())
        return [(folder / name, accuracy) for name, accuracy in kept.items()]
    folder.mkdir(parents=True, exist_ok=True)
    x, y = (
        part.to(options.device) for part in pixels(first_of(options.data / "cifar10-train.parquet", options.images))
    )
    test = pixels(first_of(options.data / "cifar10-test.parquet", options.test_images))
    test_x, test_y = (part.to(options.device) for part in test)
    torch.manual_seed(seed)
    made = load_model(options.model, pretrained=False, seed=seed, options={"num_classes": 10})
    network = made.module.to(options.device)
    settings = {"lr": options.lr, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    optimizer = torch.optim.SGD(network.parameters(), **settings)
    batches = len(x) // options.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.epochs * batches)
    random = torch.Generator().manual_seed(seed)
    accuracies = {}
    for epoch in range(options.epochs + 1):
        if epoch:
            network.train()
            order = torch.randperm(len(x), generator=random)
            for rows in order[: batches * options.batch_size].split(options.batch_size):
                loss = torch.nn.functional.cross_entropy(
                    network(normalised(augmented(x[rows.to(x.device)], random))), y[rows.to(x.device)]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        network.eval()
        with torch.inference_mode():
            right = [
                (network(normalised(a)).argmax(1) == b).sum()
                for a, b in zip(test_x.split(500), test_y.split(500), strict=True)
            ]
        name = f"epoch-{epoch:03d}.pt"
        torch.save({name: value.cpu() for name, value in network.state_dict().items()}, folder / name)
        accuracies[name] = float(sum(right)) / len(test_x)
        print(f"seed {seed}, epoch {epoch}: CIFAR-10 test accuracy {accuracies[name]:.3f}", flush=True)
    log.write_text(json.dumps(accuracies))
    return [(folder / name, accuracy) for name, accuracy in accuracies.items()]


def measure(options: argparse.Namespace, checkpoint: Path, target: str) -> dict[str, float]:
    """Everything that is measured of one checkpoint on one target."""
    model = load_model(options.model, checkpoint=checkpoint)
    learn = first_of(options.data / f"{target}-train.parquet", options.target_images)
    judge = first_of(options.data / f"{target}-test.parquet", options.target_test_images)
    features, test = (
        featdiv.extract(model, part, transform=PREPARED, device=options.device) for part in (learn, judge)
    )
    with warnings.catch_warnings():
        # Single classes have few images; all of them together are what is compared, with the same number every time.
        warnings.simplefilter("ignore", featdiv.SmallSampleWarning)
        spectrum = featdiv.spectrum(features, interval=None)
        diversity = featdiv.diversity(features, interval=None)
    found = {name: spectrum.scores[name] for name in CHEAP if name in spectrum.scores}
    found |= {name: diversity.scores[name] for name in CHEAP if name in diversity.scores and name not in found}
    found["filter_effective_rank"] = featdiv.filter_diversity(model.module).scores["filter_effective_rank"]
    given = {"test": test, "test_labels": judge.labels}
    knn = featdiv.knn_probe(features, learn.labels, k=20, vote="exp", **given)
    found["knn_accuracy"] = knn.cells[0].top1
    found["linear_accuracy"] = featdiv.linear_probe(features, learn.labels, **given).scores["test_accuracy"]
    tuned = featdiv.finetune(
        model,
        learn,
        test=judge,
        transform=PREPARED,
        augmentation=TARGETS[target],
        steps=options.finetune_steps,
        lr=options.finetune_lr,
        weight_decay=1e-5,
        batch_size=32,
        refit=False,
        device=options.device,
    )
    return {**found, "finetune_accuracy": tuned.accuracy, "finetune_lr": tuned.lr}


def table(options: argparse.Namespace) -> list[dict[str, float | str]]:
    """One row for each seed, epoch and target; rows of an earlier call are kept."""
    path = options.out / "results.csv"
    rows: list[dict[str, float | str]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [{key: _plain(value) for key, value in row.items()} for row in csv.DictReader(file)]
    done = {(row["seed"], row["epoch"], row["target"]) for row in rows}
    for seed in options.seeds:
        for epoch, (checkpoint, accuracy) in enumerate(train(options, seed)):
            for target in TARGETS:
                if (seed, epoch, target) in done:
                    continue
                row = {"seed": seed, "epoch": epoch, "target": target, "cifar10_accuracy": accuracy}
                rows.append(row | measure(options, checkpoint, target))
                write(path, rows)
                shown = ", ".join(f"{name} {rows[-1][name]:.3f}" for name in rows[-1] if name.endswith("_accuracy"))
                print(f"seed {seed}, epoch {epoch}, {target}: {shown}", flush=True)
    return rows


def _plain(text: str) -> float | str:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def write(path: Path, rows: list[dict[str, float | str]]) -> None:
    """Writes the table, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def agreement(rows: list[dict[str, float | str]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Spearman's rank correlation over checkpoints of each cheap score with linear and fine-tuned accuracy."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for target in TARGETS:
        part = [row for row in rows if row["target"] == target]
        found[target] = {}
        for name in CHEAP:
            scores = [row[name] for row in part]
            outcomes = {}
            for outcome in ("linear_accuracy", "finetune_accuracy"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    value = float(spearmanr(scores, [row[outcome] for row in part]).statistic)
                outcomes[outcome] = round(value, 3) if np.isfinite(value) else None
            found[target][name] = outcomes
    return found


def draw(rows: list[dict[str, float | str]], folder: Path) -> None:
    """Six panels against the epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True).ravel()
    panels = ("effective_rank", "alpha_req", "uniformity", "knn_accuracy", "linear_accuracy", "finetune_accuracy")
    seeds = sorted({row["seed"] for row in rows})
    for ax, name in zip(axes, panels, strict=True):
        for target, colour in zip(TARGETS, ("#1f4e79", "#c8641e"), strict=True):
            for seed in seeds:
                part = [row for row in rows if (row["target"], row["seed"]) == (target, seed)]
                label = target if seed == seeds[0] else None
                ax.plot(
                    [row["epoch"] for row in part], [row[name] for row in part], "o-", color=colour, ms=3, label=label
                )
        ax.set_title(name.replace("_", " "), fontsize=10)
        if axes.tolist().index(ax) > 2:
            ax.set_xlabel("epoch of CIFAR-10")
    first = [row for row in rows if row["target"] == next(iter(TARGETS)) and row["seed"] == seeds[0]]
    grey = [[row[name] for row in first] for name in ("epoch", "cifar10_accuracy")]
    axes[4].plot(*grey, "--", color="0.5", label="CIFAR-10, its own classifier")
    axes[0].legend(fontsize=8)
    axes[4].legend(fontsize=8)
    figure.savefig(folder / "checkpoints.png", dpi=110)


def main() -> None:
    """Trains, measures, and writes what was found."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = table(options)
    settings = {name: value for name, value in vars(options).items() if name not in ("data", "out")}
    summary = {
        "featdiv": featdiv.__version__,
        "settings": settings,
        "parameters": load_model(options.model, pretrained=False, options={"num_classes": 10}).parameters,
        "spearman": agreement(rows),
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(rows, options.out)


if __name__ == "__main__":
    main()
