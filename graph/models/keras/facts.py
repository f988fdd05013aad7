"""What a card needs to know of a Keras model: what its output means, and which pixels it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...builder import Graph, Tensor
from .activations import activation_name
from .config import Layer
from .images import INACTIVE

__all__ = ["facts_of"]

#: Layers after which the values are still those of the layer before.
_SAME = (*INACTIVE, "Flatten", "Reshape", "Permute")
_SCORES = {"softmax": "probabilities", "sigmoid": "sigmoid", "log_softmax": "logits", "linear": "logits"}
#: Networks of keras.applications that take pixels from -1 to 1, by the beginning of their names.
_SCALED = ("inception", "xception", "mobilenetv2", "mobilenet_", "nasnet", "resnet50v2", "resnet101v2", "resnet152v2")
#: Networks that are known by the names of their layers.
_BY_LAYERS = (
    ({"mixed0", "mixed10"}, "inception_v3"),
    ({"model1", "dense_Dense1", "dense_Dense2"}, "Teachable Machine"),
)


def facts_of(model: Layer, graph: Graph, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Any]:
    """``activation`` of the last layer, ``scores``, and for one image input: ``input``, ``output``, ``pixels_divided_by``,
    ``size``, ``applications`` (networks of keras.applications in it that scale their input to [-1, 1])."""
    last = _last(model)
    activation = activation_name(last.config.get("activation")) or last.kind
    facts: dict[str, Any] = {"activation": activation, "scores": _scores(last, outputs[0])}
    facts["layers"] = sum(1 for _ in _every(model))
    if len(inputs) == len(outputs) == 1:
        shape = inputs[0].shape
        facts |= {"input": inputs[0].name, "output": outputs[0].name}
        if shape is not None and len(shape) == 4 and shape[3] in (1, 3):
            scaled = _scale_of_pixels(graph, inputs[0])
            if scaled is not None:
                facts["pixels_divided_by"] = scaled[0]
            size = _inner_size(model)
            if None in shape[1:3] and size is not None:
                facts["size"] = size
            layers = {layer.name: layer for layer in _every(model)}
            names = [n for layer in layers.values() if layer.is_model and (n := layer.name.lower()).startswith(_SCALED)]
            names += [network for marks, network in _BY_LAYERS if layers.keys() >= marks]
            facts["applications"] = tuple(dict.fromkeys(names))
    return facts


def _every(model: Layer) -> Iterator[Layer]:
    waiting = [model]
    seen: set[Layer] = set()
    while waiting:
        layer = waiting.pop()
        if layer not in seen:
            seen.add(layer)
            yield layer
            waiting += [kid for kids in layer.kids.values() for kid in kids]


def _last(model: Layer) -> Layer:
    """The layer that makes the output, looking through those that only move its values."""
    here = model
    while here.is_model:
        layers = {layer.name: layer for layer in here.layers}
        if here.is_sequential:
            order = [layer for layer in here.layers if layer.kind not in _SAME]
            here = order[-1] if order else here.layers[-1]
            continue
        end: Any = here.config.get("output_layers")
        while isinstance(end, (list, dict)):
            end = next(iter(end.values())) if isinstance(end, dict) else end[0]
        here = layers[end]
        for _ in layers:  # layers that are called several times may lead in a circle
            if here.kind in _SAME and here.calls and here.calls[0].refs:
                here = layers[here.calls[0].refs[0].name]
    return here


def _scores(last: Layer, output: Tensor) -> str:
    """What the output is: 'probabilities', 'sigmoid', 'logits', or 'values', which are no scores."""
    if output.shape is None or len(output.shape) != 2:
        return "values"
    classes = output.shape[1]
    if last.kind == "Softmax":
        return "values" if classes == 1 else "probabilities"
    if last.kind not in ("Dense", "Activation", "Conv2D"):
        return "values"
    name = activation_name(last.config.get("activation"))
    if name is None or name == "linear":
        return "logits" if last.kind != "Activation" else "values"
    if classes == 1 and name != "sigmoid":
        return "values"
    return _SCORES.get(name, "values")


def _inner_size(model: Layer) -> tuple[int, int] | None:
    """Height and width that an inner model states, where the outermost takes any."""
    for layer in _every(model):
        shape = layer.config.get("batch_shape", layer.config.get("batch_input_shape"))
        if isinstance(shape, list) and len(shape) == 4 and type(shape[1]) is int and type(shape[2]) is int:
            return (shape[1], shape[2])
    return None


def _scale_of_pixels(graph: Graph, start: Tensor) -> tuple[float | None] | None:
    """What pixels (0 to 255) are divided by before they are fed, in a tuple, from what the first layers multiply them by.

    1 or 255 where the range that results is one that networks are trained in, about [-10, 10]; None where it is unclear.
    No tuple: nothing scales.
    """
    by = np.ones(1)
    here, scales = start, False
    for _ in range(32):
        readers = here.consumers()
        if len(readers) != 1 or len(readers[0].outputs) != 1:
            break
        (op,) = readers
        if op.type in ("Mul", "RealDiv", "AddV2", "Sub") and len(op.inputs) == 2 and here is op.inputs[0]:
            value = _value(op.inputs[1])
            if value is None:
                break
            if op.type in ("Mul", "RealDiv"):
                by = by * value if op.type == "Mul" else by / value
            scales = True
        elif op.type not in ("Cast", "ResizeBilinear", "Identity", "Pad"):
            break
        here = op.outputs[0]
    if not scales:
        return None
    spread = float(np.abs(by).max())
    if 0.5 <= spread * 255 <= 20:
        return (1.0,)
    return (255.0,) if 0.5 <= spread <= 20 else (None,)


def _value(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """A small constant in float64, or what was computed of small constants."""
    literal = tensor.op.attrs.get("value") if tensor.op.type == "Const" else None
    if literal is not None:
        small = literal.type.size <= 16
        return literal.array().astype(np.float64).reshape(-1) if small else None
    inputs = [_value(t) for t in tensor.op.inputs] if tensor.op.type in ("Sqrt", "Maximum", "Reshape") else []
    if not inputs or any(v is None for v in inputs):
        return None
    first = inputs[0]
    assert first is not None
    if tensor.op.type == "Sqrt":
        return np.asarray(np.sqrt(first))
    if tensor.op.type == "Maximum" and inputs[1] is not None:
        return np.asarray(np.maximum(first, inputs[1]))
    return first
