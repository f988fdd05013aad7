"""Picking and placing by indices, reversing, rolling, running sums, bands of matrices, positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.contracts import arrange as a
from ...kernels.contracts import indexing as x
from ...kernels.contracts.base import normalize_axis
from ...kernels.contracts.layout import SLICE, SliceParams
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import FALSE, I32, I64, Attr, Row, T, of
from .base import Lowered, NeedsValue, OpDef, Site, entries, ints, one_int

__all__ = ["DEFS"]


def _gather_nd(site: Site) -> Lowered:
    return Lowered(x.GATHER_ND, x.GatherNdParams(int(site.attr("batch_dims", 0))))


def _scatter_nd(site: Site) -> Lowered:
    return Lowered(x.SCATTER_ND, x.ScatterNdParams(ints(site, 2, "the shape")), (0, 1))


def _unknown_scatter(site: Site) -> tuple[TensorType, ...]:
    known = entries(site, 2)
    shape = None if known is None else tuple(None if d is None or d < 0 else d for d in known)
    return (TensorType(site.inputs[1].dtype, shape),)


def _tensor_scatter(mode: Any) -> Callable[[Site], Lowered]:
    return lambda site: Lowered(x.TENSOR_SCATTER, x.TensorScatterParams(mode))


def _one_hot(site: Site) -> Lowered:
    depth = one_int(site, 1, "the depth")
    return Lowered(x.ONE_HOT, x.OneHotParams(depth, int(site.attr("axis", -1))), (0, 2, 3))


def _unknown_one_hot(site: Site) -> tuple[TensorType, ...]:
    shape = site.inputs[0].shape
    if shape is None:
        return (TensorType(site.inputs[2].dtype),)
    axis = normalize_axis(f"OneHot '{site.name}'", int(site.attr("axis", -1)), len(shape) + 1)
    return (TensorType(site.inputs[2].dtype, (*shape[:axis], None, *shape[axis:])),)


def _segments(mode: Any) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        return Lowered(x.SEGMENTS, x.SegmentsParams(one_int(site, 2, "num_segments"), mode), (0, 1))

    return lower


def _unknown_segments(site: Site) -> tuple[TensorType, ...]:
    data, ids = site.inputs[:2]
    if data.shape is None or ids.shape is None or len(ids.shape) > len(data.shape):
        return (TensorType(data.dtype),)
    return (TensorType(data.dtype, (None, *data.shape[len(ids.shape) :])),)


def _reverse_sequence(site: Site) -> Lowered:
    sequence, batch = site.attr("seq_dim"), int(site.attr("batch_dim", 0))
    if not isinstance(sequence, (int, np.integer)):
        raise GraphError(f"ReverseSequence '{site.name}': attribute seq_dim must be an integer, and is {sequence!r}")
    return Lowered(x.REVERSE_SEQUENCE, x.ReverseSequenceParams(int(sequence), batch))


def _reversed_axes(site: Site, rank: int) -> set[int]:
    if site.op == "ReverseV2":
        axes = [normalize_axis(f"ReverseV2 '{site.name}'", v, rank) for v in ints(site, 1, "the axes")]
        if len(set(axes)) != len(axes):
            raise GraphError(f"ReverseV2 '{site.name}': the axes {axes} name one twice")
        return set(axes)
    flags = site.value(1)
    if flags.shape != (rank,) or flags.dtype != bool:
        raise GraphError(f"Reverse '{site.name}': dims must be {rank} truth values, got {site.inputs[1]}")
    return {i for i, flag in enumerate(flags) if flag}


def _reverse(site: Site) -> Lowered:
    """A slice that counts backwards along some axes."""
    site.value(1)
    t = site.inputs[0]
    if t.shape is None:
        raise NeedsValue(0)
    axes = _reversed_axes(site, len(t.shape))
    if not t.known:
        raise NeedsValue(0)
    back = [i in axes for i in range(len(t.dims))]
    begin = tuple(max(d - 1, 0) if b else 0 for d, b in zip(t.dims, back, strict=True))
    return Lowered(SLICE, SliceParams(begin, t.dims, tuple(-1 if b else 1 for b in back)), (0,))


def _same_as_first(site: Site) -> tuple[TensorType, ...]:
    return (site.inputs[0],)


def _roll(site: Site) -> Lowered:
    for i, what in ((1, "shift"), (2, "axis")):
        site.value(i)
        if len(site.inputs[i].shape or ()) > 1:
            raise GraphError(f"Roll '{site.name}': {what} must be a number or a vector, got {site.inputs[i]}")
    return Lowered(a.ROLL, a.RollParams(ints(site, 1, "the shifts"), ints(site, 2, "the axes")), (0,))


def _cumulative(kind: Any) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        flags = bool(site.attr("exclusive", False)), bool(site.attr("reverse", False))
        return Lowered(a.CUMULATIVE, a.CumulativeParams(kind, one_int(site, 1, "the axis"), *flags), (0,))

    return lower


def _band(site: Site) -> Lowered:
    """TensorFlow counts what stays below and above the main diagonal; a negative number keeps all."""
    lower, upper = one_int(site, 1, "num_lower"), one_int(site, 2, "num_upper")
    params = a.BandParams(None if lower < 0 else -lower, None if upper < 0 else upper)
    shape = site.inputs[0].shape
    for what, n, axis in (("num_lower", lower, -2), ("num_upper", upper, -1)):
        size = None if shape is None or len(shape) < 2 else shape[axis]
        if size is not None and n > size:
            raise GraphError(f"MatrixBandPart '{site.name}': {what} is {n}, beyond the size {size} of {site.inputs[0]}")
    return Lowered(a.BAND, params, (0,))


def _triangle(site: Site) -> Lowered:
    """Of ONNX: the upper triangle from diagonal k, or the lower one up to it."""
    k = one_int(site, 1, "k")
    return Lowered(a.BAND, a.BandParams(k, None) if site.attr("upper", True) else a.BandParams(None, k), (0,))


def _unravel(site: Site) -> Lowered:
    return Lowered(a.UNRAVEL_INDEX, a.UnravelIndexParams(ints(site, 1, "the sizes")), (0,))


def _unknown_unravel(site: Site) -> tuple[TensorType, ...]:
    known = entries(site, 1)
    shape = site.inputs[0].shape
    rows = None if known is None else len(known)
    return (TensorType(site.inputs[0].dtype, None if shape is None else (rows, *shape)),)


def _bucketize(site: Site) -> Lowered:
    return Lowered(a.BUCKETIZE, a.BucketizeParams(tuple(float(b) for b in site.attr("boundaries", ()))))


def _linspace(site: Site) -> Lowered:
    return Lowered(a.LINSPACE, a.LinspaceParams(one_int(site, 2, "num")), (0, 1))


def _unknown_vector(site: Site) -> tuple[TensorType, ...]:
    return (TensorType(site.inputs[0].dtype, (None,)),)


#: IGNORE is not served: which elements an index out of range gives depends on the device.
_POLICY = Attr("string", "", allowed=("", "DEFAULT", "ERROR"))
_SCATTER: Row = {**T, "Tindices": of(1), "bad_indices_policy": _POLICY}
_SEGMENTS: Row = {**T, "Tindices": of(1), "Tnumsegments": of(2, I32)}
_CUMULATIVE: Row = {**T, "Tidx": of(1, I32), "exclusive": FALSE, "reverse": FALSE}

DEFS: tuple[OpDef, ...] = (
    OpDef(
        "GatherNd",
        _gather_nd,
        arity=(2, 2),
        attributes={
            "Tparams": of(0),
            "Tindices": of(1),
            "bad_indices_policy": _POLICY,
            "batch_dims": Attr("int", 0, own=True),
        },
    ),
    OpDef(
        "ScatterNd",
        _scatter_nd,
        arity=(3, 3),
        values=(2,),
        unknown=_unknown_scatter,
        attributes={"T": of(1), "Tindices": of(0), "bad_indices_policy": _POLICY},
    ),
    *(
        OpDef(f"TensorScatter{name}", _tensor_scatter(name.lower()), arity=(3, 3), attributes=_SCATTER)
        for name in ("Update", "Add", "Sub", "Max", "Min")
    ),
    OpDef("KiTensorScatterMul", _tensor_scatter("mul"), arity=(3, 3), attributes=_SCATTER),
    OpDef(
        "OneHot",
        _one_hot,
        arity=(4, 4),
        values=(1,),
        unknown=_unknown_one_hot,
        attributes={"T": of(2), "TI": of(0, I64), "axis": Attr("int", -1)},
    ),
    *(
        OpDef(
            f"UnsortedSegment{name}",
            _segments(name.lower()),
            arity=(3, 3),
            values=(2,),
            unknown=_unknown_segments,
            attributes=_SEGMENTS,
        )
        for name in ("Sum", "Prod", "Max", "Min")
    ),
    OpDef(
        "ReverseSequence",
        _reverse_sequence,
        arity=(2, 2),
        attributes={**T, "Tlen": of(1, I64), "seq_dim": Attr("int"), "batch_dim": Attr("int", 0)},
    ),
    OpDef(
        "ReverseV2", _reverse, arity=(2, 2), values=(1,), unknown=_same_as_first, attributes={**T, "Tidx": of(1, I32)}
    ),
    OpDef("Reverse", _reverse, arity=(2, 2), values=(1,), unknown=_same_as_first),
    OpDef(
        "Roll",
        _roll,
        arity=(3, 3),
        values=(1, 2),
        unknown=_same_as_first,
        attributes={**T, "Tshift": of(1), "Taxis": of(2)},
    ),
    *(
        OpDef(name, _cumulative(kind), arity=(2, 2), values=(1,), unknown=_same_as_first, attributes=_CUMULATIVE)
        for name, kind in (("Cumsum", "sum"), ("Cumprod", "prod"), ("CumulativeLogsumexp", "logsumexp"))
    ),
    OpDef(
        "MatrixBandPart",
        _band,
        arity=(3, 3),
        values=(1, 2),
        unknown=_same_as_first,
        attributes={**T, "Tindex": of(1, I64)},
    ),
    OpDef(
        "KiTriangle",
        _triangle,
        arity=(2, 2),
        values=(1,),
        unknown=_same_as_first,
        attributes={**T, "upper": Attr("bool", True)},
    ),
    OpDef(
        "UnravelIndex",
        _unravel,
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_unravel,
        attributes={"Tidx": of(0, I32)},
    ),
    OpDef("Bucketize", _bucketize, attributes={**T, "boundaries": Attr("list(float)")}),
    OpDef("InvertPermutation", lambda site: Lowered(a.INVERT_PERMUTATION), attributes={"T": of(0, I32)}),
    OpDef(
        "LinSpace",
        _linspace,
        arity=(3, 3),
        values=(2,),
        unknown=_unknown_vector,
        attributes={**T, "Tidx": of(2, I32)},
    ),
)
