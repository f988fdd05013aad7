"""tf.image: pictures changed at random or by hand, cut and padded, as training scripts do; with a seed TensorFlow's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import identity, reshape, shape, transpose
from .building import apply, convert, graph_of, is_tensor, one
from .control import Assert, cond
from .graph import Tensor, control_dependencies, get_default_graph
from .image import convert_image_dtype, flip_left_right, flip_up_down
from .math import FUNCTIONS, cast, reduce_all
from .parts import pad, reverse, slice
from .random import random_uniform

__all__ = [
    "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "central_crop", "crop_to_bounding_box", "hsv_to_rgb",
    "pad_to_bounding_box", "random_brightness", "random_contrast", "random_crop", "random_flip_left_right", "random_flip_up_down",
    "random_hue", "random_saturation", "resize_image_with_crop_or_pad", "rgb_to_hsv", "rot90", "transpose_image",
]  # fmt: skip

_f = FUNCTIONS


def _in_floats(name: str, image: Any, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A change of pixels from 0 to 1; integers are converted, and back with saturation."""
    with graph_of(image).as_default(), get_default_graph().name_scope(name):
        image = convert(image, name="image")
        kind = image.dtype
        return convert_image_dtype(change(convert_image_dtype(image, "float32")), kind, saturate=True)


def adjust_brightness(image: Any, delta: Any) -> Tensor:
    """delta is added; of integers it is a share of their range."""
    return _in_floats("adjust_brightness", image, lambda x: _f["add"](x, cast(convert(delta), "float32")))


def adjust_contrast(images: Any, contrast_factor: Any) -> Tensor:
    """(x - mean) * factor + mean, with each channel's mean."""
    return _in_floats("adjust_contrast", images, lambda x: _called("AdjustContrastv2", x, contrast_factor))


def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Tensor:
    """RGB pictures whose saturation is multiplied."""
    return _in_floats(name or "adjust_saturation", image, lambda x: _called("AdjustSaturation", x, saturation_factor))


def adjust_hue(image: Any, delta: Any, name: str | None = None) -> Tensor:
    """RGB pictures whose hue is turned by delta (1: all around)."""
    return _in_floats(name or "adjust_hue", image, lambda x: _called("AdjustHue", x, delta))


def _called(type: str, image: Tensor, number: Any) -> Tensor:
    return one(apply(type, None, {"images": image, "number": cast(convert(number), "float32")}))


def rgb_to_hsv(images: Any, name: str | None = None) -> Tensor:
    """Hue, saturation, value of RGB from 0 to 1."""
    return one(apply("RGBToHSV", name, {"images": images}))


def hsv_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """RGB of hue, saturation, value from 0 to 1."""
    return one(apply("HSVToRGB", name, {"images": images}))


def _drawn(change: Callable[[Any, Any], Tensor], image: Any, low: Any, high: Any, seed: int | None) -> Tensor:
    return change(image, random_uniform([], low, high, seed=seed))


def random_brightness(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """Brightness changed by a number from -max_delta to max_delta."""
    if max_delta < 0:
        raise ValueError("max_delta must be non-negative.")
    return _drawn(adjust_brightness, image, -max_delta, max_delta, seed)


def random_contrast(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """Contrast changed by a factor from lower to upper."""
    _check_range(lower, upper)
    return _drawn(adjust_contrast, image, lower, upper, seed)


def random_saturation(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """Saturation changed by a factor from lower to upper."""
    _check_range(lower, upper)
    return _drawn(adjust_saturation, image, lower, upper, seed)


def random_hue(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """Hue turned by a number from -max_delta to max_delta."""
    if not 0 <= max_delta <= 0.5:
        raise ValueError(f"max_delta must be from 0 to 0.5, got {max_delta}")
    return _drawn(adjust_hue, image, -max_delta, max_delta, seed)


def _check_range(lower: float, upper: float) -> None:
    if upper <= lower:
        raise ValueError("upper must be > lower.")
    if lower < 0:
        raise ValueError("lower must be non-negative.")


def _random_flip(flip: Callable[[Any], Tensor], default: str) -> Callable[..., Tensor]:
    def function(image: Any, seed: int | None = None) -> Tensor:
        with graph_of(image).as_default(), get_default_graph().name_scope(default):
            image = convert(image, name="image")
            if image.shape.ndims == 3:
                chosen = _f["less"](random_uniform([], 0, 1.0, seed=seed), 0.5)
                made: Tensor = cond(chosen, lambda: flip(image), lambda: image)
                return made
            if image.shape.ndims != 4:
                raise ValueError(f"'image' must have either 3 or 4 dimensions, got {image.shape}")
            drawn = random_uniform(shape(image)[:1], 0, 1.0, seed=seed)
            flips = cast(_f["round"](reshape(drawn, [-1, 1, 1, 1])), image.dtype)
            return _f["add"](
                _f["multiply"](flips, flip(image)), _f["multiply"](_f["subtract"](_ones(flips), flips), image)
            )

    function.__doc__ = f"{default}: with probability 1/2; each picture of a batch by itself."
    return function


def _ones(x: Tensor) -> Any:
    return np.ones((), x.core.dtype)


random_flip_left_right = _random_flip(flip_left_right, "random_flip_left_right")
random_flip_up_down = _random_flip(flip_up_down, "random_flip_up_down")


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A part of the given size, at a random place. InvalidArgumentError in the run if the tensor is smaller."""
    with graph_of(value).as_default(), get_default_graph().name_scope(name or "random_crop") as scope:
        value = convert(value, name="value")
        size = convert(size, None if is_tensor(size) else "int32", name="size")
        whole = shape(value)
        fits = reduce_all(_f["greater_equal"](whole, size))
        with control_dependencies([Assert(fits, ["Need value.shape >= size, got ", whole, size], summarize=1000)]):
            whole = identity(whole)
        limit = _f["add"](_f["subtract"](whole, size), 1)
        drawn = random_uniform(shape(whole), maxval=size.dtype.max, dtype=size.dtype, seed=seed)
        return slice(value, _f["mod"](drawn, limit), size, name=scope)


def _sizes(image: Tensor, what: str) -> tuple[int, int, int]:
    """Where the height is among the axes; height and width, which must be known."""
    rank = image.shape.ndims
    if rank not in (3, 4):
        raise ValueError(f"{what}: 'image' must have either 3 or 4 dimensions, got {image.shape}")
    height, width = image.shape[rank - 3].value, image.shape[rank - 2].value
    if height is None or width is None:
        raise ValueError(f"{what}: height and width must be known while the graph is built; set_shape states them")
    return rank - 3, height, width


def crop_to_bounding_box(
    image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Tensor:
    """target_height rows from offset_height on, target_width columns from offset_width on."""
    image = convert(image)
    at, height, width = _sizes(image, "crop_to_bounding_box")
    if min(offset_height, offset_width) < 0 or min(target_height, target_width) <= 0:
        raise ValueError("crop_to_bounding_box: offsets must be >= 0 and targets > 0")
    if offset_height + target_height > height:
        raise ValueError("height must be >= target + offset.")
    if offset_width + target_width > width:
        raise ValueError("width must be >= target + offset.")
    before = [0] * at
    return slice(image, [*before, offset_height, offset_width, 0], [*([-1] * at), target_height, target_width, -1])


def pad_to_bounding_box(
    image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Tensor:
    """The picture on zeros, offset_height rows and offset_width columns from the corner."""
    image = convert(image)
    at, height, width = _sizes(image, "pad_to_bounding_box")
    below, right = target_height - offset_height - height, target_width - offset_width - width
    if min(offset_height, offset_width) < 0:
        raise ValueError("offset_height and offset_width must be >= 0")
    if right < 0 or below < 0:
        raise ValueError(f"{'width' if right < 0 else 'height'} must be <= target - offset")
    return pad(image, [*([[0, 0]] * at), [offset_height, below], [offset_width, right], [0, 0]])


def resize_image_with_crop_or_pad(image: Any, target_height: int, target_width: int) -> Tensor:
    """The middle of the picture, or the picture in the middle of zeros."""
    image = convert(image)
    _, height, width = _sizes(image, "resize_image_with_crop_or_pad")
    put = [max((target - n) // 2, 0) for target, n in ((target_height, height), (target_width, width))]
    cut = [max((n - target) // 2, 0) for target, n in ((target_height, height), (target_width, width))]
    cropped = crop_to_bounding_box(image, cut[0], cut[1], min(target_height, height), min(target_width, width))
    return pad_to_bounding_box(cropped, put[0], put[1], target_height, target_width)


def central_crop(image: Any, central_fraction: float) -> Tensor:
    """The middle, central_fraction of the height and of the width."""
    if not 0 < central_fraction <= 1:
        raise ValueError("central_fraction must be within (0, 1]")
    image = convert(image)
    if central_fraction == 1.0:
        unchanged: Tensor = image
        return unchanged
    _, height, width = _sizes(image, "central_crop")
    top, left = (int((float(n) - float(n) * central_fraction) / 2) for n in (height, width))
    return crop_to_bounding_box(image, top, left, height - 2 * top, width - 2 * left)


def transpose_image(image: Any, name: str | None = None) -> Tensor:
    """Rows and columns swapped."""
    image = convert(image)
    rank = image.shape.ndims
    if rank not in (3, 4):
        raise ValueError(f"transpose_image: 'image' must have either 3 or 4 dimensions, got {image.shape}")
    return transpose(image, [1, 0, 2] if rank == 3 else [0, 2, 1, 3], name=name or "transpose")


def rot90(image: Any, k: int = 1, name: str | None = None) -> Tensor:
    """Turned k times by 90 degrees, counter-clockwise."""
    image = convert(image)
    rank = image.shape.ndims
    if rank not in (3, 4):
        raise ValueError(f"rot90: 'image' must have either 3 or 4 dimensions, got {image.shape}")
    high = rank - 3
    with get_default_graph().name_scope(name or "rot90"):
        if k % 4 == 0:
            return identity(image)
        if k % 4 == 2:
            return reverse(image, [high, high + 1])
        if k % 4 == 1:
            return transpose_image(reverse(image, [high + 1]))
        return reverse(transpose_image(image), [high + 1])
