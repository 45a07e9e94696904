"""Thin adapters to training frameworks; each module needs the package it is named after, and the extra of that name.

* `torchmetrics_`: scores as torchmetrics metrics, one class a score.
* `lightning`: a Lightning callback that logs scores of a named layer.
* `transformers_`: the same for the Hugging Face Trainer.
"""
