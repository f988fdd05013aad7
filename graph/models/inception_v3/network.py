"""InceptionNetwork: everything that a file says of its network, ready to be built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..steps import Activation, Dense, Flatten, GlobalPool, Resize, Scale, Step
from .layers import NETWORK
from .layers import Step as TableStep
from .weights import ConvWeights, InceptionWeights

__all__ = ["SIZE", "InceptionNetwork", "Options", "classifier", "named", "scale_of_pixels", "scores_of"]

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
    """``front`` and ``head``: the steps before the first and after the last block of ``table``.

    ``size``: height and width of the input, None where any fits. ``metadata``: goes into the graph's.
    """

    convs: Mapping[str, ConvWeights]
    head: tuple[Step, ...]
    options: Options = Options()
    front: tuple[Step, ...] = ()
    table: tuple[TableStep, ...] = NETWORK
    size: tuple[int | None, int | None] = (SIZE, SIZE)
    batch: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def classifier(weights: InceptionWeights) -> tuple[Step, ...]:
    """Average over the image, one dense layer, softmax."""
    return (
        GlobalPool("pool_3", "avg"),
        Dense("logits", weights.kernel, weights.bias),
        Activation("predictions", "softmax"),
    )


def named(head: Sequence[Step]) -> tuple[Step, ...]:
    """The head with the names of a classifier: 'pool_3', 'logits' for the last dense layer, 'predictions' after it."""
    steps = list(head)
    if steps and isinstance(steps[0], GlobalPool):
        steps[0] = replace(steps[0], name="pool_3")
    at = next((i for i in range(len(steps) - 1, -1, -1) if isinstance(steps[i], Dense)), None)
    if at is not None and all(isinstance(s, Activation) for s in steps[at + 1 :]) and len(steps) - at <= 2:
        last = steps[at]
        assert isinstance(last, Dense)
        steps[at] = replace(last, name="logits")
        if at + 1 < len(steps):
            final = steps[at + 1]
            assert isinstance(final, Activation)
            steps[at + 1] = replace(final, name="predictions")
    return tuple(steps)


def scores_of(head: Sequence[Step], shape: Sequence[int | None] | None) -> str:
    """What the network's output is: 'probabilities', 'sigmoid', 'logits', or 'values', which are no scores."""
    if not head or shape is None or len(shape) != 2:
        return "values"
    last, classes = head[-1], shape[1]
    if isinstance(last, Flatten) and len(head) > 1:
        last = head[-2]
    if isinstance(last, Activation) and last.kind == "sigmoid":
        return "sigmoid"
    if classes == 1:  # a softmax of one value is 1 for every image
        return "values" if isinstance(last, Activation) else "logits" if isinstance(last, Dense) else "values"
    if isinstance(last, Activation):
        return {"softmax": "probabilities", "log_softmax": "logits"}.get(last.kind, "values")
    return "logits" if isinstance(last, Dense) else "values"


def scale_of_pixels(front: Sequence[Step]) -> float | None:
    """What pixels (0 to 255) are divided by before they are fed: 1, 255 where the network wants [0, 1], None if unclear.

    Inferred from the range to which the first layers map them; networks are trained within about [-10, 10].
    """
    by = np.ones(3)
    for step in front:
        if isinstance(step, Scale):
            value = step.value.array().astype(np.float64).reshape(-1)
            if step.op == "Mul":
                by = by * value
            elif step.op == "RealDiv":
                by = by / value
        elif not isinstance(step, Resize):
            return None
    spread = float(np.abs(by).max())
    if 0.5 <= spread * 255 <= 20:
        return 1.0
    return 255.0 if 0.5 <= spread <= 20 else None
