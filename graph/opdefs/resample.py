"""Resizing of images, and KiResample, the general form of it: any axes, any convention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...kernels.contracts.resample import (
    COORDINATES,
    CROP_AND_RESIZE,
    FILTERS,
    KINDS,
    RESAMPLE,
    ROUNDINGS,
    AxisRule,
    CropParams,
    ResampleParams,
)
from ...kernels.contracts.resize import RESIZE_BILINEAR, ResizeParams
from ...kernels.tensor import TensorType, is_int
from ..errors import GraphError
from .attributes import FALSE, TRUE, Attr, Row, T, of
from .base import Lowered, NeedsValue, OpDef, Site, attr_ints, entries, ints

__all__ = ["DEFS"]

F32 = np.dtype(np.float32)


def _size(site: Site, index: int) -> tuple[int, int]:
    size = ints(site, index, "the size (height, width)")
    if len(size) != 2 or min(size) < 1:
        raise GraphError(f"{site.op} '{site.name}': size must be (height, width), at least 1x1, got {size}")
    return size[0], size[1]


def _image(site: Site) -> None:
    x = site.inputs[0]
    if x.rank not in (None, 4) or (x.shape is not None and 0 in x.shape[1:3]):
        raise GraphError(f"{site.op} '{site.name}': takes images (N, H, W, C) with at least one pixel, got {x}")


def _rules(size: Sequence[int], **rule: Any) -> tuple[AxisRule, ...]:
    return tuple(AxisRule(axis, n, single=True, **rule) for axis, n in enumerate(size, 1))


def _flags(site: Site) -> tuple[bool, bool]:
    corners, centers = bool(site.attr("align_corners", False)), bool(site.attr("half_pixel_centers", False))
    if corners and centers:
        raise GraphError(f"{site.op} '{site.name}': align_corners and half_pixel_centers exclude each other")
    return corners, centers


def _nearest(site: Site) -> Lowered:
    _image(site)
    corners, centers = _flags(site)
    place = "align_corners" if corners else "tf_half_pixel_for_nn" if centers else "asymmetric"
    # align_corners rounds halves away from 0; positions are not negative.
    rounding = "round_prefer_ceil" if corners else "floor"
    rules = _rules(_size(site, 1), kind="nearest", coordinates=place, rounding=rounding)
    return Lowered(RESAMPLE, ResampleParams(rules), (0,))


def _bicubic(site: Site) -> Lowered:
    """With half_pixel_centers Keys' a = -0.5 and no cells outside, else a = -0.75 and the edge repeated."""
    _image(site)
    corners, centers = _flags(site)
    place = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    rules = _rules(
        _size(site, 1),
        kind="cubic_table",
        coordinates=place,
        cubic_a=-0.5 if centers else -0.75,
        exclude_outside=centers,
    )
    return Lowered(RESAMPLE, ResampleParams(rules, F32), (0,))


def _area(site: Site) -> Lowered:
    _image(site)
    place = "align_corners" if site.attr("align_corners", False) else "asymmetric"
    return Lowered(RESAMPLE, ResampleParams(_rules(_size(site, 1), kind="area", coordinates=place), F32), (0,))


def _pair(site: Site, index: int, what: str) -> tuple[float, float]:
    value = site.value(index)
    if value.shape != (2,) or value.dtype != F32:
        raise GraphError(
            f"{site.op} '{site.name}': {what} must be 2 float32 numbers, got {value.dtype} of shape {value.shape}"
        )
    return float(value[0]), float(value[1])


def _scale_and_translate(site: Site) -> Lowered:
    """(images, size, scale, translation)"""
    _image(site)
    size, scale, translation = _size(site, 1), _pair(site, 2, "scale"), _pair(site, 3, "translation")
    rules = tuple(
        AxisRule(
            axis, size[axis - 1], "span", scale=scale[axis - 1], translation=translation[axis - 1], single=True,
            filter=_text(site.attr("kernel_type", "lanczos3")), antialias=bool(site.attr("antialias", True)),
        )
        for axis in (1, 2)
    )  # fmt: skip
    return Lowered(RESAMPLE, ResampleParams(rules, F32), (0,))


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _crop(site: Site) -> Lowered:
    """(image, boxes, numbers of images, size)"""
    params = CropParams(
        _size(site, 3), _text(site.attr("method", "bilinear")), float(site.attr("extrapolation_value", 0.0))
    )
    return Lowered(CROP_AND_RESIZE, params, (0, 1, 2))


def _unknown(sizes: int, count: int, float_result: bool) -> Callable[[Site], tuple[TensorType, ...]]:
    """(N, height, width, C) as far as it is known; N is that of input ``count``."""

    def infer(site: Site) -> tuple[TensorType, ...]:
        x, size = site.inputs[0], entries(site, sizes)
        height, width = size if size is not None and len(size) == 2 else (None, None)
        channels = x.shape[3] if x.shape is not None and len(x.shape) == 4 else None
        first = site.inputs[count].shape
        batch = first[0] if first else None
        return (TensorType(F32 if float_result else x.dtype, (batch, height, width, channels)),)

    return infer


# --- the general form ----------------------------------------------------------------------------------------------------


def _numbers(site: Site, name: str, count: int, default: float) -> tuple[float, ...]:
    """An attribute with one number for every axis; empty: the default for all."""
    values = tuple(site.attr(name, ()))
    if not values:
        return (default,) * count
    if len(values) != count or not all(isinstance(v, (int, float, np.number)) for v in values):
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must have {count} numbers, got {values!r}")
    return tuple(float(v) for v in values)


def _targets(site: Site, axes: Sequence[int]) -> tuple[list[int | None], list[float]]:
    """Size, or None where it follows from the scale, and scale of every axis: input 1 has sizes (integers) or scales."""
    scales = list(_numbers(site, "scales", len(axes), 0.0))
    sizes: list[int | None] = [None] * len(axes)
    if is_int(site.inputs[1].dtype):
        sizes = list(ints(site, 1, "the sizes"))
    else:
        value = site.value(1)
        if value.dtype.kind != "f" or value.ndim > 1:
            raise GraphError(f"{site.op} '{site.name}': input 1 must be sizes or scales, got {site.inputs[1]}")
        scales = [float(v) for v in value.ravel()]
    if len(sizes) != len(axes) or len(scales) != len(axes):
        raise GraphError(
            f"{site.op} '{site.name}': {len(axes)} axes, but {max(len(sizes), len(scales))} sizes or scales"
        )
    if any(n is None and not 0 < s < 2**40 for n, s in zip(sizes, scales, strict=True)):
        raise GraphError(f"{site.op} '{site.name}': scales must be above 0 and below 2**40, got {scales}")
    return sizes, scales


def _grown(size: int | None, scale: float) -> int | None:
    """floor(size * scale) in float32, as ONNX computes it: 10 * 0.7 is 7."""
    return None if size is None else int(np.floor(np.float32(size) * np.float32(scale)))


def _axes(site: Site) -> tuple[int, ...]:
    axes, rank = attr_ints(site, "axes"), site.inputs[0].rank
    if rank is not None and any(not -rank <= a < rank for a in axes):
        raise GraphError(f"{site.op} '{site.name}': axes {axes} are not those of {site.inputs[0]}")
    return axes


def _resample(site: Site) -> Lowered:
    axes = _axes(site)
    sizes, scales = _targets(site, axes)
    shape, roi = site.inputs[0].shape, _numbers(site, "roi", 2 * len(axes), 0.0)
    rules = []
    for i, (axis, size, scale) in enumerate(zip(axes, sizes, scales, strict=True)):
        target = _grown(None if shape is None else shape[axis], scale) if size is None else size
        if target is None:
            raise NeedsValue(0)
        rules.append(
            AxisRule(
                axis, target, _text(site.attr("kind", "linear")), _text(site.attr("coordinates", "half_pixel")), scale,
                _text(site.attr("rounding", "round_prefer_floor")), float(site.attr("cubic_a", -0.75)),
                bool(site.attr("antialias", False)), bool(site.attr("exclude_outside", False)),
                bool(site.attr("extrapolate", False)), (roi[2 * i], roi[2 * i + 1]),
                single=bool(site.attr("single", False)), filter=_text(site.attr("filter", "triangle")),
            )
        )  # fmt: skip
    return _lowered(site, ResampleParams(tuple(rules), site.attr("dtype"), float(site.attr("value", 0.0))))


#: Conventions of KiResample that resize_bilinear computes, with a kernel on every backend.
_BILINEAR = {
    "asymmetric": {}, "half_pixel": {"half_pixel_centers": True}, "align_corners": {"align_corners": True},
}  # fmt: skip


def _lowered(site: Site, params: ResampleParams) -> Lowered:
    """resize_bilinear where that is the same: plain linear resizing of height and width of float32 (N, H, W, C)."""
    x, rules = site.inputs[0], {r.axis: r for r in params.rules}
    shape = x.shape
    if shape is None or len(shape) != 4 or set(rules) != {1, 2} or x.dtype != F32 or params.dtype not in (None, F32):
        return Lowered(RESAMPLE, params, (0,))
    if all(
        r.kind == "linear" and r.coordinates in _BILINEAR and r.coordinates == rules[1].coordinates and r.size > 0
        and not (r.antialias or r.extrapolate or r.exclude_outside) and shape[r.axis]
        and (not r.scale or r.scale * (shape[r.axis] or 0) == r.size)
        for r in params.rules
    ):  # fmt: skip
        size = (rules[1].size, rules[2].size)
        return Lowered(RESIZE_BILINEAR, ResizeParams(size, **_BILINEAR[rules[1].coordinates]), (0,))
    return Lowered(RESAMPLE, params, (0,))


def _unknown_resample(site: Site) -> tuple[TensorType, ...]:
    x, axes = site.inputs[0], _axes(site)
    dtype = site.attr("dtype") or x.dtype
    if x.shape is None:
        return (TensorType(dtype),)
    shape = list(x.shape)
    known = entries(site, 1) if is_int(site.inputs[1].dtype) else None
    scales = None if known is not None or site.value_of(1) is None else _targets(site, axes)[1]
    for i, axis in enumerate(axes):
        if known is not None and len(known) == len(axes):
            shape[axis] = known[i]
        else:
            shape[axis] = None if scales is None else _grown(shape[axis], scales[i])
    return (TensorType(dtype, tuple(shape)),)


_RESIZE: Row = {**T, "align_corners": FALSE, "half_pixel_centers": FALSE}
_GENERAL: Row = {
    "axes": Attr("ints"), "scales": Attr("list", ()), "roi": Attr("list", ()),
    "kind": Attr("string", "linear", allowed=tuple(k for k in KINDS if k != "span")),
    "coordinates": Attr("string", "half_pixel", allowed=COORDINATES),
    "rounding": Attr("string", "round_prefer_floor", allowed=ROUNDINGS), "cubic_a": Attr("float", -0.75),
    "antialias": FALSE, "exclude_outside": FALSE, "extrapolate": FALSE, "value": Attr("float", 0.0), "single": FALSE,
    "dtype": Attr("type", None),
}  # fmt: skip
_CROP: Row = {
    "T": of(0), "method": Attr("string", "bilinear", allowed=("bilinear", "nearest")),
    "extrapolation_value": Attr("float", 0.0),
}  # fmt: skip
_SCALED: Row = {
    **T, "kernel_type": Attr("string", "lanczos3", allowed=tuple(FILTERS)), "antialias": TRUE,
}  # fmt: skip

DEFS: tuple[OpDef, ...] = (
    *(
        OpDef(
            name, lower, arity=(2, 2), values=(1,), unknown=_unknown(1, 0, name != "ResizeNearestNeighbor"), attributes=row
        )
        for name, lower, row in (
            ("ResizeNearestNeighbor", _nearest, _RESIZE),
            ("ResizeBicubic", _bicubic, _RESIZE),
            ("ResizeArea", _area, {**T, "align_corners": FALSE}),
        )
    ),
    OpDef(
        "ScaleAndTranslate", _scale_and_translate, arity=(4, 4), values=(1, 2, 3), unknown=_unknown(1, 0, True),
        attributes=_SCALED,
    ),
    OpDef("CropAndResize", _crop, arity=(4, 4), values=(3,), unknown=_unknown(3, 1, True), attributes=_CROP),
    OpDef("KiResample", _resample, arity=(2, 2), values=(1,), unknown=_unknown_resample, attributes=_GENERAL),
)  # fmt: skip
