"""A card with what timm's config.json beside the weights says of the images."""

from __future__ import annotations

from dataclasses import replace

from ..vision.normalize import Normalization, Preprocessing
from .card import Card
from .timm_config import TimmConfig

__all__ = ["with_timm"]

#: timm's usual fraction; the rule 'torchvision' crops 299 of 342.
_CROP = 0.875


def with_timm(card: Card, config: TimmConfig) -> Card:
    """Mean, deviation and size of the config; where its resizing is not one of RESIZE_RULES, the note says so."""
    mean, std = ((v[0] * 255, v[1] * 255, v[2] * 255) for v in (config.mean, config.std))
    notes = ["mean, std and size from config.json beside the weights"]
    if config.interpolation != "bilinear":
        notes.append(f"it specifies {config.interpolation} resizing, bilinear is used")
    if abs(config.crop - _CROP) > 0.005:
        notes.append(f"it specifies crop_pct {config.crop:g}, {_CROP:g} is used")
    return replace(
        card,
        title=f"{card.title.partition(',')[0]}, weights of timm{f' ({config.tag})' if config.tag else ''}",
        preprocessing=Preprocessing(config.size, card.preprocessing.rule, Normalization(mean, std)),
        labels=card.labels,
        note="; ".join([*([card.note] if card.note else []), *notes]),
    )
