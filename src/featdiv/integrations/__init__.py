"""Thin adapters to training frameworks; each module needs the package it is named after, and the extra of that name.

* `torchmetrics_`: scores as torchmetrics metrics, one class a score.
* `lightning`: a Lightning callback that logs scores of a named layer.
* `transformers_`: the same for the Hugging Face Trainer.
"""

from featdiv.backbones.torchvision_shim import prepare_torchvision

# All three frameworks import torchvision where it is installed.
prepare_torchvision()
