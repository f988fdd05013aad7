"""A ResNeXt quantised by ONNX Runtime: each layer against float64, given the integers that ONNX's evaluator gives it.

Whole networks of this kind cannot be compared closely. A value beside the middle of two steps is rounded to either, and random
weights amplify that: ONNX Runtime with and without its optimisations is 1e-2 apart on this file, and so is kigraph.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

if "tensorflow" in sys.modules:  # Triton crashes in a process that has loaded TensorFlow
    pytest.skip("PyTorch and TensorFlow run in processes of their own: make test-interop", allow_module_level=True)
torch = pytest.importorskip("torch", reason="has the network")
onnx = pytest.importorskip("onnx", reason="the evaluator of these files")
quantization = pytest.importorskip("onnxruntime.quantization", reason="the writer of these files")
from .nets_torch import randomize  # noqa: E402  (imports torch)

#: Steps from the middle of two: float32 sums of some hundred products, of up to 250 steps (found: 1e-4).
NEAR = 1e-3


class Photographs:
    """What the quantiser calibrates with."""

    def __init__(self, images: Any) -> None:
        self.images: Iterator[Any] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.images, None)
        return None if image is None else {"x": image[None]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = pytest.importorskip("torchvision", reason="has the network").models.resnet
    folder: Path = tmp_path_factory.mktemp("quantized")
    model = models.ResNet(models.Bottleneck, [1, 1, 1, 1], num_classes=10, groups=32, width_per_group=4).eval()
    randomize(model, 5)
    images = np.random.default_rng(0).normal(0, 1, (6, 3, 48, 48)).astype(np.float32)
    axes = {"x": {0: "batch"}}
    torch.onnx.export(
        model, (torch.tensor(images[:1]),), folder / "f.onnx", opset_version=17, dynamo=False, input_names=["x"], dynamic_axes=axes
    )  # fmt: skip
    for channels in (False, True):
        quantization.quantize_static(
            folder / "f.onnx", folder / f"q{channels:d}.onnx", Photographs(images), per_channel=channels,
            quant_format=quantization.QuantFormat.QDQ,
        )  # fmt: skip
    return folder


def real(array: Any, scale: Any, zero: Any) -> Any:
    """(integers - zero point) * scale, as float32 rounds it, along axis 0."""
    turn = (-1, *(1,) * (array.ndim - 1)) if np.ndim(scale) else ()
    return (array.astype(np.float32) - zero.astype(np.float32).reshape(turn)) * scale.reshape(turn)


@pytest.mark.parametrize("channels", [False, True])
def test_every_layer(channels: bool, files: Path) -> None:
    path = files / f"q{channels:d}.onnx"
    model = onnx.load(path)
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 48, 48)).astype(np.float32)
    session, layers, differing = ki.load(path).session, 0, 0
    for name, given, fed, steps, integers in exact_layers(model, evaluated(model, x)):
        found = np.asarray(session.run(name, {given: fed}))
        away = np.abs(np.abs(steps - np.floor(steps)) - 0.5)
        other = found != integers
        assert away[other].max(initial=0) < NEAR, name
        assert np.abs(found - integers).max() <= 1, name
        layers, differing = layers + 1, differing + int(other.sum())
    assert layers > 10
    assert differing < 200  # of a million


def exact_layers(model: Any, expected: dict[str, Any]) -> Iterator[tuple[str, str, Any, Any, Any]]:
    """Of every convolution: the integers behind it by name, those before it, their value, and in float64 steps and integers."""
    known = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = {name: node for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        given, *constants = [makers[name] for name in node.input]
        behind = readers[node.output[0]]
        rectified = behind.op_type == "Relu"
        behind = readers[behind.output[0]] if rectified else behind
        if behind.op_type != "QuantizeLinear":
            continue
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        fed = expected[given.input[0]]
        values = [real(fed, *(known[name] for name in given.input[1:]))]
        values += [real(*(known[name] for name in c.input)) for c in constants]
        exact = torch.nn.functional.conv2d(
            *(torch.tensor(v.astype(np.float64)) for v in values),
            attrs["strides"],
            attrs["pads"][:2],
            1,
            attrs["group"],
        ).numpy()
        steps = (np.maximum(exact, 0) if rectified else exact) / known[behind.input[1]].astype(np.float64)
        zero = int(known[behind.input[2]])
        info = np.iinfo(known[behind.input[2]].dtype)
        integers = np.clip(np.rint(steps) + zero, info.min, info.max)
        yield behind.output[0], given.input[0], fed, steps, integers


def evaluated(model: Any, x: Any) -> dict[str, Any]:
    """The integers behind every QuantizeLinear, by ONNX's own evaluator."""
    from onnx import version_converter
    from onnx.reference import ReferenceEvaluator

    whole = version_converter.convert_version(model, 19)  # the evaluator lacks older forms of these ops
    names = [name for node in whole.graph.node if node.op_type == "QuantizeLinear" for name in node.output]
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, None) for n in names)
    return dict(zip(names, ReferenceEvaluator(whole).run(None, {"x": x}), strict=True))
