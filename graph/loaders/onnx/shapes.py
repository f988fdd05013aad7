"""Shapes as values, constants, casts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....kernels.tensor import STRING
from ...builder import Tensor
from ...ir import Literal
from .narrow import BFLOAT16, cast, number_of, round_to
from .node import Converter, Node
from .reduce import leading_size

__all__ = ["CONVERTERS", "scalar"]

#: NumPy stops at 64; nothing real comes near 32.
_MOST_AXES = 32


def scalar(n: Node, x: Tensor) -> Tensor:
    """A tensor of one element without axes."""
    return x if n.type_of(x).shape == () else n.op("Reshape", x, n.const([]))


def _constant(n: Node) -> Tensor:
    made = n.literal("value")
    if made is None:
        made = n.sparse("sparse_value")
    if made is None:
        made = Literal.of(_spelled(n))
    return n.op("Const", value=made, dtype=made.dtype)


def _spelled(n: Node) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The other ways to write a constant."""
    if n.has("value_float"):
        return np.array(n.number("value_float", 0), np.float32)
    if n.has("value_int"):
        return np.array(n.integer("value_int", 0), np.int64)
    if n.has("value_floats"):
        return np.array(n.floats("value_floats"), np.float32)
    if n.has("value_ints"):
        return np.array(n.ints("value_ints"), np.int64)
    if n.has("value_string"):
        text = np.empty((), STRING)
        text[()] = n.text("value_string", "").encode()
        return text
    texts = n.texts("value_strings")
    if texts is None:
        raise n.wrong("no value", "one of the attributes that ONNX has for it")
    result = np.empty(len(texts), STRING)
    result[:] = [t.encode() for t in texts]
    return result


def _constant_of_shape(n: Node) -> Tensor:
    value = n.literal("value")
    fill = Literal.of(np.zeros((), np.float32)) if value is None else value
    if fill.type.size != 1:
        raise n.wrong(f"a value of {fill.type.size} elements", "one element")
    element = fill.array().reshape(())
    return n.op("Fill", n.input(0), n.const(element, fill.dtype))


def _shape(n: Node) -> Tensor:
    x = n.input(0)
    start, end = n.integer("start", 0), n.integer("end", 1 << 62)
    whole = n.sizes(x)
    if (start, end) == (0, 1 << 62):
        return whole
    last = n.has("end")
    return n.op(
        "StridedSlice", whole, n.const([start]), n.const([end if last else 0]), n.const([1]), end_mask=0 if last else 1
    )


def _size(n: Node) -> Tensor:
    return n.op("Size", n.input(0), out_type=np.dtype(np.int64))


def _reshape(n: Node) -> Tensor:
    """0 means the size that the input has there, unless allowzero is set. The new shape is an input."""
    x, shape, allow = n.input(0), n.input(1), n.flag("allowzero")
    entries = n.entries(shape)
    if allow or (entries is not None and 0 not in entries and any(e is not None for e in entries)):
        return n.op("Reshape", x, shape)
    if entries is not None and any(e is not None for e in entries):
        rank = n.rank(x)
        if any(e == 0 and i >= rank for i, e in enumerate(entries)):
            raise n.wrong(
                f"a new shape {list(entries)} with a 0 beyond the {rank} axes of the input", "0 for one of its axes"
            )
        parts = [n.size(x, i) if e == 0 else _entry(n, shape, i, e) for i, e in enumerate(entries)]
        return n.op("Reshape", x, n.vector(parts))
    if n.rank(shape) != 1:
        raise n.wrong(f"a new shape of {n.rank(shape)} axes", "a vector")
    length = n.shape(shape)[0]
    if length is None:
        raise n.unsupported("a new shape of an unknown number of axes")
    if length > _MOST_AXES:
        raise n.wrong(f"a new shape of {length} axes", f"at most {_MOST_AXES}")
    if length == 0:
        return n.op("Reshape", x, shape)
    # Which entries are 0 is known when it runs: the input's sizes, with ones behind, stand in for them.
    padded = n.op("ConcatV2", n.sizes(x), n.const([1] * length), n.const(0))
    own = n.op("StridedSlice", padded, n.const([0]), n.const([length]), n.const([1]))
    return n.op("Reshape", x, n.op("SelectV2", n.op("Equal", shape, n.const(0)), own, shape))


def _entry(n: Node, vector: Tensor, index: int, known: int | None) -> int | Tensor:
    if known is not None:
        return known
    return n.op("StridedSlice", vector, n.const([index]), n.const([index + 1]), n.const([1]))


def _flatten(n: Node) -> Tensor:
    """To a matrix: the axes before ``axis`` are the rows."""
    x = n.input(0)
    rank = n.rank(x)
    axis = n.integer("axis", 1)
    if not -rank <= axis <= rank:
        raise n.wrong(f"axis {axis} of {rank} axes", f"one from {-rank} to {rank}")
    axis = axis + rank if axis < 0 else axis
    after = n.shape(x)[axis:]
    if None not in after:  # rows may be unknown, then: -1 cannot be told apart where there are no elements
        columns = int(np.prod([d for d in after if d is not None], dtype=object))
        if columns:
            return n.op("Reshape", x, n.const([-1, columns]))
        return n.op("Reshape", x, n.vector([leading_size(n, x, axis), columns]))
    return n.op("Reshape", x, n.vector([leading_size(n, x, axis), -1]))


def _expand(n: Node) -> Tensor:
    """Broadcasting goes both ways: a 1 in the shape keeps the size that the input has."""
    x, shape = n.input(0), n.input(1)
    own, entries = n.shape(x), n.entries(shape)
    if entries is None:
        length = n.shape(shape)[0] if n.rank(shape) == 1 else None
        if length is None:
            raise n.unsupported("a shape of an unknown number of axes")
        if length > _MOST_AXES:
            raise n.wrong(f"a shape of {length} axes", f"at most {_MOST_AXES}")
        entries = (None,) * length
    total = max(len(own), len(entries))
    before = total - len(own), total - len(entries)
    return n.op(
        "BroadcastTo",
        x,
        n.vector([_expanded(n, x, shape, entries, i - before[0], i - before[1]) for i in range(total)]),
    )


def _expanded(n: Node, x: Tensor, shape: Tensor, entries: Sequence[int | None], axis: int, index: int) -> int | Tensor:
    """One size: that of ``x`` along ``axis`` or entry ``index`` of the shape; below 0 where one of them has no such axis."""
    own = 1 if axis < 0 else n.shape(x)[axis]
    wanted = 1 if index < 0 else entries[index]
    if wanted is not None:
        return wanted if wanted != 1 else n.size(x, axis) if own is None else own
    if own is not None and own != 1:
        return own
    entry = _entry(n, shape, index, None)
    assert isinstance(entry, Tensor)
    return entry if own == 1 else n.op("SelectV2", n.op("Equal", entry, n.const(1)), n.size(x, axis), entry)


def _cast(n: Node) -> Tensor:
    saturate, mode = n.flag("saturate", True), n.text("round_mode", "up")
    return cast(n, n.input(0), n.integer("to", 0), saturate=saturate, mode=mode)


def _cast_like(n: Node) -> Tensor:
    saturate, mode, narrow = n.flag("saturate", True), n.text("round_mode", "up"), n.importer.narrow(n.input(1))
    if narrow is not None:
        return round_to(
            n, n.input(0), number_of(narrow), saturate=saturate and number_of(narrow) != BFLOAT16, mode=mode
        )
    target = n.dtype(n.input(1))
    if STRING in (target, n.dtype(n.input(0))) and target != n.dtype(n.input(0)):
        raise n.unsupported("a cast from or to text")
    return n.op("Cast", n.input(0), DstT=target)


def _bit_cast(n: Node) -> Tensor:
    """The bits as those of another type of the same width."""
    x, target = n.input(0), n.element_type(n.integer("to", 0))
    if n.importer.narrow(x) is not None or STRING in (target, n.dtype(x)):
        raise n.unsupported("the bits of a type that NumPy lacks")
    if n.dtype(x).itemsize != target.itemsize:
        raise n.wrong(f"the bits of {n.dtype(x)} as {target}", "a type of the same width")
    if target == n.dtype(x):
        return n.op("Identity", x)
    if target.kind == "b":
        raise n.unsupported("bytes as bool")
    return n.op("Bitcast", n.cast(x, "uint8") if n.dtype(x).kind == "b" else x, type=target)


def _range(n: Node) -> Tensor:
    n.ignore("stash_type")
    return n.op("Range", *(scalar(n, n.input(i)) for i in range(3)))


def _window(*weights: float) -> Converter:
    """A window of signal processing: a sum of cosines of 0, 1, 2 turns over its length."""

    def convert(n: Node) -> Tensor:
        size, kind = n.cast(scalar(n, n.input(0)), "int64"), n.integer("output_datatype", 1)
        length = size if n.flag("periodic", True) else n.op("Maximum", n.op("Sub", size, n.const(1)), n.const(1))
        places = n.cast(n.op("Range", n.const(0), size, n.const(1)), "float64")
        turn = n.op("RealDiv", n.op("Mul", places, n.const(2 * np.pi, "float64")), n.cast(length, "float64"))
        total = n.op("Mul", n.op("OnesLike", turn), n.like(turn, weights[0]))
        for i, weight in enumerate(weights[1:], 1):
            wave = n.op("Cos", n.op("Mul", turn, n.like(turn, i)))
            total = n.op("AddV2", total, n.op("Mul", wave, n.like(turn, weight)))
        return n.cast(total, n.element_type(kind))

    return convert


CONVERTERS: Mapping[str, Converter] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Shape": _shape,
    "Size": _size,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Expand": _expand,
    "Cast": _cast,
    "CastLike": _cast_like,
    "BitCast": _bit_cast,
    "Range": _range,
    "HannWindow": _window(0.5, -0.5),
    "HammingWindow": _window(25 / 46, -21 / 46),
    "BlackmanWindow": _window(0.42, -0.5, 0.08),
}
