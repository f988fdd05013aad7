"""Ops over windows and positions, and the plain NumPy programs for them: convolutions, pools, resizing, crops, boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import kigraph as ki

from .numpy_rows import Row, activations

__all__ = ["WINDOW_ROWS", "box_scores", "suppressed"]

Value = np.ndarray[Any, Any]
_F = np.float32
_IMAGE = activations(1, 112, 112, 64)


def _weights(rng: np.random.Generator, *shape: int) -> Value:
    return (rng.standard_normal(shape) / 8).astype(_F)


def _op(type: str, **attrs: Any) -> Any:
    return lambda *tensors: tensors[0].graph.create_op(type, tensors, attrs).outputs[0]


def _windows(x: Value, size: int, stride: int, low: Any) -> Value:
    """Windows of SAME padding: (n, h, w, c, size, size)."""
    pads = [(0, 0)]
    for n in x.shape[1:3]:
        total = max((-(-n // stride) - 1) * stride + size - n, 0)
        pads.append((total // 2, total - total // 2))
    wide = np.pad(x, [*pads, (0, 0)], constant_values=low)
    return sliding_window_view(wide, (size, size), (1, 2))[:, ::stride, ::stride]


def _conv(x: Value, w: Value) -> Value:
    return np.tensordot(_windows(x, w.shape[0], 1, 0), w, ((4, 5, 3), (0, 1, 2)))


def _grouped(x: Value, w: Value) -> Value:
    """NCHW, two groups."""
    wide = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    half = w.shape[2]
    parts = [
        np.tensordot(
            sliding_window_view(wide[:, g * half : (g + 1) * half], (3, 3), (2, 3)), w[..., g * half : (g + 1) * half],
            ((4, 5, 1), (0, 1, 2)),
        )
        for g in range(2)
    ]  # fmt: skip
    return np.ascontiguousarray(np.concatenate(parts, 3).transpose(0, 3, 1, 2))


def _transposed(dy: Value, w: Value) -> Value:
    """Stride 2, window 4, SAME: w (4, 4, out, in)."""
    n, h, v, _ = dy.shape
    wide = np.zeros((n, 2 * h + 2, 2 * v + 2, w.shape[2]), _F)
    for i in range(4):
        for j in range(4):
            wide[:, i : i + 2 * h : 2, j : j + 2 * v : 2] += dy @ w[i, j].T
    return wide[:, 1:-1, 1:-1]


def _conv3d(x: Value, w: Value) -> Value:
    windows = sliding_window_view(x, (3, 3, 3), (1, 2, 3))
    return np.tensordot(windows, w, ((5, 6, 7, 4), (0, 1, 2, 3)))


def _argmax(x: Value) -> list[Value]:
    n, h, w, c = x.shape
    cells = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)
    best = cells.argmax(-1)
    rows = np.arange(h // 2)[:, None, None] * 2 + best // 2
    columns = np.arange(w // 2)[:, None] * 2 + best % 2
    return [cells.max(-1), (rows * w + columns) * c + np.arange(c)]


def _lrn(x: Value) -> Value:
    padded = np.pad(x * x, [(0, 0)] * 3 + [(5, 5)])
    sums = sum(padded[..., i : i + x.shape[3]] for i in range(11))
    return x / (1 + sums) ** _F(0.5)


def _bilinear(x: Value, size: int, half: bool = False) -> Value:
    def ends(n: int) -> tuple[Value, Value, Value]:
        at = np.arange(size, dtype=_F)
        at = (at + _F(0.5)) * _F(n / size) - _F(0.5) if half else at * _F(n / size)
        low = np.floor(at)
        first = np.clip(low.astype(int), 0, n - 1)
        return first, np.clip(np.ceil(at).astype(int), 0, n - 1), at - low

    (top, bottom, dy), (left, right, dx) = ends(x.shape[1]), ends(x.shape[2])
    dy, dx = dy[:, None, None], dx[:, None]
    upper, lower = x[:, top], x[:, bottom]
    above = upper[:, :, left] * (1 - dx) + upper[:, :, right] * dx
    return above * (1 - dy) + (lower[:, :, left] * (1 - dx) + lower[:, :, right] * dx) * dy


def _nearest(x: Value, size: int) -> Value:
    rows, columns = (np.arange(size) * n // size for n in x.shape[1:3])
    return x[:, rows[:, None], columns]


def _cubic_matrix(n: int, size: int) -> Value:
    """Keys' cubic with a = -0.5 at half pixels, cells beyond the edge left out."""
    at = (np.arange(size) + 0.5) * (n / size) - 0.5
    cells = np.floor(at).astype(int)[:, None] + np.arange(-1, 3)
    x = np.abs(cells - at[:, None])
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where((cells >= 0) & (cells < n), np.where(x <= 1, near, far), 0)
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((size, n), _F)
    np.add.at(matrix, (np.arange(size)[:, None], np.clip(cells, 0, n - 1)), weights)
    return matrix


def _by_matrix(x: Value, down: Value, across: Value) -> Value:
    n, h, w, c = x.shape
    rows = (down @ x.reshape(n, h, w * c)).reshape(n * len(down), w, c)
    return (across @ rows).reshape(n, len(down), len(across), c)


def _area(x: Value, size: int) -> Value:
    n, h, w, c = x.shape
    return x.reshape(n, size, h // size, size, w // size, c).mean((2, 4))


def _triangle_matrix(n: int, size: int) -> Value:
    """ScaleAndTranslate's triangle, antialiased."""
    wide = max(n / size, 1)
    at = (np.arange(size) + 0.5) * (n / size)
    weights = np.maximum(1 - np.abs(np.arange(n) + 0.5 - at[:, None]) / wide, 0)
    return (weights / weights.sum(1, keepdims=True)).astype(_F)


def _crops(x: Value, boxes: Value, owners: Value) -> Value:
    h, w = x.shape[1:3]
    made = np.empty((len(boxes), 64, 64, x.shape[3]), _F)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        rows, columns = np.linspace(y1 * (h - 1), y2 * (h - 1), 64), np.linspace(x1 * (w - 1), x2 * (w - 1), 64)
        top, left = rows.astype(int), columns.astype(int)
        dy, dx = (rows - top).astype(_F)[:, None, None], (columns - left).astype(_F)[:, None]
        bottom, right = np.minimum(top + 1, h - 1), np.minimum(left + 1, w - 1)
        image = x[owners[i]]
        above = image[top[:, None], left] * (1 - dx) + image[top[:, None], right] * dx
        below = image[bottom[:, None], left] * (1 - dx) + image[bottom[:, None], right] * dx
        made[i] = above * (1 - dy) + below * dy
    return made


def box_scores(count: int) -> Any:
    def make(rng: np.random.Generator) -> list[Value]:
        corner, size = rng.uniform(0, 0.8, (count, 2)), rng.uniform(0.02, 0.2, (count, 2))
        return [np.concatenate([corner, corner + size], 1).astype(_F), rng.permutation(count).astype(_F)]

    return make


def suppressed(boxes: Value, scores: Value) -> Value:
    order, kept = np.argsort(-scores), []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.size and len(kept) < 200:
        i, rest = order[0], order[1:]
        kept.append(i)
        sides = np.minimum(boxes[i, 2:], boxes[rest, 2:]) - np.maximum(boxes[i, :2], boxes[rest, :2])
        common = np.maximum(sides, 0).prod(1)
        order = rest[common / (area[i] + area[rest] - common) <= _F(0.5)]
    return np.array(kept, np.int32)


def _build_suppressed(boxes: Any, scores: Any) -> Any:
    graph = boxes.graph
    most, iou = ki.constant(200), ki.constant(0.5)
    return graph.create_op("NonMaxSuppressionV3", [boxes, scores, most, iou, ki.constant(float("-inf"))], {}).outputs[0]


def _build_scaled(x: Any) -> Any:
    inputs = [x, ki.constant([75, 75]), ki.constant([75 / 112] * 2), ki.constant([0.0, 0.0])]
    return x.graph.create_op("ScaleAndTranslate", inputs, {"kernel_type": b"triangle", "antialias": True}).outputs[0]


def _pairs(*shapes: tuple[int, ...]) -> Any:
    return lambda rng: [rng.standard_normal(shapes[0]).astype(_F), *(_weights(rng, *s) for s in shapes[1:])]


def _crop_inputs(rng: np.random.Generator) -> list[Value]:
    low, high = rng.uniform(0, 0.4, (32, 2)), rng.uniform(0.6, 1, (32, 2))
    boxes = np.concatenate([low, high], 1).astype(_F)
    return [rng.standard_normal((1, 112, 112, 64)).astype(_F), boxes, rng.integers(0, 1, 32).astype(np.int32)]


_V = [1, 2, 2, 2, 1]
WINDOW_ROWS: tuple[Row, ...] = (
    Row("lrn", activations(1, 56, 56, 192), ki.lrn, _lrn, 1e-5, 1e-6),
    Row("conv2d 3x3", _pairs((1, 56, 56, 64), (3, 3, 64, 64)), lambda x, w: ki.conv2d(x, w, 1, "SAME"), _conv, 1e-3, 1e-4),
    Row("conv2d NCHW, 2 groups", _pairs((1, 64, 56, 56), (3, 3, 32, 64)), lambda x, w: ki.conv2d(x, w, 1, "SAME", "NCHW"), _grouped, 1e-3, 1e-4),
    Row("conv2d transposed", _pairs((1, 28, 28, 64), (4, 4, 32, 64)), lambda x, w: _op("Conv2DBackpropInput", strides=(1, 2, 2, 1), padding="SAME")(ki.constant([1, 56, 56, 32]), w, x), _transposed, 1e-3, 1e-4),
    Row("depthwise 3x3", _pairs((1, 112, 112, 64), (3, 3, 64, 1)), lambda x, w: ki.depthwise_conv2d(x, w, 1, "SAME"), lambda x, w: np.einsum("nhwcij,ijc->nhwc", _windows(x, 3, 1, 0), w[..., 0]), 1e-3, 1e-4),
    Row("conv3d 3x3x3", _pairs((1, 16, 32, 32, 16), (3, 3, 3, 16, 16)), _op("Conv3D", strides=(1, 1, 1, 1, 1), padding=b"VALID"), _conv3d, 1e-3, 1e-4),
    Row("max_pool3d", activations(1, 32, 32, 32, 32), _op("MaxPool3D", ksize=_V, strides=_V, padding=b"VALID"), lambda x: x.reshape(1, 16, 2, 16, 2, 16, 2, 32).max((2, 4, 6))),
    Row("avg_pool3d", activations(1, 32, 32, 32, 32), _op("AvgPool3D", ksize=_V, strides=_V, padding=b"VALID"), lambda x: x.reshape(1, 16, 2, 16, 2, 16, 2, 32).mean((2, 4, 6)), 1e-5, 1e-6),
    Row("max_pool 3x3", activations(1, 112, 112, 64), lambda x: ki.max_pool(x, 3, 2, "SAME"), lambda x: _windows(x, 3, 2, -np.inf).max((4, 5))),
    Row("avg_pool 2x2", activations(1, 112, 112, 64), lambda x: ki.avg_pool(x, 2, 2, "VALID"), lambda x: x.reshape(1, 56, 2, 56, 2, 64).mean((2, 4)), 1e-5, 1e-6),
    Row("max_pool_with_argmax", activations(1, 112, 112, 64), lambda x: list(x.graph.create_op("MaxPoolWithArgmax", [x], {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": b"VALID"}).outputs), _argmax),
    Row("dilation2d", _pairs((1, 112, 112, 32), (3, 3, 32)), _op("Dilation2D", strides=(1, 1, 1, 1), rates=(1, 1, 1, 1), padding=b"SAME"), lambda x, w: (_windows(x, 3, 1, -np.inf) + w.transpose(2, 0, 1)).max((4, 5))),
    Row("resize_bilinear up", _IMAGE, lambda x: ki.resize_bilinear(x, [224, 224]), lambda x: _bilinear(x, 224), 1e-4, 1e-5),
    Row("resize_bilinear down, half pixel", _IMAGE, lambda x: ki.resize_bilinear(x, [75, 75], half_pixel_centers=True), lambda x: _bilinear(x, 75, True), 1e-4, 1e-4),
    Row("resize_nearest up", _IMAGE, lambda x: ki.resize_nearest_neighbor(x, [224, 224]), lambda x: _nearest(x, 224)),
    Row("resize_bicubic", _IMAGE, lambda x: ki.resize_bicubic(x, [150, 150], half_pixel_centers=True), lambda x: _by_matrix(x, _cubic_matrix(112, 150), _cubic_matrix(112, 150)), 1e-2, 5e-3),
    Row("resize_area", _IMAGE, lambda x: ki.resize_area(x, [56, 56]), lambda x: _area(x, 56), 1e-5, 1e-6),
    Row("scale_and_translate", _IMAGE, _build_scaled, lambda x: _by_matrix(x, _triangle_matrix(112, 75), _triangle_matrix(112, 75)), 1e-3, 1e-4),
    Row("crop_and_resize", _crop_inputs, lambda x, b, o: ki.crop_and_resize(x, b, o, [64, 64]), _crops, 1e-3, 1e-3),
    Row("non_max_suppression", box_scores(4000), _build_suppressed, suppressed),
)  # fmt: skip
