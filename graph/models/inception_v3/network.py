"""InceptionNetwork: everything that a file says of its network, ready to be built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..steps import Dense, GlobalPool, Softmax, Step
from .weights import ConvWeights, InceptionWeights

__all__ = ["SIZE", "InceptionNetwork", "Options", "classifier", "scores_of"]

SIZE = 299


@dataclass(frozen=True, slots=True)
class Options:
    """What implementations of Inception v3 do differently.

    epsilon: of the batch normalisation. last_pool: the pool branch of mixed_10, 'avg' (paper, torchvision, Keras) or
    'max' (TensorFlow 2015). count_padding: average pools divide by 9 at the edges too (torchvision), instead of by the
    pixels that exist. input: 'scaled' takes [-1, 1]; 'imagenet' takes pixels with ImageNet's mean and deviation and
    rescales them (torchvision's transform_input); 'pixels' takes uint8 pixels of any size, resizes (bilinear, half-pixel
    centres) and scales them, and feeds 'input' from there.
    """

    epsilon: float = 1e-3
    last_pool: Literal["avg", "max"] = "avg"
    count_padding: bool = False
    input: Literal["scaled", "imagenet", "pixels"] = "scaled"


@dataclass(frozen=True, slots=True)
class InceptionNetwork:
    """``head``: the steps after the last block. ``metadata``: goes into the graph's."""

    convs: Mapping[str, ConvWeights]
    head: tuple[Step, ...]
    options: Options = Options()
    batch: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def classifier(weights: InceptionWeights) -> tuple[Step, ...]:
    """Average over the image, one dense layer, softmax."""
    return (
        GlobalPool("pool_3"),
        Dense("logits", weights.kernel, weights.bias),
        Softmax("predictions"),
    )


def scores_of(head: Sequence[Step], shape: Sequence[int | None] | None) -> str:
    """What the network's output is: 'probabilities', 'logits', or 'values', which are no scores."""
    if not head or shape is None or len(shape) != 2:
        return "values"
    if isinstance(head[-1], Softmax):  # a softmax of one value is 1 for every image
        return "values" if shape[1] == 1 else "probabilities"
    return "logits" if isinstance(head[-1], Dense) else "values"
