"""Frozen GraphDefs: constants of every type, structure, damage, hostile sizes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.ir import Literal
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.loaders.graphdef import Function
from kigraph.kernels.tensor import STRING

Write = Callable[..., Path]
FLOAT = np.dtype(np.float32)
TYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9, "bool": 10,
    "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip


@pytest.fixture
def make(tf_proto: SimpleNamespace, write: Write) -> Callable[..., Path]:
    """make((name, op, inputs, attrs), ...) -> path; attrs map a name to a function that fills the AttrValue."""

    def build(*nodes: tuple[str, str, list[str], dict[str, Any]], producer: int = 27) -> Path:
        graph = tf_proto.GraphDef()
        for name, op, inputs, attrs in nodes:
            node = graph.node.add(name=name, op=op, input=inputs)
            for key, fill in attrs.items():
                if isinstance(fill, bytes):
                    node.attr[key].s = fill
                elif isinstance(fill, bool):
                    node.attr[key].b = fill
                elif isinstance(fill, int):
                    node.attr[key].i = fill
                else:
                    fill(node.attr[key])
        graph.versions.producer = producer
        return write(graph.SerializeToString(), "graph.pb")

    return build


def dtype(number: int) -> Any:
    return lambda attr: setattr(attr, "type", number)


def const(number: int, shape: tuple[int, ...], **values: Any) -> dict[str, Any]:
    """Attributes of a Const whose TensorProto has the given fields."""

    def fill(attr: Any) -> None:
        attr.tensor.dtype = number
        for d in shape:
            attr.tensor.tensor_shape.dim.add(size=d)
        for key, value in values.items():
            if isinstance(value, bytes):
                setattr(attr.tensor, key, value)
            else:
                getattr(attr.tensor, key).extend(value)

    return {"dtype": dtype(number), "value": fill}


def value_of(path: Path, name: str = "c") -> np.ndarray[Any, Any]:
    graph = load(path).graph
    assert graph is not None
    literal = graph.operation(name).attrs["value"]
    assert isinstance(literal, Literal)
    return literal.array()


# --- constants ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("count", [6, 6000])
def test_content_of_every_type(make: Any, name: str, count: int) -> None:
    rng = np.random.default_rng(0)
    want = (rng.integers(0, 2 if name == "bool" else 100, (count // 2, 2)) * (1 if name != "complex64" else 1j)).astype(
        name
    )
    path = make(("c", "Const", [], const(TYPES[name], want.shape, tensor_content=want.tobytes())))
    got = value_of(path)
    assert got.dtype == want.dtype
    assert got.flags.aligned
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("name", "field", "values", "want"),
    [
        ("float32", "float_val", [1.5, -2], [1.5, -2]),
        ("float64", "double_val", [1e300, 2], [1e300, 2]),
        ("float16", "half_val", [0x3C00, 0xC000], [1, -2]),
        ("int8", "int_val", [-128, 127], [-128, 127]),
        ("int16", "int_val", [-3, 3], [-3, 3]),
        ("int32", "int_val", [-(1 << 31), 7], [-(1 << 31), 7]),
        ("uint8", "int_val", [0, 255], [0, 255]),
        ("uint16", "int_val", [0, 65535], [0, 65535]),
        ("int64", "int64_val", [-(1 << 63), 1], [-(1 << 63), 1]),
        ("uint32", "uint32_val", [0, (1 << 32) - 1], [0, (1 << 32) - 1]),
        ("uint64", "uint64_val", [0, (1 << 64) - 1], [0, (1 << 64) - 1]),
        ("bool", "bool_val", [True, False], [True, False]),
        ("complex64", "scomplex_val", [1, 2, 3, 4], [1 + 2j, 3 + 4j]),
        ("complex128", "dcomplex_val", [1, 2, 3, 4], [1 + 2j, 3 + 4j]),
    ],
)
def test_value_fields(make: Any, name: str, field: str, values: list[Any], want: list[Any]) -> None:
    got = value_of(make(("c", "Const", [], const(TYPES[name], (2,), **{field: values}))))
    np.testing.assert_array_equal(got, np.array(want, name))
    # Fewer values than elements: the last one fills up.
    got = value_of(make(("c", "Const", [], const(TYPES[name], (2, 3000), **{field: values}))))
    np.testing.assert_array_equal(got.ravel(), np.array([want[0]] + [want[1]] * 5999, name))
    # None at all: zeros.
    np.testing.assert_array_equal(value_of(make(("c", "Const", [], const(TYPES[name], (3,))))), np.zeros(3, name))


def test_strings(make: Any) -> None:
    got = value_of(make(("c", "Const", [], const(7, (3,), string_val=[b"a\xff", b""]))))
    assert got.dtype == STRING
    assert got.tolist() == [b"a\xff", b"", b""]


def test_bool_content_is_normalised(make: Any) -> None:
    got = value_of(make(("c", "Const", [], const(10, (3,), tensor_content=b"\x00\x02\xff"))))
    assert got.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("attrs", "found"),
    [
        (const(1, (3,), tensor_content=b"\x00" * 11), "11 bytes; expected 12 bytes"),
        (const(1, (1 << 40, 1 << 40, 1 << 40)), "at most"),
        (const(1, (1 << 60, 0, 1 << 60)), "elements"),
        (const(1, (1 << 33,)), "32.0 GiB declared"),
        (const(1, (1 << 28,)), "declared by a file of"),
        (const(1, (-2,)), "sizes of at least 0"),
        (const(1, (-1,)), "unknown shape"),
        (const(1, (1,) * 40), "40 axes"),
        (const(1, (2,), float_val=[1, 2, 3]), "3 values; expected at most 2"),
        (const(1, (2,), int_val=[1]), "values in int_val; expected values in float_val"),
        (const(1, (1,), float_val=[1], tensor_content=b"\0\0\0\0"), "tensor_content and float_val"),
        (const(4, (1,), int_val=[256]), "values from 256 to 256"),
        (const(6, (1,), int_val=[-129]), "values of int8"),
        (const(8, (1,), scomplex_val=[1]), "1 parts of complex"),
        (const(24, (1,)), "float8_e5m2"),
        (const(20, (1,)), "resource"),
        (const(99, (1,)), "type number 99"),
        (const(7, (1 << 50,)), "at most"),
        (const(7, (1,), string_val=[b"a", b"b"]), "2 strings"),
        (const(7, (1,), tensor_content=b"abc"), "without string_val"),
    ],
)
def test_hostile_constants(make: Any, attrs: dict[str, Any], found: str) -> None:
    start = time.perf_counter()
    with pytest.raises(LoadError, match=found) as error:
        value_of(make(("c", "Const", [], attrs)))
    assert "node 'c' (Const), attribute 'value'" in str(error.value)
    assert "graph.pb" in str(error.value)
    assert time.perf_counter() - start < 1


def test_many_middling_constants_are_one_huge_one(make: Any) -> None:
    nodes = [(f"c{i}", "Const", [], const(1, (1 << 22,))) for i in range(300)]
    with pytest.raises(LoadError, match="declared by a file of"):
        load(make(*nodes))


def test_large_constants_stay_in_the_file(make: Any) -> None:
    data = np.arange(1 << 20, dtype=np.float32)
    path = make(("c", "Const", [], const(1, (1 << 20,), tensor_content=data.tobytes())))
    graph = load(path).graph
    assert graph is not None
    literal = graph.operation("c").attrs["value"]
    first, second = literal.array(), literal.array()
    assert first is not second
    np.testing.assert_array_equal(first, data)
    with open(path, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(LoadError, match="changed on disk"):
        literal.array()


def test_renaming_over_a_loaded_file_is_fine(make: Any) -> None:
    data = np.arange(5000, dtype=np.float32)
    path = make(("c", "Const", [], const(1, (5000,), tensor_content=data.tobytes())))
    graph = load(path).graph
    assert graph is not None
    other = path.with_name("other")
    other.write_bytes(b"nonsense")
    os.replace(other, path)
    np.testing.assert_array_equal(graph.operation("c").attrs["value"].array(), data)


# --- structure ----------------------------------------------------------------------------------------------------------


def test_nodes_in_any_order_with_control_inputs_and_output_numbers(make: Any) -> None:
    path = make(
        ("sum", "Mystery", ["split:2", "split", "^c"], {}),
        ("split", "Enigma", ["c:0"], {"f": b"text", "n": 3, "yes": True, "raw": b"\xff"}),
        ("c", "Const", [], const(1, (), float_val=[2])),
    )
    loaded = load(path)
    graph = loaded.graph
    assert graph is not None
    assert loaded.family.name == "graphdef"
    assert [op.name for op in graph.operations] == ["c", "split", "sum"]
    assert [t.name for t in graph.operation("sum").inputs] == ["split:2", "split:0"]
    assert [c.name for c in graph.operation("sum").control_inputs] == ["c"]
    assert len(graph.operation("split").outputs) == 3
    assert dict(graph.operation("split").attrs) == {"f": "text", "n": 3, "yes": True, "raw": b"\xff"}
    assert loaded.outputs == ("sum:0",)
    assert graph.metadata == {"family": "graphdef", "producer": 27}


def test_attributes_of_every_kind(make: Any) -> None:
    def shapes(attr: Any) -> None:
        attr.list.shape.add().unknown_rank = True
        attr.list.shape.add().dim.add(size=-1)

    attrs = {
        "ints": lambda a: a.list.i.extend([1, -2]),
        "floats": lambda a: a.list.f.extend([0.5]),
        "bools": lambda a: a.list.b.extend([True, False]),
        "texts": lambda a: a.list.s.extend([b"a", b"b"]),
        "types": lambda a: a.list.type.extend([1, 3, 20]),
        "empty": lambda a: a.list.SetInParent(),
        "shapes": shapes,
        "shape": lambda a: a.shape.dim.add(size=4),
        "resource": dtype(20),
        "reference": dtype(101),
        "function": lambda a: setattr(a.func, "name", "body"),
    }
    graph = load(make(("x", "Mystery", [], attrs))).graph
    assert graph is not None
    assert dict(graph.operation("x").attrs) == {
        "ints": (1, -2),
        "floats": (0.5,),
        "bools": (True, False),
        "texts": ("a", "b"),
        "types": (FLOAT, np.dtype(np.int32), "resource"),
        "empty": (),
        "shapes": (None, (None,)),
        "shape": (4,),
        "resource": "resource",
        "reference": FLOAT,
        "function": Function("body"),
    }


@pytest.mark.parametrize(("producer", "shape"), [(8, None), (21, None), (22, ()), (27, ())])
def test_old_placeholders_of_shape_scalar_have_no_known_shape(make: Any, producer: int, shape: Any) -> None:
    path = make(
        ("x", "Placeholder", [], {"dtype": dtype(1), "shape": lambda a: a.shape.SetInParent()}), producer=producer
    )
    graph = load(path).graph
    assert graph is not None
    assert graph.tensor("x:0").shape == shape


A = ("a", "Mystery", [], {})


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ([A, A], "a second node of that name"),
        ([("", "Mystery", [], {})], "the name ''"),
        ([("../a b", "Mystery", [], {})], "the name '../a b'"),
        ([("a", "", [], {})], "the op ''"),
        ([("a", "My stery", [], {})], "the op 'My stery'"),
        ([A, ("b", "Mystery", ["aa"], {})], r"input 'aa'; expected a node of the graph \(similar: a\)"),
        ([A, ("b", "Mystery", ["^a", "a"], {})], "control inputs last"),
        ([A, ("b", "Mystery", ["^a:0"], {})], "'node', 'node:index'"),
        ([A, ("b", "Mystery", ["a:99999999999"], {})], "'node', 'node:index'"),
        ([A, ("b", "Mystery", ["a b"], {})], "'node', 'node:index'"),
        ([A, ("b", "Mystery", ["a:-1"], {})], "'node', 'node:index'"),
    ],
)
def test_structure_errors(make: Any, nodes: list[Any], found: str) -> None:
    with pytest.raises(LoadError, match=found):
        load(make(("first", "Mystery", [], {}), *nodes))


@pytest.mark.slow
def test_a_long_chain_does_not_recurse(tf_proto: SimpleNamespace, write: Write) -> None:
    count = 100_000
    graph = tf_proto.GraphDef()
    graph.node.add(name="n0", op="Mystery")
    for i in range(count - 1, 0, -1):  # consumers first: the worst order for a recursive sort
        graph.node.add(name=f"n{i}", op="Mystery", input=[f"n{i - 1}"])
    loaded = load(write(graph.SerializeToString()))
    assert loaded.graph is not None
    assert len(loaded.graph) == count
    assert loaded.outputs == (f"n{count - 1}:0",)


def test_limits(make: Any) -> None:
    path = make(*((f"n{i}", "Mystery", [], {}) for i in range(20)))
    assert load(path, LoadLimits(max_nodes=20)).graph is not None
    with pytest.raises(LoadError, match="more than 19 nodes"):
        load(path, LoadLimits(max_nodes=19))
    with pytest.raises(LoadError, match=r"the whole file: found \d+ bytes; expected at most 100 bytes"):
        load(path, LoadLimits(max_bytes=100))
    consts = make(*((f"c{i}", "Const", [], const(1, (), float_val=[i])) for i in range(20)))
    with pytest.raises(LoadError, match="more than 19 tensors"):
        load(consts, LoadLimits(max_tensors=19))


def test_many_outputs_of_unknown_nodes_are_bounded(make: Any) -> None:
    nodes = [("a", "Mystery", [], {})]
    for i in range(40):
        nodes += [(f"m{i}", "Mystery", ["a"], {}), (f"r{i}", "Mystery", [f"m{i}:99999"], {})]
    with pytest.raises(LoadError, match="list elements"):
        load(make(*nodes))


@pytest.mark.parametrize("count", [1 << 28, 1 << 40, (1 << 63) - 1])
def test_stated_numbers_of_outputs_are_bounded(make: Any, count: int) -> None:
    axis = ("axis", "Const", [], const(3, (), int_val=[0]))
    x = ("x", "Placeholder", [], {"dtype": dtype(1)})
    with pytest.raises(LoadError, match=r"node 's' \(Split\), attribute 'num_split'.*list elements"):
        load(make(axis, x, ("s", "Split", ["axis", "x"], {"num_split": count})))


def test_shapes_worked_out_at_load_time_are_bounded(make: Any) -> None:
    """Constants are folded to infer shapes: neither huge ranges nor shared inputs may take memory or time."""
    scalars = [(n, "Const", [], const(3, (), int_val=[v])) for n, v in (("zero", 0), ("big", 1 << 30), ("one", 1))]
    x = ("x", "Placeholder", [], {"dtype": dtype(1)})
    start = time.perf_counter()
    load(make(*scalars, x, ("r", "Range", ["zero", "big", "one"], {}), ("y", "Reshape", ["x", "r"], {})))
    partly_known = (
        "p",
        "Placeholder",
        [],
        {"dtype": dtype(1), "shape": lambda a: [a.shape.dim.add(size=d) for d in (-1, 3)]},
    )
    chain = [("a0", "Shape", ["p"], {})] + [(f"a{i}", "Mul", [f"a{i - 1}"] * 2, {}) for i in range(1, 60)]
    load(make(partly_known, x, *chain, ("y", "Reshape", ["x", "a59"], {})))
    assert time.perf_counter() - start < 3
