"""Ops that move or describe elements, and the structural ops (constants, placeholders, variables)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...kernels.contracts.base import Contract, merge_shapes, normalize_axis
from ...kernels.contracts.concat import CONCAT, ConcatParams
from ...kernels.contracts.elementwise import ADD, SUB
from ...kernels.contracts.layout import (
    BROADCAST_TO,
    FILL,
    IDENTITY,
    PACK,
    PAD,
    RANGE,
    RESHAPE,
    TILE,
    TRANSPOSE,
    BroadcastParams,
    FillParams,
    PackParams,
    PadParams,
    RangeParams,
    ReshapeParams,
    TileParams,
    TransposeParams,
)
from ...kernels.tensor import Params, TensorType, dtype_name, is_int
from ..errors import GraphError
from ..ir import UNKNOWN, Literal
from .attributes import FALSE, I32, I64, TRUE, Attr, Row, T, of
from .base import Lowered, NeedsValue, OpDef, Site, attr_dtype, attr_ints, entries, ints, one_int

__all__ = ["DEFS", "STRUCTURAL"]

INT32 = np.dtype(np.int32)


# --- structural: the plan handles these itself, no kernel runs -------------------------------------------------------


def _structural(site: Site) -> Lowered:
    raise GraphError(f"{site.op} '{site.name}' has no kernel: the plan handles it")


def _infer_const(site: Site) -> tuple[TensorType, ...]:
    value = site.attr("value")
    if not isinstance(value, Literal):
        raise GraphError(f"Const '{site.name}' has no value")
    if attr_dtype(site, "dtype", value.dtype) not in (value.dtype, UNKNOWN):
        raise GraphError(
            f"Const '{site.name}': attribute dtype is {dtype_name(site.attrs['dtype'])}, the value {value.type}"
        )
    return (value.type,)


def _infer_placeholder(site: Site) -> tuple[TensorType, ...]:
    return (TensorType(attr_dtype(site, "dtype"), site.attr("shape")),)


def _infer_default(site: Site) -> tuple[TensorType, ...]:
    shape = site.attr("shape")
    merge_shapes(f"PlaceholderWithDefault '{site.name}'", shape, site.inputs[0].shape)
    return (TensorType(site.inputs[0].dtype, shape),)


def _assign(site: Site) -> Lowered:
    merge_shapes(f"{site.op} '{site.name}'", site.inputs[0].shape, site.inputs[1].shape)
    if site.inputs[0].dtype != site.inputs[1].dtype:
        raise GraphError(f"{site.op} '{site.name}': the variable is {site.inputs[0]}, the value {site.inputs[1]}")
    return Lowered(IDENTITY, inputs=(1,))


def _assign_update(contract: Contract[Params]) -> Callable[[Site], Lowered]:
    """AssignAdd, AssignSub: no broadcasting, the variable keeps its shape."""

    def lower(site: Site) -> Lowered:
        _assign(site)
        return Lowered(contract)

    return lower


#: Op types that have no kernel.
STRUCTURAL = frozenset(["Const", "Placeholder", "VariableV2", "NoOp"])


# --- shapes as values --------------------------------------------------------------------------------------------------


def _infer_shape_vector(site: Site) -> tuple[TensorType, ...]:
    return (TensorType(attr_dtype(site, "out_type", INT32), (site.inputs[0].rank,)),)


def _infer_shape_scalar(site: Site) -> tuple[TensorType, ...]:
    return (TensorType(attr_dtype(site, "out_type", INT32), ()),)


def _shape_value(site: Site) -> Lowered:
    """Shape, Size and Rank are constants once the input's type is known; the plan folds them."""
    raise NeedsValue(0)


# --- reshaping -----------------------------------------------------------------------------------------------------------


def _reshape(site: Site) -> Lowered:
    return Lowered(RESHAPE, ReshapeParams(ints(site, 1, "the new shape")), (0,))


def _unknown_shape(sizes: int, source: int) -> Callable[[Site], tuple[TensorType, ...]]:
    """Types while the vector of sizes (input ``sizes``) is unknown, or known in part; dtype of input ``source``."""

    def types(site: Site) -> tuple[TensorType, ...]:
        known = entries(site, sizes)
        shape = None if known is None else tuple(None if d is None or d < 0 else d for d in known)
        return (TensorType(site.inputs[source].dtype, shape),)

    return types


def _view(site: Site, shape: Sequence[int | None] | None) -> Lowered:
    """A reshape to a shape that follows from the input's; one size may be unknown."""
    if shape is None or sum(d is None for d in shape) > 1:
        raise NeedsValue(0)
    if 0 in shape and None in shape:
        raise NeedsValue(0)
    return Lowered(RESHAPE, ReshapeParams(tuple(-1 if d is None else d for d in shape)), (0,))


def _expanded(site: Site) -> list[int | None] | None:
    axis = one_int(site, 1, "the axis")
    shape = site.inputs[0].shape
    if shape is None:
        return None
    axis = normalize_axis(f"ExpandDims '{site.name}'", axis, len(shape) + 1)
    return [*shape[:axis], 1, *shape[axis:]]


def _squeezed(site: Site) -> list[int | None] | None:
    shape = site.inputs[0].shape
    if shape is None:
        return None
    axes = attr_ints(site, "squeeze_dims", default=())
    if not axes:
        return None if None in shape else [d for d in shape if d != 1]
    picked = {normalize_axis(f"Squeeze '{site.name}'", a, len(shape)) for a in axes}
    for a in picked:
        if shape[a] not in (1, None):
            raise GraphError(f"Squeeze '{site.name}': axis {a} of {site.inputs[0]} has size {shape[a]}, expected 1")
    return [d for i, d in enumerate(shape) if i not in picked]


def _infer_expand(site: Site) -> tuple[TensorType, ...]:
    try:
        shape = _expanded(site)
    except NeedsValue:
        rank = site.inputs[0].rank
        return (TensorType(site.inputs[0].dtype, None if rank is None else (None,) * (rank + 1)),)
    return (TensorType(site.inputs[0].dtype, None if shape is None else tuple(shape)),)


def _infer_squeeze(site: Site) -> tuple[TensorType, ...]:
    shape = _squeezed(site)
    return (TensorType(site.inputs[0].dtype, None if shape is None else tuple(shape)),)


# --- moving --------------------------------------------------------------------------------------------------------------


def _transpose(site: Site) -> Lowered:
    perm = ints(site, 1, "perm")
    return Lowered(TRANSPOSE, TransposeParams(tuple(p + len(perm) if -len(perm) <= p < 0 else p for p in perm)), (0,))


def _unknown_same_rank(site: Site) -> tuple[TensorType, ...]:
    rank = site.inputs[0].rank
    return (TensorType(site.inputs[0].dtype, None if rank is None else (None,) * rank),)


def _concat(name: str, axis_input: int, attributes: Row) -> OpDef:
    def lower(site: Site) -> Lowered:
        where = axis_input % len(site.inputs)
        axis = one_int(site, where, "the axis")
        return Lowered(CONCAT, ConcatParams(axis), tuple(i for i in range(len(site.inputs)) if i != where))

    def unknown(site: Site) -> tuple[TensorType, ...]:
        t = site.inputs[0 if axis_input else 1]
        return (TensorType(t.dtype, None if t.rank is None else (None,) * t.rank),)

    return OpDef(name, lower, arity=(2, None), values=(axis_input,), unknown=unknown, attributes=attributes)


def _mode(site: Site) -> str:
    mode = site.attr("mode")
    if mode is None:
        raise GraphError(f"MirrorPad '{site.name}': attribute mode must be REFLECT or SYMMETRIC, and is missing")
    return str(mode).lower()


def _pad(site: Site) -> Lowered:
    pairs = site.value(1)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not is_int(pairs.dtype):
        raise GraphError(f"{site.op} '{site.name}': paddings must be integers of shape (rank, 2), got {pairs.shape}")
    paddings = tuple((int(a), int(b)) for a, b in pairs)
    if site.op == "MirrorPad":
        return Lowered(PAD, PadParams(paddings, _mode(site)), (0,))
    value = site.value(2).reshape(-1) if site.op == "PadV2" else np.zeros(1, np.int8)
    if site.op == "PadV2" and site.inputs[2].shape not in (None, ()):
        raise GraphError(f"PadV2 '{site.name}': the value must be a scalar, got {site.inputs[2]}")
    # Integers as they are: a complex number holds 53 bits of one.
    fill = value[0].item() if value.dtype.kind in "iub" else complex(value[0])
    return Lowered(PAD, PadParams(paddings, "constant", fill), (0,))


def _tile(site: Site) -> Lowered:
    return Lowered(TILE, TileParams(ints(site, 1, "multiples")), (0,))


def _broadcast_to(site: Site) -> Lowered:
    return Lowered(BROADCAST_TO, BroadcastParams(ints(site, 1, "the shape")), (0,))


def _pack(site: Site) -> Lowered:
    return Lowered(PACK, PackParams(int(site.attr("axis", 0))))


def _fill(site: Site) -> Lowered:
    return Lowered(FILL, FillParams(ints(site, 0, "the shape")), (1,))


def _range(site: Site) -> Lowered:
    if any(t.shape not in (None, ()) for t in site.inputs):
        raise GraphError(
            f"Range '{site.name}': start, limit and delta must be scalars, got {', '.join(map(str, site.inputs))}"
        )
    if site.inputs[0].dtype.kind not in "iuf":
        raise GraphError(f"Range '{site.name}': takes integers or floats, got {site.inputs[0]}")
    start, limit, step = (site.value(i).item() for i in range(3))
    if not all(math.isfinite(x) for x in (start, limit, step)):
        raise GraphError(f"Range '{site.name}': start {start}, limit {limit} and delta {step} must be finite")
    return Lowered(RANGE, RangeParams(start, limit, step, site.inputs[0].dtype), ())


def _unknown_tile(site: Site) -> tuple[TensorType, ...]:
    x, multiples = site.inputs[0], entries(site, 1)
    if x.shape is None or multiples is None or len(multiples) != len(x.shape):
        return _unknown_same_rank(site)
    pairs = zip(x.shape, multiples, strict=True)
    return (TensorType(x.dtype, tuple(None if d is None or m is None else d * m for d, m in pairs)),)


def _unknown_range(site: Site) -> tuple[TensorType, ...]:
    return (TensorType(site.inputs[0].dtype, (None,)),)


_LOCKING: Row = {**T, "use_locking": FALSE}
_SHAPE: Row = {**T, "out_type": Attr("type", I32, allowed=(I32, I64))}
_PADDINGS: Row = {**T, "Tpaddings": of(1, I32)}
#: ``container``, ``shared_name``: where a runtime keeps a variable. A file has no values of variables, so what is in one
#: is never shared.
_VARIABLE: Row = {
    "shape": Attr("shape"), "dtype": Attr("type"), "container": Attr("string", ""), "shared_name": Attr("string", ""),
    "initial_value": Attr("tensor", None, own=True),
}  # fmt: skip

DEFS: tuple[OpDef, ...] = (
    OpDef(
        "Const",
        _structural,
        arity=(0, 0),
        infer=_infer_const,
        attributes={"value": Attr("tensor"), "dtype": Attr("type")},
    ),
    OpDef(
        "Placeholder",
        _structural,
        arity=(0, 0),
        infer=_infer_placeholder,
        attributes={"dtype": Attr("type"), "shape": Attr("shape", None)},
    ),
    OpDef("VariableV2", _structural, arity=(0, 0), infer=_infer_placeholder, attributes=_VARIABLE),
    OpDef("NoOp", _structural, arity=(0, 0), infer=lambda site: (), attributes={}),
    OpDef(
        "PlaceholderWithDefault",
        lambda site: Lowered(IDENTITY),
        infer=_infer_default,
        attributes={"dtype": of(0), "shape": Attr("shape")},
    ),
    *(OpDef(name, lambda site: Lowered(IDENTITY)) for name in ("Identity", "StopGradient", "Snapshot")),
    OpDef("PreventGradient", lambda site: Lowered(IDENTITY), attributes={**T, "message": Attr("string", "")}),
    OpDef("CheckNumerics", lambda site: Lowered(IDENTITY), attributes={**T, "message": Attr("string")}),
    OpDef("Assign", _assign, arity=(2, 2), attributes={**T, "validate_shape": TRUE, "use_locking": TRUE}),
    OpDef("AssignAdd", _assign_update(ADD), arity=(2, 2), attributes=_LOCKING),
    OpDef("AssignSub", _assign_update(SUB), arity=(2, 2), attributes=_LOCKING),
    OpDef("Shape", _shape_value, infer=_infer_shape_vector, attributes=_SHAPE),
    OpDef("Size", _shape_value, infer=_infer_shape_scalar, attributes=_SHAPE),
    OpDef("Rank", _shape_value, infer=_infer_shape_scalar),
    OpDef(
        "Reshape",
        _reshape,
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_shape(1, 0),
        attributes={**T, "Tshape": of(1, I32)},
    ),
    OpDef(
        "ExpandDims",
        lambda s: _view(s, _expanded(s)),
        arity=(2, 2),
        values=(1,),
        infer=_infer_expand,
        attributes={**T, "Tdim": of(1, I32)},
    ),
    OpDef(
        "Squeeze",
        lambda s: _view(s, _squeezed(s)),
        infer=_infer_squeeze,
        attributes={**T, "squeeze_dims": Attr("ints", ())},
    ),
    OpDef(
        "Transpose",
        _transpose,
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_same_rank,
        attributes={**T, "Tperm": of(1, I32)},
    ),
    _concat("Concat", 0, {"T": of(1), "N": Attr("int", count=1)}),
    _concat("ConcatV2", -1, {**T, "N": Attr("int", count=1), "Tidx": of(-1, I32)}),
    OpDef("Pad", _pad, arity=(2, 2), values=(1,), unknown=_unknown_same_rank, attributes=_PADDINGS),
    OpDef("PadV2", _pad, arity=(3, 3), values=(1, 2), unknown=_unknown_same_rank, attributes=_PADDINGS),
    OpDef(
        "MirrorPad",
        _pad,
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_same_rank,
        attributes={**_PADDINGS, "mode": Attr("string", allowed=("REFLECT", "SYMMETRIC"))},
    ),
    OpDef("Tile", _tile, arity=(2, 2), values=(1,), unknown=_unknown_tile, attributes={**T, "Tmultiples": of(1, I32)}),
    OpDef(
        "BroadcastTo",
        _broadcast_to,
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_shape(1, 0),
        attributes={**T, "Tidx": of(1, I32)},
    ),
    OpDef("Pack", _pack, arity=(1, None), attributes={**T, "N": Attr("int", count=0), "axis": Attr("int", 0)}),
    OpDef(
        "Fill",
        _fill,
        arity=(2, 2),
        values=(0,),
        unknown=_unknown_shape(0, 1),
        attributes={"T": of(1), "index_type": of(0, I32)},
    ),
    OpDef("Range", _range, arity=(3, 3), values=(0, 1, 2), unknown=_unknown_range, attributes={"Tidx": of(0, I32)}),
)
