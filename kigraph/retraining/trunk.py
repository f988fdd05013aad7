"""The trunk of a classifier: everything up to the input of its last dense layer, as a graph of its own that takes batches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import GraphError, ShapeError
from ..graph import ops
from ..graph.builder import Graph, Operation, Tensor
from ..graph.hints import similar
from ..graph.opdefs.control import LOOPS
from ..graph.session import Session
from ..kernels.tensor import is_float
from ..vision.decode import Pixels, apply_orientation, decode_image, image_header, to_pixels

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..weights.card import Card

__all__ = ["FEATURES", "IMAGES", "Trunk", "copy_ops", "file_digest", "find_trunk", "flattened", "needed_ops"]

#: The placeholder of a trunk that takes batches, and its result.
IMAGES, FEATURES = "images", "features"

#: What may stand between the last dense layer and the scores.
_AFTER = frozenset(
    ["Softmax", "LogSoftmax", "Sigmoid", "Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Cast", "StopGradient",
     "Transpose", "PlaceholderWithDefault", "Snapshot", "CheckNumerics", "BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv",
     "Round", "Rint", "Minimum", "Maximum", "ClipByValue", "FakeQuantWithMinMaxVars", "QuantizeAndDequantizeV2"]
)  # fmt: skip
_HANDS_ON = frozenset(
    ["Identity", "PlaceholderWithDefault", "StopGradient", "Snapshot", "CheckNumerics", "Reshape", "Squeeze"]
)
#: Their other inputs are shapes, which may be computed from the image's.
_SHAPED = frozenset(["Reshape", "Squeeze", "ExpandDims", "Transpose"])
_MOST_STEPS = 64


@dataclass(frozen=True, slots=True)
class Trunk:
    """A classifier without its last layer.

    base: the tensor of the model's graph that becomes the features. pool: whether its mean over height and width is taken,
    else it is flattened. count: features of an image. graph: from IMAGES (batch, ...) to FEATURES (batch, count) float32.
    batch: how many images it takes at once, None for any number.
    """

    model: Classifier
    base: Tensor
    pool: bool
    count: int
    graph: Graph
    batch: int | None
    session: Session
    decoder: Session | None

    @property
    def whole(self) -> bool:
        """Whether the graph resizes and scales images itself: then it takes the pixels of one, of any size."""
        return _takes_pixels(self.model.graph, self.model.require_card())

    @property
    def name(self) -> str:
        """The tensor's name in the model's own graph."""
        return self.base.name

    def with_threads(self, threads: int) -> Trunk:
        """The same trunk, whose runs take ``threads`` threads."""
        return self if threads == self.session.threads else replace(self, session=self.session.with_threads(threads))

    def pixels(self, data: bytes, name: str) -> Pixels:
        """A file's pixels (height, width, 3) uint8, upright, decoded as the classifier decodes it. ImageError."""
        card, limit = self.model.require_card(), self.model.max_pixels
        if self.decoder is None:
            return to_pixels(data, name=name, max_pixels=limit)
        header = image_header(data, name=name, max_pixels=limit)
        if header.format != "JPEG":
            return decode_image(data, name=name, max_pixels=limit)
        stored = np.asarray(self.decoder.run(card.pixels, {card.encoded: data}))
        return apply_orientation(stored, header.orientation)

    def prepared(self, pixels: Pixels) -> np.ndarray[Any, Any]:
        """One image as IMAGES takes it, without the batch's axis."""
        card = self.model.require_card()
        if self.whole:
            return pixels
        batch = card.preprocessing(pixels)[None]
        image: np.ndarray[Any, Any] = card.arrange(batch, self.graph.tensor(IMAGES).dtype)[0]
        return image

    def features(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Features (n, count) of prepared images (n, ...); the same bits in whatever batch an image comes."""
        if self.whole:
            rows = [self.session.run(FEATURES, {IMAGES: image}) for image in images]
            return np.concatenate(rows).astype(np.float32, copy=False)
        if self.batch in (None, len(images)):
            return np.asarray(self.session.run(FEATURES, {IMAGES: images}), np.float32)
        size, count = self.batch or 1, len(images)
        padded = np.concatenate([images, np.repeat(images[-1:], -count % size, 0)])
        parts = [self.session.run(FEATURES, {IMAGES: padded[at : at + size]}) for at in range(0, len(padded), size)]
        return np.concatenate(parts)[:count].astype(np.float32, copy=False)

    def attach(self, graph: Graph, given: Mapping[Tensor, Tensor]) -> Tensor:
        """Copies the trunk into a graph, with what is given in the place of tensors of the model's, and returns the features."""
        return flattened(copy_ops(graph, self.base, given), self.pool, self.count, self._layout)

    @property
    def _layout(self) -> Literal["NHWC", "NCHW"]:
        return self.model.require_card().layout


def find_trunk(model: Classifier, bottleneck: str | None = None) -> Trunk:
    """Cuts a classifier before its last dense layer, or at the tensor named ``bottleneck``.

    Raises CardError for a model without a card, GraphError where no last dense layer is found, or the tensor does not do.
    """
    card, source = model.require_card(), model.graph
    reached = _reached(source.tensor(card.input))
    base, pool, count = (
        _named(source, bottleneck, reached) if bottleneck else _found(source.tensor(card.output), reached)
    )
    loops = [op.name for op in needed_ops(base, {}) if op.type in LOOPS]
    if loops:
        raise GraphError(
            f"{model.name}: '{loops[0]}' is a loop or a branch, which a frozen GraphDef cannot hold; retrain another network"
        )
    graph, batch = _batched(model, base, pool, count)
    session = Session(
        graph, ",".join(model.session.choice.order), model.session.threads,
        winograd=model.session.numerics.winograd, precision=model.session.numerics.multiplies,
    )  # fmt: skip
    decoder = None if card.encoded is None else Session(source, threads=1)
    return Trunk(model, base, pool, count, graph, batch, session, decoder)


def _takes_pixels(graph: Graph, card: Card) -> bool:
    return card.pixels is not None and graph.tensor(card.pixels) is graph.tensor(card.input)


def _reached(start: Tensor) -> set[Operation]:
    """Operations whose results depend on a tensor."""
    found = {start.op}
    for op in start.graph.operations:
        if any(t.op in found for t in op.inputs):
            found.add(op)
    return found


def _named(graph: Graph, name: str, reached: set[Operation]) -> tuple[Tensor, bool, int]:
    tensor = graph.tensor(name)
    shape = tensor.shape
    if tensor.op not in reached or not is_float(tensor.dtype):
        raise GraphError(
            f"--bottleneck {name}: {tensor.type} does not depend on the image, or is no tensor of real numbers"
        )
    if shape is None or len(shape) not in (2, 4):
        raise GraphError(
            f"--bottleneck {name}: found shape {shape}; expected (images, features), or four axes, of which the mean over height and "
            "width is taken"
        )
    wide = len(shape) == 4 and sum(d == 1 for d in shape[1:]) < 2
    sizes = shape[1:] if not wide else (shape[3] if _channels_last(tensor) else shape[1],)
    if any(d is None for d in sizes):
        raise GraphError(f"--bottleneck {name}: the number of features is not known: shape {shape}")
    return tensor, wide, int(np.prod([d for d in sizes if d]))


def _channels_last(tensor: Tensor) -> bool:
    """Whether the channels of an image are its last axis, by the ops before it."""
    for _ in range(_MOST_STEPS):
        layout = tensor.op.attrs.get("data_format")
        if layout is not None:
            return layout not in (b"NCHW", "NCHW")
        if tensor.op.type == "Transpose" or not tensor.op.inputs:
            break
        tensor = tensor.op.inputs[-1 if tensor.op.type == "Concat" else 0]
    return True


def _found(output: Tensor, reached: set[Operation]) -> tuple[Tensor, bool, int]:
    """The input of the last dense layer or 1x1 convolution before the scores."""
    tensor = output
    for _ in range(_MOST_STEPS):
        op = tensor.op
        dependent = [t for t in (op.inputs[:1] if op.type in _SHAPED else op.inputs) if t.op in reached]
        if op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2") and op.inputs[0].op in reached and len(dependent) == 1:
            if op.attrs.get("transpose_a") or op.attrs.get("adj_x"):
                break
            return _flat(op.inputs[0], _rows(op))
        if op.type == "Conv2D" and len(dependent) == 1 and _covers(op):
            return _flat(op.inputs[0], int(op.inputs[1].shape[2] or 0) if op.inputs[1].shape else 0)
        if op.type not in _AFTER or len(dependent) != 1:
            break
        tensor = dependent[0]
    near = f"the search ended at '{tensor.op.name}' ({tensor.op.type}, {tensor.type})"
    raise GraphError(
        f"no last dense layer was found before {output.name}: {near}; name the tensor to take with --bottleneck TENSOR "
        f"(bottleneck=); `kigraph draw` shows the graph{_guess(output)}"
    )


def _guess(output: Tensor) -> str:
    names = similar("pool", [op.name for op in output.graph.operations[-200:]])
    return f"; similar to a pool: {names}" if names else ""


def _rows(op: Operation) -> int:
    """Rows of a dense layer's weights: the number of its inputs."""
    shape = op.inputs[1].shape or ()
    turned = op.attrs.get("transpose_b") or op.attrs.get("adj_y")
    return int((shape[-1] if turned else shape[-2]) or 0) if len(shape) >= 2 else 0


def _covers(op: Operation) -> bool:
    """Whether a convolution reads one place and all channels: 1x1, of an image of one pixel."""
    shape, kernel = op.inputs[0].shape, op.inputs[1].shape
    if shape is None or kernel is None or len(shape) != 4 or len(kernel) != 4 or kernel[:2] != (1, 1):
        return False
    last = op.attrs.get("data_format") not in (b"NCHW", "NCHW")
    return (shape[1:3] if last else shape[2:4]) == (1, 1)


def _flat(tensor: Tensor, count: int) -> tuple[Tensor, bool, int]:
    """Goes back past reshapes to the same numbers: these may state a batch, the trunk takes any."""
    if count < 1:
        raise GraphError(f"the last dense layer reads {tensor.name}, and the number of its features is not known")
    best = tensor
    for _ in range(_MOST_STEPS):
        if tensor.op.type not in _HANDS_ON or not tensor.op.inputs or not is_float(tensor.op.inputs[0].dtype):
            break
        tensor = tensor.op.inputs[0]
        shape = tensor.shape
        if shape is not None and len(shape) >= 2 and None not in shape[1:] and _size(shape[1:]) == count:
            best = tensor
    return best, False, count


def _size(sizes: tuple[int | None, ...]) -> int:
    return int(np.prod([d or 0 for d in sizes], dtype=np.int64))


def _batched(model: Classifier, base: Tensor, pool: bool, count: int) -> tuple[Graph, int | None]:
    """The trunk's graph for any number of images, or for the number that the model's own graph states."""
    card = model.require_card()
    entry = model.graph.tensor(card.input)
    if _takes_pixels(model.graph, card):
        graph = Graph()
        with graph.as_default():
            images = ops.placeholder(entry.dtype, list(entry.shape or (None, None, 3)), name=IMAGES)
            ops.identity(flattened(copy_ops(graph, base, {entry: images}), pool, count, card.layout), name=FEATURES)
        return graph, 1
    shape = (entry.shape or ())[1:] if entry.shape is not None and len(entry.shape) == 4 else ()
    sizes = tuple(a or b for a, b in zip(shape, model.image_shape, strict=True)) if shape else model.image_shape
    stated = (entry.shape or (None,))[0]
    for batch in dict.fromkeys((None, stated)):
        graph = Graph()
        try:
            with graph.as_default():
                images = ops.placeholder(entry.dtype, [batch, *sizes], name=IMAGES)
                found = flattened(copy_ops(graph, base, {entry: images}), pool, count, card.layout)
                ops.identity(found, name=FEATURES)
        except (GraphError, ShapeError):
            if batch is None and stated is not None:
                continue
            raise
        if batch is not None or (found.shape or (None,))[0] is None:
            break
    graph.metadata.update({k: v for k, v in model.graph.metadata.items() if k == "exact_products"})
    return graph, batch


def flattened(tensor: Tensor, pool: bool, count: int, layout: str) -> Tensor:
    """Features (batch, count) float32 of a tensor."""
    if pool:
        last = _channels_last(tensor) if tensor.op.type != "Placeholder" else layout == "NHWC"
        tensor = ops.reduce_mean(tensor, [1, 2] if last else [2, 3])
    if tensor.dtype != np.float32:
        tensor = ops.cast(tensor, "float32")
    return (
        tensor
        if tensor.type.rank == 2 and tensor.shape and tensor.shape[0] is None
        else ops.reshape(tensor, [-1, count])
    )


def copy_ops(graph: Graph, wanted: Tensor, given: Mapping[Tensor, Tensor]) -> Tensor:
    """Copies the operations that ``wanted`` needs into another graph, under their names, and returns it there.

    given: tensors of the old graph -> tensors of the new one that take their places. Constants are shared, not copied.
    """
    needed = needed_ops(wanted, given)
    made = dict(given)
    for op in wanted.graph.operations:
        if op not in needed:
            continue
        inputs = [made[t] for t in op.inputs]
        name = op.name if op.name not in graph else None
        copied = graph.create_op(
            op.type, inputs, op.attrs, name, num_outputs=len(op.outputs), exact_name=name is not None
        )
        made.update({old: new for old, new in zip(op.outputs, copied.outputs, strict=True) if old not in given})
    return made[wanted]


def needed_ops(wanted: Tensor, given: Mapping[Tensor, Tensor]) -> set[Operation]:
    """The operations that a tensor needs, not going back behind what is given."""
    needed: set[Operation] = set()
    stack = [] if wanted in given else [wanted.op]
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack.extend(t.op for t in op.inputs if t not in given)
    return needed


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a model file, or of all files of a model folder; remembered between runs."""
    from ..graph.loaders import load

    return load(path).remembered_sha256
