"""How features change while a network learns CIFAR-10, and what that means for other tasks.

A small timm network is trained from random weights, once for each seed; spectrum, diversity, kNN, linear probe and
fine-tuning of its checkpoints are measured on MNIST and on hand signs. ``--data`` is a folder with
``cifar10-{train,test}.parquet``, ``mnist-{train,test}.parquet`` and ``sign-digits-{train,test}.parquet`` in the Hugging
Face image layout.

A small run, the defaults, under an hour on one idle core:

    OMP_NUM_THREADS=1 python examples/cifar10_checkpoints/study.py --data DATA --out OUT

The whole of it, with a GPU:

    python examples/cifar10_checkpoints/study.py --data DATA --out OUT --device cuda --images 50000 --epochs 60 \
        --measured 0 1 2 3 4 6 8 11 15 20 30 40 50 60 --target-images 3000 --target-test-images 5000 \
        --finetune-steps 1000 --finetune-lr 0.003 0.01 0.03 0.1 0.3

An interrupted run goes on after the last finished epoch and the last finished measurement. Checkpoints stay in
OUT/weights; results.csv, means.csv, summary.json and checkpoints.png are what the README shows.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
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
OUTCOMES = ("linear_accuracy", "finetune_accuracy")
C = tuple(10.0 ** np.arange(-3.0, 3.5, 0.5))
Row = dict[str, float | str]


def arguments() -> argparse.Namespace:
    """The sizes and places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="test_resnet", help="any timm name that takes 32 x 32 images")
    parser.add_argument("--images", type=int, default=20000, help="of CIFAR-10 to train on")
    parser.add_argument("--test-images", type=int, default=2000, help="of CIFAR-10 to test on")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--measured", type=int, nargs="+", default=[0, 1, 2, 4, 6, 9, 12], help="after which epochs")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--target-images", type=int, default=600, help="of each target to learn from")
    parser.add_argument("--target-test-images", type=int, default=500)
    parser.add_argument("--finetune-steps", type=int, default=90)
    parser.add_argument("--finetune-lr", type=float, nargs="+", default=[0.03, 0.1, 0.3])
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
    """Trains a network, keeps the weights of every epoch, and returns them with their accuracy on CIFAR-10.

    What the next epoch needs is kept too, in one file that appears whole: a call that was killed goes on from there.
    """
    folder = options.out / "weights" / f"seed-{seed}"
    state = folder / "state.pt"
    kept = torch.load(state, weights_only=True) if state.exists() else {"accuracies": []}
    accuracies: list[float] = kept["accuracies"]
    paths = [folder / f"epoch-{epoch:03d}.pt" for epoch in range(options.epochs + 1)]
    if len(accuracies) == len(paths):
        return list(zip(paths, accuracies, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    x, y = (
        part.to(options.device) for part in pixels(first_of(options.data / "cifar10-train.parquet", options.images))
    )
    test = pixels(first_of(options.data / "cifar10-test.parquet", options.test_images))
    test_x, test_y = (part.to(options.device) for part in test)
    torch.manual_seed(seed)
    made = load_model(options.model, pretrained=False, seed=seed, options={"num_classes": 10})
    # A third less time on a CPU than the other order of axes.
    network = made.module.to(options.device, memory_format=torch.channels_last)
    settings = {"lr": options.lr, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    optimizer = torch.optim.SGD(network.parameters(), **settings)
    batches = len(x) // options.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.epochs * batches)
    random = torch.Generator().manual_seed(seed)
    if accuracies:
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        random.set_state(kept["random"])
    for epoch in range(len(accuracies), options.epochs + 1):
        if epoch:
            network.train()
            order = torch.randperm(len(x), generator=random)
            for rows in order[: batches * options.batch_size].split(options.batch_size):
                images = normalised(augmented(x[rows.to(x.device)], random)).contiguous(
                    memory_format=torch.channels_last
                )
                loss = torch.nn.functional.cross_entropy(network(images), y[rows.to(x.device)])
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
        accuracies.append(float(sum(right)) / len(test_x))
        weights = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
        save(weights, paths[epoch])
        going = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "random": random.get_state()}
        save({"accuracies": accuracies, "network": weights, **going}, state)
        print(f"seed {seed}, epoch {epoch}: CIFAR-10 test accuracy {accuracies[-1]:.3f}", flush=True)
    return list(zip(paths, accuracies, strict=True))


def save(value: dict[str, object], path: Path) -> None:
    """Saves with torch, whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(value, part)
    os.replace(part, path)


def measure(options: argparse.Namespace, checkpoint: Path, target: str, seed: int) -> dict[str, float]:
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
        # Random weights give all images nearly the same features: no copies.
        warnings.simplefilter("ignore", featdiv.NearDuplicateWarning)
        spectrum = featdiv.spectrum(features, interval=None)
        diversity = featdiv.diversity(features, interval=None)
        knn = featdiv.knn_probe(features, learn.labels, k=20, vote="exp", test=test, test_labels=judge.labels)
    found = {name: spectrum.scores[name] for name in CHEAP if name in spectrum.scores}
    found |= {name: diversity.scores[name] for name in CHEAP if name in diversity.scores and name not in found}
    found["filter_effective_rank"] = featdiv.filter_diversity(model.module).scores["filter_effective_rank"]
    found["knn_accuracy"] = knn.cells[0].top1
    linear = featdiv.linear_probe(features, learn.labels, C=C, test=test, test_labels=judge.labels)
    found["linear_accuracy"] = linear.scores["test_accuracy"]
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
        seed=seed,
        channels_last=True,
        device=options.device,
    )
    return {**found, "finetune_accuracy": tuned.accuracy, "finetune_lr": tuned.lr}


def table(options: argparse.Namespace) -> list[Row]:
    """One row for each seed, epoch and target; rows of an earlier call are kept."""
    path = options.out / "results.csv"
    rows: list[Row] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [{key: _plain(value) for key, value in row.items()} for row in csv.DictReader(file)]
    done = {(row["seed"], row["epoch"], row["target"]) for row in rows}
    for seed in options.seeds:
        checkpoints = train(options, seed)
        for epoch in options.measured:
            checkpoint, accuracy = checkpoints[epoch]
            for target in TARGETS:
                if (seed, epoch, target) in done:
                    continue
                row = {"seed": seed, "epoch": epoch, "target": target, "cifar10_accuracy": accuracy}
                rows.append(row | measure(options, checkpoint, target, seed))
                write(path, rows)
                shown = ", ".join(f"{name} {rows[-1][name]:.3f}" for name in rows[-1] if name.endswith("_accuracy"))
                print(f"seed {seed}, epoch {epoch}, {target}: {shown}", flush=True)
    return rows


def _plain(text: str) -> float | str:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def write(path: Path, rows: list[Row]) -> None:
    """Writes the table, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def means(rows: list[Row]) -> list[Row]:
    """Mean, lowest and highest value over the seeds, for each epoch and target."""
    found: list[Row] = []
    for target in TARGETS:
        for epoch in sorted({row["epoch"] for row in rows}):
            part = [row for row in rows if (row["target"], row["epoch"]) == (target, epoch)]
            line: Row = {"target": target, "epoch": epoch, "seeds": len(part)}
            for name in (*CHEAP, "finetune_accuracy"):
                values = [float(row[name]) for row in part]
                line |= {name: float(np.mean(values)), f"{name}_low": min(values), f"{name}_high": max(values)}
            found.append(line)
    return found


def agreement(rows: list[Row]) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """Spearman's rank correlation over checkpoints of each cheap score with linear and fine-tuned accuracy.

    For each seed, with the number of seeds that have the sign of their mean; over all checkpoints of all seeds; and
    over those of them that were trained at all.
    """
    found: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    for target in TARGETS:
        every = [row for row in rows if row["target"] == target]
        seeds = sorted({row["seed"] for row in every})
        found[target] = {name: {} for name in CHEAP}
        for name in CHEAP:
            for outcome in OUTCOMES:
                alone = [_spearman([row for row in every if row["seed"] == seed], name, outcome) for seed in seeds]
                known = [value for value in alone if value is not None]
                mean = float(np.mean(known)) if known else 0.0
                found[target][name][outcome] = {
                    "seeds": alone,
                    "same_sign": sum(value * mean > 0.0 for value in known),
                    "pooled": _spearman(every, name, outcome),
                    "pooled_trained": _spearman([row for row in every if row["epoch"]], name, outcome),
                }
    return found


def _spearman(rows: list[Row], name: str, outcome: str) -> float | None:
    with warnings.catch_warnings():
        # Of a column that is constant, or of one row, there is none.
        warnings.simplefilter("ignore")
        value = float(spearmanr([row[name] for row in rows], [row[outcome] for row in rows]).statistic)
    return round(value, 3) if np.isfinite(value) else None


def draw(lines: list[Row], folder: Path) -> None:
    """Six panels against the epoch: means over seeds, in bands from the lowest to the highest seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True).ravel()
    panels = ("effective_rank", "alpha_req", "uniformity", "knn_accuracy", "linear_accuracy", "finetune_accuracy")
    for place, (ax, name) in enumerate(zip(axes, panels, strict=True)):
        for target, colour in zip(TARGETS, ("#1f4e79", "#c8641e"), strict=True):
            part = [line for line in lines if line["target"] == target]
            epochs, mean, low, high = ([line[key] for line in part] for key in _keys(name))
            ax.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0)
            ax.plot(epochs, mean, "o-", color=colour, ms=3, label=target)
        ax.set_title(name.replace("_", " "), fontsize=10)
        ax.set_xticks(sorted({line["epoch"] for line in lines}))
        if place > 2:
            ax.set_xlabel("epoch of CIFAR-10")
    first = [line for line in lines if line["target"] == next(iter(TARGETS))]
    epochs, mean, low, high = ([line[key] for line in first] for key in _keys("cifar10_accuracy"))
    axes[4].fill_between(epochs, low, high, color="0.5", alpha=0.18, lw=0)
    axes[4].plot(epochs, mean, "--", color="0.5", label="CIFAR-10, its own classifier")
    axes[0].legend(fontsize=8)
    axes[4].legend(fontsize=8)
    figure.savefig(folder / "checkpoints.png", dpi=110)


def _keys(name: str) -> tuple[str, str, str, str]:
    return "epoch", name, f"{name}_low", f"{name}_high"


def main() -> None:
    """Trains, measures, and writes what was found."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = table(options)
    lines = means(rows)
    write(options.out / "means.csv", lines)
    settings = {name: value for name, value in vars(options).items() if name not in ("data", "out")}
    summary = {
        "featdiv": featdiv.__version__,
        "settings": settings,
        "parameters": load_model(options.model, pretrained=False, options={"num_classes": 10}).parameters,
        "spearman": agreement(rows),
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(lines, options.out)


if __name__ == "__main__":
    main()
