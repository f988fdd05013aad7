"""Rows that no network has: the smallest calls, matrix products of many shapes, windows and layouts at sizes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import kigraph as ki

from ..numpy_rows import Row
from .in_torch import of_node
from .row import OpRow

__all__ = ["BY_HAND"]

Array = np.ndarray[Any, Any]


def _matmul(
    rows: int, inner: int, columns: int, *, constant: bool = False, turned: str = "", dtype: str = "float32"
) -> OpRow:
    """turned: which of a and b is given transposed."""
    a = (inner, rows) if "a" in turned else (rows, inner)
    b = (columns, inner) if "b" in turned else (inner, columns)
    attrs = {"transpose_a": "a" in turned, "transpose_b": "b" in turned}

    def make(rng: np.random.Generator) -> list[Array]:
        return [rng.standard_normal(a).astype(dtype), (rng.standard_normal(b) / np.sqrt(inner)).astype(dtype)]

    def plain(x: Array, y: Array) -> Array:
        return np.matmul(x.T if "a" in turned else x, y.T if "b" in turned else y)

    words = [
        f"{rows}x{inner}x{columns}",
        *(["b constant"] if constant else []),
        *([f"{turned} transposed"] if turned else []),
    ]
    words += ["float64"] if dtype == "float64" else []
    size = ", ".join(words)
    row = Row(f"matmul {size}", make, lambda x, y: ki.matmul(x, y, **attrs), plain, 1e-3, 1e-3)
    return OpRow(row, "matmul", size, frozenset([1] if constant else []), (), None, of_node("MatMul", attrs))


def _batched(*shape: int, inner: int, columns: int) -> OpRow:
    """Matrices shape[:-1] x (shape[-1], inner) times (inner, columns)."""
    a, b = (*shape, inner), (*shape[:-1], inner, columns)
    size = f"{'x'.join(map(str, a))}, {'x'.join(map(str, b))}"
    row = Row(
        f"batch matmul {size}", lambda rng: [rng.standard_normal(s).astype(np.float32) / 8 for s in (a, b)], ki.matmul, np.matmul,
        1e-3, 1e-3,
    )  # fmt: skip
    return OpRow(row, "batch matmul", size, torch=of_node("BatchMatMulV2", {}))


def _window(
    kind: str, image: tuple[int, int, int], window: int, stride: int = 1, width: int = 0, dilation: int = 1
) -> OpRow:
    """A convolution, depthwise or not, or a pool; padding SAME. width: filters."""
    shape = (1, *image)
    attrs: dict[str, Any] = {"strides": (1, stride, stride, 1), "padding": "SAME"}
    depthwise, pool = kind == "depthwise", kind.endswith("pool")
    if pool:
        attrs["ksize"] = (1, window, window, 1)
    else:
        attrs["dilations"] = (1, dilation, dilation, 1)
    weights = (window, window, image[2], 1 if depthwise else width)
    type = {"conv2d": "Conv2D", "depthwise": "DepthwiseConv2dNative", "max_pool": "MaxPool", "avg_pool": "AvgPool"}[
        kind
    ]

    def make(rng: np.random.Generator) -> list[Array]:
        x = rng.standard_normal(shape).astype(np.float32)
        return (
            [x]
            if pool
            else [
                x,
                rng.standard_normal(weights).astype(np.float32)
                / np.float32(window * np.sqrt(1 if depthwise else image[2])),
            ]
        )

    def build(*tensors: Any, layout: str = "NHWC") -> Any:
        def along(both: int) -> tuple[int, ...]:
            return (1, both, both, 1) if layout == "NHWC" else (1, 1, both, both)

        given = {"strides": along(stride), "padding": "SAME", "data_format": layout}
        given |= {"ksize": along(window)} if pool else {"dilations": along(dilation)}
        return tensors[0].graph.create_op(type, tensors, given).outputs[0]

    words = f"{window}x{window}{f' s{stride}' if stride > 1 else ''}{f' dilated {dilation}' if dilation > 1 else ''}"
    size = f"{words} {'x'.join(map(str, shape))}{f' to {width}' if width else ''}"
    row = Row(f"{kind} {size}", make, build, None, 1e-3, 1e-4)  # type: ignore[arg-type]
    return OpRow(
        row, kind, size, frozenset([] if pool else [1]), (), lambda *t: build(*t, layout="NCHW"), of_node(type, attrs)
    )


def _plain(
    kind: str, shape: tuple[int, ...], build: Callable[..., Any], plain: Any, torch: Any = None, count: int = 1
) -> OpRow:
    """An op on float32 arrays of one shape."""

    def make(rng: np.random.Generator) -> list[Array]:
        return [np.asarray(rng.standard_normal(shape)).astype(np.float32) for _ in range(count)]

    def call(*arrays: Array) -> Callable[[], Any]:
        import torch as library

        tensors = [library.from_numpy(a) for a in arrays]
        return lambda: torch(library, *tensors)

    size = "x".join(map(str, shape)) or "number"
    return OpRow(Row(f"{kind} {size}", make, build, plain, 1e-4, 1e-5), kind, size, torch=call if torch else None)


def _chain(x: Any) -> Any:
    for _ in range(101):
        x = ki.sqrt(ki.abs(x))
    return x


def _chain_plain(x: Array) -> Array:
    for _ in range(101):
        x = np.sqrt(np.abs(x))
    return x


def _gelu(x: Any) -> Any:
    return x * 0.5 * (1.0 + ki.erf(x * float(np.sqrt(0.5))))


_SMALL = (
    _plain("times two", (), lambda x: x * 2.0, lambda x: x * np.float32(2), lambda t, x: x * 2.0),
    _plain(
        "sqrt of abs", (4,), lambda x: ki.sqrt(ki.abs(x)), lambda x: np.sqrt(np.abs(x)), lambda t, x: x.abs().sqrt()
    ),
    _plain("202 ops one after the other", (4,), _chain, _chain_plain),
)
_CHAINS = (
    _plain("gelu", (1000, 1000), _gelu, None, lambda t, x: t.nn.functional.gelu(x)),
    _plain("swish", (1, 112, 112, 96), lambda x: x * ki.sigmoid(x), lambda x: x / (1 + np.exp(-x)), lambda t, x: t.nn.functional.silu(x)),
    _plain("add, relu", (1, 56, 56, 256), lambda a, b: ki.relu(a + b), lambda a, b: np.maximum(a + b, 0), lambda t, a, b: t.relu(a + b), 2),
    _plain("resize_bilinear to 299", (1, 600, 800, 3), lambda x: ki.resize_bilinear(x, [299, 299], half_pixel_centers=True), None,
           lambda t, x: t.nn.functional.interpolate(x.permute(0, 3, 1, 2), (299, 299), mode="bilinear").permute(0, 2, 3, 1)),
    _plain("mean of an image", (1, 7, 7, 2048), lambda x: ki.reduce_mean(x, [1, 2]), lambda x: x.mean((1, 2)), lambda t, x: x.mean((1, 2))),
    _plain("transpose", (1000, 1000), ki.transpose, lambda x: np.ascontiguousarray(x.T), lambda t, x: x.mT.contiguous()),
    _plain("transpose to NCHW", (1, 56, 56, 256), lambda x: ki.transpose(x, [0, 3, 1, 2]), lambda x: np.ascontiguousarray(x.transpose(0, 3, 1, 2)),
           lambda t, x: x.permute(0, 3, 1, 2).contiguous()),
    _plain("top_k 5", (256, 1024), lambda x: ki.top_k(x, 5)[0], lambda x: -np.sort(-x, -1)[:, :5], lambda t, x: t.topk(x, 5)[0]),
)  # fmt: skip
_PRODUCTS = (
    *(_matmul(n, n, n) for n in (16, 64, 128, 256, 512, 1024)),
    _matmul(512, 512, 512, constant=True), _matmul(512, 512, 512, turned="a"), _matmul(512, 512, 512, turned="b"),
    *(_matmul(n, 1024, 1024) for n in (1, 2, 4, 8, 16)), _matmul(1, 1024, 1024, constant=True), _matmul(1, 25088, 4096, constant=True),
    _matmul(1024, 1024, 1), _matmul(197, 768, 768, constant=True), _matmul(8, 2048, 1000, constant=True), _matmul(8, 2048, 1000),
    _matmul(4096, 64, 64), _matmul(64, 4096, 64), _matmul(64, 64, 4096),
    *(_matmul(n, n, n, dtype="float64") for n in (64, 512)), _matmul(1, 1024, 1024, dtype="float64"),
    _matmul(4096, 64, 64, dtype="float64"), _batched(32, 64, inner=64, columns=64), _batched(12, 197, inner=64, columns=197),
    _batched(12, 197, inner=197, columns=64),
)  # fmt: skip
_WINDOWS = (
    _window("depthwise", (112, 112, 32), 3), _window("depthwise", (56, 56, 144), 3, 2), _window("depthwise", (56, 56, 128), 3),
    _window("depthwise", (28, 28, 240), 5), _window("depthwise", (56, 56, 96), 7), _window("depthwise", (14, 14, 512), 3),
    _window("depthwise", (28, 28, 240), 3, 1, 0, 2),
    _window("conv2d", (224, 224, 3), 3, 1, 64), _window("conv2d", (224, 224, 3), 3, 2, 32), _window("conv2d", (224, 224, 3), 7, 2, 64),
    _window("conv2d", (56, 56, 64), 3, 1, 64), _window("conv2d", (28, 28, 128), 3, 1, 128), _window("conv2d", (14, 14, 256), 3, 1, 256),
    _window("conv2d", (7, 7, 512), 3, 1, 512), _window("conv2d", (28, 28, 96), 5, 1, 96), _window("conv2d", (28, 28, 128), 3, 1, 128, 2),
    _window("conv2d", (56, 56, 64), 1, 1, 256), _window("conv2d", (56, 56, 256), 1, 2, 512),
    _window("max_pool", (112, 112, 64), 3, 2), _window("max_pool", (112, 112, 64), 2, 2), _window("avg_pool", (56, 56, 192), 3),
)  # fmt: skip

BY_HAND: tuple[OpRow, ...] = (*_SMALL, *_CHAINS, *_PRODUCTS, *_WINDOWS)
