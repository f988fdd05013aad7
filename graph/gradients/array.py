"""Gradients of ops that move, pick or join elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.contracts import layout as a
from ...kernels.contracts.concat import CONCAT
from .. import ops
from ..builder import Tensor
from ..errors import GraphError
from .registry import Use, gradient_of, rank_of, shape_of, sum_to

__all__: list[str] = []

Grads = Sequence[Tensor]
Result = Sequence[Tensor | None]


def _dims(use: Use, tensor: Tensor) -> tuple[int, ...]:
    """Sizes that must be known while the graph is built."""
    if not tensor.type.known:
        raise GraphError(
            f"gradients: the shape of '{tensor.name}' {tensor.type} must be fully known to differentiate {use.op.type} "
            f"'{use.op.name}'"
        )
    return tensor.type.dims


@gradient_of(a.IDENTITY)
def _identity(use: Use, grads: Grads) -> Result:
    return [None if use.op.type in ("StopGradient", "PreventGradient") else g for g in grads]


@gradient_of(a.RESHAPE)
def _reshape(use: Use, grads: Grads) -> Result:
    return [ops.reshape(grads[0], shape_of(use.x))]


@gradient_of(a.TRANSPOSE)
def _transpose(use: Use, grads: Grads) -> Result:
    return [ops.transpose(grads[0], np.argsort(use.params.axes(rank_of(use))).tolist())]


@gradient_of(a.PAD)
def _pad(use: Use, grads: Grads) -> Result:
    if use.params.mode != "constant":
        raise GraphError(
            f"gradients: {use.op.type} '{use.op.name}' with mode {use.params.mode} cannot be differentiated"
        )
    return [ops.slice(grads[0], [before for before, _ in use.params.paddings], shape_of(use.x))]


@gradient_of(a.SLICE)
def _slice(use: Use, grads: Grads) -> Result:
    """A slice's gradient is zero around the box; for strides, zeros are put between the elements first."""
    dims = _dims(use, use.x)
    params = use.params
    steps = params.steps or (1,) * len(dims)
    counts = a.SLICE.check([use.x.type], params)[0].dims
    box = ops.reshape(grads[0], list(counts))
    begin = list(params.begin)
    for axis, (count, step) in enumerate(zip(counts, steps, strict=True)):
        if abs(step) != 1 and count:
            box = _spread_axis(box, axis, abs(step))
        if step < 0 and count:
            extent = (count - 1) * -step + 1
            begin[axis] -= extent - 1
            box = ops.gather(box, np.arange(extent - 1, -1, -1, dtype=np.int32), axis)
    sizes = [0 if not n else (n - 1) * abs(s) + 1 for n, s in zip(counts, steps, strict=True)]
    return [ops.pad(box, [(b, d - b - n) for b, d, n in zip(begin, dims, sizes, strict=True)])]


def _spread_axis(x: Tensor, axis: int, step: int) -> Tensor:
    """Puts step - 1 zeros after each element along an axis, none after the last."""
    dims = list(x.type.dims)
    wide = ops.pad(ops.expand_dims(x, axis + 1), [(0, step - 1 if i == axis + 1 else 0) for i in range(len(dims) + 1)])
    flat = ops.reshape(wide, [*dims[:axis], dims[axis] * step, *dims[axis + 1 :]])
    size = [*dims[:axis], (dims[axis] - 1) * step + 1, *dims[axis + 1 :]]
    return ops.slice(flat, [0] * len(dims), size)


@gradient_of(a.SPLIT)
def _split(use: Use, grads: Grads) -> Result:
    if use.op.type == "Unpack":
        return [ops.stack(list(grads), int(use.op.attrs.get("axis", 0)))]
    return [ops.concat(list(grads), use.params.axis)]


@gradient_of(CONCAT)
def _concat(use: Use, grads: Grads) -> Result:
    axis = use.params.axis
    sizes = [None if t.shape is None else t.shape[axis] for t in use.inputs]
    if None in sizes:
        raise GraphError(
            f"gradients: the sizes of the inputs of {use.op.type} '{use.op.name}' along axis {axis} must be known, got {sizes}"
        )
    return list(ops.split(grads[0], [n for n in sizes if n is not None], axis))


@gradient_of(a.PACK)
def _pack(use: Use, grads: Grads) -> Result:
    return list(ops.unstack(grads[0], len(use.inputs), use.params.axis))


@gradient_of(a.TILE)
def _tile(use: Use, grads: Grads) -> Result:
    dims = _dims(use, use.x)
    split = [n for pair in zip(use.params.multiples, dims, strict=True) for n in pair]
    return [ops.reduce_sum(ops.reshape(grads[0], split), list(range(0, len(split), 2)))]


@gradient_of(a.BROADCAST_TO)
def _broadcast_to(use: Use, grads: Grads) -> Result:
    return [sum_to(grads[0], use.x)]


@gradient_of(a.FILL)
def _fill(use: Use, grads: Grads) -> Result:
    rank = use.y.type.rank
    return [ops.reduce_sum(grads[0], None if rank is None else list(range(rank)))]


@gradient_of(a.GATHER)
def _gather(use: Use, grads: Grads) -> Result:
    """Adds every slice back to where it was taken, as a matrix product with the one-hot matrix of the indices."""
    x, indices = use.inputs
    if use.params.batch_dims:
        raise GraphError(
            f"gradients: {use.op.type} '{use.op.name}' with batch_dims {use.params.batch_dims} has no gradient"
        )
    dims = _dims(use, x)
    axis = use.params.axis % len(dims)
    count = int(np.prod(indices.type.dims)) if indices.type.known else -1
    rest = [d for i, d in enumerate(dims) if i != axis]
    places = ops.equal(ops.reshape(indices, [1, -1]), np.arange(dims[axis])[:, None].astype(indices.dtype))
    rank = len(dims) - 1 + (indices.type.rank or 0)
    order = [*range(axis, axis + (indices.type.rank or 0)), *range(axis), *range(axis + (indices.type.rank or 0), rank)]
    rows = ops.reshape(ops.transpose(grads[0], order), [count, int(np.prod(rest))])
    summed = ops.reshape(ops.matmul(ops.cast(places, x.dtype), rows), [dims[axis], *rest])
    return [ops.transpose(summed, [*range(1, axis + 1), 0, *range(axis + 1, len(dims))]), None]
