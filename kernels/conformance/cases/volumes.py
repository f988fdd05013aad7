"""Cases of windows over volumes, and of those over images that are neither convolutions nor plain pools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import volumes as v
from ...contracts import windows as w
from ...contracts.base import Contract
from ...tensor import STRING
from ..case import F16, F32, F64, MEMORIES, Case, Input, tensor
from ..values import any_bits, few, normal, sparse_nan

__all__ = ["CASES"]

_INTS = tuple(map(np.dtype, ("uint8", "int8", "int16", "int32", "int64")))


def _case(contract: Contract[Any], name: str, inputs: tuple[Input, ...], params: Any, **rest: Any) -> Case:
    tags = frozenset(["empty"] if any(0 in i.type.dims for i in inputs) else [])
    return Case(contract, name, inputs, params, tags, **rest)


#: (label, x, window, strides, padding, dilations)
_VOLUMES: tuple[tuple[str, Any, Any, Any, Any, Any], ...] = (
    ("plain", (2, 5, 6, 7, 3), (2, 3, 2), (1, 1, 1), "VALID", (1, 1, 1)),
    ("same", (1, 5, 6, 7, 3), (3, 3, 3), (1, 1, 1), "SAME", (1, 1, 1)),
    ("strides", (2, 7, 6, 5, 2), (3, 2, 1), (2, 3, 1), "SAME", (1, 1, 1)),
    ("dilations", (1, 7, 6, 5, 2), (2, 3, 2), (1, 1, 1), "VALID", (3, 2, 1)),
    ("pointwise", (2, 3, 2, 4, 5), (1, 1, 1), (1, 1, 1), "VALID", (1, 1, 1)),
    ("wide-window", (1, 2, 3, 2, 2), (9, 9, 9), (1, 2, 1), "SAME", (1, 1, 1)),
    ("batch0", (0, 5, 6, 7, 3), (2, 2, 2), (1, 1, 1), "VALID", (1, 1, 1)),
)


def _volumes() -> Iterator[Case]:
    for label, x, window, strides, padding, dilations in _VOLUMES:
        conv = v.VolumeParams((1, 1, 1), strides, padding, dilations)
        filters = tensor((*window, x[4], 4), normal)
        forward = _case(v.CONV3D, label, (tensor(x, normal), filters), conv)
        yield forward
        dy = tensor(forward.query().outputs[0].dims, normal)
        yield _case(v.CONV3D_INPUT_GRAD, label, (filters, dy), v.Conv3DGradParams(conv, x))
        if label != "dilations":
            pool = v.VolumeParams(window, strides, padding)
            for contract in (v.MAX_POOL3D, v.AVG_POOL3D):
                yield _case(contract, label, (tensor(x, normal),), pool)
    params, x = v.VolumeParams((1, 1, 1), (1, 2, 1), "SAME"), (1, 4, 5, 6, 3)
    pool = v.VolumeParams((2, 3, 2), (1, 2, 1), "SAME")
    for dtype in (F16, F64):
        filters = tensor((2, 3, 2, 3, 4), normal, dtype)
        yield _case(v.CONV3D, str(dtype), (tensor(x, normal, dtype), filters), params)
        dy = tensor((1, 4, 3, 6, 4), normal, dtype)
        yield _case(v.CONV3D_INPUT_GRAD, str(dtype), (filters, dy), v.Conv3DGradParams(params, x))
        for contract in (v.MAX_POOL3D, v.AVG_POOL3D):
            yield _case(contract, str(dtype), (tensor(x, normal, dtype),), pool)
    for dtype in _INTS:
        yield _case(v.MAX_POOL3D, str(dtype), (tensor(x, any_bits, dtype),), pool)
    for contract in (v.MAX_POOL3D, v.AVG_POOL3D):
        yield _case(contract, "nan", (tensor(x, sparse_nan),), pool)
        for memory in MEMORIES:
            yield _case(contract, memory, (tensor(x, normal, memory=memory),), pool, memory=memory)
    yield _case(
        v.CONV3D, "no-channels", (tensor((1, 3, 3, 3, 0), normal), tensor((2, 2, 2, 0, 3), normal)), v.VolumeParams()
    )
    big = (tensor((1, 16, 56, 56, 16), normal), tensor((3, 3, 3, 16, 16), normal))
    yield _case(v.CONV3D, "video", big, v.VolumeParams(padding="SAME"), measure=True)
    back = (big[1], tensor((1, 16, 56, 56, 16), normal))
    grad = v.Conv3DGradParams(v.VolumeParams(padding="SAME"), (1, 16, 56, 56, 16))
    yield _case(v.CONV3D_INPUT_GRAD, "video", back, grad, measure=True)


#: (label, x, window, strides, rates, padding)
_WINDOWS: tuple[tuple[str, Any, Any, Any, Any, Any], ...] = (
    ("plain", (2, 6, 7, 3), (2, 3), (1, 1), (1, 1), "VALID"),
    ("same", (2, 6, 7, 3), (3, 2), (2, 2), (1, 1), "SAME"),
    ("rates", (1, 9, 8, 2), (3, 2), (2, 1), (2, 3), "SAME"),
    ("rates-valid", (1, 9, 8, 2), (3, 2), (2, 1), (2, 3), "VALID"),
    ("wide-window", (1, 3, 4, 2), (9, 8), (1, 2), (1, 1), "SAME"),
    ("batch0", (0, 5, 6, 3), (2, 2), (1, 1), (1, 1), "VALID"),
)


def _windows() -> Iterator[Case]:
    for label, x, window, strides, rates, padding in _WINDOWS:
        params = w.WindowParams(window, strides, rates, padding)
        yield _case(w.EXTRACT_PATCHES, label, (tensor(x, normal),), params)
        if rates == (1, 1):
            for batch in (False, True):
                yield _case(w.MAX_POOL_ARGMAX, f"{label}-{batch}", (tensor(x, few),), w.ArgmaxParams(params, batch))
        filters = tensor((*window, x[3]), normal)
        plain = w.WindowParams((1, 1), strides, rates, padding)
        yield _case(w.DILATION2D, label, (tensor(x, normal), filters), plain)
    params, x = w.WindowParams((2, 3), (2, 1), padding="SAME"), (2, 5, 6, 3)
    plain = w.WindowParams((1, 1), (2, 1), padding="SAME")
    for dtype in (F16, F64, *_INTS):
        yield _case(w.EXTRACT_PATCHES, str(dtype), (tensor(x, normal, dtype),), params)
        places = np.dtype(np.int32)
        yield _case(w.MAX_POOL_ARGMAX, str(dtype), (tensor(x, few, dtype),), w.ArgmaxParams(params, dtype=places))
        yield _case(w.DILATION2D, str(dtype), (tensor(x, normal, dtype), tensor((2, 3, 3), normal, dtype)), plain)
    yield _case(w.EXTRACT_PATCHES, "string", (tensor(x, normal, STRING),), params)
    yield _case(w.EXTRACT_PATCHES, "nan", (tensor(x, sparse_nan),), params)
    yield _case(w.MAX_POOL_ARGMAX, "nan", (tensor(x, sparse_nan, F32),), w.ArgmaxParams(params))
    window = w.WindowParams((2, 2), (2, 2))
    yield _case(w.MAX_POOL_ARGMAX, "images", (tensor((4, 112, 112, 16), normal),), w.ArgmaxParams(window), measure=True)
    yield _case(w.DILATION2D, "nan", (tensor(x, sparse_nan), tensor((2, 3, 3), normal)), plain)
    for memory in MEMORIES:
        yield _case(w.EXTRACT_PATCHES, memory, (tensor(x, normal, memory=memory),), params, memory=memory)


CASES: tuple[Case, ...] = (*_volumes(), *_windows())
