"""Pools over windows and over whole images, of one, two and three axes."""

from __future__ import annotations

from collections.abc import Callable

from ... import ops
from ...builder import Tensor
from .building import Building

__all__ = ["POOLS"]

Made = Callable[[Building, Tensor], Tensor]


def _window(kind: str, rank: int) -> Made:
    def make(b: Building, x: Tensor) -> Tensor:
        b.shape(x, rank + 2)
        size = b.wholes("pool_size", rank, 2)
        strides = b.wholes("strides", rank, list(size))
        padding = b.choice("padding", "valid", "valid", "same").upper()
        first = b.channels_first
        x = b.first_last(x) if first else x
        if rank == 1:
            x, size, strides = ops.expand_dims(x, 1), (1, *size), (1, *strides)
        if rank == 3:
            x = b.raw(
                f"{kind}Pool3D", x, ksize=(1, *size, 1), strides=(1, *strides, 1), padding=padding, data_format="NDHWC"
            )
        else:
            pool = ops.avg_pool if kind == "Avg" else ops.max_pool
            x = pool(x, size, strides, padding)
        x = ops.squeeze(x, 1) if rank == 1 else x
        return b.last_first(x) if first else x

    return make


def _global(kind: str, rank: int) -> Made:
    def make(b: Building, x: Tensor) -> Tensor:
        known = b.shape(x, rank + 2)
        first, keep = b.channels_first, b.flag("keepdims")
        if kind == "Avg" and rank == 1 and b.mask(x) is not None:
            return _masked_mean(b, x, first, keep)
        if rank == 2 and not first and None not in known[1:3]:
            pool = ops.avg_pool if kind == "Avg" else ops.max_pool
            whole = (known[1] or 0, known[2] or 0)
            if min(whole) > 0:  # a window of the whole image: passes know it as a pool
                x = pool(x, whole, (1, 1))
                return x if keep else b.reshape(x, [known[0], known[3]])
        axes = list(range(2, rank + 2)) if first else list(range(1, rank + 1))
        reduce = ops.reduce_mean if kind == "Avg" else ops.reduce_max
        return reduce(x, axes, keepdims=keep)

    return make


def _masked_mean(b: Building, x: Tensor, first: bool, keep: bool) -> Tensor:
    """The mean of the steps that count."""
    mask = b.mask(x)
    assert mask is not None
    axis = 2 if first else 1
    counted = ops.expand_dims(ops.cast(mask, x.dtype), 1 if first else 2)
    total = ops.reduce_sum(ops.multiply(x, counted), axis, keepdims=keep)
    return ops.divide(total, ops.reduce_sum(counted, axis, keepdims=keep))


POOLS: dict[str, Made] = {}
for _rank in (1, 2, 3):
    POOLS[f"AveragePooling{_rank}D"] = _window("Avg", _rank)
    POOLS[f"MaxPooling{_rank}D"] = _window("Max", _rank)
    POOLS[f"GlobalAveragePooling{_rank}D"] = _global("Avg", _rank)
    POOLS[f"GlobalMaxPooling{_rank}D"] = _global("Max", _rank)
    POOLS |= {
        f"{short}{_rank}D": POOLS[f"{long}{_rank}D"]
        for short, long in (
            ("AvgPool", "AveragePooling"), ("MaxPool", "MaxPooling"),
            ("GlobalAvgPool", "GlobalAveragePooling"), ("GlobalMaxPool", "GlobalMaxPooling"),
        )
    }  # fmt: skip
