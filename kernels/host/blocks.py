"""Blocks of cells to the batch or to the channels and back, as transposes of arrays with the block on axes of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.blocks import (
    BATCH_TO_SPACE,
    DEPTH_TO_SPACE,
    SPACE_TO_BATCH,
    SPACE_TO_DEPTH,
    BatchBlockParams,
    DepthBlockParams,
)
from ..tensor import STRING, Array
from .support import numpy_kernel

__all__ = ["KERNELS"]


def _axes(count: int, rest: int) -> list[int]:
    """(N, s1, b1, s2, b2, ..., rest) from (b1, b2, ..., N, s1, s2, ..., rest)."""
    pairs = [axis for i in range(count) for axis in (count + 1 + i, i)]
    return [count, *pairs, *range(2 * count + 1, 2 * count + 1 + rest)]


def _space_to_batch(inputs: Sequence[Array], outputs: Sequence[Array], params: BatchBlockParams) -> None:
    (x,), (y,) = inputs, outputs
    count = len(params.block)
    if y.size == 0:
        return
    rest = x.shape[count + 1 :]
    sizes = y.shape[1 : count + 1]
    padded = [s * b for s, b in zip(sizes, params.block, strict=True)]
    if any(e for pair in params.edges for e in pair):
        wide = np.full((x.shape[0], *padded, *rest), b"" if x.dtype == STRING else 0, x.dtype)
        box = tuple(slice(e[0], e[0] + d) for e, d in zip(params.edges, x.shape[1:], strict=False))
        wide[(slice(None), *box)] = x
        x = wide
    pairs = [n for pair in zip(sizes, params.block, strict=True) for n in pair]
    target = y.reshape(*params.block, x.shape[0], *sizes, *rest).transpose(_axes(count, len(rest)))
    target[...] = x.reshape(x.shape[0], *pairs, *rest)


def _batch_to_space(inputs: Sequence[Array], outputs: Sequence[Array], params: BatchBlockParams) -> None:
    (x,), (y,) = inputs, outputs
    count = len(params.block)
    if y.size == 0:
        return
    sizes, rest = x.shape[1 : count + 1], x.shape[count + 1 :]
    parts = x.reshape(*params.block, y.shape[0], *sizes, *rest).transpose(_axes(count, len(rest)))
    if not any(e for pair in params.edges for e in pair) and y.flags.c_contiguous:
        y.reshape(parts.shape)[...] = parts
        return
    whole = parts.reshape(y.shape[0], *(s * b for s, b in zip(sizes, params.block, strict=True)), *rest)
    box = tuple(slice(e[0], e[0] + d) for e, d in zip(params.edges, y.shape[1:], strict=False))
    y[...] = whole[(slice(None), *box)]


def _views(deep: Array, wide: Array, params: DepthBlockParams) -> tuple[Array, Array]:
    """Both arrays as (N, H, block, W, block, C)."""
    block = params.block
    n, h, w, c = (d or 0 for d in params.order(wide.shape))
    if params.channels_first:
        split = deep.reshape(n, block, block, c, h // block, w // block).transpose(0, 4, 1, 5, 2, 3)
        return split, wide.reshape(n, c, h // block, block, w // block, block).transpose(0, 2, 3, 4, 5, 1)
    split = deep.reshape(n, h // block, w // block, block, block, c).transpose(0, 1, 3, 2, 4, 5)
    return split, wide.reshape(n, h // block, block, w // block, block, c)


def _space_to_depth(inputs: Sequence[Array], outputs: Sequence[Array], params: DepthBlockParams) -> None:
    deep, wide = _views(outputs[0], inputs[0], params)
    deep[...] = wide


def _depth_to_space(inputs: Sequence[Array], outputs: Sequence[Array], params: DepthBlockParams) -> None:
    deep, wide = _views(inputs[0], outputs[0], params)
    wide[...] = deep


KERNELS = (
    numpy_kernel(SPACE_TO_BATCH, "host", _space_to_batch),
    numpy_kernel(BATCH_TO_SPACE, "host", _batch_to_space),
    numpy_kernel(SPACE_TO_DEPTH, "host", _space_to_depth),
    numpy_kernel(DEPTH_TO_SPACE, "host", _depth_to_space),
)
