"""Two checkpoints of a network, layer by layer: python examples/layer_by_layer.py [NAME A B IMAGES].

NAME is a network of timm, A and B are files of its weights, IMAGES a folder. Each checkpoint reads the images once, for
all layers; CKA then says which layers the training in between has changed. Without arguments two seeds of a small
network see scikit-learn's digits.
"""

from __future__ import annotations

import sys
import warnings

with warnings.catch_warnings():
    # timm and torch tell of names that they are going to change.
    warnings.simplefilter("ignore")
    import featdiv
    from featdiv.backbones import load_model

if len(sys.argv) == 5:
    name, *paths, data = sys.argv[1:]
    checkpoints = {path: load_model(name, checkpoint=path) for path in paths}
    arguments = {}
else:
    from sklearn.datasets import load_digits

    data = featdiv.images((load_digits().images[:300] * 15.9).astype("uint8"))
    checkpoints = {f"seed {seed}": load_model("test_resnet", pretrained=False, seed=seed) for seed in (0, 1)}
    arguments = {"transform": {"input_size": (3, 32, 32), "crop_pct": 1.0}}

(one, features), (other, others) = (
    (label, featdiv.extract_layers(model, data, ["layer*"], **arguments)) for label, model in checkpoints.items()
)
comparison = featdiv.compare(features, others, interval=None)
print(f"CKA of the layers of {one} (down) with those of {other} (across)")
print(" " * 8 + "".join(f"{layer:>8}" for layer in others))
for layer in features:
    print(f"{layer:8}" + "".join(f"{comparison[layer, across]:8.2f}" for across in others))
