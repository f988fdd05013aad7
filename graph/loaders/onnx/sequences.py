"""Sequences and optional values whose length is known while the file is read.

A sequence is the output of an operation that only these converters read; its elements are that operation's inputs. Where a
model gives it back, or makes it in a loop, the operation is one that kigraph does not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...builder import Tensor
from .node import Converter, Node

__all__ = ["CONVERTERS"]

_SEQUENCE, _OPTIONAL = "onnx.Sequence", "onnx.Optional"
_MOST = 1 << 12
_WHY = "a list of tensors is read by ONNX's ops for sequences only"


def _sequence(n: Node, elements: Sequence[Tensor], kind: str = _SEQUENCE) -> Tensor:
    if len(elements) > _MOST:
        raise n.unsupported(f"a sequence of {len(elements)} tensors; at most {_MOST:,}")
    n.importer.budget.item(f"elements of {n.place}", 0, len(elements))
    name = n.graph.unique_name(f"{n.base}/{kind}")
    return n.graph.create_op(kind, list(elements), {"_reason": f"{n.place}: {_WHY}"}, name, num_outputs=1).outputs[0]


def _named(x: Tensor) -> Tensor:
    """What x is another name of."""
    while x.op.type == "Identity":
        x = x.op.inputs[0]
    return x


def _elements(n: Node, index: int = 0) -> list[Tensor]:
    x = _named(n.input(index))
    if x.op.type != _SEQUENCE:
        raise n.unsupported(
            "a sequence whose length is not known while the file is read", "export it without sequences"
        )
    return list(x.op.inputs)


def _place(n: Node, index: int, size: int, more: int = 0) -> int:
    """A position in a sequence of ``size``, or behind it."""
    found = n.constant(index, "a position in a sequence")
    if found is None:
        return size - 1 + more
    if found.size != 1 or found.dtype.kind not in "iu" or not -size <= int(found.reshape(-1)[0]) < size + more:
        raise n.wrong(f"position {found.tolist()} of {size} tensors", "one that is there")
    place = int(found.reshape(-1)[0])
    return place + size if place < 0 else place


def _empty(n: Node) -> Tensor:
    n.ignore("dtype")
    return _sequence(n, [])


def _construct(n: Node) -> Tensor:
    return _sequence(n, n.all_inputs)


def _at(n: Node) -> Tensor:
    found = _elements(n)
    return n.op("Identity", found[_place(n, 1, len(found))])


def _insert(n: Node) -> Tensor:
    found = _elements(n)
    found.insert(_place(n, 2, len(found), more=1), n.input(1))
    return _sequence(n, found)


def _erase(n: Node) -> Tensor:
    found = _elements(n)
    if not found:
        raise n.wrong("an empty sequence", "one with the tensor to erase")
    del found[_place(n, 1, len(found))]
    return _sequence(n, found)


def _length(n: Node) -> Tensor:
    return n.const(len(_elements(n)))


def _split(n: Node) -> Tensor:
    """Pieces of one size, of stated sizes, or single elements whose axis may go."""
    x, axis = n.input(0), n.axis(n.integer("axis", 0), n.rank(n.input(0)))
    size, given, keep = n.shape(x)[axis], n.constant(1, "the sizes of the pieces"), n.flag("keepdims", True)
    if size is None:
        raise n.unsupported("a split of an axis of unknown size", "export it with a fixed size")
    if given is None:
        sizes = [1] * size
    elif given.ndim == 0:
        step = int(given)
        if step < 1:
            raise n.wrong(f"pieces of {step}", "at least 1")
        sizes = [min(step, size - at) for at in range(0, size, step)]
    else:
        sizes = [int(v) for v in given.reshape(-1)]
    if len(sizes) > _MOST or sum(sizes) != size or min(sizes, default=0) < 0:
        raise n.wrong(f"pieces {sizes[:16]} of {size}", f"at most {_MOST:,} that fill the axis")
    if not sizes:
        return _sequence(n, [])
    parts = n.ops("SplitV", [x, n.const(sizes), n.const(axis, "int32")], len(sizes), num_split=len(sizes))
    if given is None and not keep:
        parts = tuple(n.op("Squeeze", p, squeeze_dims=(axis,)) for p in parts)
    return _sequence(n, parts)


def _concat(n: Node) -> Tensor:
    found, axis, new = _elements(n), n.integer("axis", 0), n.flag("new_axis")
    if not found:
        raise n.wrong("an empty sequence", "at least one tensor to join")
    if new:
        return n.op("Pack", *found, axis=n.axis(axis, n.rank(found[0]) + 1))
    return (
        n.op("ConcatV2", *found, n.const(n.axis(axis, n.rank(found[0]))))
        if len(found) > 1
        else n.op("Identity", found[0])
    )


def _optional(n: Node) -> Tensor:
    n.ignore("type")
    x = n.optional(0)
    return _sequence(n, [] if x is None else [x], _OPTIONAL)


def _inside(n: Node) -> Tensor | None:
    """What an optional value is; a tensor or sequence is one that is there."""
    x = n.optional(0)
    if x is None or x.op.type == "onnx.Input":
        if x is not None:
            raise n.unsupported("an input that is an optional value or a sequence")
        return None
    found = _named(x)
    if found.op.type != _OPTIONAL:
        return x
    return found.op.inputs[0] if found.op.inputs else None


def _has_element(n: Node) -> Tensor:
    return n.const(_inside(n) is not None, np.bool_)


def _element(n: Node) -> Tensor:
    found = _inside(n)
    if found is None:
        raise n.wrong("an optional value that is not there", "one that is")
    value = _named(found)
    return _sequence(n, value.op.inputs) if value.op.type == _SEQUENCE else n.op("Identity", found)


CONVERTERS: Mapping[str, Converter] = {
    "SequenceEmpty": _empty,
    "SequenceConstruct": _construct,
    "SequenceAt": _at,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SequenceLength": _length,
    "SplitToSequence": _split,
    "ConcatFromSequence": _concat,
    "Optional": _optional,
    "OptionalHasElement": _has_element,
    "OptionalGetElement": _element,
}
