"""A card for a classifier of images that no other rule knows: read from its graph, the rest assumed and said.

The graph tells the input (the only image), the output (the only row of scores), their sizes, what the scores are, and often
the range of pixels: by scaling them itself, or by the quantisation of its input. What it does not tell is assumed as the
family's own examples do it, and the card's note says which part that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..graph.hints import guess_inputs, guess_outputs
from ..graph.signatures import SERVING_DEFAULT
from ..kernels.records import dataclass
from ..kernels.tensor import STRING, is_float, is_int
from ..vision.labels import clean_label
from ..vision.normalize import IMAGENET, INCEPTION, PIXELS, Normalization, Preprocessing
from .card import LABELS_BESIDE, Card

if TYPE_CHECKING:
    from ..graph.builder import Graph, Operation, Tensor

__all__ = ["guess_card"]

#: Ops that hand on what they get, as far as the meaning of scores goes.
_PASSES = frozenset(
    ["Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Cast", "StopGradient", "Snapshot", "Transpose"]
)
#: What brings a real number to whole steps at the end of an integer model.
_STEPS = frozenset(["AddV2", "Sub", "Mul", "RealDiv", "Round", "Rint", "Minimum", "Maximum", "ClipByValue"])
_PYTORCH = frozenset(["onnx", "torch", "torchvision", "timm", "torch-export"])
#: Networks of keras.applications by the beginning of their names, with the scaling of their ``preprocess_input``.
_CAFFE = ("resnet50", "resnet101", "resnet152", "vgg16", "vgg19")
_DENSENET = ("densenet",)
_SCALED_INSIDE = ("efficientnet", "mobilenetv3", "MobilenetV3", "MobileNetV3", "convnext", "regnet")
#: The mean of pixels that a network subtracts; none would from pixels that are scaled already.
_LEAST_MEAN, _MOST_MEAN = 64, 192
_KNOWN_LABELS = {1000: "imagenet-1000", 1001: "imagenet-1001"}


@dataclass(frozen=True, slots=True)
class _Image:
    """The tensor that takes images; sizes are None where the graph leaves them open."""

    name: str
    tensor: Tensor
    layout: Literal["NHWC", "NCHW"]
    size: tuple[int | None, int | None]
    channels: int


def guess_card(graph: Graph, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> Card | None:
    """The card that the graph itself shows; None where it has not one image as input and one row of scores as output.

    inputs, outputs: the tensors that are looked at, where they are known.
    """
    called = graph.signatures.get(SERVING_DEFAULT)
    frozen = graph.freeze()
    inputs = inputs or (tuple(called.inputs) if called else guess_inputs(frozen))
    outputs = outputs or (tuple(called.outputs) if called else guess_outputs(frozen))
    image = _image(graph, inputs)
    output = _scores(graph, outputs)
    if image is None and output is not None:
        return _decoding(graph, inputs, output)
    if image is None or output is None:
        return None
    assumed: list[str] = []
    size = _size(image, assumed)
    normalization, channels, rule = _pixels(graph, image, assumed)
    kind = _kind(graph.tensor(output))
    classes = (graph.tensor(output).shape or (None,))[-1]
    names = tuple(map(clean_label, map(str, graph.metadata.get("labels", ()))))
    labels = LABELS_BESIDE if names else _KNOWN_LABELS.get(classes or 0, LABELS_BESIDE)
    if labels != LABELS_BESIDE:
        assumed.append(f"{classes} outputs are the classes of ImageNet")
    return Card(
        name="inferred",
        title=f"an image classifier ({str(graph.metadata.get('model') or graph.metadata.get('family', 'a graph'))[:80]})",
        input=image.name,
        output=output,
        preprocessing=Preprocessing(size, rule, normalization, channels=channels),
        labels=labels,
        scores=kind,
        note=f"assumed, since the file does not say: {'; '.join(assumed)}" if assumed else "",
        layout=image.layout,
        quantization=_quantized(graph, output),
        classes=names if len(names) == classes else (),
    )


def _decoding(graph: Graph, names: tuple[str, ...], output: str) -> Card | None:
    """The card of a graph that decodes, resizes and scales images itself: it takes the bytes of a file."""
    texts = [n for n in names if graph.tensor(n).dtype == STRING and graph.tensor(n).shape in ((), None)]
    decoders = [
        op for n in texts for op in graph.tensor(n).consumers() if op.type in ("DecodeJpeg", "DecodeImage", "DecodePng")
    ]
    if len(texts) != 1 or len(names) != 1 or len(decoders) != 1:
        return None
    pixels = decoders[0].outputs[0].name
    return Card(
        name="inferred",
        title="an image classifier that decodes images itself",
        input=pixels,
        output=output,
        preprocessing=Preprocessing((224, 224), "half_pixel", PIXELS),
        labels=LABELS_BESIDE,
        scores=_kind(graph.tensor(output)),
        encoded=texts[0],
        pixels=pixels,
    )


def _image(graph: Graph, names: tuple[str, ...]) -> _Image | None:
    """The only input that is a batch of images; None if there are several, or other inputs that need a value."""
    found = []
    for name in names:
        tensor = graph.tensor(name)
        image = _as_image(name, tensor)
        if image is not None:
            found.append(image)
        elif tensor.op.type != "PlaceholderWithDefault":
            return None
    return found[0] if len(found) == 1 else None


def _as_image(name: str, tensor: Tensor) -> _Image | None:
    shape = tensor.shape
    if shape is None or len(shape) != 4 or not (is_float(tensor.dtype) or is_int(tensor.dtype)):
        return None
    if shape[3] in (1, 3) and not (shape[1] in (1, 3) and shape[2] == shape[3]):
        return _Image(name, tensor, "NHWC", (shape[1], shape[2]), shape[3] or 3)
    if shape[1] in (1, 3):
        return _Image(name, tensor, "NCHW", (shape[2], shape[3]), shape[1] or 3)
    return None


def _scores(graph: Graph, names: tuple[str, ...]) -> str | None:
    """The only output with one row of numbers per image; among several the only softmax."""
    rows = [n for n in names if _is_row(graph.tensor(n))]
    if len(rows) > 1:
        rows = [n for n in rows if _kind(graph.tensor(n)) == "probabilities"]
    return rows[0] if len(rows) == 1 else None


def _is_row(tensor: Tensor) -> bool:
    shape = tensor.shape
    if shape is None or len(shape) < 2 or not (is_float(tensor.dtype) or _quantized(tensor.graph, tensor.name)):
        return False
    return len(shape) == 2 or (len(shape) == 4 and sum(d == 1 for d in shape[1:]) >= 2)


def _kind(tensor: Tensor) -> Literal["probabilities", "logits", "sigmoid"]:
    """What the scores are, by the op that makes them."""
    for op in _back(tensor):
        if op.type == "Softmax":
            return "probabilities"
        if op.type == "Sigmoid":
            return "sigmoid"
        passes = op.type in _PASSES or op.type.startswith(("Quantize", "Dequantize", "Fake"))
        if not passes and (is_float(tensor.dtype) or op.type not in _STEPS):
            break
    return "logits"


def _back(tensor: Tensor) -> Iterator[Operation]:
    """The op of a tensor, then that of its first input, and so on; at most 16."""
    for _ in range(16):
        yield tensor.op
        if not tensor.op.inputs:
            return
        at = tensor.index if tensor.op.type == "IdentityN" else 0
        tensor = tensor.op.inputs[at]


def _size(image: _Image, assumed: list[str]) -> tuple[int, int]:
    height, width = image.size
    if height and width:
        return (height, width)
    side = height or width or 224
    assumed.append(f"images of {side}x{side}")
    return (height or side, width or side)


def _pixels(graph: Graph, image: _Image, assumed: list[str]) -> tuple[Normalization, str, str]:
    """How pixels become numbers, the order of channels, and the rule of resizing."""
    order = "L" if image.channels == 1 else "RGB"
    torch = graph.metadata.get("family") in _PYTORCH and image.layout == "NCHW"
    rule = "torchvision" if torch else "keras_bilinear"
    assumed.append(f"resized by {rule}")
    stated = graph.metadata.get("normalization", {}).get(image.name)
    if is_int(image.tensor.dtype):
        return _steps(stated, _quantized(graph, image.name), image.tensor.dtype), order, rule
    if stated is not None:
        return Normalization(_three(stated[0]), _three(stated[1])), order, rule
    if _scales_inside(image.tensor):
        return PIXELS, order, rule
    model = str(graph.metadata.get("model", ""))
    if model.startswith(_SCALED_INSIDE):
        return PIXELS, order, rule
    if model.startswith(_CAFFE) and order == "RGB":
        assumed.append("pixels as keras.applications prepares them for this network: BGR less the mean of ImageNet")
        return Normalization((123.68, 116.779, 103.939), (1.0,) * 3), "BGR", rule
    if (torch or model.startswith(_DENSENET)) and order == "RGB":
        assumed.append("pixels scaled by the mean and deviation of ImageNet")
        return IMAGENET, order, rule
    if order == "L":
        assumed.append("pixels scaled to [0, 1]")
        return Normalization((0.0,) * 3, (255.0,) * 3), order, rule
    assumed.append("pixels scaled to [-1, 1]")
    return INCEPTION, order, rule


def _quantized(graph: Graph, name: str) -> tuple[float, float] | None:
    """(scale, zero) of an input or output of integers, if the file states it."""
    found: tuple[float, float] | None = graph.metadata.get("quantization", {}).get(graph.tensor(name).name)
    return found


def _steps(stated: Any, quantized: tuple[float, float] | None, dtype: np.dtype[Any]) -> Normalization:
    """Pixels to the steps of an integer input: by the stated mean and deviation of the reals, else 0 to 255 as they are."""
    if stated is not None and quantized is not None:
        scale, zero = quantized
        mean, std = _three(stated[0]), _three(stated[1])
        red, green, blue = ((m - zero * s * scale, s * scale) for m, s in zip(mean, std, strict=True))
        return Normalization((red[0], green[0], blue[0]), (red[1], green[1], blue[1]))
    return Normalization((128.0,) * 3, (1.0,) * 3) if dtype == np.int8 else PIXELS


def _three(values: Any) -> tuple[float, float, float]:
    numbers = [float(v) for v in np.atleast_1d(np.asarray(values, np.float64)).ravel()]
    red, green, blue = numbers * 3 if len(numbers) == 1 else numbers[:3]
    return (red, green, blue)


def _scales_inside(tensor: Tensor) -> bool:
    """Whether what reads the input first brings 0 to 255 into the range of normalised pixels, or takes their mean away."""
    low, high = 0.0, 255.0
    centred = False
    for _ in range(8):
        readers = tensor.consumers()
        if len(readers) != 1 or len(readers[0].outputs) != 1:
            break
        op = readers[0]
        if op.type in ("Sub", "AddV2", "Add", "Mul", "RealDiv", "Div"):
            number = _constant(op, tensor)
            if number is None:
                break
            low, high = (_applied(op, tensor, end, number) for end in (low, high))
            centred = centred or (abs(high - low - 255) < 1e-6 and -_MOST_MEAN <= low <= -_LEAST_MEAN)
        elif op.type not in _PASSES:
            break
        tensor = op.outputs[0]
    return low != high and (centred or max(abs(low), abs(high)) <= 4)


def _constant(op: Operation, tensor: Tensor) -> float | None:
    """The middle of the constant that a binary op applies to the tensor; None if it is none, or large."""
    others = [t for t in op.inputs if t is not tensor]
    if len(others) != 1:
        return None
    source = next((o for o in _back(others[0]) if o.type not in _PASSES), others[0].op)
    literal = source.attrs.get("value")
    if source.type != "Const" or literal is None or not 0 < int(np.prod(literal.shape or (1,))) <= 64:
        return None
    return float(np.mean(np.asarray(literal.array(), np.float64)))


def _applied(op: Operation, tensor: Tensor, x: float, constant: float) -> float:
    first, second = (x, constant) if op.inputs[0] is tensor else (constant, x)
    if op.type == "Sub":
        return first - second
    if op.type in ("AddV2", "Add"):
        return first + second
    if op.type == "Mul":
        return first * second
    return first / second if second else float("inf")
