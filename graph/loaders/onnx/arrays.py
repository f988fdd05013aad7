"""Ops that move, pick and join elements."""

from __future__ import annotations

from collections.abc import Mapping

from ...builder import Tensor
from .node import Converter, Node, Outputs

__all__ = ["CONVERTERS"]

_MOST = (1 << 63) - 1


def _identity(n: Node) -> Tensor:
    return n.op("Identity", n.input(0))


def _dropout(n: Node) -> Outputs:
    """Inference: nothing is dropped, and the mask says so."""
    x = n.input(0)
    n.ignore("ratio", "seed", "is_test")  # a mode that is fed may still be training
    training = n.optional(2)
    if training is not None:
        known = n.value(training)
        ratio = None if n.optional(1) is None else n.value(n.input(1))
        nothing = ratio is not None and not ratio.any()
        if (known is None or known.any()) and not nothing:
            raise n.unsupported("training mode", "export the model for inference")
    if not n.wants(1):
        return n.op("Identity", x)
    kind = bool if n.version >= 10 else n.dtype(x)
    return n.op("Identity", x), n.op("Fill", n.sizes(x), n.const(1, kind))


def _transpose(n: Node) -> Tensor:
    x = n.input(0)
    perm = n.ints("perm")
    return n.op("Transpose", x, n.const(list(range(n.rank(x)))[::-1] if perm is None else list(perm)))


def _concat(n: Node) -> Tensor:
    inputs = n.all_inputs
    axis = n.integer("axis", 1)
    return n.op("ConcatV2", *inputs, n.const(axis)) if len(inputs) > 1 else n.op("Identity", inputs[0])


def _split(n: Node) -> Outputs:
    """Sizes are an attribute before version 13; without them all parts but the last are equal."""
    x, axis = n.input(0), n.integer("axis", 0)
    count = len(n.proto.output)
    if count < 1:
        raise n.wrong("no outputs", "at least one")
    n.importer.budget.item(f"outputs of {n.place}", 0, count)
    sizes = n.ints("split") if n.version < 13 else None
    parts = n.integer("num_outputs", count) if n.version >= 18 else count
    if parts != count:
        raise n.wrong(f"num_outputs = {parts} with {count} outputs", "the same number")
    given = n.optional(1) if n.version >= 13 else None
    if given is not None:
        return n.ops("SplitV", [x, given, n.const(axis, "int32")], count, num_split=count)
    if sizes is None:
        size = n.shape(x)[n.axis(axis, n.rank(x))]
        if size is None or size % count == 0:
            return n.ops("Split", [n.const(axis, "int32"), x], count, num_split=count)
        step = -(-size // count)
        sizes = (step,) * (count - 1) + (size - step * (count - 1),)
    if len(sizes) != count or min(sizes) < 0:
        raise n.wrong(f"split {list(sizes)[:16]}", f"{count} sizes")
    return n.ops("SplitV", [x, n.const(list(sizes)), n.const(axis, "int32")], count, num_split=count)


def _slice(n: Node) -> Tensor:
    """Starts, ends, axes and steps: attributes before version 10, then inputs."""
    x = n.input(0)
    rank = n.rank(x)
    if n.version < 10:
        starts, ends = n.ints("starts") or (), n.ints("ends") or ()
        axes, steps = n.ints("axes") or tuple(range(len(starts))), (1,) * len(starts)
        vectors = n.const(list(starts)), n.const(list(ends)), n.const(list(steps))
    else:
        given = n.int_list(3, "the axes of a slice")
        count = n.shape(n.input(1))[0] if n.rank(n.input(1)) == 1 else None
        if count is None:
            raise n.unsupported("a slice of an unknown number of axes")
        if count > rank:
            raise n.wrong(f"{count} starts for {rank} axes", "at most as many")
        axes = tuple(range(count)) if given is None else given
        step = n.optional(4)
        vectors = n.input(1), n.input(2), n.const([1] * count) if step is None else step
    places = [n.axis(a, rank) for a in axes]
    if len(set(places)) != len(places) or any(n.shape(v) not in ((len(places),), (None,)) for v in vectors):
        raise n.wrong(f"axes {list(axes)}, starts {vectors[0].type}, ends {vectors[1].type}", "as many of each")
    if not places:
        return n.op("Identity", x)
    mask = sum(1 << i for i in range(rank) if i not in places)
    begin, end, stride = (_spread(n, v, places, filler) for v, filler in zip(vectors, (0, 0, 1), strict=True))
    return n.op("StridedSlice", x, begin, end, stride, begin_mask=mask, end_mask=mask)


def _spread(n: Node, vector: Tensor, places: list[int], filler: int) -> Tensor:
    """The entries at their axes, ``filler`` at the others, up to the last of them."""
    vector = n.cast(vector, "int64")
    known = n.value(vector)
    length = max(places) + 1
    if known is not None:
        return n.const([int(known[places.index(i)]) if i in places else filler for i in range(length)])
    if places == list(range(length)):
        return vector
    joined = n.op("ConcatV2", vector, n.const([filler]), n.const(0))
    picked = [places.index(i) if i in places else len(places) for i in range(length)]
    return n.op("GatherV2", joined, n.const(picked), n.const(0))


def _axes(n: Node, since: int) -> tuple[int, ...] | None:
    return n.ints("axes") if n.version < since else n.int_list(1, "the axes")


def _squeeze(n: Node) -> Tensor:
    axes = _axes(n, 13)
    x = n.input(0)
    if not axes:
        return n.op("Squeeze", x)
    return n.op("Squeeze", x, squeeze_dims=axes)


def _unsqueeze(n: Node) -> Tensor:
    x, axes = n.input(0), _axes(n, 13)
    if axes is None:
        raise n.wrong("no axes", "the axes to add")
    rank = n.rank(x) + len(axes)
    if rank > 32:
        raise n.wrong(f"{rank} axes", "at most 32")
    places = sorted(n.axis(a, rank) for a in axes)
    if len(set(places)) != len(places):
        raise n.wrong(f"axes {list(axes)}", "each once")
    if not places:
        return n.op("Identity", x)
    for place in places:
        x = n.op("ExpandDims", x, n.const(place))
    return x


def _tile(n: Node) -> Tensor:
    return n.op("Tile", n.input(0), n.input(1))


def _pads(n: Node, rank: int) -> list[tuple[int, int]]:
    """What is added before and after every axis: an attribute before version 11, then an input, perhaps for some axes."""
    pads = n.ints("pads") if n.version < 11 else n.int_list(1, "padding")
    axes = tuple(range(rank))
    if n.version >= 18 and n.optional(3) is not None:
        axes = tuple(n.axis(a, rank) for a in n.int_list(3, "the axes of the padding") or ())
    if pads is None or len(pads) != 2 * len(axes):
        raise n.wrong(f"pads {None if pads is None else list(pads)[:16]}", f"{2 * len(axes)} numbers")
    if max(map(abs, pads), default=0) > 1 << 40:
        raise n.wrong(f"pads {list(pads)[:16]}", "numbers of elements")
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pairs[axis] = pads[i], pads[i + len(axes)]
    return pairs


def _pad(n: Node) -> Tensor:
    """Negative padding cuts off."""
    x, mode = n.input(0), n.text("mode", "constant")
    if n.version >= 11 and mode in ("constant", "reflect") and n.value(n.input(1)) is None and n.optional(3) is None:
        pairs_of = n.transpose(n.reshape(n.input(1), [2, n.rank(x)]), (1, 0))
        return _padded(n, x, pairs_of, mode, n.optional(2))
    pairs = _pads(n, n.rank(x))
    value = n.const(n.number("value", 0.0), n.dtype(x)) if n.version < 11 else n.optional(2)
    if any(p < 0 for pair in pairs for p in pair):
        x, pairs = _cut(n, x, pairs), [(max(a, 0), max(b, 0)) for a, b in pairs]
    if not any(p for pair in pairs for p in pair):
        return n.op("Identity", x)
    if mode in ("constant", "reflect"):
        return _padded(n, x, n.const(pairs), mode, value)
    return _pad_by_slices(n, x, pairs, mode)


def _padded(n: Node, x: Tensor, pairs: Tensor, mode: str, value: Tensor | None) -> Tensor:
    if mode == "reflect":
        return n.op("MirrorPad", x, pairs, mode="REFLECT")
    return n.op("Pad", x, pairs) if value is None else n.op("PadV2", x, pairs, n.op("Reshape", value, n.const([])))


def _cut(n: Node, x: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    """Negative padding: that many elements less."""
    begin, end = [max(-a, 0) for a, _ in pairs], [min(b, 0) for _, b in pairs]
    mask = sum(1 << i for i, e in enumerate(end) if e == 0)
    return n.op("StridedSlice", x, n.const(begin), n.const(end), n.const([1] * len(pairs)), end_mask=mask)


def _pad_by_slices(n: Node, x: Tensor, pairs: list[tuple[int, int]], mode: str) -> Tensor:
    """Edges repeated, or the other end (wrap), axis by axis."""
    if mode not in ("edge", "wrap"):
        raise n.wrong(f"mode {mode[:40]!r}", "constant, reflect, edge or wrap")
    rank = len(pairs)
    for axis, (before, after) in enumerate(pairs):
        if not before and not after:
            continue
        if mode == "edge":
            first, last = _span(n, x, axis, 0, 1), _span(n, x, axis, -1, 0)
            repeat = [n.op("Tile", t, n.const([c if i == axis else 1 for i in range(rank)])) for t, c in ((first, before), (last, after))]  # fmt: skip
            parts = [*repeat[: before > 0], x, *repeat[1 : 1 + (after > 0)]]
        else:
            size = n.shape(x)[axis]
            if size is None or max(before, after) > size:
                raise n.unsupported("wrapping by more than the size, or of an unknown size")
            parts = [*([_span(n, x, axis, -before, 0)] if before else []), x]
            parts += [_span(n, x, axis, 0, after)] if after else []
        x = n.op("ConcatV2", *parts, n.const(axis))
    return x


def _span(n: Node, x: Tensor, axis: int, begin: int, end: int) -> Tensor:
    """x[..., begin:end] along an axis; end 0: to its end."""
    mask = (1 << axis) - 1
    return n.op(
        "StridedSlice", x, n.const([0] * axis + [begin]), n.const([0] * axis + [end]), n.const([1] * (axis + 1)),
        begin_mask=mask, end_mask=mask | (1 << axis if end == 0 else 0),
    )  # fmt: skip


def _depth_to_space(n: Node) -> Tensor:
    """NCHW; DCR: the block's place comes first in the channels, CRD: last."""
    x, block, mode = n.input(0), n.integer("blocksize", 0), n.text("mode", "DCR")
    _, c, h, w = _image(n, x)
    if block < 1 or c is None or c % (block * block) or mode not in ("DCR", "CRD"):
        raise n.wrong(f"blocksize {block} of {c} channels, mode {mode[:20]!r}", "a divisor; DCR or CRD")
    depth = c // (block * block)
    split = [block, block, depth] if mode == "DCR" else [depth, block, block]
    inner = n.op("Reshape", x, n.vector([n.size(x, 0), *split, _size(n, x, 2, h), _size(n, x, 3, w)]))
    moved = n.transpose(inner, (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3))
    return n.op("Reshape", moved, n.vector([n.size(x, 0), depth, _times(n, x, 2, block), _times(n, x, 3, block)]))


def _space_to_depth(n: Node) -> Tensor:
    x, block = n.input(0), n.integer("blocksize", 0)
    _, c, h, w = _image(n, x)
    if block < 1 or c is None or any(d is not None and d % block for d in (h, w)):
        raise n.wrong(f"blocksize {block} of {h} x {w}", "a divisor of both")
    if h is None or w is None:
        raise n.unsupported("an image of unknown size", "export it with a fixed size")
    inner = n.op("Reshape", x, n.vector([n.size(x, 0), c, h // block, block, w // block, block]))
    mode = n.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise n.wrong(f"mode {mode[:20]!r}", "DCR or CRD")
    moved = n.transpose(inner, (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    return n.op("Reshape", moved, n.vector([n.size(x, 0), c * block * block, h // block, w // block]))


def _image(n: Node, x: Tensor) -> tuple[int | None, ...]:
    shape = n.shape(x)
    if len(shape) != 4:
        raise n.wrong(f"{len(shape)} axes", "an NCHW image")
    return shape


def _size(n: Node, x: Tensor, axis: int, known: int | None) -> int | Tensor:
    return n.size(x, axis) if known is None else known


def _times(n: Node, x: Tensor, axis: int, factor: int) -> int | Tensor:
    known = n.shape(x)[axis]
    return n.op("Mul", n.size(x, axis), n.const([factor])) if known is None else known * factor


def _center_crop_pad(n: Node) -> Tensor:
    """To sizes: cut or padded by zeros on both sides, by one more at the end if the number is odd."""
    x, wanted = n.input(0), n.int_list(1, "the sizes")
    rank = n.rank(x)
    axes = [n.axis(a, rank) for a in n.ints("axes") or range(rank)]
    if wanted is None or len(wanted) != len(axes) or len(set(axes)) != len(axes) or min(wanted, default=0) < 0:
        raise n.wrong(f"sizes {wanted} for axes {axes}", "one for each axis")
    pairs = [(0, 0)] * rank
    for axis, size in zip(axes, wanted, strict=True):
        own = n.shape(x)[axis]
        if own is None:
            raise n.unsupported("an axis of unknown size", "export it with a fixed size")
        less = abs(size - own) // 2
        pairs[axis] = (less, size - own - less) if size >= own else (-less, size - own + less)
    if any(p < 0 for pair in pairs for p in pair):
        x, pairs = _cut(n, x, pairs), [(max(a, 0), max(b, 0)) for a, b in pairs]
    return n.op("Pad", x, n.const(pairs)) if any(p for pair in pairs for p in pair) else n.op("Identity", x)


def _string_concat(n: Node) -> Tensor:
    return n.op("StringJoin", n.input(0), n.input(1))


CONVERTERS: Mapping[str, Converter] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Tile": _tile,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "StringConcat": _string_concat,
    "CenterCropPad": _center_crop_pad,
}
