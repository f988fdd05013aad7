"""Resizing of images in ONNX: Resize where that computes the same, else cells that are picked, or products with constant weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..builder import Operation
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


RULES: dict[str, Rule] = {
    "ResizeBilinear": _bilinear,
}  # fmt: skip
