"""Cases of resampling and of crops that are resized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts.base import NUMBERS
from ...contracts.resample import (
    COORDINATES,
    CROP_AND_RESIZE,
    FILTERS,
    RESAMPLE,
    ROUNDINGS,
    AxisRule,
    CropParams,
    ResampleParams,
)
from ...tensor import STRING, DType
from ..case import F16, F32, F64, MEMORIES, Case, Memory, tensor
from ..values import any_bits, normal, only_nan

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]
_U8 = np.dtype(np.uint8)


def _resample(
    name: str, x: tuple[int, ...], sizes: tuple[int, ...], *, dtype: DType = F32, out: DType | None = None,
    values: Any = normal, memory: Memory = "dense", first: int = 1, value: float = 0.0, measure: bool = False, **rule: Any,
) -> Case:  # fmt: skip
    params = ResampleParams(tuple(AxisRule(first + i, n, **rule) for i, n in enumerate(sizes)), out, value)
    tags = frozenset(["empty"] if 0 in (*x, *sizes) else [])
    return Case(RESAMPLE, name, (tensor(x, values, dtype, memory=memory),), params, tags, memory, measure=measure)


def _conventions() -> Iterator[Case]:
    x, sizes = (2, 5, 7, 3), ((8, 4), (1, 1), (5, 7))
    for place in COORDINATES:
        more: dict[str, Any] = {"roi": (0.1, 0.8), "extrapolate": True} if place == "tf_crop_and_resize" else {}
        for h, w in sizes:
            label = f"{place}-{h}x{w}"
            yield _resample(f"linear-{label}", x, (h, w), coordinates=place, **more)
            yield _resample(f"cubic-{label}", x, (h, w), kind="cubic", coordinates=place, **more)
            for rounding in ROUNDINGS:
                yield _resample(
                    f"nearest-{rounding}-{label}",
                    x,
                    (h, w),
                    kind="nearest",
                    coordinates=place,
                    rounding=rounding,
                    **more,
                )
    for kind in ("linear", "cubic"):
        for label in ("antialias", "exclude_outside", "antialias-exclude_outside"):
            flags: dict[str, Any] = dict.fromkeys(label.split("-"), True)
            yield _resample(f"{kind}-{label}-down", (1, 19, 16, 2), (5, 3), kind=kind, **flags)
            yield _resample(f"{kind}-{label}-up", (1, 4, 5, 2), (7, 9), kind=kind, **flags)
        yield _resample(f"{kind}-scale", (1, 9, 9, 2), (5, 5), kind=kind, scale=0.6)
        yield _resample(f"{kind}-three-axes", (4, 5, 3, 2), (2, 7, 4), kind=kind, first=0)
        yield _resample(f"{kind}-float32-positions", (1, 9, 8, 2), (5, 11), kind=kind, single=True)
    for place in ("asymmetric", "align_corners"):
        for h, w in ((8, 4), (1, 1), (2, 3)):
            yield _resample(f"area-{place}-{h}x{w}", x, (h, w), kind="area", coordinates=place, single=True)
    for a, excluded in ((-0.75, False), (-0.5, True)):
        yield _resample(
            f"cubic-table{a}", x, (9, 4), kind="cubic_table", cubic_a=a, single=True, exclude_outside=excluded
        )
    for name in FILTERS:
        for antialias in (False, True):
            yield _resample(
                f"span-{name}-{antialias}", (1, 9, 8, 2), (5, 6), kind="span", filter=name, antialias=antialias, scale=0.7,
                translation=-0.4, single=True,
            )  # fmt: skip


def _memory_and_types() -> Iterator[Case]:
    for dtype in (F16, F64, *map(np.dtype, ("uint8", "int16", "int64"))):
        values = any_bits if dtype == _U8 else normal
        out = None if dtype.kind == "f" else F32
        for kind in ("linear", "cubic", "area"):
            place = "asymmetric" if kind == "area" else "half_pixel"
            yield _resample(
                f"{kind}-{dtype}",
                (2, 5, 6, 3),
                (8, 4),
                kind=kind,
                coordinates=place,
                dtype=dtype,
                out=out,
                values=values,
            )
    for dtype in (*sorted(NUMBERS | {np.dtype(bool)}, key=str), STRING):
        label = "string" if dtype == STRING else str(dtype)
        yield _resample(f"nearest-{label}", (2, 5, 3), (8,), kind="nearest", dtype=dtype)
    for kind in ("nearest", "linear", "cubic"):
        yield _resample(f"{kind}-nan", (1, 5, 6, 3), (9, 8), kind=kind, values=only_nan)
        yield _resample(f"{kind}-batch0", (0, 5, 6, 3), (8, 4), kind=kind)
        yield _resample(f"{kind}-size0", (1, 5, 6, 3), (0, 4), kind=kind)
        for memory in MEMORIES:
            yield _resample(f"{kind}-{memory}", (2, 5, 6, 9), (8, 4), kind=kind, memory=memory)
        yield _resample(f"{kind}-photo", (1, 600, 500, 3), (299, 299), kind=kind, measure=True)
    yield _resample("linear-extrapolated", (1, 5, 6, 3), (8, 9), extrapolate=True, value=-2.5)


def _boxes(values: list[NDArray]) -> None:
    """Some boxes reach beyond the image, some are upside down."""
    values[1][...] = values[1] / 2 + np.array([0, 0, 1, 1], np.float32)
    values[2][...] = np.arange(len(values[2])) % len(values[0])


def _crop(
    name: str,
    x: tuple[int, ...],
    boxes: int,
    size: tuple[int, int],
    *,
    dtype: DType = F32,
    measure: bool = False,
    **rest: Any,
) -> Case:
    inputs = (tensor(x, normal, dtype), tensor((boxes, 4), normal), tensor((boxes,), normal, np.dtype(np.int32)))
    tags = frozenset(["empty"] if 0 in (*x, boxes) else [])
    return Case(CROP_AND_RESIZE, name, inputs, CropParams(size, **rest), tags, relate=_boxes, measure=measure)


def _crops() -> Iterator[Case]:
    for method in ("bilinear", "nearest"):
        for size in ((3, 4), (1, 1), (1, 7), (9, 2)):
            yield _crop(f"{method}-{size[0]}x{size[1]}", (2, 6, 5, 3), 7, size, method=method, value=-1.5)
        for dtype in (F16, F64, _U8, np.dtype(np.int16)):
            yield _crop(f"{method}-{dtype}", (2, 6, 5, 3), 3, (4, 3), dtype=dtype, method=method)
        yield _crop(f"{method}-no-boxes", (2, 6, 5, 3), 0, (4, 3), method=method)
        yield _crop(f"{method}-one-pixel", (1, 1, 1, 2), 3, (4, 3), method=method)
    yield _crop("features", (8, 14, 14, 256), 32, (7, 7), measure=True)


CASES: tuple[Case, ...] = (*_conventions(), *_memory_and_types(), *_crops())
