"""Picking and placing by indices, reversing, rolling, running sums, bands of matrices; quantised numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builder import Tensor
from ..values import as_dtype
from .building import TensorLike, add_op, convert, convert_all, integers, whole_numbers

__all__ = [
    "cumprod", "cumsum", "cumulative_logsumexp", "dequantize", "fake_quant_with_min_max_args", "fake_quant_with_min_max_vars",
    "fake_quant_with_min_max_vars_per_channel", "gather_nd", "invert_permutation", "linspace", "matrix_band_part", "one_hot",
    "quantize_v2", "reverse", "reverse_sequence", "roll", "scatter_nd", "tensor_scatter_nd_add", "tensor_scatter_nd_max",
    "tensor_scatter_nd_min", "tensor_scatter_nd_sub", "tensor_scatter_nd_update", "unravel_index", "unsorted_segment_max",
    "unsorted_segment_min", "unsorted_segment_prod", "unsorted_segment_sum",
]  # fmt: skip


def gather_nd(params: TensorLike, indices: TensorLike, batch_dims: int = 0, name: str | None = None) -> Tensor:
    """Slices that the rows of the last axis of ``indices`` pick; one out of range is an error."""
    t = next((v for v in (params, indices) if isinstance(v, Tensor)), None)
    (batch,) = whole_numbers("gather_nd: batch_dims", batch_dims, 1)
    extra = {"batch_dims": batch} if batch else {}
    return add_op("GatherNd", [convert(params, beside=t), convert(indices, beside=t)], name, **extra)


def scatter_nd(indices: TensorLike, updates: TensorLike, shape: TensorLike, name: str | None = None) -> Tensor:
    """Zeros of a shape to which ``updates`` are added at ``indices``; one out of range is an error."""
    values = convert(updates, beside=indices if isinstance(indices, Tensor) else None)
    where = integers(indices, "indices", values)
    sizes = convert(shape, None if isinstance(shape, Tensor) else where.dtype, "shape", values)
    return add_op("ScatterNd", [where, values, sizes], name)


def _scatter(type: str, tensor: TensorLike, indices: TensorLike, updates: TensorLike, name: str | None) -> Tensor:
    x, values = convert_all([tensor, updates])
    return add_op(type, [x, integers(indices, "indices", x), values], name)


def tensor_scatter_nd_update(
    tensor: TensorLike, indices: TensorLike, updates: TensorLike, name: str | None = None
) -> Tensor:
    """The tensor with ``updates`` at ``indices``; of equal indices the last update wins."""
    return _scatter("TensorScatterUpdate", tensor, indices, updates, name)


def tensor_scatter_nd_add(
    tensor: TensorLike, indices: TensorLike, updates: TensorLike, name: str | None = None
) -> Tensor:
    """The tensor with ``updates`` added at ``indices``."""
    return _scatter("TensorScatterAdd", tensor, indices, updates, name)


def tensor_scatter_nd_sub(
    tensor: TensorLike, indices: TensorLike, updates: TensorLike, name: str | None = None
) -> Tensor:
    """The tensor with ``updates`` subtracted at ``indices``."""
    return _scatter("TensorScatterSub", tensor, indices, updates, name)


def tensor_scatter_nd_max(
    tensor: TensorLike, indices: TensorLike, updates: TensorLike, name: str | None = None
) -> Tensor:
    """The tensor with the larger of element and update at ``indices``."""
    return _scatter("TensorScatterMax", tensor, indices, updates, name)


def tensor_scatter_nd_min(
    tensor: TensorLike, indices: TensorLike, updates: TensorLike, name: str | None = None
) -> Tensor:
    """The tensor with the smaller of element and update at ``indices``."""
    return _scatter("TensorScatterMin", tensor, indices, updates, name)


def one_hot(
    indices: TensorLike, depth: TensorLike, on_value: TensorLike = 1.0, off_value: TensorLike = 0.0, axis: int = -1,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """A new axis of ``depth`` elements: ``on_value`` where it counts what the index says, ``off_value`` elsewhere."""
    where = integers(indices, "indices")
    on, off = convert_all([on_value, off_value])
    return add_op("OneHot", [where, integers(depth, "depth", where), on, off], name or "one_hot", axis=axis)


def _segment(type: str, data: TensorLike, ids: TensorLike, count: TensorLike, name: str | None) -> Tensor:
    x = convert(data)
    return add_op(type, [x, integers(ids, "segment_ids", x), integers(count, "num_segments", x)], name)


def unsorted_segment_sum(
    data: TensorLike, segment_ids: TensorLike, num_segments: TensorLike, name: str | None = None
) -> Tensor:
    """Sums of the rows of every segment; 0 for a segment without rows. A segment below 0 is left out."""
    return _segment("UnsortedSegmentSum", data, segment_ids, num_segments, name)


def unsorted_segment_prod(
    data: TensorLike, segment_ids: TensorLike, num_segments: TensorLike, name: str | None = None
) -> Tensor:
    """Products of the rows of every segment."""
    return _segment("UnsortedSegmentProd", data, segment_ids, num_segments, name)


def unsorted_segment_max(
    data: TensorLike, segment_ids: TensorLike, num_segments: TensorLike, name: str | None = None
) -> Tensor:
    """Greatest values of every segment; the type's lowest number for a segment without rows."""
    return _segment("UnsortedSegmentMax", data, segment_ids, num_segments, name)


def unsorted_segment_min(
    data: TensorLike, segment_ids: TensorLike, num_segments: TensorLike, name: str | None = None
) -> Tensor:
    """Least values of every segment; the type's highest number for a segment without rows."""
    return _segment("UnsortedSegmentMin", data, segment_ids, num_segments, name)


def reverse(tensor: TensorLike, axis: int | Sequence[int], name: str | None = None) -> Tensor:
    """The elements in reverse order along axes."""
    t = convert(tensor)
    axes = [axis] if isinstance(axis, int) else axis
    return add_op("ReverseV2", [t, integers(axes, "axis", t)], name)


def reverse_sequence(
    input: TensorLike, seq_lengths: TensorLike, seq_axis: int, batch_axis: int = 0, name: str | None = None
) -> Tensor:
    """The first ``seq_lengths[n]`` elements of item n in reverse order, the others as they are."""
    t = convert(input)
    lengths = integers(seq_lengths, "seq_lengths", t)
    return add_op("ReverseSequence", [t, lengths], name, seq_dim=seq_axis, batch_dim=batch_axis)


def roll(input: TensorLike, shift: TensorLike, axis: TensorLike, name: str | None = None) -> Tensor:
    """Elements moved along axes; what leaves at the end comes back at the beginning."""
    t = convert(input)
    return add_op("Roll", [t, integers(shift, "shift", t), integers(axis, "axis", t)], name)


def _cumulative(type: str, x: TensorLike, axis: int, exclusive: bool, reverse: bool, name: str | None) -> Tensor:
    t = convert(x)
    return add_op(type, [t, integers(axis, "axis", t)], name, exclusive=exclusive, reverse=reverse)


def cumsum(
    x: TensorLike, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Running sums along an axis. exclusive: without the element itself; reverse: from the end."""
    return _cumulative("Cumsum", x, axis, exclusive, reverse, name)


def cumprod(
    x: TensorLike, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Running products along an axis."""
    return _cumulative("Cumprod", x, axis, exclusive, reverse, name)


def cumulative_logsumexp(
    x: TensorLike, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Logarithms of running sums of e ** x along an axis, without overflow."""
    return _cumulative("CumulativeLogsumexp", x, axis, exclusive, reverse, name)


def matrix_band_part(
    input: TensorLike, num_lower: TensorLike, num_upper: TensorLike, name: str | None = None
) -> Tensor:
    """Matrices with zeros outside of a band: so many diagonals below and above the main one stay, all for -1."""
    t = convert(input)
    return add_op("MatrixBandPart", [t, integers(num_lower, "num_lower", t), integers(num_upper, "num_upper", t)], name)


def unravel_index(indices: TensorLike, dims: TensorLike, name: str | None = None) -> Tensor:
    """Positions in row-major order as one index for every axis of the shape ``dims``: (axes, ...)."""
    t = integers(indices, "indices", dims if isinstance(dims, Tensor) else None)
    return add_op("UnravelIndex", [t, convert(dims, None if isinstance(dims, Tensor) else t.dtype, beside=t)], name)


def invert_permutation(x: TensorLike, name: str | None = None) -> Tensor:
    """y with y[x[i]] = i."""
    return add_op("InvertPermutation", [integers(x, "x")], name)


def linspace(start: TensorLike, stop: TensorLike, num: TensorLike, name: str | None = None) -> Tensor:
    """``num`` numbers from start to stop at equal distances."""
    first, last = convert_all([start, stop])
    return add_op("LinSpace", [first, last, integers(num, "num", first)], name)


def dequantize(
    input: TensorLike, min_range: TensorLike, max_range: TensorLike, mode: str = "MIN_COMBINED", name: str | None = None,
    axis: int | None = None, narrow_range: bool = False,
) -> Tensor:  # fmt: skip
    """Integers (uint8, int8, uint16, int16, int32) to float32; mode MIN_COMBINED, MIN_FIRST or SCALED. axis: of the ranges."""
    t = convert(input)
    ranges = [convert(v, as_dtype("float32"), beside=t) for v in (min_range, max_range)]
    where = -1 if axis is None else axis
    return add_op("Dequantize", [t, *ranges], name, mode=mode, narrow_range=narrow_range, axis=where)


def quantize_v2(
    input: TensorLike, min_range: TensorLike, max_range: TensorLike, T: Any = "uint8", mode: str = "MIN_COMBINED",
    name: str | None = None, round_mode: str = "HALF_AWAY_FROM_ZERO", narrow_range: bool = False, axis: int | None = None,
    ensure_minimum_range: float = 0.01,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """float32 to integers of type T, and the least and greatest value that they stand for."""
    tensors = convert_all([input, min_range, max_range])
    made = add_op(
        "QuantizeV2", tensors, name, T=as_dtype(T), mode=mode, round_mode=round_mode, narrow_range=narrow_range,
        axis=-1 if axis is None else axis, ensure_minimum_range=ensure_minimum_range,
    )  # fmt: skip
    values, low, high = made.op.outputs
    return values, low, high


def fake_quant_with_min_max_args(
    inputs: TensorLike, min: float = -6.0, max: float = 6.0, num_bits: int = 8, narrow_range: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """float32 rounded to what integers of ``num_bits`` bits between min and max could hold."""
    attrs = {"min": min, "max": max, "num_bits": num_bits, "narrow_range": narrow_range}
    return add_op("FakeQuantWithMinMaxArgs", [convert(inputs)], name, **attrs)


def fake_quant_with_min_max_vars(
    inputs: TensorLike, min: TensorLike, max: TensorLike, num_bits: int = 8, narrow_range: bool = False, name: str | None = None
) -> Tensor:  # fmt: skip
    """The same for a range that is computed."""
    tensors = convert_all([inputs, min, max])
    return add_op("FakeQuantWithMinMaxVars", tensors, name, num_bits=num_bits, narrow_range=narrow_range)


def fake_quant_with_min_max_vars_per_channel(
    inputs: TensorLike, min: TensorLike, max: TensorLike, num_bits: int = 8, narrow_range: bool = False, name: str | None = None
) -> Tensor:  # fmt: skip
    """The same for a range for every channel: vectors as long as the last axis."""
    tensors = convert_all([inputs, min, max])
    return add_op("FakeQuantWithMinMaxVarsPerChannel", tensors, name, num_bits=num_bits, narrow_range=narrow_range)
