"""tf.image and reading of images, as label_image and its relatives use them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .array import expand_dims, squeeze
from .building import apply, convert, graph_of, one
from .dtypes import as_dtype, numpy_dtype
from .graph import Tensor, get_default_graph
from .math import FUNCTIONS, cast, reduce_mean
from .norms import saturate_cast

__all__ = [
    "ResizeMethod", "convert_image_dtype", "decode_gif", "decode_image", "decode_jpeg", "decode_png", "flip_left_right",
    "flip_up_down", "grayscale_to_rgb", "per_image_standardization", "read_file", "resize_area", "resize_bicubic",
    "resize_bilinear", "resize_images", "resize_nearest_neighbor", "rgb_to_grayscale",
]  # fmt: skip


class ResizeMethod:
    """How resize_images works."""

    BILINEAR, NEAREST_NEIGHBOR, BICUBIC, AREA = range(4)


def read_file(filename: Any, name: str | None = None) -> Tensor:
    """The content of a file as a string, read anew in every run."""
    return one(apply("KiReadFile", name, {"filename": filename}, dtypes={"filename": "string"}, default="ReadFile"))


def decode_jpeg(
    contents: Any,
    channels: int = 0,
    ratio: int = 1,
    fancy_upscaling: bool = True,
    try_recover_truncated: bool = False,
    acceptable_fraction: float = 1.0,
    dct_method: str = "",
    name: str | None = None,
) -> Tensor:
    """A JPEG file's bytes to uint8 (height, width, channels)."""
    attrs = {"channels": channels, "ratio": ratio, "fancy_upscaling": fancy_upscaling, "dct_method": dct_method}
    attrs.update(try_recover_truncated=try_recover_truncated, acceptable_fraction=float(acceptable_fraction))
    return one(apply("DecodeJpeg", name, {"contents": contents}, attrs))


def decode_png(contents: Any, channels: int = 0, dtype: Any = "uint8", name: str | None = None) -> Tensor:
    return one(apply("DecodePng", name, {"contents": contents}, {"channels": channels, "dtype": numpy_dtype(dtype)}))


def decode_gif(contents: Any, name: str | None = None) -> Tensor:
    return one(apply("DecodeGif", name, {"contents": contents}))


def decode_image(
    contents: Any, channels: int = 0, dtype: Any = "uint8", name: str | None = None, expand_animations: bool = True
) -> Tensor:
    """A file of any kind to (height, width, channels), an animation to (frames, height, width, channels)."""
    attrs = {"channels": channels, "dtype": numpy_dtype(dtype), "expand_animations": expand_animations}
    return one(apply("DecodeImage", name, {"contents": contents}, attrs))


def _resize(type: str, half: bool) -> Any:
    def function(
        images: Any, size: Any, align_corners: bool = False, name: str | None = None, half_pixel_centers: bool = False
    ) -> Tensor:
        attrs: dict[str, Any] = {"align_corners": align_corners}
        if half:
            attrs["half_pixel_centers"] = half_pixel_centers
        elif half_pixel_centers:
            raise ValueError(f"{type} has no half_pixel_centers")
        return one(apply(type, name, {"images": images, "size": size}, attrs, dtypes={"size": "int32"}))

    function.__doc__ = f"{type}: images (batch, height, width, channels) to the size (height, width)."
    return function


resize_bilinear, resize_nearest_neighbor = _resize("ResizeBilinear", True), _resize("ResizeNearestNeighbor", True)
resize_bicubic, resize_area = _resize("ResizeBicubic", True), _resize("ResizeArea", False)
_METHODS = (resize_bilinear, resize_nearest_neighbor, resize_bicubic, resize_area)
_NAMES = {"bilinear": 0, "nearest": 1, "bicubic": 2, "area": 3}


def resize_images(
    images: Any, size: Any, method: Any = ResizeMethod.BILINEAR, align_corners: bool = False, preserve_aspect_ratio: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """One image or a batch to the size (height, width)."""
    if preserve_aspect_ratio:
        raise ValueError("resize_images: preserve_aspect_ratio is not supported by kigraph.compat.v1")
    with graph_of(images).as_default(), get_default_graph().name_scope(name or "resize"):
        images = convert(images)
        single = images.shape.ndims == 3
        if images.shape.ndims is None:
            raise ValueError("'images' contains no shape: set_shape states it")
        made = _METHODS[_NAMES.get(method, method)](expand_dims(images, 0) if single else images, size, align_corners)
        return squeeze(made, [0]) if single else made


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: str | None = None) -> Tensor:
    """Pixels of another type; integers use their whole range, floats 0 to 1."""
    wanted = as_dtype(dtype)
    image = convert(image)
    kind = image.dtype
    if kind == wanted:
        unchanged: Tensor = image
        return unchanged
    with get_default_graph().name_scope(name or "convert_image"):
        if kind.is_floating and wanted.is_floating:
            return cast(image, wanted)
        if kind.is_integer and wanted.is_floating:
            return FUNCTIONS["multiply"](cast(image, wanted), 1.0 / kind.max)
        if kind.is_floating:
            scaled = FUNCTIONS["multiply"](image, wanted.max + 0.5)
            return saturate_cast(scaled, wanted) if saturate else cast(scaled, wanted)
    raise ValueError(f"convert_image_dtype: {kind.name} to {wanted.name} is not supported; go through float32")


def _flip(axis: int) -> Any:
    def function(image: Any) -> Tensor:
        return one(apply("ReverseV2", None, {"tensor": image, "axis": [axis]}, dtypes={"axis": "int32"}))

    return function


flip_up_down, flip_left_right = _flip(-3), _flip(-2)


def rgb_to_grayscale(images: Any, name: str | None = None) -> Tensor:
    """0.2989 r + 0.587 g + 0.114 b"""
    images = convert(images)
    kind = images.dtype
    weights = np.array([0.2989, 0.587, 0.114], np.float32)
    floats = convert_image_dtype(images, "float32")
    from .math import reduce_sum

    grey = reduce_sum(FUNCTIONS["multiply"](floats, weights), -1, True)
    return convert_image_dtype(grey, kind, saturate=False)


def grayscale_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """The one channel three times."""
    from .parts import concat

    return concat([images] * 3, -1)


def per_image_standardization(image: Any) -> Tensor:
    """(x - mean) / max(standard deviation, 1 / sqrt(elements)) of each image."""
    f = FUNCTIONS
    with get_default_graph().name_scope("per_image_standardization"):
        image = cast(image, "float32")
        sizes = image.shape[-3:].num_elements()
        if sizes is None:
            raise ValueError("per_image_standardization: the image's size must be known; set_shape states it")
        mean = reduce_mean(image, [-3, -2, -1], True)
        variance = reduce_mean(f["square"](f["subtract"](image, mean)), [-3, -2, -1], True)
        least = f["maximum"](f["sqrt"](variance), float(1.0 / np.sqrt(np.float32(sizes))))
        return f["realdiv"](f["subtract"](image, mean), least)
