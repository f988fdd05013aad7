"""Ops whose output shapes depend on values, ops that hand values on, and what of these is refused in words of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kigraph as ki


def run(fetches: Any, feeds: dict[Any, Any] | None = None) -> Any:
    graph = (fetches[0] if isinstance(fetches, (list, tuple)) else fetches).graph
    return ki.Session(graph, backend="numpy").run(fetches, feeds or {})


@pytest.mark.parametrize("known", [False, True])
def test_where_and_what_reads_it(graph: ki.Graph, known: bool) -> None:
    value = np.array([[0.0, 2.0], [np.nan, 0.0], [-1.0, 0.0]], np.float32)
    x = ki.placeholder("float32", [3, 2] if known else None)
    found = ki.where(x)
    picked = ki.gather_nd(x, found)
    assert found.dtype == np.int64
    places, values = run([found, picked], {x: value})
    np.testing.assert_array_equal(places, np.argwhere(value))
    np.testing.assert_array_equal(values, [2, np.nan, -1])
    with pytest.raises(ki.KigraphError, match="give both x and y"):
        ki.where(x, 1.0)


def test_unique_and_segments_of_a_computed_size(graph: ki.Graph) -> None:
    x = ki.placeholder("int32", [None])
    values, index, counts = ki.unique_with_counts(x, "int64")
    assert (values.shape, index.dtype) == ((None,), np.int64)
    sums = ki.segment_sum(x, [0, 0, 2, 2, 2])
    got = run([values, index, counts, sums], {x: np.array([7, 3, 7, 7, 1], np.int32)})
    for a, b in zip(got, ([7, 3, 1], [0, 1, 0, 0, 2], [3, 1, 1], [10, 0, 15]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_own_unique_is_sorted_and_has_first_occurrences(graph: ki.Graph) -> None:
    x = ki.constant(np.array([[2.0, 1.0], [1.0, 3.0]], np.float32))
    made = graph.create_op("KiUnique", [x], {"out_idx": np.dtype(np.int64)}).outputs
    for a, b in zip(run(list(made)), ([1, 2, 3], [1, 0, 3], [1, 0, 0, 2], [2, 1, 1]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_decode_raw(graph: ki.Graph) -> None:
    x = ki.placeholder("string", [None])
    y = ki.decode_raw(x, "int16", little_endian=False)
    np.testing.assert_array_equal(run(y, {x: np.array([b"\0\1\1\0", b"\xff\xff\0\2"], object)}), [[1, 256], [-1, 2]])
    with pytest.raises(ki.KigraphError, match="strings must have one length"):
        run(y, {x: np.array([b"ab", b"abcd"], object)})


@pytest.mark.parametrize("skip", [(), ("resolve_identities",)])
def test_values_are_handed_on(graph: ki.Graph, skip: tuple[str, ...]) -> None:
    x = ki.placeholder("float32", [None, 3])
    a, b = ki.identity_n([x * 2.0, ki.constant([1, 2])])
    printed = graph.create_op("Print", [a, b], {"U": (b.dtype,)}).outputs[0]
    ensured = ki.ensure_shape(printed, [2, None])
    assert (a.shape, b.shape, ensured.shape) == ((None, 3), (2,), (2, 3))
    session = ki.Session(graph, backend="numpy", skip_passes=skip)
    got = session.run([ensured + 1.0, b], {x: np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(got[0], np.full((2, 3), 3.0))
    np.testing.assert_array_equal(got[1], [1, 2])
    with pytest.raises(ki.KigraphError, match="contradict"):
        session.run(ensured, {x: np.ones((4, 3), np.float32)})


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "found"),
    [
        ("IdentityN", ["x", "x"], {"T": (np.dtype(np.float32),) * 70_000}, "has 70000 types"),
        ("IdentityN", ["x"], {}, "attribute T is missing"),
        ("IdentityN", ["x"], {"T": 3}, "must be a list of element types"),
        ("Einsum", ["x", "x"], {"equation": "ab,bc->ac,d"}, "must name axes of the inputs|must have letters"),
        ("Einsum", ["x", "x"], {"equation": "ab,bc->az"}, "must name axes of the inputs"),
        ("Einsum", ["x", "x"], {"equation": "ab"}, "is for 1 inputs, got 2"),
        ("Einsum", ["x", "x"], {"equation": "a,b->ab"}, "does not fit"),
        ("Einsum", ["x", "x"], {"equation": "a" * 10_000 + ",b"}, "must have letters"),
        ("Einsum", ["x", "x"], {"equation": b"\xff,b->"}, "must have letters"),
        ("AddN", ["x", "row"], {}, "contradict each other"),
        ("ClipByValue", ["x", "row", "one"], {}, "the bounds"),
        ("OneHot", ["ids", "minus", "one", "one"], {}, "depth must not be negative"),
        ("OneHot", ["ids", "huge", "one", "one"], {}, "too large for an array|bytes of main memory"),
        ("OneHot", ["ids", "two_", "one", "one"], {"axis": 9}, "out of range"),
        ("GatherNd", ["x", "ids"], {}, "out of range|rows of 3 indices"),
        ("GatherNd", ["x", "ids"], {"bad_indices_policy": "IGNORE"}, "IGNORE' is not supported"),
        ("ScatterNd", ["ids", "one", "minus"], {}, "negative size"),
        ("ReverseV2", ["x", "twice"], {}, "name one twice"),
        ("Roll", ["x", "two", "minus"], {}, "2 shifts for 1 axes"),
        ("UnravelIndex", ["ids", "zeros"], {}, "must be positive"),
        ("LinSpace", ["one", "one", "minus"], {}, "must be positive"),
        ("Bucketize", ["x"], {"boundaries": (2.0, 1.0)}, "ascending order"),
        ("Bucketize", ["x"], {"boundaries": ("a",)}, "must be a list of numbers"),
        ("FakeQuantWithMinMaxArgs", ["x"], {"num_bits": 99}, "num_bits is 99"),
        ("FakeQuantWithMinMaxArgs", ["x"], {"min": 2.0, "max": 1.0}, "is empty"),
        ("QuantizeAndDequantizeV2", ["x", "one", "one"], {"num_bits": 2**40}, "expected 2 to 62"),
        ("Dequantize", ["bytes", "one", "one"], {"mode": "MIN_FIRST", "axis": 0}, "MIN_FIRST with an axis"),
        ("Dequantize", ["bytes", "one", "one"], {"mode": "OTHER"}, "OTHER' is not supported"),
        ("Dequantize", ["x", "one", "one"], {}, "it takes int16, int32, int8, uint16, uint8"),
        ("Bitcast", ["yes"], {"type": np.dtype(np.uint8)}, "takes numbers, got bool"),
        ("InvertPermutation", ["ids"], {}, "are not a permutation"),
        ("SegmentSum", ["x", "backwards"], {}, "must ascend"),
        ("SegmentSum", ["x", "far"], {}, "no array can be|bytes of main memory"),
        ("UnsortedSegmentSum", ["x", "backwards", "one_i"], {}, "is out of range"),
        ("MatrixInverse", ["singular"], {}, "has none"),
        ("MatrixDiagPartV3", ["x", "huge", "one"], {}, "there is no diagonal"),
        ("MatrixBandPart", ["x", "huge", "two_"], {}, "beyond the size 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words_of_ours(op: str, inputs: list[str], attrs: dict[str, Any], found: str) -> None:
    values: dict[str, Any] = {
        "x": np.ones((2, 2), np.float32), "row": np.ones(3, np.float32), "one": np.float32(1), "yes": np.True_,
        "ids": np.array([0, 5, 5], np.int32), "minus": np.array(-1, np.int32), "huge": np.array(2**31 - 1, np.int32),
        "two": np.array([1, 1], np.int32), "two_": np.array(1, np.int32), "one_i": np.array(1, np.int32),
        "twice": np.array([0, -2], np.int32), "zeros": np.array([0, 3], np.int32), "bytes": np.zeros((2, 2), np.uint8),
        "backwards": np.array([1, 0], np.int32), "far": np.array([0, 2**61], np.int64), "singular": np.ones((2, 2), np.float32),
    }  # fmt: skip
    with ki.Graph().as_default() as graph:
        tensors = [ki.constant(values[name]) for name in inputs]
        if op == "OneHot" and "huge" in inputs:
            tensors[0] = ki.constant(np.zeros((1 << 20, 1 << 4), np.int32)[:1024])

        def build_and_run() -> None:
            made = graph.create_op(op, tensors, attrs, num_outputs=1)
            ki.Session(graph, backend="numpy").run(made.outputs[0])

        with pytest.raises(ki.KigraphError, match=found):
            build_and_run()


def test_a_large_constant_is_no_size(graph: ki.Graph) -> None:
    x = ki.placeholder("float32", None)
    y = ki.unsorted_segment_sum(x, [0, 1], np.zeros(20_000, np.int32))
    with pytest.raises(ki.KigraphError, match=r"is a constant int32\[20000\]; expected a few numbers"):
        run(y, {x: np.ones(2, np.float32)})
