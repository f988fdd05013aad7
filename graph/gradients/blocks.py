"""Gradients of ops that move blocks of cells: each is the other's inverse, and padding has none."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernels.contracts import blocks as b
from .. import ops
from ..builder import Tensor
from .registry import Use, gradient_of

__all__: list[str] = []


@gradient_of(b.SPACE_TO_BATCH)
def _space_to_batch(use: Use, grads: Sequence[Tensor]) -> Sequence[Tensor | None]:
    return [ops.batch_to_space_nd(grads[0], list(use.params.block), [list(e) for e in use.params.edges])]


@gradient_of(b.BATCH_TO_SPACE)
def _batch_to_space(use: Use, grads: Sequence[Tensor]) -> Sequence[Tensor | None]:
    return [ops.space_to_batch_nd(grads[0], list(use.params.block), [list(e) for e in use.params.edges])]


def _format(use: Use) -> str:
    return "NCHW" if use.params.channels_first else "NHWC"


@gradient_of(b.SPACE_TO_DEPTH)
def _space_to_depth(use: Use, grads: Sequence[Tensor]) -> Sequence[Tensor | None]:
    return [ops.depth_to_space(grads[0], use.params.block, _format(use))]


@gradient_of(b.DEPTH_TO_SPACE)
def _depth_to_space(use: Use, grads: Sequence[Tensor]) -> Sequence[Tensor | None]:
    return [ops.space_to_depth(grads[0], use.params.block, _format(use))]
