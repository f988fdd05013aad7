"""The reference's convolutions, pools and resizing against plain loops and against onnx's ReferenceEvaluator."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from kigraph.kernels.contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from kigraph.kernels.contracts.resize import RESIZE_BILINEAR, ResizeParams
from kigraph.kernels.host.taps import taps

NDArray = np.ndarray[Any, Any]
Call = Callable[..., list[NDArray]]


def before(n: int, k: int, s: int, d: int, padding: Any, axis: int) -> int:
    """Cells of padding before the first one, written out from TensorFlow's description."""
    if padding == "VALID":
        return 0
    if padding == "SAME":
        needed = (math.ceil(n / s) - 1) * s + (k - 1) * d + 1
        return max(needed - n, 0) // 2
    return int(padding[2 * axis])


def loop_conv(
    x: NDArray, w: NDArray, bias: NDArray, y_shape: tuple[int, ...], p: Conv2DParams, depthwise: bool
) -> NDArray:
    """The formula of the contract, one multiplication at a time; padding is a zero that is multiplied."""
    y = np.zeros(y_shape)
    kh, kw, cin, out = w.shape
    top = before(x.shape[1], kh, p.strides[0], p.dilations[0], p.padding, 0)
    left = before(x.shape[2], kw, p.strides[1], p.dilations[1], p.padding, 1)
    for n, i, j, o in np.ndindex(*y_shape):
        total = float(bias[o])
        for u in range(kh):
            for v in range(kw):
                row = i * p.strides[0] + u * p.dilations[0] - top
                column = j * p.strides[1] + v * p.dilations[1] - left
                inside = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
                for c in [o // out] if depthwise else range(cin):
                    value = float(x[n, row, column, c]) if inside else 0.0
                    total += value * float(w[u, v, c, o % out if depthwise else o])
        y[n, i, j, o] = total
    if p.activation == "relu":
        y = np.where(y < 0, 0, y)
    if p.activation == "relu6":
        y = np.where(y > 6, 6, np.where(y < 0, 0, y))
    return y


@pytest.mark.parametrize("number", range(60))
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
def test_convolution_against_loops(number: int, depthwise: bool, seed: int, call: Call) -> None:
    rng = np.random.default_rng([seed, number, depthwise])
    kh, kw, sh, sw, dh, dw = (int(k) for k in rng.integers(1, 4, 6))
    cin, out, n = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    h, w = (kh - 1) * dh + int(rng.integers(1, 5)), (kw - 1) * dw + int(rng.integers(1, 5))
    explicit = tuple(int(k) for k in rng.integers(0, 4, 4))
    padding: Any = ("SAME", "VALID", explicit)[number % 3]
    params = Conv2DParams((sh, sw), padding, (dh, dw), ("none", "relu", "relu6")[number % 4 % 3])
    x = 2 * rng.standard_normal((n, h, w, cin)).astype(np.float32)
    filters = 2 * rng.standard_normal((kh, kw, cin, out)).astype(np.float32)
    if number % 5 == 4:
        filters.ravel()[rng.integers(filters.size)] = (np.nan, np.inf, -np.inf)[number % 3]
    bias = rng.standard_normal(cin * out if depthwise else out).astype(np.float32)
    (y,) = call(DEPTHWISE_CONV2D if depthwise else CONV2D, [x, filters, bias], params)
    np.testing.assert_allclose(y, loop_conv(x, filters, bias, y.shape, params, depthwise), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", range(60))
@pytest.mark.parametrize("kind", ["max", "avg", "avg-counted"])
def test_pool_against_loops(number: int, kind: str, seed: int, call: Call) -> None:
    rng = np.random.default_rng([seed, number])
    kh, kw, sh, sw = (int(k) for k in rng.integers(1, 5, 4))
    h, w = kh + int(rng.integers(0, 5)), kw + int(rng.integers(0, 5))
    explicit = tuple(int(rng.integers(0, k)) for k in (kh, kh, kw, kw))
    padding: Any = ("SAME", "VALID", explicit)[number % 3]
    params = Pool2DParams((kh, kw), (sh, sw), padding, count_include_pad=kind == "avg-counted")
    x = rng.standard_normal((2, h, w, 3)).astype(np.float32)
    (y,) = call(MAX_POOL2D if kind == "max" else AVG_POOL2D, [x], params)
    top, left = before(h, kh, sh, 1, padding, 0), before(w, kw, sw, 1, padding, 1)
    for n, i, j, c in np.ndindex(*y.shape):
        cells = [
            float(x[n, i * sh + u - top, j * sw + v - left, c])
            for u in range(kh)
            for v in range(kw)
            if 0 <= i * sh + u - top < h and 0 <= j * sw + v - left < w
        ]
        divisor = kh * kw if params.count_include_pad else len(cells)
        want = max(cells) if kind == "max" else sum(cells) / divisor
        assert y[n, i, j, c] == pytest.approx(want, rel=1e-5, abs=1e-6)


def loop_resize(x: NDArray, size: tuple[int, int], p: ResizeParams) -> NDArray:
    """TensorFlow's resize_bilinear_op.cc in scalar float32 arithmetic."""
    f = np.float32
    n, h, w, c = x.shape
    y = np.zeros((n, *size, c), f)

    def cells(i: int, inside: int, outside: int) -> tuple[int, int, Any]:
        if p.align_corners and outside > 1:
            s = f(i) * (f(inside - 1) / f(outside - 1))
        elif p.half_pixel_centers:
            s = (f(i) + f(0.5)) * (f(inside) / f(outside)) - f(0.5)
        else:
            s = f(i) * (f(inside) / f(outside)) if not p.align_corners else f(0)
        upper = min(math.ceil(s), inside - 1)
        return min(max(math.floor(s), 0), upper), upper, f(s - f(math.floor(s)))

    for i in range(size[0]):
        top, bottom, wy = cells(i, h, size[0])
        for j in range(size[1]):
            left, right, wx = cells(j, w, size[1])
            a, b = x[:, top, left].astype(f), x[:, top, right].astype(f)
            d, e = x[:, bottom, left].astype(f), x[:, bottom, right].astype(f)
            upper, lower = a + (b - a) * wx, d + (e - d) * wx
            y[:, i, j] = upper + (lower - upper) * wy
    return y


RULES = [
    ResizeParams,
    lambda s: ResizeParams(s, align_corners=True),
    lambda s: ResizeParams(s, half_pixel_centers=True),
]


@pytest.mark.parametrize("rule", RULES, ids=["legacy", "align_corners", "half_pixel"])
@pytest.mark.parametrize("number", range(25))
def test_resize_is_tensorflows_to_the_bit(rule: Any, number: int, seed: int, call: Call) -> None:
    rng = np.random.default_rng([seed, number])
    h, w, oh, ow = (int(k) for k in rng.integers(1, 20, 4))
    x = rng.integers(0, 256, (2, h, w, 3)).astype(np.uint8 if number % 2 else np.float32)
    params = rule((oh, ow))
    (y,) = call(RESIZE_BILINEAR, [x], params)
    np.testing.assert_array_equal(y, loop_resize(x, (oh, ow), params))


def run_onnx(
    op: str, inputs: list[NDArray], opset: int = 18, names: list[str] | None = None, **attributes: Any
) -> NDArray:
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    names = names or [f"x{i}" for i in range(len(inputs))]
    node = helper.make_node(op, names, ["y"], **attributes)
    infos = [
        helper.make_tensor_value_info(f"x{i}", numpy_helper.from_array(x).data_type, x.shape)
        for i, x in enumerate(inputs)
    ]
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "g", infos, [result]), opset_imports=[helper.make_opsetid("", opset)]
    )
    (y,) = ReferenceEvaluator(model).run(None, {f"x{i}": x for i, x in enumerate(inputs)})
    return np.asarray(y)


def nchw(x: NDArray) -> NDArray:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def nhwc(x: NDArray) -> NDArray:
    return x.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 0, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 1)])
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
def test_convolution_against_onnx(
    pads: Any, strides: Any, dilations: Any, depthwise: bool, seed: int, call: Call
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 9, 10, 4)).astype(np.float32)
    w = rng.standard_normal((3, 2, 4, 2 if depthwise else 5)).astype(np.float32)
    b = rng.standard_normal(8 if depthwise else 5).astype(np.float32)
    (y,) = call(DEPTHWISE_CONV2D if depthwise else CONV2D, [x, w, b], Conv2DParams(strides, pads, dilations))
    top, bottom, left, right = pads
    onnx_filter = w.transpose(2, 3, 0, 1).reshape(8, 1, 3, 2) if depthwise else w.transpose(3, 2, 0, 1)
    want = run_onnx(
        "Conv", [nchw(x), np.ascontiguousarray(onnx_filter), b], strides=strides, dilations=dilations,
        pads=(top, left, bottom, right), group=4 if depthwise else 1,
    )  # fmt: skip
    np.testing.assert_allclose(y, nhwc(want), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "AveragePool-counted"])
# Even borders: onnx 1.23 computes a max pool of stride 1 with uneven ones wrongly (onnxruntime agrees with the loops above).
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_pool_against_onnx(kind: str, pads: Any, strides: Any, seed: int, call: Call) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 9, 10, 4)).astype(np.float32)
    counted = kind.endswith("counted")
    params = Pool2DParams((3, 2), strides, pads, counted)
    (y,) = call(MAX_POOL2D if kind == "MaxPool" else AVG_POOL2D, [x], params)
    top, bottom, left, right = pads
    extra: dict[str, Any] = {"count_include_pad": int(counted)} if kind != "MaxPool" else {}
    want = run_onnx(
        kind.split("-")[0], [nchw(x)], kernel_shape=(3, 2), strides=strides, pads=(top, left, bottom, right), **extra
    )
    np.testing.assert_allclose(y, nhwc(want), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "rule"),
    list(zip(["asymmetric", "align_corners", "half_pixel"], RULES, strict=True)),
    ids=lambda v: str(v)[:13],
)
@pytest.mark.parametrize("size", [(7, 9), (3, 2), (10, 14)])
def test_resize_against_onnx(mode: str, rule: Any, size: Any, seed: int, call: Call) -> None:
    x = np.random.default_rng(seed).standard_normal((1, 5, 7, 2)).astype(np.float32)
    (y,) = call(RESIZE_BILINEAR, [x], rule(size))
    sizes = np.array([1, 2, *size], np.int64)
    want = run_onnx(
        "Resize", [nchw(x), sizes], names=["x0", "", "", "x1"], mode="linear", coordinate_transformation_mode=mode
    )
    np.testing.assert_allclose(y, nhwc(want), rtol=1e-4, atol=1e-5)


def test_an_image_gives_the_same_bits_in_every_batch(seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((5, 17, 19, 24)).astype(np.float32)
    w = rng.standard_normal((3, 3, 24, 40)).astype(np.float32)
    params = Conv2DParams(padding="SAME")
    (together,) = call(CONV2D, [x, w], params)
    for image in range(5):
        (alone,) = call(CONV2D, [x[image : image + 1], w], params)
        np.testing.assert_array_equal(alone[0], together[image])


def test_windows_that_see_only_padding(call: Call) -> None:
    """A padding larger than the window makes convolution outputs that are the bias alone."""
    x = np.ones((1, 1, 1, 1), np.float32)
    w = np.full((1, 1, 1, 1), 2, np.float32)
    (y,) = call(CONV2D, [x, w, np.array([0.5], np.float32)], Conv2DParams(padding=(1, 1, 2, 0)))
    np.testing.assert_array_equal(y[0, :, :, 0], [[0.5, 0.5, 0.5], [0.5, 0.5, 2.5], [0.5, 0.5, 0.5]])


def test_taps_are_those_that_meet_the_image(seed: int) -> None:
    """Against all cells written out, with numbers that are small, and with steps that reach far beyond 64 bits' middle."""
    rng = random.Random(seed)
    for trial in range(600):
        far = (1, 2**31, 2**60)[trial % 3]  # strides, dilations and paddings in these units
        size, out, window = ((rng.randint(0, 6), rng.randint(0, 6)) for _ in range(3))
        strides, dilations = ((rng.randint(1, 4) * far, rng.randint(1, 4) * far) for _ in range(2))
        offset = rng.randint(-3, 9) * far + rng.randint(-1, 1), rng.randint(-3, 9) * far + rng.randint(-1, 1)
        wanted = []
        for u, v in np.ndindex(*window):
            rows = [(i, i * strides[0] + u * dilations[0] - offset[0]) for i in range(out[0])]
            columns = [(j, j * strides[1] + v * dilations[1] - offset[1]) for j in range(out[1])]
            rows = [pair for pair in rows if 0 <= pair[1] < size[0]]
            columns = [pair for pair in columns if 0 <= pair[1] < size[1]]
            if rows and columns:
                wanted.append((u, v, rows, columns))
        found = []
        for tap in taps(size, out, window, strides, offset, dilations):
            rows, columns = (
                list(zip(range(o)[y], range(n)[x], strict=True))
                for o, n, x, y in zip(out, size, (tap.rows, tap.columns), (tap.out_rows, tap.out_columns), strict=True)
            )
            found.append((tap.u, tap.v, rows, columns))
        assert found == wanted, (size, out, window, strides, offset, dilations)


EMPTY_BESIDE_HUGE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (90, 90))  # seconds; a loop over 2**40 takes hours
import numpy as np
from conftest import call_kernel
from kigraph.kernels.contracts import gradients as g
from kigraph.kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams

H = 2**40
same, pool, far = Conv2DParams(padding="SAME"), Pool2DParams((3, 3), (1, 1), "SAME"), Conv2DParams((H, 1))
calls = [(op, [dims], pool) for op in (MAX_POOL2D, AVG_POOL2D) for dims in ((1, H, 3, 0), (0, 3, H, 2), (0, H, 3, 1))]
for op in (CONV2D, DEPTHWISE_CONV2D):
    calls += [(op, [(0, H, 3, 2), (3, 3, 2, 2)], same), (op, [(1, H, 3, 0), (3, 3, 0, 0)], same)]
    calls += [(op, [(0, H, 3, 1), (H, 3, 1, 0)], Conv2DParams())]
calls += [(CONV2D, [(1, H, 1, 0), (H, 1, 0, 1)], far)]
products = [((H, 0, 2), (H, 0, 2)), ((0, H), (0, H)), ((H, 0), (0, 0)), ((0, H, 2, 3), (0, 1, 2, 3))]
for a, b in products:
    for dtype in (np.float32, np.int32):
        calls.append((MATMUL, [np.zeros(a, dtype), np.zeros(b, dtype)], MatMulParams(transpose_b=True)))
for op, wrap in ((g.MAX_POOL2D_GRAD, None), (g.AVG_POOL2D_GRAD, g.AvgPool2DGradParams)):
    for dims in ((1, H, 3, 0), (0, 3, H, 2)):
        calls.append((op, [dims] if wrap else [dims] * 3, wrap(pool, dims) if wrap else pool))
for kind in ("CONV2D", "DEPTHWISE_CONV2D"):
    for x, f in (((0, H, 3, 2), (3, 3, 2, 2)), ((1, H, 3, 0), (3, 3, 0, 0))):
        dy = (*x[:3], f[3] if kind == "CONV2D" else f[2] * f[3])
        calls.append((getattr(g, kind + "_INPUT_GRAD"), [f, dy], g.ConvGradParams(same, x)))
        calls.append((getattr(g, kind + "_FILTER_GRAD"), [x, dy], g.ConvGradParams(same, f)))
for op, operands, params in calls:
    print(op.name, [getattr(x, "shape", x) for x in operands], flush=True)
    arrays = [x if isinstance(x, np.ndarray) else np.zeros(x, np.float32) for x in operands]
    (y,) = call_kernel(op, arrays, params, backend=sys.argv[1])
    assert not y.any(), y
"""


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_empty_axis_beside_a_huge_one_costs_nothing(backend: str) -> None:
    """Shapes without elements are legal however long the other axes are; a hang or an allocation by them is not."""
    if backend == "numba":
        pytest.importorskip("numba")
    pytest.importorskip("resource", reason="limits of CPU time are POSIX's")
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, "-c", EMPTY_BESIDE_HUGE, backend]
    result = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout[-300:] + result.stderr[-3000:]
