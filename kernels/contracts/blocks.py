"""Blocks of neighbouring cells moved to the batch (atrous convolutions) or to the channels, and back. Any dtype."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Dim, Params, TensorType
from .base import Contract, Tolerance, items_of_first, require_rank, shape_text

__all__ = [
    "BATCH_TO_SPACE", "DEPTH_TO_SPACE", "SPACE_TO_BATCH", "SPACE_TO_DEPTH", "BatchBlockParams", "DepthBlockParams",
]  # fmt: skip

#: Axes with a block: the kernels work on arrays of 2 * 16 + 1 axes at most besides the input's own.
_MOST_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class BatchBlockParams(Params):
    """``block``: its size along axes 1, 2, ... ``edges``: (before, after) for each, the padding or the cropping."""

    block: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.block) <= _MOST_BLOCKS or len(self.block) != len(self.edges):
            raise ShapeError(
                f"space_to_batch: takes 1 to {_MOST_BLOCKS} block sizes and a pair of edges for each, got {self.block} and {self.edges}"
            )
        if min(self.block) < 1 or any(e < 0 for pair in self.edges for e in pair):
            raise ShapeError(f"space_to_batch: blocks {self.block} must be at least 1, edges {self.edges} at least 0")


def _split(op: str, x: TensorType, params: BatchBlockParams) -> tuple[Dim, tuple[Dim, ...], tuple[Dim, ...]] | None:
    """Batch, sizes of the axes with a block, the other sizes; None for an unknown rank."""
    if x.shape is None:
        return None
    count = len(params.block)
    if len(x.shape) <= count:
        raise ShapeError(f"{op}: {count} blocks need at least {count + 1} axes, got shape {shape_text(x.shape)}")
    return x.shape[0], x.shape[1 : count + 1], x.shape[count + 1 :]


def _infer_space_to_batch(inputs: Sequence[TensorType], params: BatchBlockParams) -> tuple[TensorType, ...]:
    op = "space_to_batch"
    parts = _split(op, inputs[0], params)
    if parts is None:
        return (TensorType(inputs[0].dtype),)
    batch, sizes, rest = parts
    made: list[Dim] = []
    for axis, (d, block, (before, after)) in enumerate(zip(sizes, params.block, params.edges, strict=True), 1):
        padded = None if d is None else d + before + after
        if padded is not None and padded % block:
            raise ShapeError(f"{op}: axis {axis} has {padded} cells (padding included), no multiple of block {block}")
        made.append(None if padded is None else padded // block)
    return (TensorType(inputs[0].dtype, (None if batch is None else batch * prod(params.block), *made, *rest)),)


def _infer_batch_to_space(inputs: Sequence[TensorType], params: BatchBlockParams) -> tuple[TensorType, ...]:
    op = "batch_to_space"
    parts = _split(op, inputs[0], params)
    if parts is None:
        return (TensorType(inputs[0].dtype),)
    batch, sizes, rest = parts
    if batch is not None and batch % prod(params.block):
        raise ShapeError(f"{op}: a batch of {batch} is no multiple of the block {params.block}")
    made: list[Dim] = []
    for axis, (d, block, (before, after)) in enumerate(zip(sizes, params.block, params.edges, strict=True), 1):
        if d is not None and d * block < before + after:
            raise ShapeError(f"{op}: axis {axis} has {d * block} cells, fewer than the {before + after} to crop")
        made.append(None if d is None else d * block - before - after)
    return (TensorType(inputs[0].dtype, (None if batch is None else batch // prod(params.block), *made, *rest)),)


SPACE_TO_BATCH: Contract[BatchBlockParams] = Contract(
    "space_to_batch",
    """Zeros are added at the edges; cell (i * block + o) of image n becomes cell i of image o * N + n, o counted row by row.

    Axes 1, 2, ... have a block each, later axes none. Padding of strings is the empty string.""",
    _infer_space_to_batch, BatchBlockParams, tolerance=Tolerance(0, 0), hot=False,
)  # fmt: skip

BATCH_TO_SPACE: Contract[BatchBlockParams] = Contract(
    "batch_to_space", "The inverse of space_to_batch: what that has padded is cropped.",
    _infer_batch_to_space, BatchBlockParams, tolerance=Tolerance(0, 0), hot=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DepthBlockParams(Params):
    """``block``: height and width of a block. ``channels_first``: NCHW, else NHWC."""

    block: int
    channels_first: bool = False

    def __post_init__(self) -> None:
        if self.block < 1:
            raise ShapeError(f"space_to_depth: the block must be at least 1, got {self.block}")

    def order(self, x: Sequence[Dim]) -> tuple[Dim, Dim, Dim, Dim]:
        """N, H, W, C of a shape of 4 axes."""
        return (x[0], x[2], x[3], x[1]) if self.channels_first else (x[0], x[1], x[2], x[3])

    def shape(self, n: Dim, h: Dim, w: Dim, c: Dim) -> tuple[Dim, ...]:
        return (n, c, h, w) if self.channels_first else (n, h, w, c)


def _infer_depth(
    op: str, to_depth: bool, inputs: Sequence[TensorType], params: DepthBlockParams
) -> tuple[TensorType, ...]:
    n, h, w, c = params.order(require_rank(op, "the input", inputs[0].shape, 4))
    block, area = params.block, params.block**2
    for what, d, part in (("height", h, block), ("width", w, block)) if to_depth else (("channels", c, area),):
        if d is not None and d % part:
            raise ShapeError(f"{op}: {what} {d} of {shape_text(inputs[0].shape)} is no multiple of {part}")

    def scaled(d: Dim, by: int, grows: bool) -> Dim:
        return None if d is None else d * by if grows else d // by

    sizes = (scaled(h, block, not to_depth), scaled(w, block, not to_depth), scaled(c, area, to_depth))
    return (TensorType(inputs[0].dtype, params.shape(n, *sizes)),)


SPACE_TO_DEPTH: Contract[DepthBlockParams] = Contract(
    "space_to_depth",
    "y[n, i, j, (u * block + v) * C + c] = x[n, i * block + u, j * block + v, c]; NHWC, or NCHW with channels_first.",
    partial(_infer_depth, "space_to_depth", True), DepthBlockParams, tolerance=Tolerance(0, 0), hot=False,
    by_item=items_of_first,
)  # fmt: skip

DEPTH_TO_SPACE: Contract[DepthBlockParams] = Contract(
    "depth_to_space", "The inverse of space_to_depth.",
    partial(_infer_depth, "depth_to_space", False), DepthBlockParams, tolerance=Tolerance(0, 0), hot=False,
    by_item=items_of_first,
)  # fmt: skip
