"""More ops and the plain NumPy programs for them: functions of a number, comparisons, bits, the rarer reductions, matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import kigraph as ki

from .numpy_rows import Row, activations
from .numpy_windows import box_scores, suppressed

__all__ = ["MORE_ROWS"]

Value = np.ndarray[Any, Any]
_F = np.float32
_SHAPE = (512, 1024)


def _op(type: str, count: int = 1, **attrs: Any) -> Callable[..., Any]:
    """An op that has no public function; its first ``count`` outputs."""

    def build(*tensors: Any) -> Any:
        outputs = tensors[0].graph.create_op(type, tensors, attrs).outputs
        return outputs[0] if count == 1 else list(outputs[:count])

    return build


def _between(low: float, high: float, count: int = 1, shape: tuple[int, ...] = _SHAPE) -> Any:
    return lambda rng: [rng.uniform(low, high, shape).astype(_F) for _ in range(count)]


def _integers(low: int, high: int, count: int = 1, shape: tuple[int, ...] = _SHAPE) -> Any:
    return lambda rng: [rng.integers(low, high, shape).astype(np.int32) for _ in range(count)]


def _unary(name: str, low: float, high: float, plain: Any, rtol: float = 1e-5, build: Any = None) -> Row:
    return Row(name, _between(low, high), build or getattr(ki, name), plain, rtol, 1e-6 if rtol else 0.0)


_ERFC = np.vectorize(math.erfc, otypes=[np.float64])
_UNARY = (
    _unary("negative", -4, 4, np.negative, 0),
    _unary("abs", -4, 4, np.abs, 0),
    _unary("square", -4, 4, np.square, 0),
    _unary("sqrt", 0, 4, np.sqrt, 0),
    _unary("reciprocal", 1, 4, np.reciprocal, 1e-6),
    _unary("exp", -4, 4, np.exp),
    _unary("log", 0.1, 9, np.log),
    _unary("log1p", 0, 9, np.log1p),
    _unary("expm1", -4, 4, np.expm1),
    _unary("erfc", -3, 3, lambda x: _ERFC(x).astype(_F)),
    _unary("sin", -9, 9, np.sin),
    _unary("cos", -9, 9, np.cos),
    _unary("tan", -1, 1, np.tan),
    _unary("asin", -1, 1, np.arcsin),
    _unary("acos", -1, 1, np.arccos),
    _unary("atan", -9, 9, np.arctan),
    _unary("sinh", -4, 4, np.sinh),
    _unary("cosh", -4, 4, np.cosh),
    _unary("asinh", -9, 9, np.arcsinh),
    _unary("acosh", 1, 9, np.arccosh),
    _unary("atanh", -0.9, 0.9, np.arctanh),
    _unary("floor", -9, 9, np.floor, 0),
    _unary("ceil", -9, 9, np.ceil, 0),
    _unary("relu", -4, 4, lambda x: np.maximum(x, 0), 0),
    _unary("is_nan", -4, 4, np.isnan, 0),
    _unary("is_inf", -4, 4, np.isinf, 0),
    _unary("is_finite", -4, 4, np.isfinite, 0),
    _unary("logical_not", -4, 4, lambda x: ~(x > 0), 0, lambda x: ki.logical_not(x > 0.0)),
    Row("invert", _integers(-(2**31), 2**31 - 1), _op("Invert"), np.invert),
)  # fmt: skip
_NONZERO = _between(1, 4, 2)
_REALS = _between(-4, 4, 2)
_BINARY = (
    Row("add", _REALS, ki.add, np.add),
    Row("subtract", _REALS, ki.subtract, np.subtract),
    Row("multiply", _REALS, ki.multiply, np.multiply),
    Row("divide", _NONZERO, ki.divide, np.divide),
    Row("truncdiv int32", _integers(1, 1000, 2), _op("TruncateDiv"), np.floor_divide),
    Row("truncmod", _NONZERO, _op("TruncateMod"), np.fmod),
    Row("equal", _integers(0, 9, 2), ki.equal, np.equal),
    Row("not_equal", _integers(0, 9, 2), ki.not_equal, np.not_equal),
    Row("less", _REALS, ki.less, np.less),
    Row("less_equal", _REALS, ki.less_equal, np.less_equal),
    Row("greater", _REALS, ki.greater, np.greater),
    Row("greater_equal", _REALS, ki.greater_equal, np.greater_equal),
    Row("logical_or", _REALS, lambda a, b: ki.logical_or(a > 0.0, b > 0.0), lambda a, b: (a > 0) | (b > 0)),
    Row("atan2", _NONZERO, ki.atan2, np.arctan2, 1e-5),
    Row("mul_no_nan", _REALS, ki.multiply_no_nan, lambda a, b: np.where(b == 0, _F(0), a * b)),
    Row("xlogy", _NONZERO, ki.xlogy, lambda a, b: a * np.log(b), 1e-5, 1e-6),
    Row("xlog1py", _NONZERO, ki.xlog1py, lambda a, b: a * np.log1p(b), 1e-5, 1e-6),
    Row("xdivy", _NONZERO, ki.xdivy, np.divide),
    Row("bitwise_and", _integers(0, 2**30, 2), _op("BitwiseAnd"), np.bitwise_and),
    Row("bitwise_or", _integers(0, 2**30, 2), _op("BitwiseOr"), np.bitwise_or),
    Row("bitwise_xor", _integers(0, 2**30, 2), _op("BitwiseXor"), np.bitwise_xor),
    Row("left_shift", _integers(0, 31, 2), _op("LeftShift"), np.left_shift),
    Row("right_shift", _integers(0, 31, 2), _op("RightShift"), np.right_shift),
    Row("approximate_equal", _REALS, _op("ApproximateEqual", tolerance=1e-3), lambda a, b: np.abs(a - b) < _F(1e-3)),
    Row("bias_add", lambda rng: [rng.standard_normal((56 * 56, 256)).astype(_F), rng.standard_normal(256).astype(_F)], ki.bias_add, np.add),
)  # fmt: skip


def _log_softmax(x: Value) -> Value:
    lower = x - x.max(-1, keepdims=True)
    return lower - np.log(np.exp(lower).sum(-1, keepdims=True))


def _batch_norm(x: Value, scale: Value, offset: Value, mean: Value, variance: Value) -> Value:
    factor = scale / np.sqrt(variance + _F(1e-3))
    return x * factor + (offset - mean * factor)


def _norm_inputs(rng: np.random.Generator) -> list[Value]:
    vectors = [rng.uniform(0.5, 2, 256).astype(_F) for _ in range(4)]
    return [rng.standard_normal((1, 56, 56, 256)).astype(_F), *vectors]


def _tensor_scatter(x: Value, i: Value, u: Value) -> Value:
    y = x.copy()
    np.add.at(y, i[:, 0], u)
    return y


def _scattered(rng: np.random.Generator) -> list[Value]:
    indices = rng.integers(0, 4096, (4096, 1)).astype(np.int32)
    return [rng.standard_normal((4096, 128)).astype(_F), indices, rng.standard_normal((4096, 128)).astype(_F)]


def _sorted(rng: np.random.Generator) -> list[Value]:
    return [rng.standard_normal((8192, 128)).astype(_F), np.sort(rng.integers(0, 512, 8192)).astype(np.int32)]


def _segment_sum(x: Value, ids: Value) -> Value:
    y = np.zeros((int(ids[-1]) + 1, x.shape[1]), _F)
    starts = np.flatnonzero(np.r_[True, np.diff(ids) > 0])
    y[ids[starts]] = np.add.reduceat(x, starts, axis=0)
    return y


def _matrices(rng: np.random.Generator) -> list[Value]:
    return [(rng.standard_normal((256, 32, 32)) + 32 * np.eye(32)).astype(_F)]


_MATRIX = activations(1024, 1024)
_OTHERS = (
    Row("reduce_min, first axis", _MATRIX, lambda x: ki.reduce_min(x, 0), lambda x: x.min(0)),
    Row("reduce_any", _MATRIX, lambda x: ki.reduce_any(x > 3.0, 1), lambda x: (x > 3).any(1)),
    Row("reduce_all", _MATRIX, lambda x: ki.reduce_all(x > -3.0, 0), lambda x: (x > -3).all(0)),
    Row("argmax, first axis", _MATRIX, lambda x: ki.argmax(x, 0), lambda x: x.argmax(0)),
    Row("argmin", activations(2048, 512), lambda x: ki.argmin(x, 1), lambda x: x.argmin(1)),
    Row("log_softmax", activations(1024, 1000), ki.log_softmax, _log_softmax, 1e-5, 1e-5),
    Row("batch_norm", _norm_inputs, ki.fused_batch_norm, _batch_norm, 1e-4, 1e-4),
    Row("matmul", lambda rng: [rng.standard_normal((512, 512)).astype(_F) for _ in range(2)], ki.matmul, np.matmul, 1e-3, 1e-3),
    Row("tensor_scatter add", _scattered, ki.tensor_scatter_nd_add, _tensor_scatter, 1e-5, 1e-5),
    Row("segment_sum", _sorted, ki.segment_sum, _segment_sum, 1e-4, 1e-4),
    Row("where, positions", _MATRIX, lambda x: ki.where(x > 1.0), lambda x: np.argwhere(x > 1)),
    Row("fill", lambda rng: [np.array(2.5, _F)], lambda v: ki.fill([512, 1024], v), lambda v: np.full(_SHAPE, v)),
    Row("bitcast", _MATRIX, lambda x: ki.bitcast(x, "int32"), lambda x: x.view(np.int32).copy()),
    Row("bucketize", _MATRIX, _op("Bucketize", boundaries=(-1.0, 0.0, 1.0)), lambda x: np.searchsorted(_F([-1, 0, 1]), x, side="right").astype(np.int32)),
    Row("invert_permutation", lambda rng: [rng.permutation(500_000).astype(np.int32)], ki.invert_permutation, lambda p: np.argsort(p).astype(np.int32)),
    Row("matrix_diag_part", activations(512, 64, 64), ki.matrix_diag_part, lambda x: x.diagonal(0, 1, 2).copy()),
    Row("matrix_determinant", _matrices, ki.matrix_determinant, np.linalg.det, 1e-3),
    Row("matrix_inverse", _matrices, ki.matrix_inverse, np.linalg.inv, 1e-3, 1e-4),
)  # fmt: skip


def _soft(boxes: Value, scores: Value) -> list[Value]:
    """Soft suppression with sigma 0.5 until 100 boxes are chosen: every chosen box lowers the scores of the others."""
    left, kept, best = scores.copy(), list[int](), list[Any]()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(kept) < 100:
        i = int(left.argmax())
        kept.append(i)
        best.append(left[i])
        sides = np.maximum(np.minimum(boxes[i, 2:], boxes[:, 2:]) - np.maximum(boxes[i, :2], boxes[:, :2]), 0)
        common = sides.prod(1)
        share = common / (area[i] + area - common)
        left *= np.exp(-share * share)
        left[kept] = -np.inf
    return [np.array(kept, np.int32), np.array(best, _F), np.int32(len(kept))]


def _suppression(type: str, count: int, *numbers: float) -> Callable[..., Any]:
    def build(boxes: Any, scores: Any) -> Any:
        return _op(type, count)(boxes, scores, *(ki.constant(n) for n in numbers))

    return build


def _counted(boxes: Value, scores: Value) -> list[Value]:
    kept = suppressed(boxes, scores)
    return [kept, np.int32(len(kept))]


_LOWEST = float(np.finfo(_F).min)
_BOXES = (
    Row("non_max_suppression V4", box_scores(4000), _suppression("NonMaxSuppressionV4", 2, 200, 0.5, _LOWEST), _counted),
    Row("non_max_suppression V5, soft", box_scores(1000), _suppression("NonMaxSuppressionV5", 3, 100, 1.0, _LOWEST, 0.5), _soft, 1e-4),
)  # fmt: skip

MORE_ROWS: tuple[Row, ...] = (*_UNARY, *_BINARY, *_OTHERS, *_BOXES)
