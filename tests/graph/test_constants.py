"""Python and NumPy values that become constants: element types, shapes, and what is refused."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError
from kigraph.graph.session import Session
from kigraph.kernels.tensor import STRING

DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "complex64", "complex128",
)  # fmt: skip


def value_of(tensor: Tensor) -> Any:
    return Session(tensor.graph, backend="numpy").run(tensor)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_numpy_arrays_keep_their_dtype(graph: Graph, dtype: str, shape: tuple[int, ...]) -> None:
    given = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    tensor = ops.constant(given)
    assert tensor.dtype == np.dtype(dtype)
    assert tensor.shape == shape
    found = np.asarray(value_of(tensor))
    assert found.dtype == given.dtype
    np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int32"),
        (-(2**31), "int32"),
        (2**31, "int64"),
        ([1, 2**40], "int64"),
        (1.5, "float32"),
        ([1, 2.5], "float32"),
        (True, "bool"),
        ([True, False], "bool"),
        (1j, "complex64"),
        ([], "float32"),
        ([[], []], "float32"),
        (np.float64(1), "float64"),
        (np.int8(1), "int8"),
        (range(3), "int32"),
        (((1, 2), (3, 4)), "int32"),
    ],
)
def test_dtype_inference(graph: Graph, value: Any, dtype: str) -> None:
    tensor = ops.constant(value)
    assert tensor.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(value_of(tensor), np.asarray(value))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_python_numbers_become_the_dtype_that_is_asked_for(graph: Graph, dtype: str) -> None:
    tensor = ops.constant([[1, 0], [1, 1]], dtype=dtype)
    assert tensor.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(value_of(tensor), np.array([[1, 0], [1, 1]], dtype))


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.float32, "float32"), (np.dtype("<i8"), "int64"), (">f4", "float32"), (float, "float64")]
)
def test_spellings_of_dtypes(graph: Graph, dtype: Any, name: str) -> None:
    assert ops.placeholder(dtype).dtype == np.dtype(name)


@pytest.mark.parametrize("dtype", [None, "float31", "S3", "datetime64[s]", "float128", [("a", "f4")], 7])
def test_unknown_dtypes_are_refused_with_the_known_ones(graph: Graph, dtype: Any) -> None:
    with pytest.raises(GraphError, match=r"is not an element type; known: .*float32.*string"):
        ops.placeholder(dtype)


def test_big_endian_and_strided_arrays(graph: Graph) -> None:
    given = np.arange(12, dtype=">i4").reshape(3, 4).T[::-2]
    tensor = ops.constant(given)
    assert tensor.dtype == np.dtype(np.int32)
    np.testing.assert_array_equal(value_of(tensor), given)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"ends with zeros\0\0",
        [b"zeros\0", b"in a list\0\0"],
        [[b"a\0"], [b"\xff\xfe"]],
        (b"a", b"b"),
        np.array([b"x", b"yy"]),
        np.array(["x", "yy"]),
        np.array([b"x\0", b"yy"], dtype=object),
        bytearray(b"abc\0"),
        memoryview(b"abc"),
        "text",
        ["einer", "ein zweiter: ü"],
    ],
)
def test_strings_are_kept_byte_for_byte(graph: Graph, value: Any) -> None:
    tensor = ops.constant(value)
    assert tensor.dtype == STRING
    plain = (
        [bytes(value)] if isinstance(value, (bytearray, memoryview)) else np.asarray(value, dtype=object).reshape(-1)
    )
    found = np.asarray(value_of(tensor), dtype=object).reshape(-1)
    assert found.tolist() == [v.encode() if isinstance(v, str) else bytes(v) for v in plain]


def test_shapes_of_strings(graph: Graph) -> None:
    assert ops.constant([["a", "b"], ["c", "d"]]).shape == (2, 2)
    assert ops.constant("a").shape == ()
    assert ops.constant([], dtype="string").shape == (0,)
    assert ops.constant([[], []], dtype="string").shape == (2, 0)
    assert ops.constant("a", shape=[2, 3]).shape == (2, 3)
    assert value_of(ops.constant([bytearray(b"ab"), b"c\0"], dtype="string")).tolist() == [b"ab", b"c\0"]


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([[1, 2], [3]], None, "not a regular array"),
        ([["a", "b"], ["c"]], None, "not a regular array"),
        ([["a"], "b"], None, "not a regular array"),
        (1.5, "int32", "must be int32, got float64"),
        (1, "bool", "must be bool, got int64"),
        (1j, "float32", "must be float32, got complex128"),
        (300, "uint8", "out of range for uint8"),
        (-1, "uint64", "out of range for uint64"),
        (2**70, None, "64 bits"),
        ([2**63, -1], None, "64 bits"),
        (2**63, None, "out of range for int64"),
        (1e300, "float32", "too large for float32"),
        ([np.inf, 1e300], "float32", "too large for float32"),
        (1e300 * 1j, "complex64", "too large for complex64"),
        (70000.0, "float16", "too large for float16"),
        ("1", "int32", "must be int32, got text"),
        (1, "string", "str or bytes, got int"),
        ([1, "a"], None, "str or bytes, got int"),
        ([1, None], None, "str or bytes, got .*(int|None)"),
        ({"a": 1}, None, "str or bytes, got dict"),
        (np.array(["2020-01-01"], "datetime64[D]"), None, "datetime64.*kigraph does not have"),
        (np.longdouble(1), None, "kigraph does not have"),
    ],
)
def test_what_does_not_fit_is_refused(graph: Graph, value: Any, dtype: str | None, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        ops.constant(value, dtype=dtype)
    assert len(graph) == 0


def test_tensors_inside_a_list_are_refused_with_the_remedy(graph: Graph) -> None:
    with pytest.raises(GraphError, match="stack"):
        ops.constant([ops.constant(1), 2])


def test_infinities_are_kept(graph: Graph) -> None:
    np.testing.assert_array_equal(value_of(ops.constant([np.inf, -np.inf, np.nan])), [np.inf, -np.inf, np.nan])


def test_exact_large_integers(graph: Graph) -> None:
    assert value_of(ops.constant([2**63, 1], "uint64")).tolist() == [2**63, 1]
    assert value_of(ops.constant([2**62 + 1, 1])).tolist() == [2**62 + 1, 1]
    assert value_of(ops.constant(2**64 - 1, "uint64")) == 2**64 - 1


def test_shape_argument(graph: Graph) -> None:
    np.testing.assert_array_equal(value_of(ops.constant(7, shape=[2, 2])), [[7, 7], [7, 7]])
    np.testing.assert_array_equal(value_of(ops.constant([1, 2, 3, 4], shape=(2, 2))), [[1, 2], [3, 4]])
    assert ops.constant(1.0, shape=[0, 3]).shape == (0, 3)
    assert ops.constant([3], shape=[]).shape == ()
    assert ops.constant(1, shape=4).shape == (4,)
    for shape, message in (([3], "4 elements does not fit"), ([None, 2], "fully known"), ([-2], "negative")):
        with pytest.raises(GraphError, match=message):
            ops.constant([1, 2, 3, 4], shape=shape)
    with pytest.raises(GraphError, match="not a shape"):
        ops.constant(1, shape=[2.5])


def test_a_constant_never_changes_with_its_source(graph: Graph) -> None:
    given = np.ones(3, np.float32)
    view = given[:2]
    buffer = array.array("f", [1, 1])
    tensors = [ops.constant(v) for v in (given, view, buffer, given.reshape(1, 3))]
    tensors.append(ops.constant(given, shape=[3, 1]))
    start = ops.variable(given)
    given[:] = 5
    buffer[0] = 5
    for tensor in (*tensors, start):
        assert np.all(value_of(tensor) == 1), tensor
    assert given.flags.writeable


def test_zeros_and_ones(graph: Graph) -> None:
    assert value_of(ops.zeros([2, 3])).tolist() == [[0] * 3] * 2
    assert value_of(ops.ones((2,), "int64")).dtype == np.int64
    with pytest.raises(GraphError, match="fully known"):
        ops.zeros([None])
