"""TensorFlow Lite models: operators against NumPy in float64, names, shapes that may differ, what cannot run."""

from __future__ import annotations

import io
import itertools
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load
from tests.loaders import tflite_files as files
from tests.loaders.tflite_files import Lite

Write = Callable[..., Path]
SHARED = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "files"
RNG = np.random.default_rng(7)


def run(path: Path, fetches: Any, feeds: Mapping[str, Any]) -> Any:
    graph = load(path).graph
    assert graph is not None
    return ki.Session(graph, backend="numpy").run(fetches, feeds)


def reals(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape).astype(np.float32)


def one(
    write: Write, name: str, arrays: list[Any], shape: tuple[int, ...], options: Mapping[int, Any] | None = None,
    kind: str = "float32", count: int = 1,
) -> Any:  # fmt: skip
    """The results of one operator: the first array is fed, the others are constants of the model."""
    model = Lite()
    x = model.tensor("x", arrays[0].shape, arrays[0].dtype.name)
    rest = [model.constant(f"c{i}", a) for i, a in enumerate(arrays[1:])]
    outputs = [model.tensor(f"y{i}", shape, kind) for i in range(count)]
    model.op(name, [x, *rest], outputs, options)
    found = run(write(model.bytes([x], outputs)), [f"y{i}" for i in range(count)], {"x": arrays[0]})
    return found if count > 1 else found[0]


X = reals(2, 5, 6, 4)
INT = np.int32
RELU, RELU_N1, RELU6, TANH = ("i8", 1), ("i8", 2), ("i8", 3), ("i8", 4)
SAME, VALID = ("i8", 0), ("i8", 1)


def windows(x: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """Windows of a padded image, stride 1: (n, h, w, c, height, width)."""
    return np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (height, width), (1, 2))


def gelu(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ELEMENTWISE: dict[str, tuple[str, list[Any], Mapping[int, Any] | None, Callable[[Any], Any]]] = {
    "add": ("ADD", [X, reals(4)], {0: RELU6}, lambda x, c: np.clip(x + c, 0, 6)),
    "sub": ("SUB", [X, reals(6, 1)], {0: RELU_N1}, lambda x, c: np.clip(x - c, -1, 1)),
    "mul": ("MUL", [X, reals(4)], {0: TANH}, lambda x, c: np.tanh(x * c)),
    "div": ("DIV", [X, 2 + np.abs(reals(4))], {}, lambda x, c: x / c),
    "relu 0 to 1": ("RELU_0_TO_1", [X], None, lambda x: np.clip(x, 0, 1)),
    "relu -1 to 1": ("RELU_N1_TO_1", [X], None, lambda x: np.clip(x, -1, 1)),
    "hard swish": ("HARD_SWISH", [X], None, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "gelu": ("GELU", [X], {0: ("bool", True)}, gelu),
    "prelu": ("PRELU", [X, reals(1, 1, 4)], None, lambda x, a: np.where(x > 0, x, a * x)),
    "softmax": ("SOFTMAX", [X], {0: ("f32", 0.5)}, lambda x: np.exp(x / 2) / np.exp(x / 2).sum(-1, keepdims=True)),
    "l2": ("L2_NORMALIZATION", [X], {}, lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True))),
}


@pytest.mark.parametrize("case", ELEMENTWISE)
def test_elementwise(write: Write, case: str) -> None:
    name, arrays, options, expected = ELEMENTWISE[case]
    wanted = expected(*(np.asarray(a, np.float64) for a in arrays))
    np.testing.assert_allclose(one(write, name, arrays, X.shape, options), wanted, rtol=2e-5, atol=2e-6)


def test_conv_has_the_options_width_first(write: Write) -> None:
    """Strides (2 high, 1 wide), dilation 2 in height; weights are (out, height, width, in)."""
    w, b = reals(3, 2, 3, 4), reals(3)
    options = {0: VALID, 1: ("i32", 1), 2: ("i32", 2), 3: RELU, 4: ("i32", 1), 5: ("i32", 2)}
    got = one(write, "CONV_2D", [X, w, b], (2, 2, 4, 3), options)
    seen = windows(X, 3, 3)[:, ::2, :, :, ::2, :]
    np.testing.assert_allclose(got, np.maximum(np.einsum("nhwcij,oijc->nhwo", seen, w) + b, 0), rtol=1e-4, atol=1e-5)


def test_conv_of_groups(write: Write) -> None:
    """The weights take half of the channels: two groups."""
    w = reals(6, 1, 1, 2)
    got = one(write, "CONV_2D", [X, w], (2, 5, 6, 6), {1: ("i32", 1), 2: ("i32", 1)})
    parts = [X[..., 2 * g : 2 * g + 2] @ w[3 * g : 3 * g + 3, 0, 0].T for g in range(2)]
    np.testing.assert_allclose(got, np.concatenate(parts, -1), rtol=1e-4, atol=1e-5)


def test_depthwise_has_a_multiplier(write: Write) -> None:
    w, b = reals(1, 3, 3, 8), reals(8)
    options = {0: SAME, 1: ("i32", 1), 2: ("i32", 1), 3: ("i32", 2)}
    got = one(write, "DEPTHWISE_CONV_2D", [X, w, b], (2, 5, 6, 8), options)
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    wanted = np.einsum("nhwcij,ijcm->nhwcm", windows(padded, 3, 3), w.reshape(3, 3, 4, 2)).reshape(2, 5, 6, 8) + b
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_average_pools_leave_padding_out(write: Write) -> None:
    options = {0: SAME, 1: ("i32", 1), 2: ("i32", 1), 3: ("i32", 3), 4: ("i32", 2)}
    padded, ones = (np.pad(a, ((0, 0), (0, 1), (1, 1), (0, 0))) for a in (X, np.ones_like(X)))
    count = windows(ones, 2, 3).sum((-1, -2))
    got = one(write, "AVERAGE_POOL_2D", [X], X.shape, options)
    np.testing.assert_allclose(got, windows(padded, 2, 3).sum((-1, -2)) / count, rtol=1e-5, atol=1e-6)
    squares = windows(padded**2, 2, 3).sum((-1, -2)) / count
    np.testing.assert_allclose(one(write, "L2_POOL_2D", [X], X.shape, options), np.sqrt(squares), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
def test_fully_connected(write: Write, keep: bool) -> None:
    w, b = reals(3, 4), reals(3)
    shape = (2, 5, 6, 3) if keep else (60, 3)
    got = one(write, "FULLY_CONNECTED", [X, w, b], shape, {0: RELU, 2: ("bool", keep)})
    np.testing.assert_allclose(got, np.maximum(X.reshape(-1, 4) @ w.T + b, 0).reshape(shape), rtol=1e-4, atol=1e-5)


def test_weights_may_be_computed(write: Write) -> None:
    """The second input of a fully connected operator is fed."""
    model = Lite()
    x, w, y = model.tensor("x", (5, 4)), model.tensor("w", (3, 4)), model.tensor("y", (5, 3))
    model.op("FULLY_CONNECTED", [x, w, -1], [y], {})
    a, b = reals(5, 4), reals(3, 4)
    (got,) = run(write(model.bytes([x, w], [y])), ["y"], {"x": a, "w": b})
    np.testing.assert_allclose(got, a @ b.T, rtol=1e-5, atol=1e-6)


def test_moving_elements(write: Write) -> None:
    flat = one(write, "RESHAPE", [X], (10, 24), {0: files.ints((10, -1))})
    np.testing.assert_array_equal(flat, X.reshape(10, 24))
    options = {0: ("i32", 1), 1: ("i32", 1), 4: ("i32", 4)}
    got = one(
        write, "STRIDED_SLICE", [X, *map(files.ints, ((9, 1, 1, 0), (2, 4, 2, 9), (-1, 2, 1, 1)))], (2, 2, 4), options
    )
    np.testing.assert_array_equal(got, X[::-1, 1:4:2, 1, 0:9])
    gathered = one(write, "GATHER", [X, files.ints((3, 0))], (2, 5, 6, 2), {0: ("i32", -1)})
    np.testing.assert_array_equal(gathered, X[..., [3, 0]])
    values, indices = one(write, "TOPK_V2", [X, np.array(2, INT)], (2, 5, 6, 2), count=2)
    np.testing.assert_array_equal(values, np.sort(X, -1)[..., :-3:-1])
    np.testing.assert_array_equal(indices, np.argsort(-X, -1)[..., :2])
    lines = one(write, "UNPACK", [X], (2, 5, 6), {0: ("i32", 4), 1: ("i32", 3)}, count=4)
    np.testing.assert_array_equal(np.stack(lines, -1), X)
    assert one(write, "ARG_MAX", [X, np.array(3, INT)], (2, 5, 6), {0: ("i8", 4)}, "int64").dtype == np.int64
    assert one(write, "CAST", [X], X.shape, {}, "int32").dtype == np.int32


def test_halves_and_packed_weights(write: Write) -> None:
    """float16 behind a DEQUANTIZE, four bits with a scale for each channel, bfloat16."""
    model = Lite()
    x = model.tensor("x", (1, 4))
    half = reals(3, 4).astype(np.float16)
    expanded, y = model.tensor("expanded", (3, 4)), model.tensor("y", (1, 3))
    model.op("DEQUANTIZE", [model.constant("half", half)], [expanded])
    model.op("FULLY_CONNECTED", [x, expanded], [y], {})
    steps = RNG.integers(-8, 8, (3, 4))
    packed = ((steps[:, 1::2] & 15) << 4 | steps[:, ::2] & 15).astype(np.uint8)
    scale = [0.5, 0.25, 2.0]
    four = model.tensor("four", (3, 4), "int4", scale=scale, data=packed.tobytes())
    z = model.tensor("z", (1, 3))
    model.op("FULLY_CONNECTED", [x, four], [z], {})
    brain = reals(3, 4).view(np.uint32) >> 16
    b = model.tensor("b", (3, 4), "bfloat16", data=brain.astype(np.uint16).tobytes())
    s = model.tensor("s", (1, 3))
    model.op("FULLY_CONNECTED", [x, b], [s], {})
    a = reals(1, 4)
    got = run(write(model.bytes([x], [y, z, s])), ["y", "z", "s"], {"x": a})
    for found, weights in zip(
        got, (half.astype(np.float32), steps * np.array(scale)[:, None], (brain << 16).view(np.float32)), strict=True
    ):
        np.testing.assert_allclose(found, a @ weights.T, rtol=1e-5, atol=1e-6)


def csr(dense: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], files.Table]:
    """Rows that are dense, columns that are named: the stored values, and the levels."""
    segments = np.concatenate([[0], np.cumsum((dense != 0).sum(1))]).astype(np.int32)
    indices = np.nonzero(dense)[1].astype(np.uint8)
    rows = files.Table({0: ("i8", 0), 1: ("i32", dense.shape[0])})
    vector, small = files.Table({0: segments}), files.Table({0: indices})
    columns = files.Table({0: ("i8", 1), 2: ("u8", 1), 3: vector, 4: ("u8", 3), 5: small})
    return dense[dense != 0], files.Table({0: files.ints((0, 1)), 2: [rows, columns]})


def test_sparse_weights(write: Write) -> None:
    dense = reals(3, 4) * (RNG.random((3, 4)) < 0.5)
    values, levels = csr(dense)
    model = Lite()
    x, y = model.tensor("x", (1, 4)), model.tensor("y", (1, 3))
    w = model.tensor("w", (3, 4), data=values.tobytes(), more={6: levels})
    expanded = model.tensor("expanded", (3, 4))
    model.op("DENSIFY", [w], [expanded])
    model.op("FULLY_CONNECTED", [x, expanded], [y], {})
    a = reals(1, 4)
    (got,) = run(write(model.bytes([x], [y])), ["y"], {"x": a})
    np.testing.assert_allclose(got, a @ dense.T, rtol=1e-5, atol=1e-6)


def test_sparse_weights_in_blocks(write: Write) -> None:
    """Blocks of 2 x 2: every block of a row of blocks is named."""
    dense = np.zeros((4, 4), np.float32)
    dense[:2, 2:], dense[2:, :2] = reals(2, 2), reals(2, 2)
    segments, indices = files.Table({0: files.ints((0, 1, 2))}), files.Table({0: files.ints((1, 0))})
    block = files.Table({1: ("i32", 2)})
    columns = files.Table({0: ("i8", 1), 2: ("u8", 1), 3: segments, 4: ("u8", 1), 5: indices})
    levels = files.Table({0: files.ints((0, 1, 2, 3)), 1: files.ints((0, 1)), 2: [block, columns, block, block]})
    model = Lite()
    x, y = model.tensor("x", (1, 4)), model.tensor("y", (1, 4))
    values = np.concatenate([dense[:2, 2:].ravel(), dense[2:, :2].ravel()])
    w = model.tensor("w", (4, 4), data=values.tobytes(), more={6: levels})
    model.op("FULLY_CONNECTED", [x, w], [y], {})
    a = reals(1, 4)
    (got,) = run(write(model.bytes([x], [y])), ["y"], {"x": a})
    np.testing.assert_allclose(got, a @ dense.T, rtol=1e-5, atol=1e-6)
    levels[2][1][5] = files.Table({0: files.ints((1, 9))})
    with pytest.raises(LoadError, match="an index beyond the shape"):
        load(write(model.bytes([x], [y])))


# --- names and shapes -----------------------------------------------------------------------------------------------


def test_names_and_batches(write: Write) -> None:
    model = Lite()
    x = model.tensor("serving_default_x:0", (1, 2, 3), signature=(-1, 2, 3))
    y, z = model.tensor("a/b;c:0", (1, 2, 3)), model.tensor("", (1, 2, 3))
    model.op("TANH", [x], [y])
    model.op("RELU", [y], [z])
    model.signature({"image": x}, {"scores": z})
    path = write(model.bytes([x], [z]))
    loaded = load(path)
    assert loaded.graph is not None
    assert loaded.family.name == "tflite"
    assert (loaded.inputs, loaded.outputs) == (("image",), ("scores",))
    assert loaded.graph.tensor("serving_default_x:0").shape == (None, 2, 3)
    a = reals(4, 2, 3)
    inner, result = run(path, ["a/b;c:0", "scores"], {"serving_default_x:0": a})
    np.testing.assert_allclose(result, np.maximum(np.tanh(a), 0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(inner, np.tanh(a), rtol=1e-6, atol=1e-6)


def test_signatures_of_other_names(write: Write) -> None:
    """'serving_default' is what an interpreter runs by itself; a name that two signatures use for two tensors is none."""
    model = Lite()
    x, y = model.tensor("x", (1, 3)), model.tensor("y", (1, 3))
    model.op("TANH", [x], [y])
    model.signature({"in": x}, {"out": y}, "encode")
    model.signature({"in": y}, {"again": y}, "decode")
    graph = load(write(model.bytes([x], [y]))).graph
    assert graph is not None
    assert set(graph.signatures) == {"encode", "decode", "serving_default"}
    assert graph.signatures["serving_default"].inputs == {"x": graph.signatures["encode"].inputs["in"]}
    assert "in" not in graph.aliases
    assert graph.aliases["again"] == graph.aliases["y"] == graph.signatures["encode"].outputs["out"]


def test_a_model_for_one_image_takes_more(write: Write) -> None:
    """The file says one image, also where it flattens."""
    model = Lite()
    x, y = model.tensor("x", (1, 2, 1, 3)), model.tensor("y", (1, 6))
    model.op("RESHAPE", [x, model.constant("shape", files.ints((1, 6)))], [y])
    a = reals(5, 2, 1, 3)
    (got,) = run(write(model.bytes([x], [y])), ["y"], {"x": a})
    np.testing.assert_array_equal(got, a.reshape(5, 6))


def test_what_cannot_run_can_be_fed_past(write: Write) -> None:
    model = Lite()
    x, y, z = model.tensor("x", (1, 3)), model.tensor("y", (1, 3)), model.tensor("z", (1, 3))
    model.op("Mystery", [x], [y])
    model.op("TANH", [y], [z])
    path = write(model.bytes([x], [z]))
    graph = load(path).graph
    assert graph is not None
    assert graph.metadata["unsupported"] == ("operator 0 (Mystery): a custom operator",)
    with pytest.raises(ki.UnsupportedOpError, match="Mystery"):
        run(path, ["z"], {"x": np.zeros((1, 3), np.float32)})
    a = reals(1, 3)
    (got,) = run(path, ["z"], {"y": a})
    np.testing.assert_allclose(got, np.tanh(a), rtol=1e-6, atol=1e-6)
    model.codes[0] = files.Table({0: ("i8", 44), 3: ("i32", 44)})
    with pytest.raises(ki.UnsupportedOpError, match="TFLite_UNIDIRECTIONAL_SEQUENCE_LSTM"):
        run(write(model.bytes([x], [z])), ["z"], {"x": a})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"data": bytes(8)}, "8 bytes"),
        ({"data": None}, "no data"),
        ({"data": bytes(24), "scale": [1.0, 2.0, 3.0]}, "3 scales on axis 0"),
        ({"data": bytes(24), "scale": float("nan")}, "scales"),
    ],
)
def test_constants_are_checked(write: Write, change: dict[str, Any], found: str) -> None:
    model = Lite()
    x, y = model.tensor("x", (2, 3)), model.tensor("y", (2, 3))
    w = model.tensor("w", (2, 3), **change)
    model.op("MUL", [x, w], [y])
    with pytest.raises(LoadError, match=found):
        load(write(model.bytes([x], [y])))


def test_indices_are_checked(write: Write) -> None:
    for inputs, outputs, ends in (([9], [1], [1]), ([0], [9], [1]), ([0], [1], [9]), ([], [1], [1]), ([0], [0], [1])):
        model = Lite()
        model.tensor("x", (2, 3)), model.tensor("y", (2, 3))
        model.op("TANH", inputs, outputs)
        with pytest.raises(LoadError):
            load(write(model.bytes([0], ends)))


def test_limits(write: Write) -> None:
    """Shapes beyond all memory allocate nothing, and what is fed decides; more operations than may be are refused."""
    model = Lite()
    x, y = model.tensor("x", (1 << 30, 1 << 30, 1 << 30)), model.tensor("y", (1,))
    model.op("TANH", [x], [y])
    graph = load(write(model.bytes([x], [y]))).graph
    assert graph is not None
    with ki.Session(graph, backend="numpy") as session:
        assert session.run("y", {"x": np.zeros((1, 1, 1), np.float32)}).shape == (1, 1, 1)
    model = Lite()
    tensors = [model.tensor(f"t{i}", (1, 4), "int8", scale=0.1) for i in range(40)]
    for before, after in itertools.pairwise(tensors):
        model.op("TANH", [before], [after])
    path = write(model.bytes(tensors[:1], tensors[-1:]))
    assert load(path).graph is not None
    with pytest.raises(LoadError, match="100 nodes"):
        load(path, LoadLimits(max_nodes=100))


def test_metadata(write: Write) -> None:
    model = Lite()
    x, y = model.tensor("x", (1, 2, 2, 3)), model.tensor("y", (1, 2, 2, 3))
    model.op("TANH", [x], [y])
    model.entry("TFLITE_METADATA", files.metadata((127.5,), (127.5, 1, 2), "labels.txt"))
    data = model.bytes([x], [y])
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog \n")
    graph = load(write(buffer.getvalue())).graph
    assert graph is not None
    assert graph.metadata["normalization"] == {"x": ((127.5,), (127.5, 1, 2))}
    assert graph.metadata["labels"] == ("cat", "dog")
    without = load(write(data)).graph
    assert without is not None
    assert "labels" not in without.metadata
    assert "no directory" in without.metadata["problem"]


def entries() -> list[dict[str, Any]]:
    index = SHARED / "index.json"
    return [e for e in json.loads(index.read_text()) if "tflite" in e["family"]] if index.exists() else []


@pytest.mark.slow
@pytest.mark.parametrize("entry", entries(), ids=lambda e: e["file"])
def test_real_files(entry: dict[str, Any]) -> None:
    golden = np.load(SHARED / entry["golden"])
    feeds = {i["name"]: golden["input:" + i["name"]] for i in entry["inputs"]}
    try:
        got = run(SHARED / entry["file"], entry["outputs"], feeds)
    except ki.UnsupportedOpError as error:
        pytest.skip(f"an op of another family of kernels: {error}")
    for name, found in zip(entry["outputs"], got, strict=True):
        wanted = golden["output:" + name]
        assert found.dtype == wanted.dtype
        if wanted.dtype.kind in "iu":
            np.testing.assert_array_equal(found, wanted)
        else:
            distance = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
            assert distance <= entry["tolerance"]
