"""Ops and the plain NumPy programs for them: elementwise, arranging, indexing, reductions, quantised numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kigraph as ki

__all__ = ["ROWS", "Row", "activations"]

Value = np.ndarray[Any, Any]
Make = Callable[[np.random.Generator], Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Row:
    """One op at one size. make: its inputs. build: the op on tensors. plain: what a NumPy user writes for it.

    rtol, atol: how far both may be apart. alike: whether the values can be compared at all (random numbers cannot).
    """

    name: str
    make: Make
    build: Callable[..., Any]
    plain: Callable[..., Any]
    rtol: float = 0.0
    atol: float = 0.0
    alike: bool = True


def activations(*shape: int, kind: str = "float32") -> Make:
    """Normal numbers, or integers of the whole type."""

    def make(rng: np.random.Generator) -> list[Value]:
        dtype = np.dtype(kind)
        if dtype.kind in "iu":
            bounds = np.iinfo(dtype)
            return [rng.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)]
        return [rng.standard_normal(shape).astype(dtype)]

    return make


def _more(count: int, *shape: int) -> Make:
    return lambda rng: [rng.standard_normal(shape).astype(np.float32) for _ in range(count)]


def _with(make: Make, *others: Callable[[np.random.Generator], Value]) -> Make:
    return lambda rng: [*make(rng), *(other(rng) for other in others)]


def _whole(low: int, high: int, *shape: int) -> Callable[[np.random.Generator], Value]:
    return lambda rng: rng.integers(low, high, shape).astype(np.int32)


def _op(type: str, count: int = 1, **attrs: Any) -> Callable[..., Any]:
    """An op that has no public function."""

    def build(*tensors: Any) -> Any:
        outputs = tensors[0].graph.create_op(type, tensors, attrs).outputs
        return outputs[0] if count == 1 else list(outputs[:count])

    return build


_X = activations(1, 56, 56, 256)
_ERF = np.vectorize(math.erf, otypes=[np.float64])


def _fake_quant(x: Value, low: Any, high: Any) -> Value:
    scale = (high - low) / np.float32(255)
    zero = np.round(-low / scale)
    start, end = -zero * scale, (255 - zero) * scale
    return np.floor((np.clip(x, start, end) - start) / scale + np.float32(0.5)) * scale + start


def _quantize(x: Value) -> Value:
    scale = np.float32(255) / np.float32(6)
    return np.clip(np.floor((np.clip(x, -3, 3) + np.float32(3)) * scale + np.float32(0.5)), 0, 255).astype(np.uint8)


def _dequantize(x: Value) -> Value:
    return x.astype(np.float32) * (np.float32(6) / np.float32(255)) + np.float32(-3)


def _scatter(i: Value, u: Value) -> Value:
    y = np.zeros((4096, 128), np.float32)
    np.add.at(y, i[:, 0], u)
    return y


def _segment_sum(x: Value, i: Value) -> Value:
    y = np.zeros((512, 128), np.float32)
    np.add.at(y, i, x)
    return y


def _reverse_sequence(x: Value, lengths: Value) -> Value:
    y = x.copy()
    for row, n in enumerate(lengths):
        y[row, :n] = x[row, :n][::-1]
    return y


def _one_hot(i: Value) -> Value:
    y = np.zeros((i.size, 1000), np.float32)
    y[np.arange(i.size), i] = 1
    return y


def _top(x: Value) -> list[Value]:
    order = np.argsort(-x, axis=-1, kind="stable")[:, :5]
    return [np.take_along_axis(x, order, -1), order.astype(np.int32)]


def _softmax(x: Value) -> Value:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _cond(x: Value, p: Value) -> Value:
    return x * 2 if p else x + 1


def _build_cond(x: Any, p: Any) -> Any:
    no, yes = x.graph.create_op("Switch", [x, p], {}).outputs
    return x.graph.create_op("Merge", [no + 1.0, yes * 2.0], {}).outputs[0]


_ELEMENTWISE = (
    Row("identity_n", _more(2, 512, 1024), lambda a, b: ki.identity_n([a, b]), lambda a, b: [a.copy(), b.copy()]),
    Row("add_n, 3 inputs", _more(3, 512, 1024), lambda *t: ki.add_n(t), lambda a, b, c: a + b + c),
    Row("switch, merge", _with(_more(1, 512, 1024), lambda rng: np.array(True)), _build_cond, _cond),
    Row("erf", _X, ki.erf, lambda x: _ERF(x).astype(np.float32), 1e-5, 1e-6),
    Row("elu", _X, ki.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 1e-5, 1e-6),
    Row("selu", _X, ki.selu, lambda x: np.float32(1.0507009873554805) * np.where(x > 0, x, np.float32(1.6732632423543772) * np.expm1(np.minimum(x, 0))), 1e-5, 1e-6),
    Row("leaky_relu", _X, ki.leaky_relu, lambda x: np.where(x > 0, x, np.float32(0.2) * x)),
    Row("softsign", _X, ki.softsign, lambda x: x / (1 + np.abs(x)), 1e-6),
    Row("softplus", _X, ki.softplus, lambda x: np.logaddexp(x, np.float32(0)), 1e-5, 1e-6),
    Row("relu6", _X, ki.relu6, lambda x: np.clip(x, 0, 6)),
    Row("sigmoid", _X, ki.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 1e-5, 1e-6),
    Row("tanh", _X, ki.tanh, np.tanh, 1e-5, 1e-6),
    Row("clip_by_value", _X, lambda x: ki.clip_by_value(x, -1.0, 1.0), lambda x: np.clip(x, -1, 1)),
    Row("maximum", _more(2, 512, 1024), ki.maximum, np.maximum),
    Row("minimum", _more(2, 512, 1024), ki.minimum, np.minimum),
    Row("squared_difference", _more(2, 512, 1024), ki.squared_difference, lambda a, b: (a - b) ** 2),
    Row("where", _more(2, 512, 1024), lambda a, b: ki.where(a > b, a, b), lambda a, b: np.where(a > b, a, b)),
    Row("floormod", _with(_more(1, 512, 1024), lambda rng: np.float32(3)), ki.floormod, np.mod),
    Row("floordiv", _with(_more(1, 512, 1024), lambda rng: np.float32(3)), ki.floordiv, np.floor_divide),
    Row("floordiv int32", _with(activations(512, 1024, kind="int32"), lambda rng: np.int32(7)), ki.floordiv, np.floor_divide),
    Row("rsqrt", _X, lambda x: ki.rsqrt(ki.abs(x)), lambda x: 1 / np.sqrt(np.abs(x)), 1e-6),
    Row("round", _X, ki.round, np.round),
    Row("sign", _X, ki.sign, np.sign),
    Row("pow", _X, lambda x: ki.pow(x, 3.0), lambda x: x ** np.float32(3), 1e-5, 1e-6),
    Row("div_no_nan", _more(2, 512, 1024), ki.divide_no_nan, lambda a, b: np.divide(a, b, out=np.zeros_like(a), where=b != 0)),
    Row("logical_and", _more(2, 512, 1024), lambda a, b: ki.logical_and(a > 0.0, b > 0.0), lambda a, b: (a > 0) & (b > 0)),
    Row("cast to uint8", _X, lambda x: ki.cast(x * 10.0 + 100.0, "uint8"), lambda x: (x * 10 + 100).astype(np.uint8)),
    Row("cast from uint8", activations(1, 299, 299, 24, kind="uint8"), lambda x: ki.cast(x, "float32"), lambda x: x.astype(np.float32)),
    Row("cast to float16", _X, lambda x: ki.cast(x, "float16"), lambda x: x.astype(np.float16)),
    Row("random_uniform", lambda rng: [np.array([512, 1024], np.int32)], _op("RandomUniform", dtype=np.dtype("float32"), T=np.dtype("int32"), seed=1, seed2=2), lambda s: np.random.Generator(np.random.Philox()).random(tuple(s), np.float32), alike=False),
    Row("random_normal", lambda rng: [np.array([512, 1024], np.int32)], _op("RandomStandardNormal", dtype=np.dtype("float32"), T=np.dtype("int32"), seed=1, seed2=2), lambda s: np.random.Generator(np.random.Philox()).standard_normal(tuple(s), np.float32), alike=False),
)  # fmt: skip

_QUANTISED = (
    Row("fake_quant args", _X, lambda x: ki.fake_quant_with_min_max_args(x, -3.0, 3.0), lambda x: _fake_quant(x, np.float32(-3), np.float32(3)), 1e-6, 1e-6),
    Row("fake_quant vars", _X, lambda x: ki.fake_quant_with_min_max_vars(x, -3.0, 3.0), lambda x: _fake_quant(x, np.float32(-3), np.float32(3)), 1e-6, 1e-6),
    Row("fake_quant per channel", _X, lambda x: ki.fake_quant_with_min_max_vars_per_channel(x, np.full(256, -3, np.float32), np.full(256, 3, np.float32)), lambda x: _fake_quant(x, np.full(256, -3, np.float32), np.full(256, 3, np.float32)), 1e-6, 1e-6),
    Row("quantize_v2", _X, lambda x: ki.quantize_v2(x, -3.0, 3.0, "uint8")[0], _quantize),
    Row("dequantize", activations(1, 299, 299, 24, kind="uint8"), lambda x: ki.dequantize(x, -3.0, 3.0), _dequantize, 1e-6, 1e-6),
)  # fmt: skip

_ARRANGED = (
    Row("cumsum, last axis", activations(1024, 1024), lambda x: ki.cumsum(x, 1), lambda x: np.cumsum(x, 1), 1e-4, 1e-3),
    Row("cumsum, first axis", activations(1024, 1024), ki.cumsum, lambda x: np.cumsum(x, 0), 1e-4, 1e-3),
    Row("cumsum, exclusive, reverse", activations(1024, 1024), lambda x: ki.cumsum(x, 1, True, True), lambda x: np.cumsum(x[:, ::-1], 1)[:, ::-1] - x, 1e-4, 1e-3),
    Row("cumprod", lambda rng: [rng.uniform(0.9, 1.1, (1024, 1024)).astype(np.float32)], lambda x: ki.cumprod(x, 1), lambda x: np.cumprod(x, 1), 1e-4, 1e-5),
    Row("reverse, first axis", activations(1024, 1024), lambda x: ki.reverse(x, [0]), lambda x: np.flip(x, 0).copy()),
    Row("reverse, last axis", activations(1024, 1024), lambda x: ki.reverse(x, [1]), lambda x: np.flip(x, 1).copy()),
    Row("reverse_sequence", _with(activations(64, 128, 128), _whole(0, 129, 64)), lambda x, n: ki.reverse_sequence(x, n, 1, 0), _reverse_sequence),
    Row("roll", activations(1024, 1024), lambda x: ki.roll(x, [3, -5], [0, 1]), lambda x: np.roll(x, (3, -5), (0, 1))),
    Row("transpose NHWC to NCHW", _X, lambda x: ki.transpose(x, [0, 3, 1, 2]), lambda x: np.ascontiguousarray(x.transpose(0, 3, 1, 2))),
    Row("transpose of a matrix", activations(1024, 1024), ki.transpose, lambda x: np.ascontiguousarray(x.T)),
    Row("pad", _X, lambda x: ki.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), lambda x: np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])),
    Row("pad, reflect", _X, lambda x: ki.pad(x, [[0, 0], [3, 3], [3, 3], [0, 0]], "REFLECT"), lambda x: np.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)], "reflect")),
    Row("tile", activations(128, 512), lambda x: ki.tile(x, [4, 2]), lambda x: np.tile(x, (4, 2))),
    Row("concat, last axis", _more(3, 56, 56, 128), lambda *t: ki.concat(t, 2), lambda *a: np.concatenate(a, 2)),
    Row("stack", _more(4, 256, 512), lambda *t: ki.stack(t, 1), lambda *a: np.stack(a, 1)),
    Row("split, last axis", _X, lambda x: ki.split(x, 4, 3), lambda x: [p.copy() for p in np.split(x, 4, 3)]),
    Row("strided slice", activations(1024, 1024), lambda x: x[::2, 1::3], lambda x: x[::2, 1::3].copy()),
    Row("broadcast_to", activations(1, 1024), lambda x: ki.broadcast_to(x, [1024, 1024]), lambda x: np.broadcast_to(x, (1024, 1024)).copy()),
    Row("matrix_band_part", activations(1024, 1024), lambda x: ki.matrix_band_part(x, -1, 0), np.tril),
    Row("matrix_diag", activations(8, 300), ki.matrix_diag, lambda d: np.stack([np.diag(r) for r in d])),
    Row("space_to_depth", _X, lambda x: ki.space_to_depth(x, 2), lambda x: x.reshape(1, 28, 2, 28, 2, 256).transpose(0, 1, 3, 2, 4, 5).reshape(1, 28, 28, 1024)),
    Row("depth_to_space", _X, lambda x: ki.depth_to_space(x, 2), lambda x: x.reshape(1, 56, 56, 2, 2, 64).transpose(0, 1, 3, 2, 4, 5).reshape(1, 112, 112, 64)),
    Row("space_to_batch_nd", _X, lambda x: ki.space_to_batch_nd(x, [2, 2], [[0, 0], [0, 0]]), lambda x: x.reshape(1, 28, 2, 28, 2, 256).transpose(2, 4, 0, 1, 3, 5).reshape(4, 28, 28, 256)),
    Row("batch_to_space_nd", activations(4, 28, 28, 256), lambda x: ki.batch_to_space_nd(x, [2, 2], [[0, 0], [0, 0]]), lambda x: x.reshape(2, 2, 1, 28, 28, 256).transpose(2, 3, 0, 4, 1, 5).reshape(1, 56, 56, 256)),
)  # fmt: skip

_INDEXED = (
    Row("one_hot", lambda rng: [rng.integers(0, 1000, 1024).astype(np.int32)], lambda i: ki.one_hot(i, 1000), _one_hot),
    Row("gather, rows", _with(activations(8192, 256), _whole(0, 8192, 4096)), ki.gather, lambda x, i: x[i]),
    Row("gather, last axis", _with(activations(1024, 1024), _whole(0, 1024, 512)), lambda x, i: ki.gather(x, i, 1), lambda x, i: x[:, i]),
    Row("gather_nd, rows", _with(activations(64, 128, 256), _whole(0, 64, 4096, 2)), ki.gather_nd, lambda x, i: x[i[:, 0], i[:, 1]]),
    Row("gather_nd, elements", _with(activations(1024, 1024), _whole(0, 1024, 500_000, 2)), ki.gather_nd, lambda x, i: x[i[:, 0], i[:, 1]]),
    Row("scatter_nd", lambda rng: [rng.integers(0, 4096, (4096, 1)).astype(np.int32), rng.standard_normal((4096, 128)).astype(np.float32)], lambda i, u: ki.scatter_nd(i, u, [4096, 128]), _scatter, 1e-5, 1e-5),
    Row("unsorted_segment_sum", _with(activations(4096, 128), _whole(0, 512, 4096)), lambda x, i: ki.unsorted_segment_sum(x, i, 512), _segment_sum, 1e-5, 1e-5),
    Row("top_k", activations(512, 1024), lambda x: list(ki.top_k(x, 5)), _top),
    Row("unique", lambda rng: [rng.integers(0, 1000, 500_000).astype(np.int32)], lambda x: ki.size(ki.unique(x)[0]), lambda x: np.int32(np.unique(x).size)),
    Row("argmax", activations(2048, 512), lambda x: ki.argmax(x, 1), lambda x: x.argmax(1)),
    Row("reduce_sum, first axis, float64", activations(1024, 1024), lambda x: ki.reduce_sum(x, 0), lambda x: x.sum(0, np.float64).astype(np.float32), 1e-6, 1e-6),
    Row("reduce_mean, last axis, float64", activations(1024, 1024), lambda x: ki.reduce_mean(x, 1), lambda x: x.mean(1, np.float64).astype(np.float32), 1e-6, 1e-6),
    Row("reduce_max, all", activations(1024, 1024), ki.reduce_max, lambda x: x.max()),
    Row("reduce_prod", lambda rng: [rng.uniform(0.9, 1.1, (1024, 1024)).astype(np.float32)], lambda x: ki.reduce_prod(x, 1), lambda x: x.prod(1), 1e-4),
    Row("softmax", activations(1024, 1000), ki.softmax, _softmax, 1e-5, 1e-7),
    Row("l2_loss", _X, ki.l2_loss, lambda x: np.float32((x * x).sum() / 2), 1e-4),
    Row("einsum bij,bjk->bik", lambda rng: [rng.standard_normal((8, 256, 256)).astype(np.float32) for _ in range(2)], lambda a, b: ki.einsum("bij,bjk->bik", a, b), np.matmul, 1e-3, 1e-3),
    Row("einsum bqhd,bkhd->bhqk", lambda rng: [rng.standard_normal((4, 128, 8, 64)).astype(np.float32) for _ in range(2)], lambda a, b: ki.einsum("bqhd,bkhd->bhqk", a, b), lambda a, b: np.einsum("bqhd,bkhd->bhqk", a, b, optimize=True), 1e-3, 1e-3),
    Row("batch matmul", lambda rng: [rng.standard_normal((8, 256, 256)).astype(np.float32) for _ in range(2)], ki.matmul, np.matmul, 1e-3, 1e-3),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*_ELEMENTWISE, *_QUANTISED, *_ARRANGED, *_INDEXED)
