"""The reference's arithmetic against the math module, exact fractions and onnx's ReferenceEvaluator."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import elementwise as ew
from kigraph.kernels.contracts import reduce as rd
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.contracts.concat import CONCAT, ConcatParams
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.contracts.normalization import BATCH_NORM, BIAS_ADD, LRN, BatchNormParams, LRNParams
from kigraph.kernels.contracts.softmax import LOG_SOFTMAX, SOFTMAX, SoftmaxParams

NDArray = np.ndarray[Any, Any]
Call = Callable[..., list[NDArray]]
NAN, INF = math.nan, math.inf

SCALARS: list[tuple[Contract[Any], Callable[[float], float]]] = [
    (ew.NEG, lambda x: -x),
    (ew.ABS, abs),
    (ew.SQUARE, lambda x: x * x),
    (ew.SQRT, lambda x: math.sqrt(x) if x >= 0 else NAN),
    (ew.RSQRT, lambda x: 1 / math.sqrt(x) if x >= 0 else NAN),
    (ew.RECIPROCAL, lambda x: 1 / x),
    (ew.EXP, math.exp),
    (ew.LOG, lambda x: math.log(x) if x > 0 else NAN),
    (ew.LOG1P, lambda x: math.log1p(x) if x > -1 else NAN),
    (ew.ERF, math.erf),
    (ew.SIN, math.sin),
    (ew.COS, math.cos),
    (ew.FLOOR, lambda x: float(math.floor(x))),
    (ew.CEIL, lambda x: float(math.ceil(x))),
    (ew.ROUND, lambda x: float(round(x))),
    (ew.SIGN, lambda x: math.copysign(1, x)),
    (ew.RELU, lambda x: x if x > 0 else 0.0),
    (ew.RELU6, lambda x: min(x, 6.0) if x > 0 else 0.0),
    (ew.SIGMOID, lambda x: 1 / (1 + math.exp(-x))),
    (ew.TANH, math.tanh),
    (ew.SOFTPLUS, lambda x: math.log1p(math.exp(x))),
]


@pytest.mark.parametrize(("contract", "function"), SCALARS, ids=[c.name for c, _ in SCALARS])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_functions_against_the_math_module(
    contract: Contract[Any], function: Any, dtype: str, seed: int, call: Call
) -> None:
    x = np.random.default_rng(seed).uniform(-9, 9, 200).astype(dtype)
    x = x[np.abs(x) > 1e-2]
    (y,) = call(contract, [x])
    want = [function(float(v)) for v in x]
    np.testing.assert_allclose(
        y.astype(float), want, rtol=4 * float(np.finfo(dtype).eps), atol=float(np.finfo(dtype).tiny)
    )


@pytest.mark.parametrize(
    ("contract", "x", "y"),
    [
        (ew.RELU, [NAN, INF, -INF, -0.0, 3], [NAN, INF, 0, 0, 3]),
        (ew.RELU6, [NAN, INF, -INF, 6.5, 3], [NAN, 6, 0, 6, 3]),
        (ew.SQRT, [NAN, INF, -1, 0, 4], [NAN, INF, NAN, 0, 2]),
        (ew.RSQRT, [NAN, INF, -1, 0, 4], [NAN, 0, NAN, INF, 0.5]),
        (ew.LOG, [NAN, INF, -1, 0, 1], [NAN, INF, NAN, -INF, 0]),
        (ew.EXP, [NAN, INF, -INF, 1000, 0], [NAN, INF, 0, INF, 1]),
        (ew.SIGMOID, [NAN, INF, -INF, 1000, 0], [NAN, 1, 0, 1, 0.5]),
        (ew.TANH, [NAN, INF, -INF, 1000, 0], [NAN, 1, -1, 1, 0]),
        (ew.SOFTPLUS, [NAN, INF, -INF, 1000, 0], [NAN, INF, 0, 1000, math.log(2)]),
        (ew.RECIPROCAL, [NAN, INF, -INF, 0, 4], [NAN, 0, 0, INF, 0.25]),
        (ew.ERF, [NAN, INF, -INF, 0, -0.0], [NAN, 1, -1, 0, 0]),
        (ew.ROUND, [0.5, 1.5, 2.5, -0.5, -1.5], [0, 2, 2, 0, -2]),
        (ew.SIGN, [NAN, INF, -INF, 0, -2], [NAN, 1, -1, 0, -1]),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_special_numbers(contract: Contract[Any], x: Any, y: Any, call: Call, recwarn: pytest.WarningsRecorder) -> None:
    (got,) = call(contract, [np.array(x, np.float32)])
    np.testing.assert_array_equal(got, np.array(y, np.float32))
    assert not recwarn.list


def test_sigmoid_keeps_small_results(call: Call) -> None:
    (y,) = call(ew.SIGMOID, [np.array([-80, -30], np.float32)])
    np.testing.assert_allclose(y, [math.exp(-80), math.exp(-30)], rtol=1e-6)


@pytest.mark.parametrize(
    ("contract", "function"),
    [(ew.EXP, cmath.exp), (ew.LOG, cmath.log), (ew.SQRT, cmath.sqrt), (ew.RECIPROCAL, lambda z: 1 / z), (ew.ABS, abs)],
    ids=lambda v: getattr(v, "name", ""),
)
def test_complex_functions(contract: Contract[Any], function: Any, seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(50) + 1j * rng.standard_normal(50)
    (y,) = call(contract, [z])
    np.testing.assert_allclose(y, [function(complex(v)) for v in z], rtol=1e-12)


def test_maximum_and_minimum_pass_nan_on(call: Call) -> None:
    a, b = np.array([NAN, 1, INF], np.float32), np.array([1, NAN, -INF], np.float32)
    np.testing.assert_array_equal(call(ew.MAXIMUM, [a, b])[0], [NAN, NAN, INF])
    np.testing.assert_array_equal(call(ew.MINIMUM, [a, b])[0], [NAN, NAN, -INF])


def test_division(call: Call, recwarn: pytest.WarningsRecorder) -> None:
    a, b = np.array([1, -1, 0, 7], np.float64), np.array([0, 0, 0, 2], np.float64)
    np.testing.assert_array_equal(call(ew.DIV, [a, b])[0], [INF, -INF, NAN, 3.5])
    assert not recwarn.list


def test_integers_wrap(call: Call, recwarn: pytest.WarningsRecorder) -> None:
    top = np.array([127, -128], np.int8)
    np.testing.assert_array_equal(call(ew.ADD, [top, top])[0], [-2, 0])
    np.testing.assert_array_equal(call(ew.NEG, [top])[0], [-127, -128])
    np.testing.assert_array_equal(call(ew.ABS, [top])[0], [127, -128])
    np.testing.assert_array_equal(call(ew.NEG, [np.array([1], np.uint8)])[0], [255])
    assert not recwarn.list


def loop_matmul(a: NDArray, b: NDArray) -> list[list[Fraction]]:
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    return [
        [
            sum((Fraction(float(a[i, k])) * Fraction(float(b[k, j])) for k in range(inner)), Fraction(0))
            for j in range(columns)
        ]
        for i in range(rows)
    ]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True), (True, True)])
def test_matmul_against_exact_fractions(dtype: str, flags: tuple[bool, bool], seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((4, 11)).astype(dtype), rng.standard_normal((11, 5)).astype(dtype)
    stored = (a.T.copy() if flags[0] else a), (b.T.copy() if flags[1] else b)
    (y,) = call(MATMUL, stored, MatMulParams(*flags))
    want = np.array([[float(v) for v in row] for row in loop_matmul(a, b)])
    bound = 11 * np.finfo(np.float32 if dtype == "float16" else dtype).eps * 8 + np.finfo(dtype).eps * np.abs(want)
    assert (np.abs(y.astype(float) - want) <= bound).all()


def test_matmul_batches_broadcast(seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 1, 3, 4)), rng.standard_normal((5, 4, 6))
    (y,) = call(MATMUL, [a, b])
    assert y.shape == (2, 5, 3, 6)
    np.testing.assert_allclose(y, np.einsum("aikl,blm->abkm", a, b), rtol=1e-12)


def test_integer_matmul_wraps(call: Call) -> None:
    a = np.full((1, 3), 100, np.int8)
    (y,) = call(MATMUL, [a, a.T.copy()])
    assert y[0, 0] == np.array(30000).astype(np.int8)


def test_matmul_refuses_activations_of_complex_numbers(call: Call) -> None:
    from kigraph.kernels.errors import KernelError

    z = np.ones((2, 2), np.complex64)
    with pytest.raises(KernelError, match="an activation is not defined for complex numbers"):
        call(MATMUL, [z, z], MatMulParams(activation="relu"))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_against_loops(axis: int, seed: int, call: Call) -> None:
    x = 5 * np.random.default_rng(seed).standard_normal((4, 6))
    lines = np.moveaxis(x, axis, -1)
    soft = np.empty_like(lines)
    for index in np.ndindex(lines.shape[:-1]):
        powers = [math.exp(v) for v in lines[index]]
        soft[index] = [p / math.fsum(powers) for p in powers]
    soft = np.moveaxis(soft, -1, axis)
    np.testing.assert_allclose(call(SOFTMAX, [x], SoftmaxParams(axis))[0], soft, rtol=1e-12)
    np.testing.assert_allclose(call(LOG_SOFTMAX, [x], SoftmaxParams(axis))[0], np.log(soft), rtol=1e-12, atol=1e-12)


def test_softmax_of_huge_and_of_nan_lines(call: Call) -> None:
    x = np.array([[1e30, 0, -1e30], [0, NAN, 1], [5, 5, 5]], np.float32)
    (y,) = call(SOFTMAX, [x])
    np.testing.assert_array_equal(y[0], [1, 0, 0])
    assert np.isnan(y[1]).all()
    np.testing.assert_allclose(y[2], [1 / 3] * 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("contract", "function", "empty"),
    [
        (rd.REDUCE_SUM, math.fsum, 0.0),
        (rd.REDUCE_MEAN, lambda v: math.fsum(v) / len(v), NAN),
        (rd.REDUCE_MAX, max, -INF),
        (rd.REDUCE_MIN, min, INF),
        (rd.REDUCE_PROD, math.prod, 1.0),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_reductions_against_python(
    contract: Contract[Any], function: Any, empty: float, seed: int, call: Call, recwarn: pytest.WarningsRecorder
) -> None:
    x = np.random.default_rng(seed).standard_normal((3, 4, 5)).astype(np.float32)
    (y,) = call(contract, [x], rd.ReduceParams((0, 2), keepdims=True))
    assert y.shape == (1, 4, 1)
    want = [function([float(v) for v in x[:, j].ravel()]) for j in range(4)]
    np.testing.assert_allclose(y[0, :, 0], want, rtol=1e-5, atol=1e-6)
    (none,) = call(contract, [np.zeros((2, 0), np.float32)], rd.ReduceParams((1,)))
    np.testing.assert_array_equal(none, np.array([empty, empty], np.float32))
    assert not recwarn.list


def test_extremes_of_no_integers(call: Call) -> None:
    nothing = np.zeros((0,), np.int16)
    assert call(rd.REDUCE_MAX, [nothing], rd.ReduceParams())[0] == -32768
    assert call(rd.REDUCE_MIN, [nothing], rd.ReduceParams())[0] == 32767


def test_long_sums_keep_their_digits(call: Call) -> None:
    x = np.full((100_000, 2), 0.1, np.float32)
    (y,) = call(rd.REDUCE_SUM, [x], rd.ReduceParams((0,)))
    np.testing.assert_allclose(y, 100_000 * float(np.float32(0.1)), rtol=1e-7)


def test_batch_norm_and_bias_against_the_formula(seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    x, (mean, offset, scale) = rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 4))
    variance = rng.uniform(0.1, 2, 4)
    (y,) = call(BATCH_NORM, [x, mean, variance, offset, scale], BatchNormParams(0.01))
    (plain,) = call(BATCH_NORM, [x, mean, variance, offset], BatchNormParams(0.01))
    (biased,) = call(BIAS_ADD, [x, offset])
    for i, j, c in np.ndindex(*x.shape):
        normal = (x[i, j, c] - mean[c]) / math.sqrt(variance[c] + 0.01)
        assert y[i, j, c] == pytest.approx(normal * scale[c] + offset[c], rel=1e-12)
        assert plain[i, j, c] == pytest.approx(normal + offset[c], rel=1e-12)
        assert biased[i, j, c] == x[i, j, c] + offset[c]


@pytest.mark.parametrize("beta", [-0.5, 0.0, 0.3, 0.5, 0.75, 1.0, 2.0])
@pytest.mark.parametrize("radius", [0, 1, 3, 6, 2**31 - 2])
def test_lrn_against_the_formula(radius: int, beta: float, seed: int, call: Call) -> None:
    """A NaN reaches the channels whose sum has it and no others."""
    x = np.random.default_rng(seed).standard_normal((2, 3, 1, 7))
    x[0, 1, 0, 2] = NAN
    (y,) = call(LRN, [x], LRNParams(radius, 1.5, 0.7, beta))
    for n, i, j, c in np.ndindex(*x.shape):
        total = sum(x[n, i, j, k] ** 2 for k in range(7) if abs(k - c) <= radius)
        want = x[n, i, j, c] / math.pow(1.5 + 0.7 * total, beta) if not math.isnan(total) else NAN
        assert y[n, i, j, c] == pytest.approx(want, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(("beta", "below_0"), [(0.0, NAN), (0.5, NAN), (1.0, -2.0), (2.0, NAN)])
def test_powers_of_lrn_are_tensorflows(beta: float, below_0: float, call: Call) -> None:
    x = np.array([1.0, 0.0, -INF]).reshape(1, 1, 3, 1)
    (y,) = call(LRN, [x], LRNParams(0, 0.5, -1.0, beta))
    assert y.ravel()[:2].tolist() == pytest.approx([below_0, 0.0], nan_ok=True)
    (y,) = call(LRN, [x], LRNParams(0, 0.0, 1.0, beta))
    assert y.ravel().tolist() == pytest.approx([1.0, NAN, NAN], nan_ok=True)


def test_concat_against_lists(call: Call) -> None:
    a, b = np.arange(6).reshape(2, 3), np.arange(4).reshape(2, 2)
    (y,) = call(CONCAT, [a, b], ConcatParams(-1))
    assert y.tolist() == [[*r, *s] for r, s in zip(a.tolist(), b.tolist(), strict=True)]
