"""The built-in Inception v3 as a graph of TensorFlow's ops, and the frozen form of 2015.

Node names are those of the 2015 graph ('conv', 'mixed_4/tower_1/conv_2', 'mixed_10/join', 'pool_3'); input 'input',
scores 'logits', probabilities 'predictions'.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....kernels.errors import KigraphError
from ....kernels.tensor import STRING
from ...builder import Graph, Tensor
from ...formats.limits import load_error
from ...loaders.weights import WeightsFile
from ..nodes import FLOAT32, INT32, Nodes
from ..steps import add_steps
from .files import OPTIONS, network_of
from .layers import FEATURES, Block, Conv, Pool, connect
from .network import SIZE, InceptionNetwork, Options, classifier, scores_of
from .weights import ConvWeights, InceptionWeights, find_naming, seeded_weights

__all__ = [
    "OPTIONS",
    "Options",
    "build",
    "build_2015",
    "build_from_file",
    "build_network",
    "write_untrained_2015",
]

#: From here on the 2015 graph's batch normalisation has a scale; in the blocks before, its gamma is not used.
_SCALED_FROM = 5


def build(weights: InceptionWeights, options: Options | None = None, batch: int | None = None) -> Graph:
    """Inception v3 for 299x299 images, float32 (batch, 299, 299, 3) to (batch, classes)."""
    return build_network(InceptionNetwork(weights.convs, classifier(weights), options or Options(), batch=batch))


def build_network(network: InceptionNetwork) -> Graph:
    """The graph of a network, float32 (batch, height, width, 3) to what its head gives.

    ``metadata``: that of the network, and where it is no plain classifier 'output' (the tensor's name) and 'scores' (see
    scores_of). GraphError or ShapeError if the head does not fit.
    """
    nodes = Nodes(Graph())
    options = network.options
    x = _input(nodes, options, network.batch)
    x = connect(
        x,
        lambda step, x: _conv(nodes, step, x, network.convs[step.path], options),
        lambda step, x: _pool(nodes, step, x, options),
        lambda step, parts: _join(nodes, step, parts),
    )
    x = add_steps(nodes, x, network.head)
    nodes.graph.metadata.update(network.metadata)
    scores = scores_of(network.head, x.shape)
    if (x.name, scores) != ("predictions:0", "probabilities"):
        nodes.graph.metadata.update(output=x.name, scores=scores)
    return nodes.graph


def build_from_file(file: WeightsFile, options: Options | None = None, batch: int | None = None) -> Graph:
    """The network with a file's weights; ``options`` default to those of the implementation whose names the file has."""
    network = network_of(file)
    if options is not None:
        network = replace(network, options=options)
    if batch is not None:
        network = replace(network, batch=batch)
    try:
        graph = build_network(network)
    except KigraphError as e:
        raise load_error(file.file, "the network", str(e), "layers that fit each other") from None
    graph.metadata.update(family=find_naming(file), file_family=file.family)
    return graph


def _input(nodes: Nodes, options: Options, batch: int | None) -> Tensor:
    if options.input == "pixels":
        pixels = nodes.op("Placeholder", (), "pixels", dtype=np.dtype(np.uint8), shape=(batch, None, None, 3))
        x = nodes.op("Cast", [pixels], "pixels/float", SrcT=np.dtype(np.uint8), DstT=FLOAT32)
        target = nodes.const("pixels/size", np.array([SIZE, SIZE], np.int32))
        x = nodes.op(
            "ResizeBilinear", [x, target], "pixels/resized", T=FLOAT32, align_corners=False, half_pixel_centers=True
        )
        x = nodes.op(
            "Mul", [x, nodes.const("pixels/scale", np.array(1 / 127.5, np.float32))], "pixels/scaled", T=FLOAT32
        )
        return nodes.op("Sub", [x, nodes.const("pixels/one", np.array(1, np.float32))], "input", T=FLOAT32)
    x = nodes.op("Placeholder", (), "input", dtype=FLOAT32, shape=(batch, SIZE, SIZE, 3))
    if options.input == "imagenet":
        # ((x * std + mean) - 0.5) / 0.5 with ImageNet's statistics, as torchvision's _transform_input.
        std, mean = np.array([0.229, 0.224, 0.225]), np.array([0.485, 0.456, 0.406])
        scale = nodes.const("transform/scale", (std / 0.5).astype(np.float32))
        x = nodes.op("Mul", [x, scale], "transform/scaled", T=FLOAT32)
        shift = nodes.const("transform/shift", ((mean - 0.5) / 0.5).astype(np.float32))
        x = nodes.op("AddV2", [x, shift], "transform", T=FLOAT32)
    return x


def _conv(nodes: Nodes, step: Conv, x: Tensor, w: ConvWeights, options: Options) -> Tensor:
    kernel = nodes.const(f"{step.path}/kernel", w.kernel)
    x = nodes.op(
        "Conv2D",
        [x, kernel],
        f"{step.path}/Conv2D",
        T=FLOAT32,
        strides=(1, step.stride, step.stride, 1),
        padding=step.padding,
        data_format="NHWC",
        dilations=(1, 1, 1, 1),
    )
    gamma = np.ones(step.filters, np.float32) if w.gamma is None else w.gamma
    parameters = (("gamma", gamma), ("beta", w.beta), ("mean", w.mean), ("variance", w.variance))
    constants = [nodes.const(f"{step.path}/{name}", value) for name, value in parameters]
    x = nodes.op(
        "FusedBatchNormV3",
        [x, *constants],
        f"{step.path}/batchnorm",
        T=FLOAT32,
        U=FLOAT32,
        epsilon=options.epsilon,
        is_training=False,
        data_format="NHWC",
    )
    return nodes.op("Relu", [x], step.path, T=FLOAT32)


def _pool(nodes: Nodes, step: Pool, x: Tensor, options: Options) -> Tensor:
    kind = options.last_pool if step.kind == "last" else step.kind
    window: dict[str, Any] = {
        "T": FLOAT32,
        "ksize": (1, 3, 3, 1),
        "strides": (1, step.stride, step.stride, 1),
        "padding": step.padding,
        "data_format": "NHWC",
    }
    if kind == "max":
        return nodes.op("MaxPool", [x], step.path, **window)
    if options.count_padding:
        window["count_include_pad"] = True  # kigraph's own attribute: TensorFlow has no such pool
    return nodes.op("AvgPool", [x], step.path, **window)


def _join(nodes: Nodes, step: Block, parts: Sequence[Tensor]) -> Tensor:
    axis = nodes.const(f"{step.path}/join/axis", np.array(3, np.int32))
    return nodes.op("ConcatV2", [*parts, axis], f"{step.path}/join", T=FLOAT32, N=len(parts), Tidx=INT32)


# --- the frozen form of 2015 ---------------------------------------------------------------------------------------------


def build_2015(weights: InceptionWeights, jpeg: bytes) -> Graph:
    """The graph of classify_image_graph_def.pb (TensorFlow, December 2015) with the given weights.

    It decodes a JPEG (``jpeg`` is the value of 'DecodeJpeg/contents' until another is fed), resizes it the old way, and
    uses the ops of its time: BatchNormWithGlobalNormalization, CheckNumerics with control inputs, Concat with the axis first.
    """
    graph = Graph()
    graph.metadata.update(family="graphdef", producer=8)
    nodes = Nodes(graph)
    x = connect(
        _input_2015(nodes, jpeg),
        lambda step, x: _conv_2015(nodes, step, x, weights),
        lambda step, x: _pool_2015(nodes, step, x),
        lambda step, parts: _join_2015(nodes, step, parts),
    )
    x = _checked(nodes, x, "pool_3")
    x = nodes.op("AvgPool", [x], "pool_3", T=FLOAT32, ksize=(1, 8, 8, 1), strides=(1, 1, 1, 1), padding="VALID")
    shape = nodes.const("pool_3/_reshape/shape", np.array([1, FEATURES], np.int32))
    x = nodes.op("Reshape", [x, shape], "pool_3/_reshape", T=FLOAT32)
    product = [x, nodes.const("softmax/weights", weights.kernel)]
    x = nodes.op("MatMul", product, "softmax/logits/MatMul", T=FLOAT32, transpose_a=False, transpose_b=False)
    x = nodes.op("BiasAdd", [x, nodes.const("softmax/biases", weights.bias)], "softmax/logits", T=FLOAT32)
    nodes.op("Softmax", [x], "softmax", T=FLOAT32)
    return graph


def _input_2015(nodes: Nodes, jpeg: bytes) -> Tensor:
    contents = np.empty((), STRING)
    contents[()] = jpeg
    x = nodes.op(
        "DecodeJpeg",
        [nodes.const("DecodeJpeg/contents", contents)],
        "DecodeJpeg",
        channels=3,
        ratio=1,
        fancy_upscaling=True,
        try_recover_truncated=False,
        acceptable_fraction=1.0,
    )
    x = nodes.op("Cast", [x], "Cast", SrcT=np.dtype(np.uint8), DstT=FLOAT32)
    x = nodes.op("ExpandDims", [x, nodes.const("ExpandDims/dim", np.array(0, np.int32))], "ExpandDims", T=FLOAT32)
    size = nodes.const("ResizeBilinear/size", np.array([SIZE, SIZE], np.int32))
    x = nodes.op("ResizeBilinear", [x, size], "ResizeBilinear", T=FLOAT32)
    x = nodes.op("Sub", [x, nodes.const("Sub/y", np.array(128, np.float32))], "Sub", T=FLOAT32)
    return nodes.op("Mul", [x, nodes.const("Mul/y", np.array(1 / 128, np.float32))], "Mul", T=FLOAT32)


def _checked(nodes: Nodes, x: Tensor, path: str) -> Tensor:
    """x, after a check of it for NaN and infinity has run."""
    check = nodes.operation(
        "CheckNumerics", [x], f"{path}/CheckNumerics", T=FLOAT32, message=f"{path} tensor had NaN/Inf values"
    )
    return nodes.op("Identity", [x], f"{path}/control_dependency", [check], T=FLOAT32)


def _conv_2015(nodes: Nodes, step: Conv, x: Tensor, weights: InceptionWeights) -> Tensor:
    path, w = step.path, weights.convs[step.path]
    kernel = nodes.const(f"{path}/conv2d_params", w.kernel)
    strides = (1, step.stride, step.stride, 1)
    x = nodes.op("Conv2D", [x, kernel], f"{path}/Conv2D", T=FLOAT32, strides=strides, padding=step.padding)
    block = path.split("/")[0].removeprefix("mixed_")
    gamma = np.ones(step.filters, np.float32) if w.gamma is None else w.gamma
    norm = {
        name: nodes.const(f"{path}/batchnorm/{name}", value)
        for name, value in (
            ("beta", w.beta),
            ("gamma", gamma),
            ("moving_mean", w.mean),
            ("moving_variance", w.variance),
        )
    }
    x = nodes.op(
        "BatchNormWithGlobalNormalization",
        [x, norm["moving_mean"], norm["moving_variance"], norm["beta"], norm["gamma"]],
        f"{path}/batchnorm",
        T=FLOAT32,
        variance_epsilon=1e-3,
        scale_after_normalization=block.isdecimal() and int(block) >= _SCALED_FROM,
    )
    return nodes.op("Relu", [_checked(nodes, x, path)], path, T=FLOAT32)


def _pool_2015(nodes: Nodes, step: Pool, x: Tensor) -> Tensor:
    kind = "AvgPool" if step.kind == "avg" else "MaxPool"
    attrs: dict[str, Any] = {"T": FLOAT32} if kind == "AvgPool" else {}  # MaxPool took float32 only
    strides = (1, step.stride, step.stride, 1)
    x = _checked(nodes, x, step.path)
    return nodes.op(kind, [x], step.path, ksize=(1, 3, 3, 1), strides=strides, padding=step.padding, **attrs)


def _join_2015(nodes: Nodes, step: Block, parts: Sequence[Tensor]) -> Tensor:
    axis = nodes.const(f"{step.path}/join/concat_dim", np.array(3, np.int32))
    return nodes.op("Concat", [axis, *parts], f"{step.path}/join", T=FLOAT32, N=len(parts))


def write_untrained_2015(path: str | os.PathLike[str], seed: int = 0, classes: int = 1008) -> None:
    """Writes a frozen GraphDef of the 2015 form with seeded, untrained weights (96 MB): real speed, meaningless labels."""
    import io

    from PIL import Image

    from ...writers.graphdef import save_graphdef

    blank = io.BytesIO()
    Image.new("RGB", (16, 16), (128, 128, 128)).save(blank, "JPEG")
    save_graphdef(build_2015(seeded_weights(seed, classes), blank.getvalue()), path)
