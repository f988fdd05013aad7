"""What the contracts of quantised layers refuse, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import quantized as q
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.errors import DTypeError, KernelError, ShapeError
from kigraph.kernels.tensor import TensorType


def of(dtype: str, *shape: int | None) -> TensorType:
    return TensorType(np.dtype(dtype), shape)


X, W, B, M = of("int8", 1, 4, 4, 3), of("int8", 3, 3, 3, 5), of("int32", 5), of("float32", 5)
A = of("int8", 2, 3)
U8 = np.dtype(np.uint8)
CONV = (X, W, B, M)
Case = tuple[Contract[Any], Callable[[], Any], tuple[TensorType, ...], type[KernelError], str]

REFUSED: dict[str, Case] = {
    "three inputs": (q.QCONV2D, q.QConv2DParams, CONV[:3], ShapeError, "takes 4 inputs, got 3"),
    "float input": (q.QCONV2D, q.QConv2DParams, (of("float32", 1, 4, 4, 3), *CONV[1:]), DTypeError, "takes int8, uint8"),
    "uint8 filter": (q.QCONV2D, q.QConv2DParams, (X, of("uint8", 3, 3, 3, 5), B, M), DTypeError, "the filter has dtype uint8"),
    "int64 bias": (q.QCONV2D, q.QConv2DParams, (X, W, of("int64", 5), M), DTypeError, "the bias has dtype int64"),
    "float64 multiplier": (q.QCONV2D, q.QConv2DParams, (X, W, B, of("float64", 5)), DTypeError, "the multiplier"),
    "channels": (q.QCONV2D, q.QConv2DParams, (of("int8", 1, 4, 4, 2), W, B, M), ShapeError, "2 channels"),
    "biases": (q.QCONV2D, q.QConv2DParams, (X, W, of("int32", 4), M), ShapeError, "bias"),
    "multipliers": (q.QCONV2D, q.QConv2DParams, (X, W, B, of("float32", 6)), ShapeError, "multiplier"),
    "x_zero": (q.QCONV2D, lambda: q.QConv2DParams(x_zero=128), CONV, DTypeError, "x_zero\\) is 128; expected -128 to 127"),
    "y_zero": (q.QCONV2D, lambda: q.QConv2DParams(y_zero=-129), CONV, DTypeError, "y_zero\\) is -129"),
    "bounds": (q.QCONV2D, lambda: q.QConv2DParams(low=5, high=4), CONV, DTypeError, "low = 5 to high = 4"),
    "bounds of another type": (q.QCONV2D, lambda: q.QConv2DParams(dtype=U8), CONV, DTypeError, "expected 0 <= low"),
    "int16 result": (q.QCONV2D, lambda: q.QConv2DParams(dtype=np.dtype(np.int16)), CONV, DTypeError, "the result has dtype int16"),
    "strides": (q.QCONV2D, lambda: q.QConv2DParams(strides=(0, 1)), CONV, ShapeError, "strides"),
    "depthwise channels": (q.QDEPTHWISE, q.QConv2DParams, (X, of("int8", 3, 3, 2, 1), B, M), ShapeError, "channels"),
    "depthwise bias": (q.QDEPTHWISE, q.QConv2DParams, (X, of("int8", 3, 3, 3, 2), B, M), ShapeError, "bias"),
    "vector": (q.QMATMUL, q.QMatMulParams, (of("int8", 3), of("int8", 3, 5), B, M), ShapeError, "2 axes or more"),
    "inner size": (q.QMATMUL, q.QMatMulParams, (A, of("int8", 4, 5), B, M), ShapeError, "inner sizes differ"),
    "batch of weights": (q.QMATMUL, q.QMatMulParams, (A, of("int8", 2, 3, 5), B, M), ShapeError, "2 axes"),
    "pool of floats": (q.QPOOL, lambda: q.QPoolParams((2, 2)), (of("float32", 1, 4, 4, 3),), DTypeError, "takes int8, uint8"),
    "halves": (q.QPOOL, lambda: q.QPoolParams((2, 2), halves="down"), (X,), DTypeError, "expected 'even', 'away' or 'up'"),  # type: ignore[arg-type]
    "infinite multiplier": (q.QPOOL, lambda: q.QPoolParams((2, 2), multiplier=1e300), (X,), DTypeError, "1e\\+300; expected a finite"),
    "two types": (q.QADD, q.QAddParams, (A, of("uint8", 2, 3)), DTypeError, "all must have one dtype"),
    "no broadcast": (q.QMUL, q.QMulParams, (A, of("int8", 2, 4)), ShapeError, "do not broadcast"),
    "a_zero": (q.QADD, lambda: q.QAddParams(a_zero=200), (A, A), DTypeError, "a_zero\\) is 200"),
    "NaN": (q.QADD, lambda: q.QAddParams(a_multiplier=float("nan")), (A, A), DTypeError, "a_multiplier is nan"),
    "scale 0": (q.QUANTIZE_LINEAR, lambda: q.QuantizeLinearParams(0.0), (of("float32", 3),), DTypeError, "the scale is 0.0"),
    "scale below float32": (q.DEQUANTIZE_LINEAR, lambda: q.DequantizeLinearParams(1e-60), (A,), DTypeError, "1e-60"),
    "scale infinite": (q.DEQUANTIZE_LINEAR, lambda: q.DequantizeLinearParams(1e39), (A,), DTypeError, "1e\\+39"),
    "quantise float64": (q.QUANTIZE_LINEAR, lambda: q.QuantizeLinearParams(1.0), (of("float64", 3),), DTypeError, "float64"),
    "requantise int32": (q.REQUANTIZE, q.RequantizeParams, (of("int32", 3),), DTypeError, "int32"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    contract, params, inputs, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        contract.check(inputs, params())


def test_partly_known_shapes() -> None:
    """The most that can be known is."""
    unknown = TensorType(np.dtype(np.int8))
    (y,) = q.QCONV2D.check((unknown, of("int8", 3, 3, None, None), B, M), q.QConv2DParams(padding="SAME"))
    assert y == of("int8", None, None, None, 5)
    (y,) = q.QDEPTHWISE.check((of("int8", None, 9, None, 4), of("int8", 3, 3, None, 2), of("int32", 8), of("float32", None)), q.QConv2DParams())  # fmt: skip
    assert y == of("int8", None, 7, None, 8)
    (y,) = q.QMATMUL.check((of("uint8", None, 3), of("int8", 3, None), TensorType(np.dtype(np.int32)), M), q.QMatMulParams(dtype=np.dtype(np.int32)))  # fmt: skip
    assert y == of("int32", None, 5)
    assert q.QMATMUL.check((unknown, of("int8", 3, 5), B, M), q.QMatMulParams()) == (unknown,)
    assert q.QADD.check((of("int8", None, 3), of("int8", 1)), q.QAddParams()) == (of("int8", None, 3),)


def test_bounds_of_sums_and_reals_do_not_matter() -> None:
    """low, high and y_zero are for integers of a scale."""
    for dtype in ("int32", "float32"):
        params = q.QConv2DParams(low=9, high=-9, y_zero=4000, dtype=np.dtype(dtype))
        (y,) = q.QCONV2D.check(CONV, params)
        assert y.dtype == dtype


def test_images_never_mix() -> None:
    for contract, inputs, params in (
        (q.QCONV2D, CONV, q.QConv2DParams()),
        (q.QDEPTHWISE, (X, of("int8", 3, 3, 3, 1), of("int32", 3), of("float32", 3)), q.QConv2DParams()),
        (q.QPOOL, (X,), q.QPoolParams((2, 2))),
        (q.QMATMUL, (A, of("int8", 3, 5), B, M), q.QMatMulParams()),
        (q.REQUANTIZE, (A,), q.RequantizeParams()),
        (q.QADD, (A, of("int8", 3)), q.QAddParams()),
    ):
        contract.check(inputs, params)
        assert contract.by_item is not None
        assert contract.by_item(inputs, params, {0})
    assert q.QADD.by_item is not None
    assert not q.QADD.by_item((A, A), q.QAddParams(), {0})


def test_flops_are_two_per_product() -> None:
    assert q.QCONV2D.flops(CONV, q.QCONV2D.check(CONV, q.QConv2DParams()), q.QConv2DParams()) == 2 * 2 * 2 * 5 * 27
