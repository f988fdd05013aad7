"""The shared CPU family against Python's own lists and functions, and its errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import elementwise as ew
from kigraph.kernels.contracts import layout as lo
from kigraph.kernels.contracts import reduce as rd
from kigraph.kernels.contracts import strings as st
from kigraph.kernels.errors import DTypeError, KernelError
from kigraph.kernels.tensor import STRING

NDArray = np.ndarray[Any, Any]
Call = Callable[..., list[NDArray]]


def texts(*words: bytes) -> NDArray:
    array = np.empty(len(words), object)
    array[:] = words
    return array


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "float32", "float64"])
def test_floor_division_and_remainder(dtype: str, call: Call) -> None:
    a = np.array([7, -7, 7, -7, 6, 0], dtype)
    b = np.array([2, 2, -2, -2, 3, 5], dtype)
    assert call(ew.FLOORDIV, [a, b])[0].tolist() == [3, -4, -4, 3, 2, 0]
    assert call(ew.FLOORMOD, [a, b])[0].tolist() == [1, 1, -1, -1, 0, 0]


@pytest.mark.parametrize("contract", [ew.FLOORDIV, ew.FLOORMOD], ids=lambda c: c.name)
def test_integer_division_by_zero_is_an_error(contract: Any, call: Call) -> None:
    with pytest.raises(KernelError, match=f"{contract.name}: integer division by zero"):
        call(contract, [np.array([1, 2]), np.array([1, 0])])
    (y,) = call(contract, [np.array([1.0, 0.0]), np.zeros(2)])
    assert not np.isfinite(y).any()


def test_pow(call: Call) -> None:
    assert call(ew.POW, [np.array([2, -3, 5]), np.array([10, 3, 0])])[0].tolist() == [1024, -27, 1]
    with pytest.raises(KernelError, match="integers cannot be raised to the negative power -1; cast to a float"):
        call(ew.POW, [np.array([2]), np.array([-1])])
    (y,) = call(ew.POW, [np.array([2.0, 4.0]), np.array([-1.0, 0.5])])
    assert y.tolist() == [0.5, 2.0]


def test_comparisons_with_nan_and_strings(call: Call) -> None:
    a, b = np.array([1, np.nan, 3], np.float32), np.array([1, np.nan, 2], np.float32)
    for contract, want in (
        (ew.EQUAL, [True, False, False]), (ew.NOT_EQUAL, [False, True, True]), (ew.LESS, [False, False, False]),
        (ew.LESS_EQUAL, [True, False, False]), (ew.GREATER, [False, False, True]), (ew.GREATER_EQUAL, [True, False, True]),
    ):  # fmt: skip
        assert call(contract, [a, b])[0].tolist() == want
    assert call(ew.EQUAL, [texts(b"x", b"y"), texts(b"x", b"z")])[0].tolist() == [True, False]
    assert call(ew.NOT_EQUAL, [texts(b"x", b"y"), texts(b"x", b"z")])[0].tolist() == [False, True]


def test_logic_and_select(call: Call) -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert call(ew.LOGICAL_AND, [a, b])[0].tolist() == [True, False, False, False]
    assert call(ew.LOGICAL_OR, [a, b])[0].tolist() == [True, True, True, False]
    assert call(ew.LOGICAL_NOT, [a])[0].tolist() == [False, False, True, True]
    assert call(ew.SELECT, [a, np.arange(4), np.arange(4) + 10])[0].tolist() == [0, 1, 12, 13]
    assert call(ew.SELECT, [b[:2], texts(b"a", b"b"), texts(b"c", b"d")])[0].tolist() == [b"a", b"d"]


def test_argmax_takes_the_first_of_equals_and_nan(call: Call) -> None:
    x = np.array([[1, 5, 5], [np.nan, 9, np.nan], [-np.inf, -np.inf, -np.inf]], np.float32)
    assert call(rd.ARGMAX, [x], rd.ArgParams(1))[0].tolist() == [1, 0, 0]
    assert call(rd.ARGMIN, [x], rd.ArgParams(1))[0].tolist() == [0, 0, 0]
    (y,) = call(rd.ARGMAX, [x], rd.ArgParams(0, "int32"))
    assert (y.dtype, y.tolist()) == (np.int32, [1, 1, 1])


def test_top_k_against_sorting(seed: int, call: Call) -> None:
    x = np.random.default_rng(seed).integers(-4, 5, (50, 9)).astype(np.int8)
    values, indices = call(rd.TOP_K, [x], rd.TopKParams(6))
    for line, got, at in zip(x.tolist(), values.tolist(), indices.tolist(), strict=True):
        order = sorted(range(9), key=lambda i: (-line[i], i))[:6]
        assert at == order
        assert got == [line[i] for i in order]


def test_top_k_of_extreme_integers(call: Call) -> None:
    values, indices = call(rd.TOP_K, [np.array([-128, 127, 0, 127], np.int8)], rd.TopKParams(4))
    assert (values.tolist(), indices.tolist()) == ([127, 127, 0, -128], [1, 3, 2, 0])
    values, _ = call(rd.TOP_K, [np.array([0, 255, 7], np.uint8)], rd.TopKParams(2))
    assert values.tolist() == [255, 7]


def test_logical_reductions(call: Call) -> None:
    x = np.array([[True, False], [True, True]])
    assert call(rd.REDUCE_ALL, [x], rd.ReduceParams((1,)))[0].tolist() == [False, True]
    assert call(rd.REDUCE_ANY, [~x], rd.ReduceParams((1,)))[0].tolist() == [True, False]
    assert call(rd.REDUCE_ALL, [np.zeros((0,), bool)], rd.ReduceParams())[0]
    assert not call(rd.REDUCE_ANY, [np.zeros((0,), bool)], rd.ReduceParams())[0]


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("constant", [7, 7, 1, 2, 3, 7, 7]),
        ("reflect", [3, 2, 1, 2, 3, 2, 1]),
        ("symmetric", [2, 1, 1, 2, 3, 3, 2]),
    ],
)
def test_pad(mode: str, want: list[int], call: Call) -> None:
    assert call(lo.PAD, [np.array([1, 2, 3])], lo.PadParams(((2, 2),), mode, 7))[0].tolist() == want


def test_pad_of_strings_is_empty_text(call: Call) -> None:
    assert call(lo.PAD, [texts(b"a")], lo.PadParams(((1, 1),)))[0].tolist() == [b"", b"a", b""]


@pytest.mark.parametrize("number", range(40))
def test_slice_against_indices(number: int, seed: int, call: Call) -> None:
    rng = np.random.default_rng([seed, number])
    x = rng.integers(0, 100, (6, 7))
    begin, steps, size, picks = [], [], [], []
    for n in x.shape:
        first = int(rng.integers(0, n))
        step = int(rng.choice([-3, -2, -1, 1, 2, 3]))
        whole = list(range(first, n, step) if step > 0 else range(first, -1, step))
        count = int(rng.integers(0, len(whole) + 1))
        everything = rng.random() < 0.4
        begin.append(first)
        steps.append(step)
        size.append(-1 if everything else count)
        picks.append(whole if everything else whole[:count])
    (y,) = call(lo.SLICE, [x], lo.SliceParams(tuple(begin), tuple(size), tuple(steps)))
    assert y.tolist() == [[int(x[i, j]) for j in picks[1]] for i in picks[0]]


def test_split_and_pack_undo_each_other(call: Call) -> None:
    x = np.arange(24).reshape(2, 3, 4)
    parts = call(lo.SPLIT, [x], lo.SplitParams(1, (1, 1, 1)))
    (y,) = call(lo.PACK, [p[:, 0] for p in parts], lo.PackParams(1))
    assert np.array_equal(x, y)


def test_gather(call: Call) -> None:
    x = np.array([[1, 2, 3], [4, 5, 6]])
    assert call(lo.GATHER, [x, np.array([2, 0])], lo.GatherParams(1))[0].tolist() == [[3, 1], [6, 4]]
    for index in (-1, 3):
        with pytest.raises(
            KernelError, match=rf"index {index} is out of range for axis 1 of shape \(2, 3\); expected 0 to 2"
        ):
            call(lo.GATHER, [x, np.array([0, index])], lo.GatherParams(1))


def test_tile_fill_range_transpose(call: Call) -> None:
    assert call(lo.TILE, [np.array([[1, 2]])], lo.TileParams((2, 2)))[0].tolist() == [[1, 2, 1, 2]] * 2
    assert call(lo.FILL, [np.array(b"x", object)], lo.FillParams((2,)))[0].tolist() == [b"x", b"x"]
    assert call(lo.RANGE, [], lo.RangeParams(1, 10, 3, np.dtype(np.int32)))[0].tolist() == [1, 4, 7]
    assert call(lo.RANGE, [], lo.RangeParams(1, 0, -0.25, np.dtype(np.float32)))[0].tolist() == [1, 0.75, 0.5, 0.25]
    assert call(lo.TRANSPOSE, [np.array([[1, 2, 3]])], lo.TransposeParams())[0].tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("x", "source", "target", "want"),
    [
        ([1.9, -1.9, 0.5], "float32", "int32", [1, -1, 0]),
        ([300, -1, 255], "int32", "uint8", [44, 255, 255]),
        ([1 + 2j, -3j], "complex64", "float32", [1, 0]),
        ([1.7 + 2j], "complex128", "int8", [1]),
        ([0, 0.1, -2], "float64", "bool", [False, True, True]),
        ([0j, 2j], "complex64", "bool", [False, False]),
        ([True, False], "bool", "float16", [1, 0]),
        ([3, 4], "uint8", "complex64", [3, 4]),
    ],
)
def test_cast(x: Any, source: str, target: str, want: Any, call: Call, recwarn: pytest.WarningsRecorder) -> None:
    (y,) = call(lo.CAST, [np.array(x, source)], lo.CastParams(np.dtype(target)))
    assert (y.dtype, y.tolist()) == (np.dtype(target), want)
    assert not recwarn.list


def test_cast_of_what_fits_nowhere_gives_no_warning(call: Call, recwarn: pytest.WarningsRecorder) -> None:
    call(lo.CAST, [np.array([np.nan, np.inf, 1e30, -1e30])], lo.CastParams(np.dtype(np.int32)))
    call(lo.CAST, [np.array([1e30])], lo.CastParams(np.dtype(np.float16)))
    assert not recwarn.list
    with pytest.raises(DTypeError, match="no conversion from float32 to string"):
        call(lo.CAST, [np.zeros(1, np.float32)], lo.CastParams(STRING))


def test_as_string(call: Call) -> None:
    def words(x: Any, dtype: str, precision: int = -1) -> Any:
        return call(st.AS_STRING, [np.array(x, dtype)], st.AsStringParams(precision))[0].tolist()

    assert words([True, False], "bool") == [b"true", b"false"]
    assert words([-3, 200], "int16") == [b"-3", b"200"]
    assert words([0.1, 1e20, math.nan, -math.inf], "float32") == [b"0.1", b"1e+20", b"nan", b"-inf"]
    assert words([2 / 3, 5], "float64", 2) == [b"0.67", b"5.00"]
    assert words([1 + 2j], "complex64", 1) == [b"(1.0,2.0)"]
    assert words(5, "int8") == b"5"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_as_string_reads_back_the_same(dtype: str, seed: int, call: Call) -> None:
    bits = np.random.default_rng(seed).integers(0, 256, 500 * np.dtype(dtype).itemsize, np.uint8)
    x = bits.view(dtype)
    (words,) = call(st.AS_STRING, [x], st.AsStringParams())
    back = np.array([float(w) for w in words]).astype(dtype)
    np.testing.assert_array_equal(back, x)


def test_string_join_broadcasts(call: Call) -> None:
    a, b = texts(b"a", b"b").reshape(2, 1), texts(b"x", b"y", b"")
    (y,) = call(st.STRING_JOIN, [a, b], st.StringJoinParams(b"-"))
    assert y.tolist() == [[b"a-x", b"a-y", b"a-"], [b"b-x", b"b-y", b"b-"]]
    (hello,) = call(st.STRING_JOIN, [np.array(b"Hello ", object), np.array(b"World", object)], st.StringJoinParams())
    assert hello[()] == b"Hello World"
