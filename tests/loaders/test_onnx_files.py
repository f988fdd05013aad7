"""Reading ONNX files: names, constants in all their spellings, external data, functions, and what is refused."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx_files as files
import pytest

import kigraph as ki
from kigraph.graph.errors import LoadError, UnsupportedOpError
from kigraph.graph.formats.limits import LoadLimits
from kigraph.graph.formats.onnx import SparseTensor
from kigraph.graph.formats.onnx_tensors import STORED
from kigraph.graph.formats.protobuf.write import pack_numbers
from kigraph.graph.loaders import load

X = {"x": ("float32", (2, 3))}
ADD = [files.node("Add", ["x", "w"], ["y"])]


def load_bytes(path: Path, content: bytes, **limits: int) -> Any:
    path.write_bytes(content)
    return load(path, LoadLimits(**limits) if limits else None)


def test_names_and_signature(tmp_path: Path) -> None:
    nodes = [
        files.node("Relu", ["in put:0"], ["/layer.1/Relu output"]),
        files.node("Identity", ["/layer.1/Relu output"], ["0"]),
    ]
    content = files.model(nodes, {"in put:0": ("float32", ("batch", 3))}, ["0"])
    loaded = load_bytes(tmp_path / "m.onnx", content)
    assert loaded.family.name == "onnx"
    assert loaded.inputs == ("in put:0",)
    assert loaded.outputs == ("0",)
    assert loaded.graph.tensor("in put:0").shape == (None, 3)
    session = ki.Session(loaded.graph, backend="numpy")
    x = np.array([[-1, 0, 2]], np.float32)
    np.testing.assert_array_equal(session.run(["0"], {"in put:0": x})[0], [[0, 0, 2]])
    # A value in between can be fed by its own name, and Identity is a value of its own.
    np.testing.assert_array_equal(session.run(["0"], {"/layer.1/Relu output": x})[0], x)
    found = session.run(["/layer.1/Relu output"], {"0": x, "in put:0": -x})[0]
    np.testing.assert_array_equal(found, [[1, 0, 0]])


def test_an_initializer_is_no_input(tmp_path: Path) -> None:
    """Before IR version 4 the inputs list the initializers, too."""
    content = files.model(ADD, {**X, "w": ("float32", (3,))}, ["y"], {"w": np.ones(3, np.float32)}, ir=3)
    assert load_bytes(tmp_path / "m.onnx", content).inputs == ("x",)


SPELLINGS = [
    (1, [1.5, -2.0], {"float_data": [pack_numbers([1.5, -2.0], "float")]}),
    (3, [-5, 7], {"int32_data": [pack_numbers([-5, 7], "int32")]}),
    (2, [200, 7], {"int32_data": [pack_numbers([200, 7], "int32")]}),
    (9, [True, False], {"int32_data": [pack_numbers([1, 0], "int32")]}),
    (9, [True, False], {"raw_data": b"\x07\x00"}),
    (10, [1.0, -2.0], {"int32_data": [pack_numbers([0x3C00, 0xC000], "int32")]}),
    (16, [1.0, -2.0], {"int32_data": [pack_numbers([0x3F80, 0xC000], "int32")]}),
    (16, [1.0, -2.0], {"raw_data": b"\x80\x3f\x00\xc0"}),
    (7, [-(1 << 40), 3], {"int64_data": [pack_numbers([-(1 << 40), 3], "int64")]}),
    (13, [1 << 63, 3], {"uint64_data": [pack_numbers([1 << 63, 3], "uint64")]}),
    (11, [0.1, 2.0], {"double_data": [pack_numbers([0.1, 2.0], "double")]}),
    (14, [1 + 2j, 3j], {"float_data": [pack_numbers([1, 2, 0, 3], "float")]}),
    (22, [-8, 7], {"raw_data": b"\x78"}),
    (21, [15, 2], {"int32_data": [pack_numbers([0x2F], "int32")]}),
    (26, [-2, 1], {"raw_data": b"\x06"}),
    (17, [448.0, -0.001953125], {"raw_data": b"\x7e\x81"}),
    (19, [57344.0, -np.inf], {"raw_data": b"\x7b\xfc"}),
    (18, [240.0, np.nan], {"raw_data": b"\x7f\x80"}),
    (23, [6.0, -0.5], {"raw_data": b"\x97"}),
    (24, [1.0, np.nan], {"raw_data": b"\x7f\xff"}),
]


@pytest.mark.parametrize(("kind", "value", "fields"), SPELLINGS)
def test_constants(tmp_path: Path, kind: int, value: list[Any], fields: dict[str, Any]) -> None:
    constant = files.tensor("w", np.zeros(2), data_type=kind, raw_data=fields.get("raw_data"))
    for name, data in fields.items():
        setattr(constant, name, data)
    loaded = load_bytes(tmp_path / "m.onnx", files.model([], {}, ["w"], {"w": constant}))
    literal = loaded.graph.tensor("w").op.attrs["value"]
    assert literal.dtype == STORED[kind].dtype
    np.testing.assert_array_equal(literal.array(), np.array(value, literal.dtype))


def test_a_scalar_has_no_axes(tmp_path: Path) -> None:
    for fields in ({"float_data": [pack_numbers([2.5], "float")]}, {"raw_data": np.float32(2.5).tobytes()}):
        constant = files.tensor("w", np.float32(0), **{"raw_data": None, **fields})
        literal = (
            load_bytes(tmp_path / "m.onnx", files.model([], {}, ["w"], {"w": constant}))
            .graph.tensor("w")
            .op.attrs["value"]
        )
        assert literal.shape == literal.array().shape == ()
        assert literal.array() == 2.5


def test_every_small_float_is_the_one_of_ml_dtypes() -> None:
    ml = pytest.importorskip("ml_dtypes")
    for kind, name in ((17, "float8_e4m3fn"), (18, "float8_e4m3fnuz"), (19, "float8_e5m2"), (20, "float8_e5m2fnuz")):
        table = STORED[kind].table
        assert table is not None
        want = np.arange(256, dtype=np.uint8).view(getattr(ml, name)).astype(np.float32)
        np.testing.assert_array_equal(table(), want)


def test_sparse(tmp_path: Path) -> None:
    values, indices = files.tensor("w", np.array([5.0, 7.0], np.float32)), files.tensor("", np.array([[0, 2], [1, 0]]))
    sparse = SparseTensor(values, indices, [pack_numbers([2, 3], "int64")])  # type: ignore[list-item]
    node = files.node("Constant", [], ["w"])
    node.attribute = [files.Attribute(name="sparse_value", sparse_tensor=sparse, type=11)]
    (y,) = files.run(
        tmp_path / "m.onnx", files.model([node, *ADD], X, ["y"]), ["y"], {"x": np.zeros((2, 3), np.float32)}
    )
    np.testing.assert_array_equal(y, [[0, 0, 5], [7, 0, 0]])
    indices.raw_data = np.array([[0, 3], [1, 0]]).tobytes()  # type: ignore[assignment]
    with pytest.raises(LoadError, match="positions in"):
        load_bytes(tmp_path / "m.onnx", files.model([node, *ADD], X, ["y"]))


# --- external data -------------------------------------------------------------------------------------------------------

W = np.array([10, 20, 30], np.float32)


def external(tmp_path: Path, **entries: str) -> Any:
    constant = files.external("w", W, **entries)
    return load_bytes(tmp_path / "m.onnx", files.model(ADD, X, ["y"], {"w": constant}))


def test_external_data(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"1234" + W.tobytes() + b"more")
    loaded = external(tmp_path, location="sub/w.bin", offset="4", length="12")
    (y,) = ki.Session(loaded.graph, backend="numpy").run(["y"], {"x": np.zeros((2, 3), np.float32)})
    np.testing.assert_array_equal(y, [W, W])


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ({"location": "../w.bin"}, "a path below"),
        ({"location": "/etc/passwd"}, "a path below"),
        ({"location": "a\\w.bin"}, "a path below"),
        ({"location": ""}, "a path below"),
        ({"location": "."}, "a path below"),
        ({"location": "nothing.bin"}, "cannot be opened"),
        ({"location": "w.bin\0"}, "a path below"),
        ({"location": "w.bin", "offset": "-4"}, "a number of bytes"),
        ({"location": "w.bin", "offset": "1"}, "bytes at 1"),
        ({"location": "w.bin", "offset": "99999999999999999999"}, "a number of bytes"),
        ({"location": "w.bin", "length": "8"}, "12 bytes"),
        ({"location": "link.bin"}, "symbolic link"),
        ({"location": "folder/w.bin"}, "symbolic link"),
        ({"location": "hard.bin"}, "2 hard links"),
        ({"location": "pipe"}, "no regular file"),
        ({"location": "inside"}, "no regular file"),
    ],
)
def test_external_data_stays_in_the_folder(tmp_path: Path, entries: dict[str, str], found: str) -> None:
    folder = tmp_path / "model"
    (folder / "inside").mkdir(parents=True)
    for name in ("w.bin", "first.bin"):
        (folder / name).write_bytes(W.tobytes())
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (folder / "link.bin").symlink_to(folder / "w.bin")
    (folder / "folder").symlink_to(tmp_path)
    os.link(folder / "first.bin", folder / "hard.bin")
    os.mkfifo(folder / "pipe")
    with pytest.raises(LoadError, match=found):
        external(folder, **entries)


# --- functions -----------------------------------------------------------------------------------------------------------


def test_functions_are_put_in_place(tmp_path: Path) -> None:
    """Two levels, an attribute of the call and one with a default, an input that is left out."""
    clip = files.function(
        "local", "Cut", ["a", "low"], ["b"],
        [files.node("Clip", ["a", "low"], ["c"]), files.node("Softmax", ["c"], ["b"], axis="@axis")],
        attribute=["axis"],
    )  # fmt: skip
    outer = files.function(
        "local", "Outer", ["a"], ["b"],
        [files.node("Cut", ["a", ""], ["c"], "local", axis="@which"), files.node("Neg", ["c"], ["b"])],
        defaults=[files.attribute("which", 0)],
    )  # fmt: skip
    nodes = [files.node("Outer", ["x"], ["p"], "local"), files.node("Outer", ["x"], ["q"], "local", which=1)]
    content = files.model(nodes, X, ["p", "q"], functions=[clip, outer])
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    p, q = files.run(tmp_path / "m.onnx", content, ["p", "q"], {"x": x})
    for y, axis in ((p, 0), (q, 1)):
        np.testing.assert_allclose(-y, np.exp(x) / np.exp(x).sum(axis, keepdims=True), rtol=1e-5)


def test_functions_that_never_end(tmp_path: Path) -> None:
    def calls(name: str, other: str, times: int) -> Any:
        names = [f"v{i}" for i in range(times + 1)]
        nodes = [files.node(other, [a], [b], "local") for a, b in itertools.pairwise(names)]
        return files.function("local", name, ["v0"], [names[-1]], nodes)

    start = [files.node("F0", ["x"], ["y"], "local")]
    circle = files.model(start, X, ["y"], functions=[calls("F0", "F1", 1), calls("F1", "F0", 1)])
    with pytest.raises(LoadError, match="a call of itself"):
        load_bytes(tmp_path / "m.onnx", circle)
    last = files.function("local", "F20", ["a"], ["a"], [])
    many = files.model(start, X, ["y"], functions=[*(calls(f"F{i}", f"F{i + 1}", 2) for i in range(20)), last])
    with pytest.raises(LoadError, match="more than 2,000 nodes"):
        load_bytes(tmp_path / "m.onnx", many, max_nodes=2000)


# --- what is not served, and what is wrong -------------------------------------------------------------------------------


def test_an_unknown_op_stays(tmp_path: Path) -> None:
    """The file loads, says what it lacks when that is needed, and runs with a feed past it."""
    nodes = [files.node("Relu", ["x"], ["r"]), files.node("Mystery", ["r"], ["m"], "some.where", power=3)]
    nodes += [files.node("MaxPool", ["x"], ["p", "i"], kernel_shape=[1]), files.node("Softmax", ["m"], ["y"])]
    loaded = load_bytes(tmp_path / "m.onnx", files.model(nodes, {"x": ("float32", (2, 3, 4))}, ["y", "r"]))
    assert loaded.graph.tensor("m").op.type == "some.where.Mystery"
    session = ki.Session(loaded.graph, backend="numpy")
    x = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(UnsupportedOpError, match=r"'n_m' \(some.where.Mystery\): this op is not supported; feed"):
        session.run(["y"], {"x": x})
    np.testing.assert_array_equal(session.run(["i"], {"x": x})[0], np.arange(24).reshape(2, 3, 4))
    np.testing.assert_array_equal(session.run(["y"], {"m": x})[0], np.full((2, 3, 4), 0.25))


def test_an_attribute_that_is_not_known(tmp_path: Path) -> None:
    content = files.model([files.node("Relu", ["x"], ["y"], slope=0.5)], X, ["y"])
    with pytest.raises(UnsupportedOpError, match="attribute 'slope'"):
        files.run(tmp_path / "m.onnx", content, ["y"], {"x": np.zeros((2, 3), np.float32)})


WRONG = [
    (files.model(ADD, X, ["y"], {"v": W}), "input 'w'"),
    (files.model(ADD, X, ["z"], {"w": W}), "output 'z'"),
    (files.model([*ADD, *ADD], X, ["y"], {"w": W}), "a second value 'y'"),
    (files.model(ADD, X, ["y"], {"w": W}, opset=5), "version 5; expected 6 to"),
    (files.model(ADD, X, ["y"], {"w": W}, opset=900), "version 900"),
    (files.model([], {}, []), "no graph"),
    (files.model(ADD, X, ["y"], {"w": files.tensor("w", W, data_type=77)}), "element type number 77"),
    (files.model(ADD, X, ["y"], {"w": files.tensor("w", W, raw_data=b"12")}), "2 bytes; expected 12"),
    (files.model([files.node("Concat", ["x", "x"], ["y"], axis=2.5)], X, ["y"]), "attribute 'axis' of kind float"),
    (files.model([files.node("Relu", [], ["y"])], X, ["y"]), "no input 0"),
]


@pytest.mark.parametrize(("content", "found"), WRONG)
def test_what_contradicts_the_format(tmp_path: Path, content: bytes, found: str) -> None:
    with pytest.raises(LoadError, match=found):
        load_bytes(tmp_path / "m.onnx", content)


@pytest.mark.parametrize(
    "content",
    [
        files.model(ADD, X, ["y"], {"w": np.ones(4, np.float32)}),
        files.model([files.node("Transpose", ["x"], ["y"], perm=[0, 0])], X, ["y"]),
    ],
)
def test_shapes_that_contradict_are_an_error_when_the_node_is_used(tmp_path: Path, content: bytes) -> None:
    graph = load_bytes(tmp_path / "m.onnx", content).graph
    assert graph is not None
    with pytest.raises(ki.KigraphError, match="'n_y"), ki.Session(graph, backend="numpy") as session:
        session.run("y", {"x": np.ones((2, 3), np.float32)})


def test_declared_sizes_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    huge = files.tensor("w", W)
    huge.dims = [pack_numbers([1 << 40, 1 << 40], "int64")]  # type: ignore[list-item]
    with pytest.raises(LoadError, match="at most"):
        load_bytes(tmp_path / "m.onnx", files.model(ADD, X, ["y"], {"w": huge}))


@pytest.mark.parametrize("name", ["resnet.opset17", "inception.dynamo", "mobilenetv3.qdq", "vit.qdyn", "inception.qop"])
def test_golden_files(name: str) -> None:
    import json

    shared = Path(os.environ.get("KIGRAPH_SHARED", Path(__file__).parents[3] / "shared")) / "files"
    if not (shared / "index.json").is_file():
        pytest.skip("needs the shared files")
    entry = next(e for e in json.loads((shared / "index.json").read_text()) if e["file"] == f"onnx/{name}.onnx")
    golden = np.load(shared / entry["golden"])
    loaded = load(shared / entry["file"])
    feeds = {i["name"]: golden[f"input:{i['name']}"] for i in entry["inputs"]}
    found = ki.Session(loaded.graph).run(list(entry["outputs"]), feeds)
    for got, key in zip(found, entry["outputs"], strict=True):
        want = golden[f"output:{key}"]
        assert np.linalg.norm(got - want) <= entry["tolerance"] * np.linalg.norm(want)
