"""The built-in Inception v3: its weights from three families, its options, the frozen form of 2015."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.builder import Graph
from kigraph.graph.errors import LoadError
from kigraph.graph.ir import Literal
from kigraph.graph.loaders import load
from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.models import graph_of_weights
from kigraph.graph.models.inception_v3.build import (
    OPTIONS,
    Options,
    build,
    build_2015,
    build_from_file,
    write_untrained_2015,
)
from kigraph.graph.models.inception_v3.files import network_of
from kigraph.graph.models.inception_v3.layers import CONVS
from kigraph.graph.models.inception_v3.weights import InceptionWeights, seeded_weights
from kigraph.graph.session import Session
from kigraph.opening import open_file

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def weights() -> InceptionWeights:
    return seeded_weights(3, classes=20)


@pytest.fixture(scope="module")
def image() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).uniform(-1, 1, (1, 299, 299, 3)).astype(np.float32)


def test_shapes_through_the_network(weights: InceptionWeights) -> None:
    graph = build(weights)
    want = {
        "conv": (None, 149, 149, 32),
        "pool": (None, 73, 73, 64),
        "pool_1": (None, 35, 35, 192),
        "mixed/join": (None, 35, 35, 256),
        "mixed_2/join": (None, 35, 35, 288),
        "mixed_3/join": (None, 17, 17, 768),
        "mixed_7/join": (None, 17, 17, 768),
        "mixed_8/join": (None, 8, 8, 1280),
        "mixed_10/join": (None, 8, 8, 2048),
        "pool_3": (None, 1, 1, 2048),
        "logits": (None, 20),
        "predictions": (None, 20),
    }
    assert {name: graph.tensor(name).shape for name in want} == want
    assert build(weights, batch=4).tensor("logits").shape == (4, 20)


def test_the_2015_form_is_that_of_a_real_file_of_its_kind(flowers: Path, weights: InceptionWeights) -> None:
    """Node by node: ops, inputs, control inputs, attributes, shapes; up to pool_3, where retraining cuts."""
    real = open_file(flowers, strict=True).graph
    ours = build_2015(weights, b"jpeg")
    assert real.metadata["producer"] == ours.metadata["producer"] == 8
    ours_by_name = {op.name: op for op in ours.operations}
    compared = 0
    for op in real.operations:
        if op.name.startswith(("input/", "final_")):
            continue
        mine = ours_by_name[op.name]
        assert mine.type == op.type, op.name
        assert [t.name for t in mine.inputs] == [t.name for t in op.inputs], op.name
        assert [c.name for c in mine.control_inputs] == [c.name for c in op.control_inputs], op.name
        assert [t.shape for t in mine.outputs] == [t.shape for t in op.outputs], op.name
        assert mine.attrs.keys() == op.attrs.keys() - {"use_cudnn_on_gpu"}, op.name
        for name, value in mine.attrs.items():
            if isinstance(value, float):
                assert value == pytest.approx(op.attrs[name], rel=1e-6)
            elif not isinstance(value, Literal):
                assert value == op.attrs[name], (op.name, name)
        compared += 1
    assert compared == len(real) - 8


# --- three families of weights --------------------------------------------------------------------------------------------


def own_arrays(weights: InceptionWeights) -> Arrays:
    """The weights under kigraph's own names: '<path>/kernel', '/beta', '/mean', '/variance', '/gamma', 'logits/...'."""
    arrays = {"logits/kernel": weights.kernel.array(), "logits/bias": weights.bias.array()}
    for path, conv in weights.convs.items():
        for name in ("kernel", "beta", "mean", "variance", "gamma"):
            arrays[f"{path}/{name}"] = getattr(conv, name).array()
    return arrays


def torchvision_arrays(weights: InceptionWeights) -> Arrays:
    arrays: Arrays = {}
    for sized in CONVS:
        w, name = weights.convs[sized.conv.path], sized.conv.torchvision
        assert w.gamma is not None
        arrays[f"{name}.conv.weight"] = np.ascontiguousarray(w.kernel.array().transpose(3, 2, 0, 1))
        arrays[f"{name}.bn.weight"] = w.gamma.array()
        arrays[f"{name}.bn.bias"] = w.beta.array()
        arrays[f"{name}.bn.running_mean"] = w.mean.array()
        arrays[f"{name}.bn.running_var"] = w.variance.array()
        arrays[f"{name}.bn.num_batches_tracked"] = np.array(0, np.int64)
    arrays["AuxLogits.fc.weight"], arrays["AuxLogits.fc.bias"] = (
        np.zeros((20, 768), np.float32),
        np.zeros(20, np.float32),
    )
    for number, conv in enumerate([(128, 768, 1, 1), (768, 128, 5, 5)]):
        arrays[f"AuxLogits.conv{number}.conv.weight"] = np.zeros(conv, np.float32)
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"AuxLogits.conv{number}.bn.{part}"] = np.ones(conv[0], np.float32)
    arrays["fc.weight"] = np.ascontiguousarray(weights.kernel.array().T)
    arrays["fc.bias"] = weights.bias.array()
    return arrays


def write_safetensors(path: Path, arrays: Arrays) -> None:
    names = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in arrays.items():
        header[name] = {"dtype": names[array.dtype], "shape": array.shape, "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    raw = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for array in arrays.values():
            file.write(array.tobytes())


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def write_torch(path: Path, arrays: Arrays) -> None:
    """As torch.save(model.state_dict()): opcodes of protocol 2, one stored member per array."""
    storages = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}
    code = b"\x80\x02ccollections\nOrderedDict\n)R("
    for i, (name, array) in enumerate(arrays.items()):
        strides = [int(np.prod(array.shape[k + 1 :])) for k in range(array.ndim)]
        storage = b"(" + text("storage") + f"ctorch\n{storages[array.dtype]}\n".encode() + text(str(i)) + text("cpu")
        code += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(array.size) + b"tQ" + number(0)
        for sizes in (array.shape, strides):
            code += b"(" + b"".join(map(number, sizes)) + b"t"
        code += b"\x89ccollections\nOrderedDict\n)RtR"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", code + b"u}" + text("_metadata") + b"}sb.")
        for i, array in enumerate(arrays.values()):
            archive.writestr(f"model/data/{i}", array.tobytes())
        archive.writestr("model/version", b"3\n")


def write_keras(path: Path, weights: InceptionWeights, first: int = 1) -> None:
    """As Keras 2: layers numbered as they were made, listed in another order."""
    h5py = pytest.importorskip("h5py", reason="Keras .h5 files need h5py")
    layers: dict[str, Arrays] = {}
    for i, sized in enumerate(CONVS):
        w = weights.convs[sized.conv.path]
        conv, norm = (f"{kind}_{first + i}" if first + i else kind for kind in ("conv2d", "batch_normalization"))
        layers[conv] = {f"{conv}/kernel:0": w.kernel.array()}
        layers[norm] = {
            f"{norm}/beta:0": w.beta.array(),
            f"{norm}/moving_mean:0": w.mean.array(),
            f"{norm}/moving_variance:0": w.variance.array(),
        }
        if w.gamma is not None:
            layers[norm][f"{norm}/gamma:0"] = w.gamma.array()
    layers["predictions"] = {"predictions/kernel:0": weights.kernel.array(), "predictions/bias:0": weights.bias.array()}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [
            n.encode() for n in sorted(layers, key=lambda n: hashlib.sha1(n.encode()).digest())
        ]
        for layer, arrays in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [n.encode() for n in arrays]
            for name, array in arrays.items():
                group[name] = array


@pytest.fixture(scope="module")
def files(weights: InceptionWeights, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("families")
    paths = {name: folder / name for name in ("torch.pth", "torch.safetensors", "own.safetensors", "keras.h5")}
    torchvision = torchvision_arrays(weights)
    write_torch(paths["torch.pth"], torchvision)
    write_safetensors(paths["torch.safetensors"], torchvision)
    write_safetensors(paths["own.safetensors"], own_arrays(weights))
    write_keras(paths["keras.h5"], weights)
    yield paths
    for path in paths.values():
        path.unlink()


@pytest.mark.parametrize("naming", ["keras", "torchvision"])
def test_three_families_give_the_same_logits(
    files: dict[str, Path], weights: InceptionWeights, image: np.ndarray[Any, Any], naming: str
) -> None:
    """Not only close: the kernels are the same arrays, so the bits are the same."""
    options = OPTIONS[naming]
    want = Session(build(weights, options), backend="numpy").run("logits:0", {"input:0": image})
    assert np.isfinite(want).all()
    assert want.std() > 0.1
    for name, path in files.items():
        file = load(path).weights
        assert file is not None
        got = Session(build_from_file(file, options), backend="numpy").run("logits:0", {"input:0": image})
        np.testing.assert_array_equal(got, want, err_msg=name)


def test_families_say_whose_names_they_have(files: dict[str, Path]) -> None:
    assert {name: open_file(path, strict=True).graph.metadata for name, path in files.items()} == {
        "torch.pth": {"family": "torchvision", "file_family": "torch"},
        "torch.safetensors": {"family": "torchvision", "file_family": "safetensors"},
        "own.safetensors": {"family": "kigraph", "file_family": "safetensors"},
        "keras.h5": {"family": "keras", "file_family": "keras-h5"},
    }


@pytest.mark.parametrize("first", [0, 95], ids=["conv2d", "conv2d_95"])
def test_keras_layers_may_be_numbered_from_anywhere(tmp_path: Path, weights: InceptionWeights, first: int) -> None:
    write_keras(tmp_path / "w.h5", weights, first)
    file = load(tmp_path / "w.h5").weights
    assert file is not None
    got = network_of(file).convs
    for path, w in weights.convs.items():
        np.testing.assert_array_equal(got[path].beta.array(), w.beta.array(), err_msg=path)


def fake(arrays: dict[str, tuple[int, ...]], dtype: str = "float32") -> WeightsFile:
    """A file of arrays that are never read."""

    def never() -> Any:
        raise AssertionError("read")

    tensors = {name: TensorInfo(np.dtype(dtype), shape, dtype, never, name) for name, shape in arrays.items()}
    return WeightsFile("w.safetensors", "safetensors", tensors)


def names_of(weights: InceptionWeights) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in torchvision_arrays(weights).items()}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda a: a.pop("Mixed_6c.branch7x7_2.bn.running_var"),
            "no array 'Mixed_6c.branch7x7_2.bn.running_var'; similar",
        ),
        (
            lambda a: a.update({"fc.weight": (20, 100)}),
            r"'fc.weight' has shape \(20, 100\); Inception v3 has \(any, 2048\)",
        ),
        (lambda a: a.update({"fc.bias": (21,)}), r"'fc.bias' has shape \(21,\)"),
        (lambda a: a.update({"Conv2d_1a_3x3.conv.weight": (3, 3, 3, 32)}), r"\(32, 3, 3, 3\)"),
        (lambda a: a.pop("Conv2d_1a_3x3.conv.weight"), "those of no built-in network"),
    ],
)
def test_weights_that_do_not_fit(weights: InceptionWeights, change: Callable[[Any], Any], found: str) -> None:
    arrays = names_of(weights)
    change(arrays)
    with pytest.raises(LoadError, match=found):
        graph_of_weights(fake(arrays))


def test_integer_weights_do_not_fit(weights: InceptionWeights) -> None:
    with pytest.raises(LoadError, match="element type int8; expected floating point"):
        graph_of_weights(fake(names_of(weights), "int8"))


def test_keras_weights_without_top_say_so(files: dict[str, Path]) -> None:
    file = load(files["keras.h5"]).weights
    assert file is not None
    without = WeightsFile(file.file, file.family, {k: v for k, v in file.tensors.items() if "predictions" not in k})
    with pytest.raises(LoadError, match="without top"):
        graph_of_weights(without)
    fewer = WeightsFile(file.file, file.family, {k: v for k, v in file.tensors.items() if "conv2d_7/" not in k})
    with pytest.raises(LoadError, match="93 convolutions and 94 batch"):
        graph_of_weights(fewer)


# --- options ----------------------------------------------------------------------------------------------------------------


def run(graph: Graph, tensor: str, feed: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(Session(graph, backend="numpy").run(tensor, feed))


def test_pool_variants_differ_as_they_should(weights: InceptionWeights) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (1, 8, 8, 2048)).astype(np.float32)
    pool, at = "mixed_10/tower_2/pool:0", "mixed_9/join:0"
    exclude = run(build(weights), pool, {at: x})
    include = run(build(weights, Options(count_padding=True)), pool, {at: x})
    largest = run(build(weights, Options(last_pool="max")), pool, {at: x})
    np.testing.assert_allclose(exclude[:, 1:-1, 1:-1], include[:, 1:-1, 1:-1], rtol=1e-6)
    np.testing.assert_allclose(include[0, 0, 0], exclude[0, 0, 0] * 4 / 9, rtol=1e-6)
    np.testing.assert_allclose(include[0, 0, 3], exclude[0, 0, 3] * 6 / 9, rtol=1e-6)
    np.testing.assert_array_equal(largest[0, 0, 0], x[0, :2, :2].max((0, 1)))


def test_epsilon(weights: InceptionWeights) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (1, 149, 149, 32)).astype(np.float32)
    w = weights.convs["conv"]
    assert w.gamma is not None
    for epsilon in (1e-3, 1e-1):
        got = run(build(weights, Options(epsilon=epsilon)), "conv:0", {"conv/Conv2D:0": x})
        want = (x - w.mean.array()) / np.sqrt(w.variance.array() + epsilon) * w.gamma.array() + w.beta.array()
        np.testing.assert_allclose(got, np.maximum(want, 0), atol=1e-5)


def test_imagenet_input_is_rescaled(weights: InceptionWeights) -> None:
    """A pixel p in [0, 1] goes in as (p - mean) / std and must reach the network as 2 p - 1."""
    p = np.random.default_rng(0).uniform(0, 1, (1, 299, 299, 3))
    x = (p - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    got = run(build(weights, Options(input="imagenet")), "transform:0", {"input:0": x.astype(np.float32)})
    np.testing.assert_allclose(got, 2 * p - 1, atol=1e-6)


def test_pixels_input_resizes_and_scales(weights: InceptionWeights) -> None:
    pixels = np.zeros((2, 150, 150, 3), np.uint8)
    pixels[:, :, :, 1], pixels[:, :, :, 2] = 255, 51
    graph = build(weights, Options(input="pixels"))
    assert graph.tensor("input").shape == (None, 299, 299, 3)
    got = run(graph, "input:0", {"pixels:0": pixels})
    np.testing.assert_allclose(got, np.broadcast_to([-1, 1, -0.6], (2, 299, 299, 3)), atol=1e-5)


# --- seeded weights and the untrained file ---------------------------------------------------------------------------------


def test_seeded_weights_are_the_same_every_time_and_differ_by_seed() -> None:
    a, b, c = (seeded_weights(seed, 10).convs["conv_1"].kernel.array() for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert a.std() == pytest.approx((2 / (3 * 3 * 32)) ** 0.5, rel=0.05)


def test_the_untrained_file(tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    path = tmp_path / "untrained.pb"
    write_untrained_2015(path, seed=0, classes=1008)
    assert [p.name for p in tmp_path.iterdir()] == ["untrained.pb"]
    loaded = load(path)
    assert loaded.inputs == ("DecodeJpeg/contents:0",)
    assert loaded.outputs == ("softmax:0",)
    assert loaded.graph is not None
    session = Session(loaded.graph, backend="numpy")
    jpeg = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(jpeg, "JPEG")
    names = ["conv:0", "mixed_3/join:0", "mixed_10/join:0", "softmax/logits:0", "softmax:0"]
    *inside, probabilities = session.run(names, {"DecodeJpeg/contents:0": jpeg.getvalue()})
    for name, value in zip(names, inside, strict=False):
        assert np.isfinite(value).all(), name
        assert 0.05 < value.std() < 5, name
    assert probabilities.shape == (1, 1008)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    # It also runs as it is, on the picture inside the file.
    assert session.run("softmax:0").shape == (1, 1008)
