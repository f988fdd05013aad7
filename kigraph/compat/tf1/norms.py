"""Norms, and values that are clipped, under TensorFlow 1's names."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .building import apply, convert, graph_of, one, several
from .dtypes import as_dtype
from .graph import Tensor, get_default_graph
from .math import FUNCTIONS, cast, reduce_max, reduce_sum, truediv

__all__ = [
    "clip_by_average_norm", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm", "norm", "saturate_cast",
]  # fmt: skip


def norm(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None, name: str | None = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """Norm of vectors: 'euclidean', 1, 2, inf or another number."""
    keep = bool(keep_dims if keepdims is None else keepdims)
    f = FUNCTIONS
    if isinstance(axis, (list, tuple)) and len(axis) == 2 and ord not in ("euclidean", "fro"):
        raise ValueError(f"norm: ord {ord!r} of matrices is not supported; 'euclidean' and 'fro' are")
    with get_default_graph().name_scope(name or "norm"):
        x = convert(tensor)
        if ord in ("euclidean", "fro", 2):
            return f["sqrt"](reduce_sum(f["multiply"](x, x), axis, keep))
        if ord == 1:
            return reduce_sum(f["abs"](x), axis, keep)
        if ord == np.inf:
            return reduce_max(f["abs"](x), axis, keep)
        return f["pow"](reduce_sum(f["pow"](f["abs"](x), float(ord)), axis, keep), 1.0 / float(ord))


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Tensor:
    """The values, not less than the least and not more than the largest."""
    f = FUNCTIONS
    graph = graph_of(t)
    with graph.as_default(), graph.name_scope(name or "clip_by_value") as scope:
        return f["maximum"](f["minimum"](convert(t), clip_value_max), clip_value_min, name=scope)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """t, scaled such that its norm is at most ``clip_norm``."""
    f = FUNCTIONS
    graph = graph_of(t)
    with graph.as_default(), graph.name_scope(name or "clip_by_norm") as scope:
        t = convert(t, name="t")
        squares = reduce_sum(f["multiply"](t, t), axes, True)
        positive = f["greater"](squares, np.zeros((), t.core.dtype))
        safe = one(
            apply("SelectV2", None, {"c": positive, "t": squares, "e": one(apply("OnesLike", None, {"x": squares}))})
        )
        length = one(apply("SelectV2", None, {"c": positive, "t": f["sqrt"](safe), "e": squares}))
        clipped = truediv(f["multiply"](t, clip_norm), f["maximum"](length, clip_norm))
        return one(apply("Identity", scope, {"input": clipped}))


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """t, scaled such that its norm divided by its number of elements is at most ``clip_norm``."""
    t = convert(t)
    size = t.shape.num_elements()
    if size is None:
        raise ValueError("clip_by_average_norm: the shape must be known while the graph is built")
    return clip_by_norm(t, FUNCTIONS["multiply"](convert(float(size)), clip_norm), name=name)


def global_norm(t_list: Any, name: str | None = None) -> Tensor:
    """The norm of all tensors together; None among them does not count."""
    f = FUNCTIONS
    with get_default_graph().name_scope(name or "global_norm") as scope:
        halves = [f["l2_loss"](convert(t)) for t in t_list if t is not None]
        total = reduce_sum(one(apply("Pack", None, {"values": several(halves)}, {"axis": 0})))
        two = convert(np.array(2.0, halves[0].core.dtype))
        return f["sqrt"](f["multiply"](total, two), name=scope if scope else None)


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """The tensors, scaled alike such that their common norm is at most ``clip_norm``; and that norm."""
    f = FUNCTIONS
    length = global_norm(t_list) if use_norm is None else convert(use_norm)
    with get_default_graph().name_scope(name or "clip_by_global_norm"):
        one_ = convert(np.array(1.0, length.core.dtype))
        scale = f["multiply"](
            f["minimum"](truediv(one_, length), truediv(one_, convert(clip_norm, length.dtype))), clip_norm
        )
        return [None if t is None else f["multiply"](convert(t), scale) for t in t_list], length


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """Cast, with values beyond the range of ``dtype`` set to its ends."""
    wanted = as_dtype(dtype)
    value = convert(value)
    low, high = builtins.max(value.dtype.min, wanted.min), builtins.min(value.dtype.max, wanted.max)
    return cast(clip_by_value(value, value.dtype.as_numpy_dtype(low), value.dtype.as_numpy_dtype(high)), wanted, name)
