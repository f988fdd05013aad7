"""The card of a Keras model that was built from its config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..vision.normalize import INCEPTION, Normalization, Preprocessing
from .card import LABELS_BESIDE, Card

if TYPE_CHECKING:
    from ..graph.builder import Graph

__all__ = ["keras_card"]


def keras_card(graph: Graph) -> Card | None:
    """For a model of one image input and one output: what its first layers do to the pixels, or what its name says.

    None where the range of pixels that the model takes follows from neither.
    """
    found = graph.metadata
    if not {"input", "output", "applications"} <= found.keys():
        return None
    shape = graph.tensor(found["input"]).shape
    if shape is None or len(shape) != 4 or shape[3] != 3:
        return None
    networks: tuple[str, ...] = found["applications"]
    pixels = found.get("pixels_divided_by", 0)
    if pixels is None or (not pixels and not networks):
        return None
    if pixels:
        normalization = Normalization((0.0,) * 3, (pixels,) * 3)
        note = f"the network itself scales; it takes pixels from 0 to {255 / pixels:g}"
    else:
        normalization = INCEPTION
        note = f"pixels scaled to [-1, 1], as for {', '.join(networks)[:200]}; the file does not say"
    size = found.get("size", (shape[1], shape[2]))
    if None in size:
        return None
    classes = (graph.tensor(found["output"]).shape or (None,))[-1]
    return Card(
        name="keras",
        title=f"the Keras model '{found['model'][:80]}'",
        input=found["input"],
        output=found["output"],
        preprocessing=Preprocessing((size[0], size[1]), "keras_nearest", normalization),
        labels="imagenet-1000" if classes == 1000 and networks else LABELS_BESIDE,
        scores=found["scores"],
        note=note,
    )
