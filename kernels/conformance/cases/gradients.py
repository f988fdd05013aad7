"""Cases of the backward ops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod, sqrt
from typing import Any

import numpy as np

from ...contracts import gradients as ops
from ...contracts.base import FLOATS, INTEGERS, Contract, Tolerance
from ...contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams, explicit_padding
from ...contracts.normalization import BatchNormParams, LRNParams
from ...contracts.pool2d import MAX_POOL2D, Pool2DParams
from ...tensor import DType, TensorType
from ..case import F16, F32, F64, MEMORIES, Case, Memory, tensor
from ..values import few, indices, normal, only_nan, positive, scaled, sparse_nan
from .pool2d import FAR_WINDOWS

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]
Four = tuple[int, int, int, int]

_CONV_GRADIENTS: tuple[tuple[Contract[Any], bool, bool], ...] = (  # contract, of the filter, depthwise
    (ops.CONV2D_INPUT_GRAD, False, False),
    (ops.CONV2D_FILTER_GRAD, True, False),
    (ops.DEPTHWISE_CONV2D_INPUT_GRAD, False, True),
    (ops.DEPTHWISE_CONV2D_FILTER_GRAD, True, True),
)


def _conv_case(
    contract: Contract[Any],
    name: str,
    x: Four,
    w: tuple[int, int, int],
    *,
    dtype: DType = F32,
    values: Any = None,
    memory: Memory = "dense",
    threads: int = 1,
    tags: tuple[str, ...] = (),
    measure: bool = False,
    **params: Any,
) -> Case:
    """x NHWC and w (height, width, out or multiplier) of the forward op."""
    of_filter, depthwise = next(flags for c, *flags in _CONV_GRADIENTS if c is contract)
    filters: Four = (w[0], w[1], x[3], w[2])
    forward = Conv2DParams(**params)
    (y,) = (DEPTHWISE_CONV2D if depthwise else CONV2D).infer(
        [TensorType(dtype, x), TensorType(dtype, filters)], forward
    )
    summed = prod(y.dims[:3]) if of_filter else prod(w)
    # Special values go to one side only: whether a kernel multiplies them by the zeros of the padding is left open.
    dy_values = scaled(1 / sqrt(max(summed, 1)))
    if of_filter:
        inputs = tensor(x, values or normal, dtype, memory=memory), tensor(y.dims, dy_values, dtype, memory=memory)
    else:
        inputs = tensor(filters, normal, dtype), tensor(y.dims, values or dy_values, dtype, memory=memory)
    p = ops.ConvGradParams(forward, filters if of_filter else x)
    placed: Memory = "dense" if of_filter else memory
    return Case(contract, name, inputs, p, frozenset(tags), placed, threads, measure=measure)


def _convolutions(contract: Contract[Any]) -> Iterator[Case]:
    for cin, out in ((1, 1), (3, 2), (7, 8), (8, 9), (15, 3), (17, 16), (33, 5)):
        yield _conv_case(contract, f"c{cin}-{out}", (2, 5, 6, cin), (3, 3, out), padding="SAME", tags=("tail",))
    for kh, kw in ((1, 1), (3, 3), (1, 5), (2, 3)):
        for strides in ((1, 1), (2, 2), (3, 1)):
            for label, padding in (("same", "SAME"), ("valid", "VALID"), ("explicit", (1, 0, 2, 1))):
                yield _conv_case(
                    contract, f"{kh}x{kw}-s{strides[0]}{strides[1]}-{label}", (2, 8, 9, 5), (kh, kw, 3), strides=strides,
                    padding=padding, tags=("window",),
                )  # fmt: skip
    yield _conv_case(contract, "dilated", (1, 9, 11, 4), (3, 2, 3), dilations=(2, 3), padding="SAME", tags=("dilated",))
    # Rows and columns at the bottom and right that no window covers have the gradient 0.
    yield _conv_case(contract, "unused-cells", (1, 8, 9, 4), (2, 2, 3), strides=(3, 4), tags=("window",))
    for label, strides, padding, dilations in (
        ("stride", (2**32, 2**40), "SAME", (1, 1)),
        ("dilation", (1, 2), "SAME", (2**40, 2**60)),
        ("padding", (2**59, 2**60), (2**61, 2**60, 2**60 + 2, 2**61), (1, 1)),
        ("all", (2**40, 2**40 - 1), (2**42, 2**42 + 1, 2**42 - 1, 2**42), (2**40, 2**40 - 1)),
    ):
        yield _conv_case(contract, f"far-{label}", (2, 8, 9, 5), (3, 3, 3), strides=strides, padding=padding,
                         dilations=dilations, tags=("far",))  # fmt: skip
    yield _conv_case(contract, "batch0", (0, 5, 6, 3), (3, 3, 2), tags=("empty",))
    yield _conv_case(contract, "channels0", (2, 5, 6, 0), (3, 3, 2), tags=("empty",))
    yield _conv_case(contract, "nan", (2, 7, 8, 5), (3, 3, 3), values=only_nan, tags=("nan",))
    yield _conv_case(contract, "threads2", (3, 17, 18, 16), (3, 3, 8), padding="SAME", threads=2, tags=("threads",))
    for memory in MEMORIES:
        yield _conv_case(contract, memory, (2, 6, 7, 9), (3, 3, 3), padding="SAME", memory=memory, tags=("strided",))
    for dtype in (F16, F64):
        yield _conv_case(contract, f"{dtype}", (2, 6, 7, 5), (3, 3, 2), padding="SAME", dtype=dtype)
    out = 1 if contract in (ops.DEPTHWISE_CONV2D_INPUT_GRAD, ops.DEPTHWISE_CONV2D_FILTER_GRAD) else 96
    yield _conv_case(contract, "inception-A0.b3_2-batch8", (8, 35, 35, 64), (3, 3, out), padding="SAME", measure=True)


def _forward_maximum(values: list[NDArray], p: Pool2DParams) -> None:
    """Sets y to the maxima of x, so that a window's maximum is one of its cells."""
    x, y = values[0], values[1]
    h, w = x.shape[1:3]
    top, _, left, _ = explicit_padding(p.padding, (h, w), p.window, p.strides)
    for i, j in np.ndindex(*y.shape[1:3]):
        row, column = i * p.strides[0] - top, j * p.strides[1] - left
        window = x[:, max(row, 0) : row + p.window[0], max(column, 0) : column + p.window[1]]
        y[:, i, j] = window.max((1, 2))


def _pool_case(
    contract: Contract[Any],
    name: str,
    x: Four,
    window: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    *,
    dtype: DType = F32,
    values: Any = normal,
    memory: Memory = "dense",
    threads: int = 1,
    tags: tuple[str, ...] = (),
    measure: bool = False,
    **params: Any,
) -> Case:
    forward = Pool2DParams(window, strides, **params)
    (y,) = MAX_POOL2D.infer([TensorType(dtype, x)], forward)
    dy = tensor(y.dims, normal if contract is ops.MAX_POOL2D_GRAD else values, dtype, memory=memory)
    if contract is ops.AVG_POOL2D_GRAD:
        p = ops.AvgPool2DGradParams(forward, x)
        return Case(contract, name, (dy,), p, frozenset(tags), memory, threads, measure=measure)
    inputs = (tensor(x, values, dtype, memory=memory), tensor(y.dims, normal, dtype, memory=memory), dy)

    def relate(made: list[NDArray]) -> None:
        _forward_maximum(made, forward)

    return Case(contract, name, inputs, forward, frozenset(tags), memory, threads, relate=relate, measure=measure)


def _pools(contract: Contract[Any]) -> Iterator[Case]:
    counts = (False, True) if contract is ops.AVG_POOL2D_GRAD else (False,)
    for count in counts:
        for label, window, strides, padding in FAR_WINDOWS:
            far = _pool_case(
                contract, f"far-{label}{'-counted' if count else ''}", (2, 8, 9, 5), window, strides, padding=padding,
                count_include_pad=count, tags=("far",),
            )  # fmt: skip
            yield replace(far, tolerance=Tolerance(1e-5, 2e-5))  # all windows may add to one cell
    for channels in (1, 3, 8, 17, 33):
        yield _pool_case(contract, f"c{channels}", (1, 5, 6, channels), (3, 3), padding="SAME", tags=("tail",))
    for window in ((1, 1), (2, 2), (3, 3), (2, 4)):
        for strides in ((1, 1), (2, 2), (3, 1)):
            for label, padding in (
                ("same", "SAME"),
                ("valid", "VALID"),
                ("explicit", (window[0] - 1, 0, 0, window[1] - 1)),
            ):
                for count in counts:
                    suffix = "-counted" if count else ""
                    yield _pool_case(
                        contract, f"{window[0]}x{window[1]}-s{strides[0]}{strides[1]}-{label}{suffix}", (2, 7, 8, 5), window,
                        strides, padding=padding, count_include_pad=count, tags=("window",),
                    )  # fmt: skip
    yield _pool_case(contract, "ties", (2, 9, 9, 5), (3, 3), (2, 2), padding="SAME", values=few)
    yield _pool_case(contract, "batch0", (0, 5, 6, 3), (3, 3), tags=("empty",))
    yield _pool_case(contract, "channels0", (2, 5, 6, 0), (3, 3), tags=("empty",))
    yield _pool_case(contract, "nan", (2, 9, 9, 5), (3, 3), (2, 2), padding="SAME", values=only_nan, tags=("nan",))
    yield _pool_case(contract, "threads2", (3, 17, 18, 24), (3, 3), padding="SAME", threads=2, tags=("threads",))
    for memory in MEMORIES:
        yield _pool_case(contract, memory, (2, 6, 7, 9), (3, 3), padding="SAME", memory=memory, tags=("strided",))
    for dtype in (F16, F64):
        yield _pool_case(contract, f"{dtype}", (2, 6, 7, 5), (3, 3), padding="SAME", dtype=dtype)
    yield _pool_case(contract, "inception-stem.pool1", (1, 147, 147, 64), (3, 3), (2, 2), measure=True)


def _activations(contract: Contract[Any]) -> Iterator[Case]:
    def case(
        name: str, shape: tuple[int, ...], *tags: str, dtype: DType = F32, values: Any = None, **rest: Any
    ) -> Case:
        memory = rest.get("memory", "dense")
        make = values or scaled(5)
        inputs = (tensor(shape, values or normal, dtype, memory=memory), tensor(shape, make, dtype, memory=memory))
        return Case(contract, name, inputs, tags=frozenset(tags), **rest)

    for size in (1, 7, 8, 17, 33, 65):
        yield case(f"n{size}", (size,), "tail")
    yield case("rank4", (2, 3, 5, 7))
    yield case("scalar", ())
    yield case("empty", (3, 0), "empty")
    yield case("nan", (9, 40), "nan", values=sparse_nan)
    yield case("threads2", (130, 300), "threads", threads=2)
    yield case("inception-A0-batch8", (8, 35, 35, 64), measure=True)
    for memory in MEMORIES:
        yield case(memory, (4, 5, 21), "strided", memory=memory)
    for dtype in (F16, F64):
        yield case(f"{dtype}", (5, 9), dtype=dtype)


def _cross_entropy(contract: Contract[Any]) -> Iterator[Case]:
    sparse = contract is ops.SPARSE_SOFTMAX_CROSS_ENTROPY

    def distribution(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> NDArray:
        shares = rng.uniform(0, 1, shape)
        return np.asarray(shares / shares.sum(-1, keepdims=True)).astype(dtype)

    def case(
        name: str, rows: int, classes: int, *tags: str, dtype: DType = F32, values: Any = None, label: str = "int64",
        memory: Memory = "dense", threads: int = 1, measure: bool = False,
    ) -> Case:  # fmt: skip
        logits = tensor((rows, classes), values or scaled(3), dtype, memory=memory)
        if sparse:
            labels = tensor((rows,), indices(classes), np.dtype(label))
        else:
            labels = tensor((rows, classes), distribution, dtype, memory=memory)
        return Case(contract, name, (logits, labels), tags=frozenset(tags), threads=threads, measure=measure)

    for classes in (1, 2, 7, 8, 9, 17, 33, 130, 1001):
        yield case(f"n{classes}", 3, classes, "tail")
    yield case("no-rows", 0, 5, "empty")
    yield case("large", 5, 33, "large", values=scaled(1e4))
    yield case("nan", 9, 40, "nan", values=only_nan)
    yield case("threads2", 300, 129, "threads", threads=2)
    yield case("n1000-batch512", 512, 1000, measure=True)
    for memory in MEMORIES:
        yield case(memory, 6, 21, "strided", memory=memory)
    for dtype in sorted(FLOATS - {F32}, key=str):
        yield case(f"{dtype}", 5, 33, dtype=dtype)
    if sparse:
        for dtype in sorted(INTEGERS, key=str):
            yield case(f"labels-{dtype}", 5, 33, label=str(dtype))


def _lrn() -> Iterator[Case]:
    def case(
        name: str, shape: tuple[int, ...], radius: int = 5, beta: float = 0.75, *tags: str, bias: float = 1.0,
        alpha: float = 0.5, dtype: DType = F32, values: Any = normal, memory: Memory = "dense", **rest: Any,
    ) -> Case:  # fmt: skip
        dy, x, y = (tensor(shape, make, dtype, memory=memory) for make in (normal, values, scaled(0.5)))
        params = LRNParams(radius, bias, alpha, beta)
        return Case(ops.LRN_GRAD, name, (dy, x, y), params, frozenset(tags), memory=memory, **rest)

    for channels in (1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 65, 130):
        yield case(f"c{channels}", (2, 3, 3, channels), 5, 0.75, "tail")
    for channels, radius in ((33, 8), (65, 20), (130, 64)):
        yield case(f"c{channels}-radius{radius}", (2, 3, 3, channels), radius, 0.75, "tail")
    for radius in (0, 1, 2, 16, 17, 2**31 - 2):
        yield case(f"radius{radius}", (2, 3, 5, 18), radius)
    for dtype in (F16, F32, F64):
        for beta in (-0.5, 0.0, 0.3, 0.5, 0.75, 1.0, 2.0):
            yield case(f"beta{beta}-{dtype}", (2, 3, 5, 21), 2, beta, dtype=dtype)
    yield case("below0", (2, 3, 5, 21), 2, 1.0, bias=-1.0, alpha=-1.0)
    yield case("alpha0", (2, 3, 5, 21), bias=2.0, alpha=0.0)
    yield case("nan", (2, 3, 5, 40), 2, 0.75, "nan", values=sparse_nan)
    yield case("batch0", (0, 3, 5, 18), 5, 0.75, "empty")
    yield case("pixels0", (2, 0, 2**40, 18), 5, 0.75, "empty")
    yield case("channels0", (2, 3, 5, 0), 5, 0.75, "empty")
    yield case("threads2", (3, 17, 17, 70), 5, 0.75, "threads", threads=2)
    for memory in MEMORIES:
        yield case(memory, (2, 5, 4, 18), 5, 0.75, "strided", memory=memory)
    yield case("googlenet-norm2", (8, 56, 56, 192), alpha=1e-4, measure=True)


def _own_statistics(values: list[NDArray]) -> None:
    """Sets mean and variance to those of x."""
    if values[1].size:
        x, finite = values[1].reshape(-1, values[1].shape[-1]).astype(np.float64), np.isfinite(values[1]).all()
        values[3][...], values[4][...] = (x.mean(0), x.var(0)) if finite else (np.nan, np.nan)


def _statistics() -> Iterator[Case]:
    def case(name: str, shape: tuple[int, ...], *tags: str, dtype: DType = F32, values: Any = normal,
             memory: Memory = "dense", epsilon: float = 1e-3, **rest: Any) -> Case:  # fmt: skip
        dy, x = (tensor(shape, make, dtype, memory=memory) for make in (normal, values))
        scale, mean, variance = (tensor(shape[-1:], make, dtype) for make in (normal, normal, positive))
        params, inputs = BatchNormParams(epsilon), (dy, x, scale, mean, variance)
        return Case(
            ops.BATCH_NORM_STATISTICS_GRAD,
            name,
            inputs,
            params,
            frozenset(tags),
            memory,
            relate=_own_statistics,
            **rest,
        )

    for channels in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130):
        yield case(f"c{channels}", (2, 7, 5, channels), "tail")
    for dtype in (F16, F64):
        yield case(f"{dtype}", (2, 5, 4, 18), dtype=dtype)
    yield case("rank1", (7,))
    yield case("rank2", (9, 7))
    yield case("rank5", (2, 3, 2, 2, 4))
    yield case("one-row", (1, 1, 1, 3))
    yield case("epsilon", (3, 5, 4, 6), epsilon=0.5)
    yield case("many-rows", (3, 67, 41, 5))
    yield case("batch0", (0, 5, 4, 18), "empty")
    yield case("channels0", (2, 5, 4, 0), "empty")
    yield case("nan", (2, 5, 4, 18), "nan", values=sparse_nan)
    yield case("threads2", (3, 31, 17, 40), "threads", threads=2)
    for memory in MEMORIES:
        yield case(memory, (2, 5, 4, 18), "strided", memory=memory)
    yield case("images", (8, 56, 56, 64), measure=True)


CASES: tuple[Case, ...] = (
    *(case for contract, *_ in _CONV_GRADIENTS for case in _convolutions(contract)),
    *_pools(ops.MAX_POOL2D_GRAD),
    *_pools(ops.AVG_POOL2D_GRAD),
    *_activations(ops.RELU_GRAD),
    *_activations(ops.RELU6_GRAD),
    *_cross_entropy(ops.SOFTMAX_CROSS_ENTROPY),
    *_cross_entropy(ops.SPARSE_SOFTMAX_CROSS_ENTROPY),
    *_lrn(),
    *_statistics(),
)
