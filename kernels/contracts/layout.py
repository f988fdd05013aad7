"""Ops that move or reinterpret elements: reshape, transpose, pad, slice, split, gather, tile, pack, fill, cast, shape.

Any dtype. All but reshape are served by the shared CPU family unless a backend brings its own kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..errors import DTypeError, ShapeError
from ..records import dataclass
from ..tensor import BFLOAT16, STRING, Dim, DType, Params, TensorType, dtype_name
from .base import (
    Contract,
    Tolerance,
    broadcast_shapes,
    items_of_first,
    merge_shapes,
    normalize_axis,
    require_same_dtype,
    shape_text,
)
from .gather import GATHER, GatherParams

__all__ = [
    "BROADCAST_TO", "CAST", "FILL", "GATHER", "IDENTITY", "PACK", "PAD", "RANGE", "RESHAPE", "SLICE", "SPLIT", "TILE",
    "TRANSPOSE", "BroadcastParams", "CastParams", "FillParams", "GatherParams", "PackParams", "PadParams",
    "RangeParams", "ReshapeParams", "SliceParams", "SplitParams", "TileParams", "TransposeParams",
]  # fmt: skip

EXACT = Tolerance(0, 0)


@dataclass(frozen=True, slots=True)
class ReshapeParams(Params):
    """``shape``: the new sizes, all known, or with at most one -1 to be computed."""

    shape: tuple[int, ...]


def _infer_reshape(inputs: Sequence[TensorType], params: ReshapeParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    shape = params.shape
    if shape.count(-1) > 1 or any(d < -1 for d in shape):
        raise ShapeError(f"reshape: the new shape {shape} may have one -1 at most and no other negative size")
    known = prod(d for d in shape if d != -1)
    if not x.known:
        return (TensorType(x.dtype, tuple(None if d == -1 else d for d in shape)),)
    if -1 in shape:
        if known == 0 or x.size % known:
            raise ShapeError(f"reshape: {shape_text(x.shape)} with {x.size} elements does not fit into {shape}")
        shape = tuple(x.size // known if d == -1 else d for d in shape)
    elif known != x.size:
        raise ShapeError(f"reshape: {shape_text(x.shape)} has {x.size} elements, the new shape {shape} has {known}")
    return (TensorType(x.dtype, shape),)


RESHAPE: Contract[ReshapeParams] = Contract(
    "reshape",
    "The same elements in row-major order under another shape.",
    _infer_reshape,
    ReshapeParams,
    view=True,
    tolerance=EXACT,
    hot=False,
    by_item=lambda inputs, params, items: _infer_reshape(inputs, params)[0].dims[:1] == inputs[0].dims[:1],
)

IDENTITY: Contract[Params] = Contract(
    "identity",
    "y = x.", lambda inputs, params: (inputs[0],), view=True, tolerance=EXACT, hot=False, by_item=items_of_first,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TransposeParams(Params):
    """``perm``: axis i of the result is axis perm[i] of the input; None reverses all axes."""

    perm: tuple[int, ...] | None = None

    def axes(self, rank: int) -> tuple[int, ...]:
        return tuple(reversed(range(rank))) if self.perm is None else self.perm


def _infer_transpose(inputs: Sequence[TensorType], params: TransposeParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    if x.shape is None:
        return (TensorType(x.dtype, None if params.perm is None else (None,) * len(params.perm)),)
    perm = params.axes(len(x.shape))
    if sorted(perm) != list(range(len(x.shape))):
        raise ShapeError(f"transpose: perm {perm} is not a permutation of the axes of {shape_text(x.shape)}")
    return (TensorType(x.dtype, tuple(x.shape[p] for p in perm)),)


TRANSPOSE: Contract[TransposeParams] = Contract(
    "transpose", "y[i0, i1, ...] = x with its axes permuted.", _infer_transpose, TransposeParams, tolerance=EXACT, hot=False,
    by_item=lambda inputs, params, items: params.axes(len(inputs[0].dims))[0] == 0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PadParams(Params):
    """``paddings``: (before, after) for every axis. ``mode`` constant, reflect (edge not repeated) or symmetric."""

    paddings: tuple[tuple[int, int], ...]
    mode: str = "constant"
    value: complex = 0.0

    def __post_init__(self) -> None:
        if self.mode not in ("constant", "reflect", "symmetric"):
            raise ShapeError(f"pad: mode must be constant, reflect or symmetric, got {self.mode!r}")


def _infer_pad(inputs: Sequence[TensorType], params: PadParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    if any(p < 0 for pair in params.paddings for p in pair):
        raise ShapeError(f"pad: paddings must not be negative, got {params.paddings}")
    if x.shape is None:
        return (TensorType(x.dtype, (None,) * len(params.paddings)),)
    if len(params.paddings) != len(x.shape):
        raise ShapeError(f"pad: {len(params.paddings)} pairs of paddings for an input of shape {shape_text(x.shape)}")
    for d, pair in zip(x.shape, params.paddings, strict=True):
        limit = None if d is None or params.mode == "constant" else d - (params.mode == "reflect")
        if limit is not None and max(pair) > limit:
            raise ShapeError(f"pad: mode {params.mode} can add at most {limit} cells to an axis of {d}, got {pair}")
    return (
        TensorType(
            x.dtype, tuple(None if d is None else d + a + b for d, (a, b) in zip(x.shape, params.paddings, strict=True))
        ),
    )


PAD: Contract[PadParams] = Contract(
    "pad", "x with elements added at both ends of every axis.", _infer_pad, PadParams, tolerance=EXACT, hot=False,
    by_item=lambda inputs, params, items: params.paddings[0] == (0, 0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SliceParams(Params):
    """For every axis: first index, number of elements (-1: all that remain), step (may be negative)."""

    begin: tuple[int, ...]
    size: tuple[int, ...]
    steps: tuple[int, ...] | None = None


def _infer_slice(inputs: Sequence[TensorType], params: SliceParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    steps = params.steps or (1,) * len(params.begin)
    if not len(params.begin) == len(params.size) == len(steps):
        raise ShapeError(f"slice: begin {params.begin}, size {params.size} and steps {steps} must have one length")
    if x.shape is None:
        return (TensorType(x.dtype, tuple(None if n == -1 else n for n in params.size)),)
    if len(params.begin) != len(x.shape):
        raise ShapeError(f"slice: {len(params.begin)} bounds for an input of shape {shape_text(x.shape)}")
    shape: list[Dim] = []
    for axis, (d, begin, n, step) in enumerate(zip(x.shape, params.begin, params.size, steps, strict=True)):
        if n == -1:
            if step == 0:
                raise ShapeError(f"slice: step 0 on axis {axis}")
            rest = None if d is None else max(-(-(d - begin) // step) if step > 0 else begin // -step + 1, 0)
            shape.append(rest)
        else:
            shape.append(n)
        last = shape[-1]
        if (
            step == 0
            or begin < 0
            or n < -1
            or (
                d is not None
                and last is not None
                and (begin > d or (last > 0 and not 0 <= begin + (last - 1) * step < d))
            )
        ):
            raise ShapeError(
                f"slice: begin {begin}, size {n}, step {step} is outside axis {axis} of {shape_text(x.shape)}"
            )
    return (TensorType(x.dtype, tuple(shape)),)


SLICE: Contract[SliceParams] = Contract(
    "slice",
    "A box of x: y[i] = x[begin + i * step] on every axis.",
    _infer_slice,
    SliceParams,
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class SplitParams(Params):
    """``sizes`` of the parts along ``axis``; their sum is the axis's size."""

    axis: int
    sizes: tuple[int, ...]


def _infer_split(inputs: Sequence[TensorType], params: SplitParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    if x.shape is None:
        return tuple(TensorType(x.dtype) for _ in params.sizes)
    axis = normalize_axis("split", params.axis, len(x.shape))
    if any(n < 0 for n in params.sizes):
        raise ShapeError(f"split: sizes {params.sizes} of axis {axis} of {shape_text(x.shape)} must not be negative")
    if x.shape[axis] is not None and sum(params.sizes) != x.shape[axis]:
        raise ShapeError(f"split: sizes {params.sizes} do not add up to axis {axis} of {shape_text(x.shape)}")
    return tuple(TensorType(x.dtype, (*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in params.sizes)


SPLIT: Contract[SplitParams] = Contract(
    "split", "Parts of x along one axis.", _infer_split, SplitParams, tolerance=EXACT, hot=False
)


@dataclass(frozen=True, slots=True)
class TileParams(Params):
    """``multiples``: how often the input is repeated along each axis."""

    multiples: tuple[int, ...]


def _infer_tile(inputs: Sequence[TensorType], params: TileParams) -> tuple[TensorType, ...]:
    (x,) = inputs
    if any(m < 0 for m in params.multiples):
        raise ShapeError(f"tile: multiples must not be negative, got {params.multiples}")
    shape = x.shape if x.shape is not None else (None,) * len(params.multiples)
    if len(shape) != len(params.multiples):
        raise ShapeError(f"tile: {len(params.multiples)} multiples for an input of shape {shape_text(shape)}")
    return (
        TensorType(x.dtype, tuple(None if d is None else d * m for d, m in zip(shape, params.multiples, strict=True))),
    )


TILE: Contract[TileParams] = Contract(
    "tile", "x repeated along every axis.", _infer_tile, TileParams, tolerance=EXACT, hot=False
)


@dataclass(frozen=True, slots=True)
class BroadcastParams(Params):
    """``shape`` of the result."""

    shape: tuple[int, ...]


def _infer_broadcast(inputs: Sequence[TensorType], params: BroadcastParams) -> tuple[TensorType, ...]:
    if any(d < 0 for d in params.shape):
        raise ShapeError(f"broadcast_to: negative size in {params.shape}")
    joint = broadcast_shapes("broadcast_to", [inputs[0].shape, params.shape])
    # An unknown size beside a 1 stays unknown in ``joint``; it has to be 1.
    if joint is not None and (
        len(joint) != len(params.shape) or any(d not in (None, p) for d, p in zip(joint, params.shape, strict=True))
    ):
        raise ShapeError(
            f"broadcast_to: {shape_text(inputs[0].shape)} does not broadcast to {shape_text(params.shape)}"
        )
    return (TensorType(inputs[0].dtype, params.shape),)


BROADCAST_TO: Contract[BroadcastParams] = Contract(
    "broadcast_to",
    "x repeated along new axes and axes of size 1 until it has the given shape.",
    _infer_broadcast,
    BroadcastParams,
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class PackParams(Params):
    """``axis`` of the result that counts the inputs."""

    axis: int = 0


def _infer_pack(inputs: Sequence[TensorType], params: PackParams) -> tuple[TensorType, ...]:
    dtype = require_same_dtype("pack", inputs)
    shape = inputs[0].shape
    for t in inputs[1:]:
        shape = merge_shapes("pack", shape, t.shape)
    if shape is None:
        return (TensorType(dtype),)
    axis = normalize_axis("pack", params.axis, len(shape) + 1)
    return (TensorType(dtype, (*shape[:axis], len(inputs), *shape[axis:])),)


PACK: Contract[PackParams] = Contract(
    "pack",
    "The inputs, all of one shape, stacked along a new axis.",
    _infer_pack,
    PackParams,
    arity=(1, None),
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class FillParams(Params):
    """``shape`` of the result."""

    shape: tuple[int, ...]


def _infer_fill(inputs: Sequence[TensorType], params: FillParams) -> tuple[TensorType, ...]:
    if inputs[0].shape not in (None, ()):
        raise ShapeError(f"fill: the value must be a scalar, got {inputs[0]}")
    if any(d < 0 for d in params.shape):
        raise ShapeError(f"fill: negative size in {params.shape}")
    return (TensorType(inputs[0].dtype, params.shape),)


FILL: Contract[FillParams] = Contract(
    "fill", "An array filled with one value.", _infer_fill, FillParams, tolerance=EXACT, hot=False
)


@dataclass(frozen=True, slots=True)
class RangeParams(Params):
    """Numbers start, start + step, ... below ``limit`` (above it for a negative step)."""

    start: float
    limit: float
    step: float
    dtype: DType

    def count(self) -> int:
        return max(int(np.ceil((self.limit - self.start) / self.step)), 0)


def _infer_range(inputs: Sequence[TensorType], params: RangeParams) -> tuple[TensorType, ...]:
    if params.step == 0:
        raise ShapeError("range: the step must not be 0")
    return (TensorType(params.dtype, (params.count(),)),)


RANGE: Contract[RangeParams] = Contract(
    "range", "Evenly spaced numbers.", _infer_range, RangeParams, arity=(0, 0), tolerance=EXACT, hot=False
)


@dataclass(frozen=True, slots=True)
class CastParams(Params):
    """``dtype`` of the result. ``truncate``: to a narrower float the bits that do not fit are dropped, not rounded."""

    dtype: DType
    truncate: bool = False


def _infer_cast(inputs: Sequence[TensorType], params: CastParams) -> tuple[TensorType, ...]:
    if STRING in (inputs[0].dtype, params.dtype) and inputs[0].dtype != params.dtype:
        raise DTypeError(
            f"cast: no conversion from {dtype_name(inputs[0].dtype)} to {dtype_name(params.dtype)}; use as_string or decode ops"
        )
    if BFLOAT16 in (inputs[0].dtype, params.dtype) and not {inputs[0].dtype, params.dtype} <= {
        BFLOAT16,
        np.dtype(np.float32),
    }:
        raise DTypeError(
            f"cast: no conversion from {dtype_name(inputs[0].dtype)} to {dtype_name(params.dtype)}; bfloat16 in memory is made of "
            "float32, and becomes float32 only"
        )
    return (TensorType(params.dtype, inputs[0].shape),)


CAST: Contract[CastParams] = Contract(
    "cast",
    """Conversion of the element type: integers wrap, complex to real drops the imaginary part, floats to floats round.

    A float becomes an integer as on x86: it is truncated to int32 (for int8, int16, int32, uint8, uint16) or int64 (for int64,
    uint32, uint64), of which the low bits are kept. NaN and what these cannot hold become their lowest number; uint64 also
    takes 2**63 to 2**64 as they are. float32 becomes bfloat16 by rounding to the nearest, of two the even one.""",
    _infer_cast,
    CastParams,
    tolerance=EXACT,
    hot=False,
    by_item=items_of_first,
)
