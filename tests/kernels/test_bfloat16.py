"""bfloat16 in memory: conversion next to exact arithmetic, what contracts refuse, and who may be asked for it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from kigraph.kernels.bfloat16 import narrowed, widened
from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.contracts.elementwise import ADD, RELU, TANH
from kigraph.kernels.contracts.layout import CAST, CastParams
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.contracts.pool2d import AVG_POOL2D, Pool2DParams
from kigraph.kernels.contracts.reduce import REDUCE_MEAN, REDUCE_SUM, ReduceParams
from kigraph.kernels.errors import DTypeError, KernelError
from kigraph.kernels.kernel import Query
from kigraph.kernels.registry import select
from kigraph.kernels.tensor import BFLOAT16, Params, TensorType, dtype_name

F32 = np.dtype(np.float32)


def stored(*shape: int) -> TensorType:
    return TensorType(BFLOAT16, shape)


def wide(*shape: int) -> TensorType:
    return TensorType(F32, shape)


def test_rounding_is_to_the_nearest_and_of_two_to_the_even_one() -> None:
    """All neighbours are known: bfloat16 numbers of one sign are their bits in order."""
    bits = np.random.default_rng().integers(0, 0x7F7F0000, 3000).astype(np.uint32)
    bits[:4] = 0x3F808000, 0x3F818000, 1, 0x8000
    given, made = bits.view(np.float32), narrowed(bits.view(np.float32)).view(np.uint16)
    for x, low, got in zip(given, bits >> 16, made, strict=True):
        down, up = (Fraction(float(np.uint32((int(low) + k) << 16).view(np.float32))) for k in (0, 1))
        below, above = Fraction(float(x)) - down, up - Fraction(float(x))
        nearest = int(low) if below < above or (below == above and low % 2 == 0) else int(low) + 1
        assert int(got) == nearest, x
    np.testing.assert_array_equal(narrowed(-given).view(np.uint16), made | 0x8000)


def test_special_numbers_and_strides() -> None:
    special = np.array([np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38], np.float32)
    np.testing.assert_array_equal(
        widened(narrowed(special)).view(np.uint32),
        np.array([np.inf, -np.inf, 0.0, -0.0, np.inf, -np.inf], np.float32).view(np.uint32),
    )
    nans = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(widened(narrowed(nans))).all()
    x = np.random.default_rng().standard_normal((4, 6, 5)).astype(np.float32)
    np.testing.assert_array_equal(widened(narrowed(x)[1:, ::2]), widened(narrowed(x[1:, ::2])))
    assert np.abs(widened(narrowed(x)) - x).max() <= np.abs(x).max() * 2.0**-8
    assert narrowed(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert dtype_name(BFLOAT16) == "bfloat16"


def test_what_contracts_say() -> None:
    x, w, bias = stored(1, 5, 5, 3), wide(3, 3, 3, 4), wide(4)
    assert CONV2D.check([x, w, bias], Conv2DParams()) == (wide(1, 3, 3, 4),)
    assert CONV2D.check([x, w, bias], Conv2DParams(narrow=True)) == (stored(1, 3, 3, 4),)
    assert CONV2D.check([wide(1, 5, 5, 3), w], Conv2DParams(narrow=True)) == (stored(1, 3, 3, 4),)
    assert MATMUL.check([stored(2, 3), wide(3, 4)], MatMulParams()) == (wide(2, 4),)
    assert AVG_POOL2D.check([x, wide(3)], Pool2DParams((3, 3))) == (stored(1, 3, 3, 3),)
    assert REDUCE_MEAN.check([x], ReduceParams((1, 2))) == (wide(1, 3),)
    assert ADD.check([stored(2, 3), wide(3)], Params()) == (stored(2, 3),)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: CONV2D.check([stored(1, 5, 5, 3), stored(3, 3, 3, 4)], Conv2DParams()),
        lambda: CONV2D.check([wide(1, 5, 5, 3), stored(3, 3, 3, 4)], Conv2DParams()),
        lambda: CONV2D.check(
            [TensorType(np.dtype("f8"), s) for s in ((1, 5, 5, 3), (3, 3, 3, 4))], Conv2DParams(narrow=True)
        ),
        lambda: AVG_POOL2D.check([stored(1, 5, 5, 3), stored(3)], Pool2DParams((3, 3))),
        lambda: ADD.check([wide(3), stored(2, 3)], Params()),
        lambda: TANH.check([stored(3)], Params()),
        lambda: REDUCE_SUM.check([stored(3)], ReduceParams()),
        lambda: CAST.check([stored(3)], CastParams(np.dtype(np.int32))),
        lambda: CAST.check([TensorType(np.dtype("f8"), (3,))], CastParams(BFLOAT16)),
    ],
)
def test_what_contracts_refuse(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(DTypeError, match="bfloat16"):
        wrong()


def test_a_kernel_that_does_not_say_so_is_not_asked() -> None:
    pytest.importorskip("numba")
    query = Query(RELU, (stored(3),), (stored(3),))
    assert select(query, ["numba", "numpy"]).kernel.backend == "numpy"
    with pytest.raises(KernelError, match="no bfloat16 in memory"):
        select(query, ["numba"])
