"""Which checkpoint to take: python examples/rank_checkpoints.py [IMAGES NAME[=FILE] ... [--out DIR]].

IMAGES is a folder with a folder for each class, or parquet files; each NAME a network of timm, with the weights in
FILE or the published ones. Without arguments three small networks with random weights are ranked for scikit-learn's
digits.
"""

from __future__ import annotations

import sys
import warnings

with warnings.catch_warnings():
    # timm and torch tell of names that they are going to change.
    warnings.simplefilter("ignore")
    import featdiv

arguments = sys.argv[1:]
out = None
if "--out" in arguments:
    place = arguments.index("--out")
    out = arguments[place + 1]
    del arguments[place : place + 2]

if arguments:
    data, *names = arguments
    models = {}
    for name in names:
        network, _, path = name.partition("=")
        models[name] = {"model": network, "checkpoint": path} if path else network
    ranking = featdiv.rank_models(models, data, out=out)
else:
    from sklearn.datasets import load_digits

    digits = load_digits()
    ranking = featdiv.rank_models(
        ["test_resnet", "test_efficientnet", "test_vit"],
        featdiv.images((digits.images[:200] * 15.9).astype("uint8"), labels=digits.target[:200]),
        pretrained=False,
        probes="knn",
        scores=["logme", "effective_rank"],
        extraction={"transform": {"input_size": (3, 32, 32), "crop_pct": 1.0}},
        out=out,
    )

for line in ranking.table():
    print(f"{line['model']}: P(best) {line['p_best']:.2f}, {ranking.criterion} {100 * line[ranking.criterion]:.1f} %")
for name, reason in ranking.failed.items():
    print(f"{name} failed: {reason}")
print(ranking.recommendation)
if out is not None:
    ranking.report(f"{out}/ranking.html")
    print(f"page: {out}/ranking.html")
