"""Shared CPU kernels against values that TensorFlow 2.21 gave: text of numbers, casts out of range, C's division."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import elementwise as ew
from kigraph.kernels.contracts import layout as lo
from kigraph.kernels.contracts import strings as st
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.errors import KernelError, ShapeError
from kigraph.kernels.kernel import NoConstants, Query
from kigraph.kernels.registry import kernels_of
from kigraph.kernels.tensor import Params, TensorType

NDArray = np.ndarray[Any, Any]


def call(contract: Contract[Any], inputs: Sequence[NDArray], params: Params | None = None) -> NDArray:
    """The one output of the shared kernel."""
    given = params or contract.params()
    types = tuple(TensorType(x.dtype, x.shape) for x in inputs)
    query = Query(contract, types, contract.check(types, given), given)
    (t,) = query.outputs
    y = np.zeros(t.dims, t.dtype)
    (kernel,) = kernels_of("host", contract)
    assert kernel.prepare is not None
    kernel.prepare(query, NoConstants()).bind(list(inputs), [y], None)()
    return y


@pytest.mark.parametrize(
    ("x", "dtype", "params", "want"),
    [
        ([1.5, -0.25, 3e38], "float32", st.AsStringParams(-1, "f"), ["1.500000", "-0.250000", f"{float(np.float32(3e38)):f}"]),
        ([1 + 2j, -0.5j], "complex64", st.AsStringParams(-1, "f"), ["(1.000000,2.000000)", "(-0.000000,-0.500000)"]),
        ([12345.678], "float64", st.AsStringParams(-1, "e"), ["1.234568e+04"]),
        ([12345.678, 1e-7], "float64", st.AsStringParams(-1, "g"), ["12345.7", "1e-07"]),
        ([1.5, -1.5, np.nan, np.inf, -np.inf], "float32", st.AsStringParams(1, "f", 6, "0"),
         ["0001.5", "-001.5", "   nan", "   inf", "  -inf"]),
        ([2.0], "float16", st.AsStringParams(0, "f", 4, "#"), ["  2."]),
        ([1.0, np.inf], "float64", st.AsStringParams(2, "f", 7, "+"), ["  +1.00", "   +inf"]),
        ([7, -7], "int32", st.AsStringParams(-1, "f", 4, "0"), ["0007", "-007"]),
        ([7], "int64", st.AsStringParams(-1, "f", 4, "-"), ["7   "]),
        ([7], "uint8", st.AsStringParams(-1, "f", -1, "+"), ["7"]),
        ([7], "int8", st.AsStringParams(-1, "f", -1, "+"), ["+7"]),
        ([True, False], "bool", st.AsStringParams(-1, "f", 8, "0"), ["true", "false"]),
        ([1 + 2j], "complex128", st.AsStringParams(1, "f", 5), ["(  1.0,  2.0)"]),
    ],
)  # fmt: skip
def test_numbers_are_written_as_printf_writes_them(x: Any, dtype: str, params: Params, want: list[str]) -> None:
    with np.errstate(all="ignore"):
        assert call(st.AS_STRING, [np.array(x, dtype)], params).tolist() == [w.encode() for w in want]


def test_strings_are_padded_and_cut() -> None:
    x = np.array([b"a", b"", b"bcd"], object)
    assert call(st.AS_STRING, [x], st.AsStringParams(-1, "f", 2)).tolist() == [b" a", b"  ", b"bcd"]
    assert call(st.AS_STRING, [x], st.AsStringParams(1, "f", 2, "-")).tolist() == [b"a ", b"  ", b"b "]


LOW32, LOW64, TOP = -(2**31), -(2**63), 2**63


@pytest.mark.parametrize(
    ("target", "want"),
    [
        ("int32", [LOW32, LOW32, LOW32, LOW32, 2**31 - 128, -1]),
        ("int64", [LOW64, LOW64, LOW64, 2**40, 2**31 - 128, -1]),
        ("uint64", [TOP, TOP, TOP, 2**40, 2**31 - 128, 2**64 - 1]),
    ],
)
@pytest.mark.parametrize("count", [1, 40])
def test_what_no_integer_holds(target: str, want: list[int], count: int) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 2.0**40, 2.0**31 - 128, -1.5], np.float32)
    (y,) = np.unique(call(lo.CAST, [np.tile(x, (count, 1))], lo.CastParams(np.dtype(target))), axis=0)
    assert y.tolist() == want


def test_truncating_casts_drop_bits() -> None:
    def cut(x: Any, source: str, target: str) -> list[float]:
        result: list[float] = call(lo.CAST, [np.array(x, source)], lo.CastParams(np.dtype(target), True)).tolist()
        return result

    assert cut([1.0009765, -1.0009765, 65519.0, 65536.0, np.inf], "float32", "float16") == [
        1,
        -1,
        65504,
        np.inf,
        np.inf,
    ]
    assert np.isnan(cut([np.nan], "float32", "float16")).all()
    assert cut([1 + 2**-23 + 2**-24], "float64", "float32") == [1 + 2**-23]
    assert cut([1.9, -1.9], "float32", "int32") == [1, -1]
    assert cut([0.1], "float32", "float64") == [float(np.float32(0.1))]


def test_division_towards_zero(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for dtype in (np.int8, np.int32, np.int64, np.uint8):
        a, b = (rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, 500, dtype) for _ in range(2))
        b[b == 0] = 3
        b[(a == np.iinfo(dtype).min) & (b.astype(int) == -1)] = 3
        exact = [abs(int(p)) // abs(int(q)) * (1 if (p < 0) == (q < 0) else -1) for p, q in zip(a, b, strict=True)]
        assert call(ew.TRUNCDIV, [a, b]).tolist() == exact
        rest = [int(p) - d * int(q) for p, q, d in zip(a, b, exact, strict=True)]
        assert call(ew.TRUNCMOD, [a, b]).tolist() == rest
    for contract in (ew.TRUNCDIV, ew.TRUNCMOD):
        with pytest.raises(KernelError, match="integer division by zero"):
            call(contract, [np.array([1]), np.array([0])])


def test_gather_by_item_checks_its_axes() -> None:
    x, picks = np.zeros((2, 3, 4)), np.zeros((2, 5), np.int32)
    for batch, axis, wrong in ((2, 1, "batch_dims 2"), (-3, 2, "batch_dims -3"), (1, 0, "batch_dims 1")):
        with pytest.raises(ShapeError, match=f"{wrong} is out of range"):
            call(lo.GATHER, [x, picks], lo.GatherParams(axis, batch))
    with pytest.raises(ShapeError, match="contradict"):
        call(lo.GATHER, [x, picks[:1]], lo.GatherParams(1, 1))
    with pytest.raises(KernelError, match="index 3 is out of range"):
        call(lo.GATHER, [x, picks + 3], lo.GatherParams(1, 1))


def test_as_string_cuts_texts_only_to_a_width() -> None:
    text = np.array([b"abcdef"], object)
    for width, precision, want in ((-1, 2, b"abcdef"), (0, 2, b"abcdef"), (8, 2, b"      ab"), (8, -1, b"  abcdef")):
        assert call(st.AS_STRING, [text], st.AsStringParams(precision, "f", width)).tolist() == [want]


def test_the_imaginary_part_never_counts_in_a_cast() -> None:
    x = np.array([1j, 0, 1], np.complex64)
    assert call(lo.CAST, [x], lo.CastParams(np.dtype(bool))).tolist() == [False, False, True]
