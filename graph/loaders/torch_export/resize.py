"""ATen's resizing of one, two and three axes: nearest, linear, cubic, smoothed or not. Channels come first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from .call import Call, Converter

__all__ = ["CONVERTERS"]

_NHWC, _NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


def _target(c: Call, axes: int, x: Tensor) -> tuple[list[int], list[float] | None]:
    """The sizes, and the factors where they are stated: positions are then theirs, not those of the rounded sizes."""
    stated, known = c.raw("scale_factors"), c.dims(x)[2:]
    singles = [c.raw(n) for n in ("scales_d", "scales_h", "scales_w", "scales") if c.has(n)]
    factors = stated if isinstance(stated, list) else singles or None
    if factors is not None and (
        len(factors) != axes or not all(type(f) in (int, float) and 0 < f < 1 << 20 for f in factors)
    ):
        raise c.unsupported(f"resizing by {factors}")
    if c.has("output_size"):
        sizes = list(c.integers("output_size"))
    else:
        if factors is None or None in known:
            raise c.unsupported("resizing of unknown sizes by factors")
        sizes = [int(float(f) * int(s or 0)) for f, s in zip(factors, known, strict=True)]
    if len(sizes) != axes or not all(0 < s < 1 << 31 for s in sizes):
        raise c.wrong(f"sizes {sizes}")
    return sizes, None if factors is None else [float(f) for f in factors]


def _resize(axes: int, kind: str, exact: bool = False, smooth: bool = False) -> Converter:
    def convert(c: Call) -> Tensor:
        x = c.tensor("self" if c.has("self") else "input")
        if c.rank(x) != axes + 2:
            raise c.unsupported(f"resizing of {c.rank(x) - 2} axes")
        sizes, factors = _target(c, axes, x)
        corners = c.flag("align_corners")
        place = "align_corners" if corners else "half_pixel" if kind != "nearest" or exact else "asymmetric"
        rule: dict[str, Any] = {
            "kind": kind,
            "coordinates": place,
            "cubic_a": -0.5 if smooth else -0.75,
            "antialias": smooth,
            "exclude_outside": smooth,
        }
        if kind == "nearest":
            rule["rounding"] = "round_prefer_ceil" if exact else "floor"
        if factors is not None and not corners:
            rule["scales"] = tuple(factors)
        target = ops.constant(np.array(sizes, np.int64))
        plane = axes == 2  # images in NHWC, where the kernels are
        y = ops.transpose(x, _NHWC) if plane else x
        first = 1 if plane else 2
        y = x.graph.create_op("KiResample", [y, target], {"axes": tuple(range(first, first + axes)), **rule}).outputs[0]
        return ops.transpose(y, _NCHW) if plane else y

    return convert


CONVERTERS: dict[str, Converter] = {
    "upsample_nearest1d": _resize(1, "nearest"), "upsample_nearest2d": _resize(2, "nearest"), "upsample_nearest3d": _resize(3, "nearest"),
    "_upsample_nearest_exact1d": _resize(1, "nearest", exact=True), "_upsample_nearest_exact2d": _resize(2, "nearest", exact=True),
    "_upsample_nearest_exact3d": _resize(3, "nearest", exact=True),
    "upsample_linear1d": _resize(1, "linear"), "upsample_bilinear2d": _resize(2, "linear"), "upsample_trilinear3d": _resize(3, "linear"),
    "upsample_bicubic2d": _resize(2, "cubic"), "_upsample_bilinear2d_aa": _resize(2, "linear", smooth=True),
    "_upsample_bicubic2d_aa": _resize(2, "cubic", smooth=True),
}  # fmt: skip
