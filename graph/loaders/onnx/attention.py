"""Attention, rotary embeddings, and what exporters of language models write beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...builder import Tensor
from .activations import swish
from .node import Converter, Node, Outputs

__all__ = ["CONVERTERS"]

#: Element types of ONNX in which the softmax may be computed; bfloat16 is float32 here.
_PRECISIONS = {1: "float32", 10: "float16", 11: "float64", 16: "float32"}
#: What output 3 is: the product, after softcap, with the mask, after the softmax.
_PRODUCT, _CAPPED, _MASKED, _SOFTMAX = range(4)


def _heads(n: Node, x: Tensor, count: int, what: str) -> Tensor:
    """(batch, steps, heads * size) -> (batch, heads, steps, size)."""
    width = n.shape(x)[2]
    if count < 1 or (width is not None and width % count):
        raise n.wrong(f"{what} of {n.type_of(x)} for {count} heads", "a multiple of the heads, which 3 axes need")
    size: int | Tensor = -1 if width is None else width // count
    split = n.op("Reshape", x, n.vector([n.size(x, 0), n.size(x, 1), count, size]))
    return n.transpose(split, (0, 2, 1, 3))


def _scalar(n: Node, vector: Tensor) -> Tensor:
    return n.op("Reshape", vector, n.const([], "int64"))


def _positions(n: Node, x: Tensor) -> Tensor:
    """0, 1, ... along the steps of (batch, heads, steps, size)."""
    return n.op("Range", n.const(0), _scalar(n, n.size(x, 2)), n.const(1))


def _allowed(n: Node, q: Tensor, k: Tensor, valid: Tensor | None, past: Tensor | None) -> Tensor | None:
    """Which keys (last axis) a query (the axis before) sees by position: causal, window, padding. None: all."""
    causal = n.flag("is_causal")
    left, right = n.integer("left_window_size", -1), n.integer("right_window_size", -1)
    if min(left, right) < -1:
        raise n.wrong(f"windows {left} and {right}", "sizes from 0, or -1")
    right = 0 if causal else right
    keys, rules = _positions(n, k), []
    if valid is not None:
        counts = n.reshape(n.cast(valid, "int64"), [-1, 1, 1, 1])
        rules.append(n.op("Less", keys, counts))
    if left >= 0 or right >= 0:
        queries = n.reshape(_positions(n, q), [-1, 1])
        if past is not None:
            queries = n.op("AddV2", queries, n.size(past, 2))
        elif valid is not None:
            queries = n.op("AddV2", queries, n.op("Sub", counts, n.size(q, 2)))
        if left >= 0:
            rules.append(n.op("GreaterEqual", keys, n.op("Sub", queries, n.const(left))))
        if right >= 0:
            rules.append(n.op("LessEqual", keys, n.op("AddV2", queries, n.const(right))))
    allowed = None
    for rule in rules:
        allowed = rule if allowed is None else n.op("LogicalAnd", allowed, rule)
    return allowed


def _mask(n: Node, mask: Tensor, k: Tensor) -> Tensor:
    """The mask as numbers to add, as wide as the keys: what it lacks is not seen."""
    dtype = n.dtype(mask)
    given, keys = n.shape(mask)[-1], n.shape(k)[2]
    if given is None or keys is None or given < keys:
        missing = n.op("Maximum", n.op("Sub", n.size(k, 2), n.size(mask, -1 % n.rank(mask))), n.const([0]))
        before = n.const([0] * (2 * n.rank(mask) - 1))
        pairs = n.reshape(n.op("ConcatV2", before, missing, n.const(0)), [n.rank(mask), 2])
        outside = n.const(False, bool) if dtype.kind == "b" else n.like(mask, -np.inf)
        mask = n.op("PadV2", mask, pairs, outside)
    if dtype.kind != "b":
        return mask
    return n.op("SelectV2", mask, n.const(0, n.dtype(k)), n.const(-np.inf, n.dtype(k)))


def _product(n: Node, a: Tensor, b: Tensor, groups: int, **attrs: bool) -> Tensor:
    """a @ b by heads, where ``groups`` heads of ``a`` that follow each other share one of ``b``: their rows are joined."""
    if groups == 1:
        return n.op("BatchMatMulV2", a, b, **attrs)
    joined = n.op("Reshape", a, n.vector([n.size(a, 0), n.size(b, 1), -1, n.size(a, 3)]))
    y = n.op("BatchMatMulV2", joined, b, **attrs)
    columns = n.size(b, 2 if attrs.get("adj_y") else 3)
    return n.op("Reshape", y, n.vector([n.size(a, 0), n.size(a, 1), n.size(a, 2), columns]))


def _groups(n: Node, q: Tensor, k: Tensor) -> int:
    heads, shared = n.shape(q)[1], n.shape(k)[1]
    if heads is None or shared is None:
        raise n.unsupported("a number of heads that is not known")
    if shared < 1 or heads % shared:
        raise n.wrong(f"{heads} heads of queries and {shared} of keys", "a multiple")
    return heads // shared


def _attention(n: Node) -> Outputs:
    """softmax(scale * q k' + mask) v; each factor gets the root of the scale. A query that sees no key gives zeros."""
    q, k, v = n.input(0), n.input(1), n.input(2)
    rank, counts = n.rank(q), (n.integer("q_num_heads", 0), n.integer("kv_num_heads", 0))
    if rank == 3:
        q = _heads(n, q, counts[0], "queries")
        k, v = _heads(n, k, counts[1], "keys"), _heads(n, v, counts[1], "values")
    elif rank != 4 or n.rank(k) != 4 or n.rank(v) != 4:
        raise n.wrong(f"{rank}, {n.rank(k)} and {n.rank(v)} axes", "3 or 4 of each")
    past = n.optional(4)
    if past is not None:
        k, v = n.op("ConcatV2", past, k, n.const(2)), n.op("ConcatV2", n.input(5), v, n.const(2))
    scale, size = n.number("scale", 0.0), n.shape(q)[3]
    if scale == 0:
        if size is None:
            raise n.unsupported("queries whose size is not known")
        scale = size**-0.5 if size else 1.0
    groups = _groups(n, q, k)
    root = n.like(q, np.sqrt(scale))
    product = _product(n, n.op("Mul", q, root), n.op("Mul", k, root), groups, adj_y=True)
    cap = n.number("softcap", 0.0)
    capped = product
    if cap > 0:
        capped = n.op("Mul", n.op("Tanh", n.op("RealDiv", product, n.like(q, cap))), n.like(q, cap))
    bias = _bias(n, q, k, past)
    masked = capped if bias is None else n.op("AddV2", capped, bias)
    weights = _softmax(n, masked, bias)
    y = _product(n, weights, v, groups)
    if rank == 3:
        y = n.transpose(y, (0, 2, 1, 3))
        y = n.op("Reshape", y, n.vector([n.size(y, 0), n.size(y, 1), -1]))
    mode = n.integer("qk_matmul_output_mode", 0)
    if not _PRODUCT <= mode <= _SOFTMAX:
        raise n.wrong(f"qk_matmul_output_mode {mode}", "0 to 3")
    return y, k, v, (product, capped, masked, weights)[mode]


def _bias(n: Node, q: Tensor, k: Tensor, past: Tensor | None) -> Tensor | None:
    """What is added to the products: the mask, and -inf for what is out of sight."""
    mask = n.optional(3)
    bias = None if mask is None else _mask(n, mask, k)
    allowed = _allowed(n, q, k, n.optional(6), past)
    if allowed is None:
        return bias
    return n.op("SelectV2", allowed, n.like(q, 0) if bias is None else bias, n.like(q, -np.inf))


def _softmax(n: Node, x: Tensor, bias: Tensor | None) -> Tensor:
    """Over the keys; zeros for a query whose bias is -inf everywhere."""
    number = n.integer("softmax_precision", 0)
    dtype = n.dtype(x)
    if number and number not in _PRECISIONS:
        raise n.wrong(f"softmax_precision {number}", "the number of a float type")
    y = n.op("Softmax", n.cast(x, _PRECISIONS.get(number, dtype)))
    if bias is not None:
        blind = n.op("Equal", n.op("Max", bias, n.const([-1]), keep_dims=True), n.like(bias, -np.inf))
        y = n.op("SelectV2", blind, n.like(y, 0), y)
    return n.cast(y, dtype)


def _rotary(n: Node) -> Tensor:
    """Pairs of channels turned by angles that depend on the position: halves of a head, or neighbours if interleaved."""
    x, cos, sin, places = n.input(0), n.input(1), n.input(2), n.optional(3)
    rank, heads = n.rank(x), n.integer("num_heads", 0)
    interleaved, turned = n.flag("interleaved"), n.integer("rotary_embedding_dim", 0)
    if rank == 3:
        y = _heads(n, x, heads, "an input")
    elif rank == 4:
        y = x
    else:
        raise n.wrong(f"{rank} axes", "3 or 4")
    size = n.shape(y)[3]
    if size is None:
        raise n.unsupported("heads whose size is not known")
    turned = turned or size
    if turned % 2 or not 0 < turned <= size:
        raise n.wrong(f"rotary_embedding_dim {turned} of {size}", "an even number, at most the size of a head")
    if places is not None:
        cos, sin = (n.op("GatherV2", t, places, n.const(0)) for t in (cos, sin))
    cos, sin = (n.op("ExpandDims", t, n.const(1)) for t in (cos, sin))
    first, second = _pairs(n, y, turned, interleaved)
    real = n.op("Sub", n.op("Mul", cos, first), n.op("Mul", sin, second))
    imaginary = n.op("AddV2", n.op("Mul", sin, first), n.op("Mul", cos, second))
    if interleaved:
        both = n.op("Pack", real, imaginary, axis=4)
        made = n.op("Reshape", both, n.vector([n.size(y, 0), n.size(y, 1), n.size(y, 2), turned]))
    else:
        made = n.op("ConcatV2", real, imaginary, n.const(3))
    if turned < size:
        made = n.op("ConcatV2", made, _columns(n, y, turned, size, 1), n.const(3))
    return made if rank == 4 else n.op("Reshape", n.transpose(made, (0, 2, 1, 3)), n.sizes(x))


def _columns(n: Node, x: Tensor, begin: int, end: int, step: int) -> Tensor:
    """x[:, :, :, begin:end:step]."""
    where = (n.const([0, 0, 0, begin]), n.const([0, 0, 0, end]), n.const([1, 1, 1, step]))
    return n.op("StridedSlice", x, *where, begin_mask=7, end_mask=7)


def _pairs(n: Node, x: Tensor, turned: int, interleaved: bool) -> tuple[Tensor, Tensor]:
    if interleaved:
        return _columns(n, x, 0, turned, 2), _columns(n, x, 1, turned, 2)
    return _columns(n, x, 0, turned // 2, 1), _columns(n, x, turned // 2, turned, 1)


def _swiglu(n: Node) -> Tensor:
    return n.op("Mul", swish(n, n.input(0), n.number("alpha", 1.0)), n.input(1))


def _causal_conv(n: Node) -> Outputs:
    """A depthwise convolution over past and new steps; the last k - 1 of them are the next state."""
    x, w, bias, past = n.input(0), n.input(1), n.optional(2), n.optional(3)
    channels, one, k = n.shape(w)
    if channels is None or k is None or one != 1 or k < 1:
        raise n.wrong(f"weights of {n.type_of(w)}", "(channels, 1, k)")
    if past is None:
        past = n.op("Fill", n.vector([n.size(x, 0), channels, k - 1]), n.like(x, 0))
    joined = n.op("ConcatV2", past, x, n.const(2))
    plane = n.op("ExpandDims", n.transpose(joined, (0, 2, 1)), n.const(1))
    filter = n.op("Reshape", n.transpose(w, (2, 0, 1)), n.const([1, k, channels, 1]))
    y = n.op("DepthwiseConv2dNative", plane, filter, strides=(1, 1, 1, 1), padding="VALID")
    y = n.transpose(n.op("Squeeze", y, squeeze_dims=(1,)), (0, 2, 1))
    if bias is not None:
        y = n.op("AddV2", y, n.reshape(bias, [-1, 1]))
    activation = n.text("activation", "none")
    if activation not in ("none", "silu", "swish"):
        raise n.wrong(f"activation {activation[:40]!r}", "none, silu or swish")
    y = y if activation == "none" else swish(n, y, 1.0)
    begin = n.op("ConcatV2", n.const([0, 0]), n.size(x, 2), n.const(0))
    return y, n.op("StridedSlice", joined, begin, n.const([0, 0, 0]), n.const([1, 1, 1]), begin_mask=3, end_mask=7)


def _tensor_scatter(n: Node) -> Tensor:
    """Steps of a cache replaced from a position on, which each item of the batch has for itself."""
    cache, update, start = n.input(0), n.input(1), n.optional(2)
    rank = n.rank(cache)
    axis, mode = n.axis(n.integer("axis", -2), rank), n.text("mode", "linear")
    if axis == 0 or n.rank(update) != rank or mode not in ("linear", "circular"):
        raise n.wrong(
            f"axis {axis} of {n.type_of(cache)}, mode {mode[:40]!r}", "an axis behind the batch; linear or circular"
        )
    order = [0, axis, *(i for i in range(1, rank) if i != axis)]
    back = [order.index(i) for i in range(rank)]
    steps = n.op("Range", n.const(0), _scalar(n, n.size(update, axis)), n.const(1))
    if start is not None:
        steps = n.op("AddV2", steps, n.reshape(n.cast(start, "int64"), [-1, 1]))
    if mode == "circular":
        steps = n.op("FloorMod", steps, n.size(cache, axis))
    rows = n.reshape(n.op("Range", n.const(0), _scalar(n, n.size(cache, 0)), n.const(1)), [-1, 1])
    shape = n.vector([n.size(cache, 0), n.size(update, axis)])
    where = n.op("Pack", *(n.op("BroadcastTo", t, shape) for t in (rows, steps)), axis=2)
    y = n.op("TensorScatterUpdate", n.transpose(cache, order), where, n.transpose(update, order))
    return n.transpose(y, back)


CONVERTERS: Mapping[str, Converter] = {
    "Attention": _attention,
    "RotaryEmbedding": _rotary,
    "SwiGLU": _swiglu,
    "CausalConvWithState": _causal_conv,
    "TensorScatter": _tensor_scatter,
}
