"""Quantised layers next to plain loops over Python's own integers and fractions, and next to onnx's evaluator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.backends import get_backend
from kigraph.kernels.conformance import Case, process_seed
from kigraph.kernels.conformance.bind import bind_case
from kigraph.kernels.conformance.cases.quantized import of_all_sizes, qconv_case, qmatmul_case, qpool_case
from kigraph.kernels.conformance.cases.quantized_elements import ends
from kigraph.kernels.conformance.values import any_bits, special
from kigraph.kernels.contracts import quantized as q
from kigraph.kernels.contracts.conv2d import explicit_padding
from kigraph.kernels.kernel import NoConstants, Query
from kigraph.kernels.registry import kernels_of
from kigraph.kernels.tensor import TensorType

pytest.importorskip("numba", reason="compares all backends, numba among them")

NDArray = np.ndarray[Any, Any]
I8, U8, I32, F32 = (np.dtype(name) for name in ("int8", "uint8", "int32", "float32"))


def to_f32(v: Fraction) -> Fraction | None:
    """The nearest float32, halves to the even one; None: beyond the greatest."""
    if v == 0:
        return v
    exponent = v.numerator.bit_length() - v.denominator.bit_length()
    exponent -= abs(v) < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    rounded = round(v / unit) * unit  # Python rounds a fraction's half to the even integer
    return rounded if abs(rounded) < Fraction(2) ** 128 else None


def wrapped(v: int) -> int:
    return (v + 2**31) % 2**32 - 2**31


def requantised(v: Fraction, factor: float, zero: int, low: int, high: int) -> int:
    return clamped(to_f32(v * Fraction(float(np.float32(factor)))), v < 0, zero, low, high)


def clamped(v: Fraction | None, negative: bool, zero: int, low: int, high: int) -> int:
    if v is None:
        return low if negative else high
    return min(max(round(v) + zero, low), high)


def finished(acc: int, factor: float, p: q.QConv2DParams | q.QMatMulParams) -> float:
    if p.dtype == I32:
        return acc
    rounded = to_f32(Fraction(acc))
    assert rounded is not None
    if p.dtype == F32:
        with np.errstate(over="ignore"):
            return float(np.float32(float(rounded)) * np.float32(factor))
    return requantised(rounded, factor, p.y_zero, p.low, p.high)


def windows(
    params: Any, shape: Sequence[int], window: tuple[int, int], i: int, j: int
) -> list[tuple[int, int, int, int]]:
    """(u, v, row, column) of the taps inside the image, for the output pixel (i, j)."""
    dilations = getattr(params, "dilations", (1, 1))
    top, _, left, _ = explicit_padding(params.padding, (shape[1], shape[2]), window, params.strides, dilations)
    found = []
    for u, v in itertools.product(range(window[0]), range(window[1])):
        row = i * params.strides[0] + u * dilations[0] - top
        column = j * params.strides[1] + v * dilations[1] - left
        if 0 <= row < shape[1] and 0 <= column < shape[2]:
            found.append((u, v, row, column))
    return found


def conv(values: Sequence[NDArray], p: q.QConv2DParams, shape: Sequence[int], depthwise: bool) -> NDArray:
    x, w, bias, factor = values
    y = np.zeros(shape, p.dtype)
    for n, i, j, o in np.ndindex(*shape):
        taps = windows(p, x.shape, w.shape[:2], i, j)
        if depthwise:
            c, m = divmod(o, w.shape[3])
            products = [(int(x[n, r, s, c]) - p.x_zero) * int(w[u, v, c, m]) for u, v, r, s in taps]
        else:
            products = [
                (int(x[n, r, s, c]) - p.x_zero) * int(w[u, v, c, o]) for u, v, r, s in taps for c in range(x.shape[3])
            ]
        y[n, i, j, o] = finished(wrapped(sum(products) + int(bias[o])), float(factor[o]), p)
    return y


def matmul(values: Sequence[NDArray], p: q.QMatMulParams, shape: Sequence[int]) -> NDArray:
    x, w, bias, factor = values
    y = np.zeros(shape, p.dtype)
    for i, o in np.ndindex(*shape):
        acc = sum((int(a) - p.x_zero) * int(b) for a, b in zip(x[i], w[:, o], strict=True)) + int(bias[o])
        y[i, o] = finished(wrapped(acc), float(factor[o]), p)
    return y


def pool(values: Sequence[NDArray], p: q.QPoolParams, shape: Sequence[int]) -> NDArray:
    (x,) = values
    y = np.zeros(shape, x.dtype)
    for n, i, j, c in np.ndindex(*shape):
        taps = windows(p, x.shape, p.window, i, j)
        total = Fraction(sum(int(x[n, r, s, c]) - p.x_zero for _, _, r, s in taps))
        count = p.window[0] * p.window[1] if p.count_include_pad else len(taps)
        scaled = to_f32(total * Fraction(float(np.float32(p.multiplier))))
        assert scaled is not None
        mean = to_f32(scaled / count)
        assert mean is not None
        whole = round(mean)
        if abs(mean - whole) == Fraction(1, 2) and p.halves != "even":
            lower = mean - Fraction(1, 2)
            whole = int(lower) + int(p.halves == "up" or mean + p.y_zero > 0)
        y[n, i, j, c] = min(max(whole + p.y_zero, p.low), p.high)
    return y


def outputs_of(case: Case, values: Sequence[NDArray]) -> dict[str, NDArray]:
    """What every kernel of the CPU gives."""
    found = {}
    for backend in ("host", "numpy", "numba", "cython"):
        for kernel in kernels_of(backend, case.contract):
            if kernel.refusal(case.query()) is None:
                device = get_backend(backend).device()
                (found[str(kernel)],) = bind_case(kernel, case, values, device).results()
    return found


def check(case: Case, oracle: Callable[[Sequence[NDArray], Any, Sequence[int]], NDArray]) -> None:
    values = case.generate(process_seed())
    wanted = oracle(values, case.params, case.query().outputs[0].dims)
    for name, got in outputs_of(case, values).items():
        np.testing.assert_array_equal(got, wanted, f"{name}, {case}, KIGRAPH_TEST_SEED={process_seed()}")


@pytest.mark.parametrize("result", [I8, U8, I32, F32], ids=str)
@pytest.mark.parametrize("dtype", [I8, U8], ids=str)
def test_convolutions(dtype: Any, result: Any) -> None:
    more: dict[str, Any] = {"dtype": dtype, "result": result, "padding": "SAME"}
    for depthwise in (False, True):
        contract = q.QDEPTHWISE if depthwise else q.QCONV2D

        def oracle(values: Sequence[NDArray], p: Any, shape: Sequence[int], depthwise: bool = depthwise) -> NDArray:
            return conv(values, p, shape, depthwise)

        check(qconv_case("a", (2, 4, 5, 7), (3, 3, 3), contract=contract, **more), oracle)
        check(
            qconv_case("b", (1, 5, 4, 3), (3, 2, 2), contract=contract, strides=(2, 1), dilations=(1, 2), **more),
            oracle,
        )
        check(
            qconv_case("c", (1, 3, 3, 5), (3, 3, 4), contract=contract, values=ends, weights=ends, multipliers=of_all_sizes, **more),
            oracle,
        )  # fmt: skip


@pytest.mark.parametrize("result", [I8, U8, I32], ids=str)
def test_products(result: Any) -> None:
    check(qmatmul_case("a", 3, 37, 9, result=result), matmul)
    check(qmatmul_case("b", 2, 67_000, 1, result=result, values=ends, weights=ends), matmul)


@pytest.mark.parametrize("halves", ["even", "away", "up"])
@pytest.mark.parametrize("dtype", [I8, U8], ids=str)
def test_means(halves: str, dtype: Any) -> None:
    for multiplier in (1.0, 0.37):
        for zero in (0, 100, 127):
            check(
                qpool_case("a", (1, 6, 5, 9), (2, 2), (2, 1), padding="SAME", dtype=dtype, halves=halves, multiplier=multiplier,
                           x_zero=zero, y_zero=zero), pool,
            )  # fmt: skip
            check(
                qpool_case("b", (1, 4, 5, 3), (4, 3), padding="SAME", count_include_pad=True, halves=halves, dtype=dtype), pool
            )  # fmt: skip


def run(contract: Any, params: Any, *values: NDArray) -> list[NDArray]:
    """Results of every kernel of the CPU."""
    types = tuple(TensorType(v.dtype, v.shape) for v in values)
    query = Query(contract, types, contract.check(types, params), params)
    found = []
    for backend in ("host", "numpy", "numba", "cython"):
        for kernel in kernels_of(backend, contract):
            if kernel.refusal(query) is None:
                y = np.empty(query.outputs[0].dims, query.outputs[0].dtype)
                assert kernel.prepare is not None
                prepared = kernel.prepare(query, NoConstants())
                room = get_backend(backend).device().allocate(max(prepared.workspace_bytes, 1))
                prepared.bind(values, [y], room)()
                found.append(y)
    return found


def test_sums_and_products_of_two() -> None:
    rng = np.random.default_rng(process_seed())
    for dtype, result in ((I8, I8), (I8, U8), (U8, U8), (U8, I8)):
        info, out = np.iinfo(dtype), np.iinfo(result)
        for _ in range(4):
            a_zero, b_zero = (int(v) for v in rng.integers(info.min, info.max, 2, endpoint=True))
            y_zero = int(rng.integers(out.min, out.max, endpoint=True))
            m, k = (float(v) for v in rng.uniform(0, 2, 2))
            bounds: dict[str, Any] = {"y_zero": y_zero, "low": out.min, "high": out.max, "dtype": result}
            a, b = any_bits(rng, (300,), dtype), any_bits(rng, (300,), dtype)
            pairs = [(Fraction(int(x) - a_zero), Fraction(int(y) - b_zero)) for x, y in zip(a, b, strict=True)]
            fm, fk = (Fraction(float(np.float32(v))) for v in (m, k))
            sums = [to_f32((to_f32(x * fm) or Fraction(0)) + (to_f32(y * fk) or Fraction(0))) for x, y in pairs]
            wanted = np.array([clamped(v, False, y_zero, out.min, out.max) for v in sums], result)
            for got in run(q.QADD, q.QAddParams(a_zero, b_zero, m, k, **bounds), a, b):
                np.testing.assert_array_equal(got, wanted)
            small = m / 100
            wanted = np.array([requantised(x * y, small, y_zero, out.min, out.max) for x, y in pairs], result)
            for got in run(q.QMUL, q.QMulParams(a_zero, b_zero, small, **bounds), a, b):
                np.testing.assert_array_equal(got, wanted)
            wanted = np.array([requantised(x, m, y_zero, out.min, out.max) for x, _ in pairs], result)
            for got in run(q.REQUANTIZE, q.RequantizeParams(a_zero, y_zero, m, out.min, out.max, result), a):
                np.testing.assert_array_equal(got, wanted)
            reals = np.array([float(to_f32(x * fm) or 0) for x, _ in pairs], np.float32)
            for got in run(q.DEQUANTIZE_LINEAR, q.DequantizeLinearParams(m, a_zero), a):
                np.testing.assert_array_equal(got, reals)


@pytest.mark.parametrize("divide", [False, True])
def test_reals_to_integers(divide: bool) -> None:
    rng = np.random.default_rng(process_seed())
    for scale, zero in ((0.0235, -128), (0.5, 127), (1.7, 3)):
        step = Fraction(float(np.float32(scale)))
        x = np.concatenate([(rng.integers(-300, 300, 200) * 0.5 * scale).astype(np.float32), special(rng, (100,), F32)])
        wanted = []
        for v in x:
            if not np.isfinite(v):
                wanted.append(127 if v > 0 else -128)
                continue
            inverse = to_f32(1 / step) or Fraction(0)
            quotient = to_f32(Fraction(float(v)) / step) if divide else to_f32(Fraction(float(v)) * inverse)
            wanted.append(clamped(quotient, bool(v < 0), zero, -128, 127))
        params = q.QuantizeLinearParams(scale, zero, divide=divide)
        for got in run(q.QUANTIZE_LINEAR, params, x):
            np.testing.assert_array_equal(got, np.array(wanted, np.int8))


def test_next_to_the_evaluator_of_onnx() -> None:
    """Scales as ONNX has them: the multiplier is their quotient in float32, and the evaluator's order of rounding is its own, so a
    step apart is allowed, for few."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(process_seed())
    for dtype in (I8, U8):
        x, w = any_bits(rng, (1, 6, 7, 5), dtype), any_bits(rng, (3, 3, 5, 8), I8)
        bias = rng.integers(-2000, 2000, 8).astype(np.int32)
        x_zero, y_zero = (-7, 11) if dtype == I8 else (120, 99)
        x_scale, w_scale, y_scale = np.float32(0.02), rng.uniform(0.001, 0.01, 8).astype(np.float32), np.float32(0.3)
        info = np.iinfo(dtype)
        bounds: dict[str, Any] = {"x_zero": x_zero, "y_zero": y_zero, "low": info.min, "high": info.max, "dtype": dtype}
        multiplier = (x_scale * w_scale / y_scale).astype(np.float32)
        names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
        node = helper.make_node("QLinearConv", names, ["y"], pads=[1, 1, 1, 1], strides=[2, 1])
        feeds = dict(zip(names, (
            x.transpose(0, 3, 1, 2), x_scale, np.array(x_zero, dtype), w.transpose(3, 2, 0, 1), w_scale, np.zeros(8, np.int8), y_scale,
            np.array(y_zero, dtype), bias,
        ), strict=True))  # fmt: skip
        (wanted,) = ReferenceEvaluator(node).run(None, feeds)
        params = q.QConv2DParams((2, 1), (1, 1, 1, 1), **bounds)
        for got in run(q.QCONV2D, params, x, w, bias, multiplier):
            difference = np.abs(got.astype(int) - wanted.transpose(0, 2, 3, 1).astype(int))
            assert difference.max() <= 1
            assert np.count_nonzero(difference) <= difference.size // 50
        names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
        node = helper.make_node("QLinearMatMul", names, ["y"])
        a, b = any_bits(rng, (9, 40), dtype), any_bits(rng, (40, 6), I8)
        feeds = dict(zip(names, (
            a, x_scale, np.array(x_zero, dtype), b, w_scale[:1], np.zeros(1, np.int8), y_scale, np.array(y_zero, dtype),
        ), strict=True))  # fmt: skip
        (wanted,) = ReferenceEvaluator(node, opsets={"": onnx.defs.onnx_opset_version()}).run(None, feeds)
        for got in run(q.QMATMUL, q.QMatMulParams(**bounds), a, b, np.zeros(6, np.int32), np.repeat(multiplier[:1], 6)):
            difference = np.abs(got.astype(int) - wanted.astype(int))
            assert difference.max() <= 1
            assert np.count_nonzero(difference) <= max(difference.size // 50, 1)
