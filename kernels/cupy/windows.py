"""Windows of convolutions and pools in the numbers of the CUDA sources, which have 32 bits."""

from __future__ import annotations

from ..contracts.geometry import WindowGeometry
from .launch import MAX_ELEMENTS

__all__ = ["reaches_too_far", "window_fields"]


def window_fields(g: WindowGeometry) -> dict[str, int]:
    """The fields of ConvShape and DepthwiseShape that a geometry decides."""
    return {
        "h": g.size[0], "w": g.size[1], "kh": g.window[0], "kw": g.window[1], "oh": g.out[0], "ow": g.out[1],
        "stride_h": g.strides[0], "stride_w": g.strides[1], "dilation_h": g.dilations[0], "dilation_w": g.dilations[1],
        "pad_top": g.before[0], "pad_left": g.before[1],
    }  # fmt: skip


def reaches_too_far(g: WindowGeometry) -> str | None:
    """A reason if a row or column that a window touches, padding included, cannot be numbered in 32 bits."""
    for axis, name in enumerate(("height", "width")):
        n, k, s, d = g.size[axis], g.window[axis], g.strides[axis], g.dilations[axis]
        if g.before[axis] + n + g.after[axis] + k * d + s > MAX_ELEMENTS:
            return (
                f"windows of {k} elements with dilation {d} and stride {s} over a {name} of {n} reach beyond 2^31 - 1"
            )
    return None
