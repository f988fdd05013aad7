"""Attention: MultiHeadAttention, Attention, AdditiveAttention."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .building import Building

__all__ = ["ATTENTION"]

#: Added to the scores of what must not be looked at.
_FAR = -1e9


def _arguments(b: Building, names: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of the call after the first, by name."""
    given = dict(zip(names, b.args, strict=False))
    given |= {k: v for k, v in b.kwargs.items() if v is not None}
    return {k: v for k, v in given.items() if v is not None}


def _multi_head(b: Building, query: Tensor) -> Any:
    b.refuse(use_gate=False, sliding_window=None)
    names = ("value", "key", "query_mask", "value_mask", "key_mask", "attention_mask", "return_attention_scores")
    given = _arguments(b, names if b.shared.keras3 else ("value", "key", "attention_mask", "return_attention_scores"))
    value = given.pop("value", None)
    key = given.pop("key", value)
    mask, scores_too = given.pop("attention_mask", None), bool(given.pop("return_attention_scores", False))
    causal = bool(given.pop("use_causal_mask", False))
    given.pop("training", None)
    # Keras leaves the mask of the key out where the key is the value.
    marks = [(query, given.pop("query_mask", None), -1), (value, given.pop("value_mask", None), -2)]
    marks += [] if key is value else [(key, given.pop("key_mask", None), -2)]
    if given or not all(isinstance(t, Tensor) for t in (query, value, key)):
        raise b.error(f"the arguments {brief(sorted(given) or [value, key])}", "query, value and key")
    heads, size = b.whole("num_heads"), b.whole("key_dim")
    out_size = b.whole("value_dim", size)
    rank = len(b.shape(query))
    axes = b.get("attention_axes", list(range(1, rank - 1)))
    if b.axes(axes, rank) != tuple(range(1, rank - 1)) or (scores_too and rank != 3):
        raise b.error(
            f"attention_axes {brief(axes)} of a query of {rank} axes", "all axes between the first and the last"
        )
    q, k = (_project(b, t, kid, heads, size) for t, kid in ((query, "query_dense"), (key, "key_dense")))
    v = _project(b, value, "value_dense", heads, out_size)
    scores = ops.matmul(ops.multiply(q, size**-0.5), k, transpose_b=True)
    allowed = _allowed(b, marks, _triangle(b, query, key) if causal else None, mask)
    if allowed is not None:
        scores = _masked(b, scores, allowed)
    weights = ops.softmax(scores)
    y = _joined(b, query, ops.transpose(ops.matmul(weights, v), [0, 2, 1, 3]), (heads, out_size))
    return [y, weights] if scores_too else y


def _allowed(b: Building, marks: list[tuple[Tensor, Any, int]], allowed: Tensor | None, mask: Any) -> Tensor | None:
    """What may be looked at, beside (batch, heads, queries, keys): by the masks of tensors, ``allowed`` and ``mask``.

    marks: a tensor, its mask if the call gives one, and the axis of (batch, queries, keys) that the mask does not have.
    """
    for tensor, given, axis in marks:
        one = b.mask(tensor) if given is None else given
        if one is not None:
            rank = len(b.shape(tensor))
            if not isinstance(one, Tensor) or rank != 3:
                raise b.error(f"the mask {brief(one)} of {rank} axes", "a tensor (batch, steps) beside three axes")
            one = ops.expand_dims(one if one.dtype.kind == "b" else ops.not_equal(one, 0), axis)
            allowed = one if allowed is None else ops.logical_and(allowed, one)
    if allowed is not None and len(b.shape(allowed)) == 3:
        allowed = ops.expand_dims(allowed, 1)
    if mask is None or allowed is None:
        return allowed if mask is None else _mask(b, mask)
    both = _mask(b, mask)
    return ops.logical_and(allowed, both if both.dtype.kind == "b" else ops.not_equal(both, 0))


def _masked(b: Building, scores: Tensor, mask: Tensor) -> Tensor:
    """Scores of what may be looked at. Keras 2 adds -1e9 to the others, and a part of it where a mask is a fraction."""
    if b.shared.keras3:
        allowed = mask if mask.dtype.kind == "b" else ops.not_equal(mask, 0)
        return ops.where(allowed, scores, ops.constant(np.array(_FAR, scores.dtype.name)))
    return ops.add(scores, ops.multiply(ops.subtract(1.0, ops.cast(mask, scores.dtype)), _FAR))


def _mask(b: Building, mask: Any) -> Tensor:
    """An attention_mask that goes with (batch, heads, queries, keys)."""
    if not isinstance(mask, Tensor) or len(b.shape(mask)) not in (3, 4):
        raise b.error(f"attention_mask {brief(mask)}", "a tensor (batch, queries, keys)")
    return ops.expand_dims(mask, 1) if len(b.shape(mask)) == 3 else mask


def _joined(b: Building, query: Tensor, y: Tensor, heads: tuple[int, int]) -> Tensor:
    """The heads through the last product."""
    last = b.get("output_shape", [b.fixed(query, -1)[0]])
    last = [last] if type(last) is int else last
    if not isinstance(last, list) or not all(type(d) is int and d > 0 for d in last):
        raise b.error(f"output_shape {brief(last)}", "sizes from 1")
    inner = b.of(b.layer.kids["output_dense"][0])
    kernel = inner.weight("kernel", *heads, *last, to=(prod(heads), prod(last)))
    y = ops.matmul(b.rows(y, prod(heads)), kernel)
    if b.flag("use_bias", True):
        y = ops.bias_add(y, inner.weight("bias", *last, to=(prod(last),)))
    return b.reshape(y, [*b.sizes(query)[:-1], *last])


def _project(b: Building, x: Tensor, kid: str, heads: int, size: int) -> Tensor:
    """(batch, ..., channels) -> (batch, heads, elements of all axes between, size)."""
    inner = b.of(b.layer.kids[kid][0])
    sizes, channels = b.sizes(x), b.fixed(x, -1)[0]
    y = ops.matmul(b.rows(x, channels), inner.weight("kernel", channels, heads, size, to=(channels, heads * size)))
    if b.flag("use_bias", True):
        y = ops.bias_add(y, inner.weight("bias", heads, size, to=(heads * size,)))
    steps: Any = 1
    for n in sizes[1:-1]:
        steps = steps * n
    batch = None if sizes[0] is None or isinstance(sizes[0], Tensor) else sizes[0]
    return ops.transpose(b.reshape(y, [batch, steps, heads, size]), [0, 2, 1, 3])


def _triangle(b: Building, query: Tensor, key: Tensor) -> Tensor:
    """Which keys every query may look at: those up to its own place. (queries, keys), lengths that are not known included."""
    if len(b.shape(query)) != 3 or len(b.shape(key)) != 3 or None not in (b.shape(query)[1], b.shape(key)[1]):
        queries, keys = (prod(b.fixed(t, *range(1, len(b.shape(t)) - 1))) for t in (query, key))
        if queries * keys > 1 << 26:
            raise b.error(f"a causal mask of {queries} x {keys}", "at most 67,108,864 elements")
        return ops.constant(np.tri(queries, keys, dtype=bool))
    rows, columns = (ops.range(ops.shape(t)[1]) for t in (query, key))
    return ops.greater_equal(ops.expand_dims(rows, 1), columns)


def _pair(b: Building, x: Any) -> tuple[Tensor, Tensor, Tensor, bool, bool]:
    """(query, value, key, causal, whether the scores are asked for) of the layers that take a list."""
    given = _arguments(b, ())
    scores, causal = bool(given.pop("return_attention_scores", False)), bool(given.pop("use_causal_mask", False))
    given.pop("training", None)
    found = list(x) if isinstance(x, (list, tuple)) else []
    given.pop("mask", None)  # the table of layers has set it
    if given or len(found) not in (2, 3) or not all(isinstance(t, Tensor) for t in found):
        raise b.error(f"the inputs {brief(x)} and {brief(given)}", "[query, value] or [query, value, key]")
    causal = causal or bool(b.config.get("causal", False))
    return found[0], found[1], found[-1], causal, scores


def _weighted(b: Building, x: Any, scores: Tensor) -> Any:
    query, value, key, causal, scores_too = _pair(b, x)
    allowed = _triangle(b, query, key) if causal else None
    mask = b.mask(value)
    if mask is not None:
        one = ops.expand_dims(mask, -2)
        allowed = one if allowed is None else ops.logical_and(allowed, one)
    if allowed is not None:
        scores = ops.where(allowed, scores, ops.add(scores, _FAR))
    weights = ops.softmax(scores)
    y = ops.matmul(weights, value)
    mask = b.mask(query)
    if mask is not None:
        y = ops.multiply(y, ops.cast(ops.expand_dims(mask, -1), y.dtype))
        b.set_mask(y, mask)
    return [y, weights] if scores_too else y


def _attention(b: Building, x: Any) -> Any:
    query, _, key, _, _ = _pair(b, x)
    scale = b.weight("scale") if b.flag("use_scale") else None
    if b.choice("score_mode", "dot", "dot", "concat") == "concat":
        both = ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3))
        both = both if scale is None else ops.multiply(both, scale)
        total = ops.reduce_sum(ops.tanh(both), -1)
        return _weighted(b, x, ops.multiply(total, b.weight("concat_score_weight")))
    scores = ops.matmul(query, key, transpose_b=True)
    return _weighted(b, x, scores if scale is None else ops.multiply(scores, scale))


def _additive(b: Building, x: Any) -> Any:
    query, _, key, _, _ = _pair(b, x)
    both = ops.tanh(ops.add(ops.expand_dims(query, -2), ops.expand_dims(key, -3)))
    if b.flag("use_scale", True):
        both = ops.multiply(both, b.weight("scale", b.fixed(query, -1)[0]))
    return _weighted(b, x, ops.reduce_sum(both, -1))


ATTENTION: dict[str, Callable[[Building, Any], Any]] = {
    "MultiHeadAttention": _multi_head,
    "Attention": _attention,
    "AdditiveAttention": _additive,
}
