"""The card of a network of torchvision or timm that was built from a state dict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..vision.normalize import Normalization, Preprocessing
from .card import LABELS_BESIDE, Card
from .timm_card import with_timm

if TYPE_CHECKING:
    from ..graph.builder import Graph

__all__ = ["torch_card"]

#: The rule 'torchvision' resizes the short side to 8/7 of the crop.
_SHORT, _CROP = 8, 7


def torch_card(graph: Graph) -> Card | None:
    """What the family's own examples do with images; of timm what config.json beside the weights says.

    The file says nothing of them, and the note says that. None for a graph that was not built from a state dict, or that does
    not take colour images, or whose builder says no size (``ki.load(architecture=function)``).
    """
    found = graph.metadata.get("images")
    if found is None or "size" not in found or not {"input", "output"} <= {op.name for op in graph.operations}:
        return None
    shape = graph.tensor("input:0").shape or ()
    if len(shape) != 4 or shape[3] != 3:
        return None
    size, model = found["size"], str(graph.metadata["model"])
    mean, std = ((v[0] * 255, v[1] * 255, v[2] * 255) for v in (found["mean"], found["std"]))
    notes = [f"images prepared as for the published {model}; the file does not say"]
    if model == "ResNet":  # timm's 'resnetaa' and 'resnetblur' have the same arrays
        notes.append("strides without the filters of timm's aa and blur variants")
    if abs(found.get("resize", size * _SHORT / _CROP) * _CROP - size * _SHORT) > _SHORT:
        notes.append(f"its examples resize to {found['resize']}, {round(size * _SHORT / _CROP)} is used")
    if found["interpolation"] != "bilinear":
        notes.append(f"its examples resize {found['interpolation']}, bilinear is used")
    classes = (graph.tensor("output:0").shape or (None,))[-1]
    card = Card(
        name="torch",
        title=f"{model}, weights of PyTorch",
        input="input:0",
        output="output:0",
        preprocessing=Preprocessing((size, size), "torchvision", Normalization(mean, std)),
        labels="imagenet-1000" if classes == 1000 else LABELS_BESIDE,
        scores="logits",
        note="; ".join(notes),
    )
    timm = graph.metadata.get("timm")
    return card if timm is None else with_timm(replace(card, note=""), timm)  # what was assumed, the config says
