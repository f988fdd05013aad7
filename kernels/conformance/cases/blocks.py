"""Cases of the ops that move blocks of cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...contracts import blocks as ops
from ...contracts.base import NUMBERS, Contract
from ...tensor import STRING, DType
from ..case import F32, Case, tensor
from ..values import normal

__all__ = ["CASES"]

_DTYPES = (*sorted(NUMBERS | {np.dtype(bool)}, key=str), STRING)


def _case(
    contract: Contract[Any], name: str, shape: tuple[int, ...], params: Any, dtype: DType = F32, **rest: Any
) -> Case:
    tags = frozenset(["empty"] if 0 in shape else [])
    return Case(contract, name, (tensor(shape, normal, dtype),), params, tags, **rest)


def _cases() -> Iterator[Case]:
    edges = ((1, 2), (0, 2))
    for dtype in _DTYPES:
        label = "string" if dtype == STRING else str(dtype)
        yield _case(ops.SPACE_TO_BATCH, label, (2, 3, 7, 2), ops.BatchBlockParams((2, 3), edges), dtype)
        yield _case(ops.BATCH_TO_SPACE, label, (12, 3, 3, 2), ops.BatchBlockParams((2, 3), edges), dtype)
        yield _case(ops.SPACE_TO_DEPTH, label, (2, 4, 6, 3), ops.DepthBlockParams(2), dtype)
        yield _case(ops.DEPTH_TO_SPACE, label, (2, 2, 3, 12), ops.DepthBlockParams(2), dtype)
    for name, shape, block, pads in (
        ("one-axis", (3, 6), (2,), ((1, 1),)),
        ("three-axes", (1, 2, 3, 4, 2), (1, 3, 2), ((0, 0), (3, 0), (0, 0))),
        ("no-padding", (1, 8, 9, 5), (4, 3), ((0, 0), (0, 0))),
        ("block1", (2, 3, 4, 5), (1, 1), ((0, 0), (1, 0))),
        ("empty", (0, 4, 4, 1), (2, 2), ((0, 0), (0, 0))),
        ("only-padding", (1, 0, 4, 1), (2, 2), ((2, 2), (0, 0))),
    ):
        yield _case(ops.SPACE_TO_BATCH, name, shape, ops.BatchBlockParams(block, pads))
    for name, shape, block, crops in (
        ("one-axis", (6, 3), (2,), ((1, 1),)),
        ("three-axes", (6, 2, 3, 4, 2), (1, 3, 2), ((0, 0), (3, 0), (0, 0))),
        ("crops-all", (4, 2, 2, 3), (2, 2), ((2, 2), (0, 1))),
        ("block1", (2, 3, 4, 5), (1, 1), ((0, 0), (1, 0))),
        ("empty", (0, 4, 4, 1), (2, 2), ((0, 0), (0, 0))),
    ):
        yield _case(ops.BATCH_TO_SPACE, name, shape, ops.BatchBlockParams(block, crops))
    for first in (False, True):
        label = "nchw" if first else "nhwc"
        for size, n, h, w, c in ((1, 2, 3, 4, 5), (2, 1, 6, 4, 1), (3, 2, 3, 9, 4), (2, 0, 4, 4, 3), (2, 1, 0, 4, 3)):
            params = ops.DepthBlockParams(size, first)
            wide, deep = (params.shape(n, h, w, c), params.shape(n, h // size, w // size, c * size**2))
            name = f"{label}-{size}-{n}x{h}x{w}x{c}"
            yield _case(ops.SPACE_TO_DEPTH, name, tuple(d or 0 for d in wide), params)
            yield _case(ops.DEPTH_TO_SPACE, name, tuple(d or 0 for d in deep), params)
    pads = ((2, 2), (2, 2))
    measured: dict[str, Any] = {"measure": True}
    yield _case(ops.SPACE_TO_BATCH, "atrous", (1, 124, 124, 64), ops.BatchBlockParams((4, 4), pads), **measured)
    yield _case(ops.BATCH_TO_SPACE, "atrous", (16, 32, 32, 64), ops.BatchBlockParams((4, 4), pads), **measured)
    yield _case(ops.SPACE_TO_DEPTH, "million", (1, 128, 128, 64), ops.DepthBlockParams(2), **measured)
    yield _case(ops.DEPTH_TO_SPACE, "million", (1, 64, 64, 256), ops.DepthBlockParams(2), **measured)


CASES: tuple[Case, ...] = tuple(_cases())
