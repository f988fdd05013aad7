"""Cases of bilinear resizing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts.resize import RESIZE_BILINEAR, ResizeParams
from ...tensor import DType, is_int
from ..case import F16, F32, F64, MEMORIES, Case, Memory, tensor
from ..values import any_bits, normal, only_nan

__all__ = ["CASES", "resize_case"]

#: The three conventions.
_RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("legacy", {}),
    ("corners", {"align_corners": True}),
    ("half-pixel", {"half_pixel_centers": True}),
)


def resize_case(
    name: str,
    x: tuple[int, int, int, int],
    size: tuple[int, int],
    *,
    dtype: DType = F32,
    values: Any = normal,
    memory: Memory = "dense",
    tags: tuple[str, ...] = (),
    threads: int = 1,
    **rule: bool,
) -> Case:
    """x NHWC to ``size``."""
    return Case(
        RESIZE_BILINEAR,
        name,
        (tensor(x, values, dtype, memory=memory),),
        ResizeParams(size, **rule),
        frozenset(tags),
        memory,
        threads,
    )


def _cases() -> Iterator[Case]:
    for rule, flags in _RULES:
        for h, w, oh, ow in (
            (4, 5, 8, 10),
            (9, 7, 5, 3),
            (5, 5, 5, 5),
            (1, 1, 4, 3),
            (6, 7, 1, 1),
            (3, 2, 17, 13),
            (7, 1, 3, 9),
        ):
            yield resize_case(f"{rule}-{h}x{w}-to-{oh}x{ow}", (2, h, w, 3), (oh, ow), **flags)
        for channels in (1, 4, 8, 17, 33):
            yield resize_case(f"{rule}-c{channels}", (1, 6, 7, channels), (9, 10), tags=("tail",), **flags)
        for dtype in (
            F16,
            F64,
            *map(np.dtype, ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")),
        ):
            # Beyond 16 bits a float32 result cannot hold every integer, and differences of large ones say nothing.
            values = any_bits if is_int(dtype) and dtype.itemsize == 1 else normal
            yield resize_case(f"{rule}-{dtype}", (2, 5, 6, 3), (8, 4), dtype=dtype, values=values, **flags)
        yield resize_case(f"{rule}-photo", (1, 61, 52, 3), (30, 30), dtype=np.dtype(np.uint8), values=any_bits, **flags)
        for h, w, oh, ow in ((5, 6, 10, 12), (9, 7, 5, 4)):
            yield resize_case(f"{rule}-nan-{oh}x{ow}", (2, h, w, 3), (oh, ow), values=only_nan, tags=("nan",), **flags)
        yield resize_case(f"{rule}-batch0", (0, 5, 6, 3), (8, 4), tags=("empty",), **flags)
        yield resize_case(f"{rule}-channels0", (1, 5, 6, 0), (8, 4), tags=("empty",), **flags)
        yield resize_case(f"{rule}-threads2", (3, 40, 41, 5), (33, 29), threads=2, tags=("threads",), **flags)
        for memory in MEMORIES:
            yield resize_case(f"{rule}-{memory}", (2, 5, 6, 9), (8, 4), memory=memory, tags=("strided",), **flags)
    yield resize_case(
        "inception", (1, 606, 517, 3), (299, 299), dtype=np.dtype(np.uint8), values=any_bits, tags=("inception",)
    )
    yield resize_case("inception-float", (1, 224, 320, 3), (299, 299), tags=("inception",))


CASES: tuple[Case, ...] = tuple(_cases())
