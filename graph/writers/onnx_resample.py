"""Resizing of images in ONNX: Resize where that computes the same, else cells that are picked, or products with constant weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...kernels.contracts.resample import RESAMPLE, AxisRule, ResampleParams
from ...kernels.contracts.resize import ResizeParams
from ...kernels.tensor import DType
from ..builder import Operation, Tensor
from ..evaluate import computed
from ..opdefs import NeedsValue, resolve, site_of
from .onnx_parts import Parts
from .onnx_writer import Writer

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]


def _bilinear(writer: Writer, op: Operation) -> None:
    """ONNX wants the sizes of all axes: those of batch and channels are taken from the image."""
    mode = "align_corners" if op.attrs.get("align_corners") else "asymmetric"
    if op.attrs.get("half_pixel_centers"):
        mode = "half_pixel"
    x = writer.get_nchw(op.inputs[0])
    size = writer.constant(writer.required(op, 1).astype(np.int64), f"{op.name}.size")
    kept = writer.emit("Shape", [x], f"{op.name}.kept", start=0, end=2)
    sizes = writer.emit("Concat", [kept, size], f"{op.name}.sizes", axis=0)
    name = writer.emit(
        "Resize", [x, "", "", sizes], op.name, mode="linear", coordinate_transformation_mode=mode
    )  # fmt: skip
    writer.set(op.outputs[0], name, nchw=True)


def _params(p: Parts) -> ResampleParams:
    """How the op samples; what its sizes are made of must be constants."""
    writer, op = p.writer, p.op
    for i in range(1, len(op.inputs)):
        writer.required(op, i)
    values = {t.port: writer.value(t) for t in op.inputs[1:]}
    types = {t.port: t.type for t in op.inputs}
    try:
        found = resolve(site_of(writer.node(op), types.__getitem__, values.get))
    except NeedsValue:
        raise p.wrong("the size of its input must be known") from None
    if isinstance(found.params, ResizeParams):
        return ResampleParams(tuple(
            AxisRule(axis, size, "linear", coordinates=_bilinear_place(found.params))
            for axis, size in zip((1, 2), found.params.size, strict=True)
        ))  # fmt: skip
    assert isinstance(found.params, ResampleParams)
    return found.params


def _bilinear_place(params: ResizeParams) -> str:
    return "align_corners" if params.align_corners else "half_pixel" if params.half_pixel_centers else "asymmetric"


def _resample(writer: Writer, op: Operation) -> None:
    """Height and width by Resize where that is the same; else one axis after the other."""
    p, x = Parts(writer, op), op.inputs[0]
    if x.shape is None:
        raise p.wrong("the rank of its input must be known")
    params = _params(p)
    dtype = op.outputs[0].dtype
    rules = [replace(r, axis=r.axis % len(x.shape)) for r in params.rules]
    if _is_resize(x, rules, dtype):
        _resize(p, x, rules)
        return
    for rule in rules:
        size = x.shape[rule.axis] if x.shape is not None else None
        if size is None:
            raise p.wrong(f"axis {rule.axis} of its input must have a known size for {rule.kind} {rule.coordinates}")
        x = _along(p, x, rule, size, params.value, dtype)
    p.done(p("Identity", p.cast(x, dtype)))


def _is_resize(x: Tensor, rules: Sequence[AxisRule], dtype: DType) -> bool:
    """Whether ONNX's Resize, computed in float32 by whoever runs it, takes the same cells with the same weights."""
    first = rules[0] if rules else None
    if first is None or x.dtype != dtype or x.dtype not in (np.float32, np.float64, np.float16):
        return False
    if len(x.shape or ()) != 4 or sorted(r.axis for r in rules) != [1, 2]:
        return False
    if any(r.scale for r in rules) or first.coordinates not in _PLACES or first.single:
        return False
    if len({replace(r, axis=0, size=0, roi=(0.0, 1.0)) for r in rules}) > 1:
        return False
    if first.kind == "nearest":
        return first.coordinates == "asymmetric" and first.rounding == "floor" and all(_whole(x, r) for r in rules)
    return first.kind in ("linear", "cubic") and not first.extrapolate


#: Places on the source that Resize has, and that are the same for every program that reads it.
_PLACES = frozenset(["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"])


def _whole(x: Tensor, rule: AxisRule) -> bool:
    """Whether the axis grows by a power of 2, so that no rounding decides which cell is the nearest."""
    size = (x.shape or ())[rule.axis] or 0
    return size > 0 and rule.size % size == 0 and (rule.size // size).bit_count() == 1


def _resize(p: Parts, x: Tensor, rules: Sequence[AxisRule]) -> None:
    writer, first = p.writer, rules[0]
    height, width = (next(r.size for r in rules if r.axis == axis) for axis in (1, 2))
    image = writer.get_nchw(x)
    kept = writer.emit("Shape", [image], f"{p.op.name}.kept", start=0, end=2)
    size = writer.constant(p.ints(height, width), f"{p.op.name}.size")
    sizes = writer.emit("Concat", [kept, size], f"{p.op.name}.sizes", axis=0)
    attributes: dict[str, Any] = {"mode": first.kind, "coordinate_transformation_mode": first.coordinates}
    if first.kind == "nearest":
        attributes["nearest_mode"] = first.rounding
    if first.kind == "cubic":
        attributes["cubic_coeff_a"] = float(first.cubic_a)
    if first.exclude_outside:
        attributes["exclude_outside"] = 1
    if first.antialias:
        attributes["antialias"] = 1
    writer.set(p.op.outputs[0], writer.emit("Resize", [image, "", "", sizes], p.op.name, **attributes), nchw=True)


#: Cells times cells of an axis whose weights are written.
_MOST = 1 << 24


def _along(p: Parts, x: Tensor, rule: AxisRule, size: int, value: float, dtype: DType) -> Tensor:
    """One cell for every target, or a product with the constant weights; ``value`` where the target is outside.

    Cells and weights are what the rule makes of numbered cells and of unit vectors.
    """
    rank, alone = x.type.rank or 0, replace(rule, axis=0, extrapolate=False)
    if rule.kind == "nearest":
        (cells,) = computed(RESAMPLE, ResampleParams((alone,)), [np.arange(size)])
        made = p("GatherV2", x, p.constant(cells, np.int64), np.array(rule.axis, np.int32))
    else:
        if size * max(size, rule.size) > _MOST:
            raise p.wrong(f"{rule.size} cells from {size} have too many weights")
        (weights,) = computed(RESAMPLE, ResampleParams((alone,)), [np.eye(size)])
        wide = p.cast(x, np.float64 if dtype == np.float64 else np.float32)
        order = [*(i for i in range(rank) if i != rule.axis), rule.axis]
        turned, matrix = p.transpose(wide, order), np.ascontiguousarray(weights.T)
        made = p("BatchMatMulV2", turned, p.constant(matrix, wide.dtype)) if rank > 1 else _of_vector(p, turned, matrix)
        made = p.transpose(made, np.argsort(order).tolist())
    if rule.extrapolate:
        (outside,) = computed(RESAMPLE, ResampleParams((replace(rule, axis=0),), value=1.0), [np.zeros(size)])
        shape = [-1 if i == rule.axis else 1 for i in range(rank)]
        made = p("SelectV2", p.constant(outside.reshape(shape) == 1), p.constant(value, made.dtype), made)
    return made


def _of_vector(p: Parts, x: Tensor, matrix: np.ndarray[Any, Any]) -> Tensor:
    row = p("ExpandDims", x, np.array(0, np.int32))
    return p("Squeeze", p("MatMul", row, p.constant(matrix, x.dtype)), squeeze_dims=(0,))


RULES: dict[str, Rule] = {
    "ResizeBilinear": _bilinear,
    **dict.fromkeys(["ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea", "ScaleAndTranslate", "KiResample"], _resample),
}  # fmt: skip
