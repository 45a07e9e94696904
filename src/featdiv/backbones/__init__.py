"""Images to features: data, models, and the extraction that joins them, with a cache that knows what it holds."""

from __future__ import annotations

from featdiv.backbones.estimate import Estimate, estimate
from featdiv.backbones.extract import extract, extract_layers
from featdiv.backbones.features import Features
from featdiv.backbones.images import Images, Skipped, images
from featdiv.backbones.models import Model, load_model

__all__ = [
    "Estimate",
    "Features",
    "Images",
    "Model",
    "Skipped",
    "estimate",
    "extract",
    "extract_layers",
    "images",
    "load_model",
]
