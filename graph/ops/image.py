"""Resizing of images and blocks of cells. Layout: NHWC."""

from __future__ import annotations

from typing import Any

from ..builder import Tensor
from ..values import as_dtype
from .building import TensorLike, add_op, convert, integers

__all__ = [
    "batch_to_space_nd", "crop_and_resize", "depth_to_space", "resize_area", "resize_bicubic", "resize_nearest_neighbor",
    "space_to_batch_nd", "space_to_depth",
]  # fmt: skip


def _resize(op: str, images: TensorLike, size: TensorLike, name: str | None, **flags: bool) -> Tensor:
    t = convert(images)
    return add_op(op, [t, integers(size, "size", t)], name, **flags)


def resize_nearest_neighbor(
    images: TensorLike, size: TensorLike, align_corners: bool = False, half_pixel_centers: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """The nearest pixel for each of (N, *size, C), of the images' dtype, in TensorFlow's three conventions."""
    return _resize(
        "ResizeNearestNeighbor", images, size, name, align_corners=align_corners, half_pixel_centers=half_pixel_centers
    )


def resize_bicubic(
    images: TensorLike, size: TensorLike, align_corners: bool = False, half_pixel_centers: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Bicubic resize of (N, H, W, C) to (N, *size, C), float32, in TensorFlow's three conventions."""
    return _resize(
        "ResizeBicubic", images, size, name, align_corners=align_corners, half_pixel_centers=half_pixel_centers
    )


def resize_area(images: TensorLike, size: TensorLike, align_corners: bool = False, name: str | None = None) -> Tensor:
    """The mean of the area that each of (N, *size, C) covers, float32."""
    return _resize("ResizeArea", images, size, name, align_corners=align_corners)


def crop_and_resize(
    image: TensorLike, boxes: TensorLike, box_ind: TensorLike, crop_size: TensorLike, method: str = "bilinear",
    extrapolation_value: float = 0.0, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Boxes (count, 4), shares (y1, x1, y2, x2) of the images whose numbers ``box_ind`` gives, as (count, *crop_size, C)."""
    t = convert(image)
    inputs = [
        t,
        convert(boxes, as_dtype("float32"), beside=t),
        integers(box_ind, "box_ind", t),
        integers(crop_size, "crop_size", t),
    ]
    return add_op("CropAndResize", inputs, name, method=method, extrapolation_value=extrapolation_value)


def _blocks(op: str, x: TensorLike, block: TensorLike, edges: Any, what: str, name: str | None) -> Tensor:
    t = convert(x)
    return add_op(op, [t, integers(block, "block_shape", t), integers(edges, what, t)], name)


def space_to_batch_nd(
    input: TensorLike, block_shape: TensorLike, paddings: TensorLike, name: str | None = None
) -> Tensor:
    """Zeros at the edges of axes 1, 2, ..., then each cell of a block as an image of its own."""
    return _blocks("SpaceToBatchND", input, block_shape, paddings, "paddings", name)


def batch_to_space_nd(input: TensorLike, block_shape: TensorLike, crops: TensorLike, name: str | None = None) -> Tensor:
    """The inverse of space_to_batch_nd: edges are cropped."""
    return _blocks("BatchToSpaceND", input, block_shape, crops, "crops", name)


def space_to_depth(input: TensorLike, block_size: int, data_format: str = "NHWC", name: str | None = None) -> Tensor:
    """Blocks of pixels as channels."""
    return add_op("SpaceToDepth", [convert(input)], name, block_size=block_size, data_format=data_format)


def depth_to_space(input: TensorLike, block_size: int, data_format: str = "NHWC", name: str | None = None) -> Tensor:
    """Channels as blocks of pixels: the inverse of space_to_depth."""
    return add_op("DepthToSpace", [convert(input)], name, block_size=block_size, data_format=data_format)
