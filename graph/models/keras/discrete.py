"""Numbers to categories: CategoryEncoding, Discretization, IntegerLookup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .building import Building
from .config import policy_of

__all__ = ["DISCRETE"]


def _one_hot(b: Building, index: Tensor, depth: int) -> Tensor:
    places = ops.constant(np.arange(depth).astype(index.dtype))
    return ops.cast(ops.equal(ops.expand_dims(index, -1), places), b.dtype)


def _encoded(b: Building, index: Tensor, depth: int, default: str) -> Tensor:
    """Categories in one of Keras' forms."""
    b.refuse(sparse=False)
    mode = b.choice("output_mode", default, "int", "one_hot", "multi_hot", "count")
    if mode == "int":
        return index
    if depth > 1 << 20:
        raise b.error(f"{depth} categories", "at most 1,048,576")
    known = b.shape(index)
    if mode == "one_hot":
        if len(known) > 1 and known[-1] == 1:
            index = ops.squeeze(index, -1)
        elif len(known) > 1 and not b.shared.keras3:
            raise b.error(f"an input of shape {known} for one_hot", "one number per item")
        return _one_hot(b, index, depth)
    if len(known) != 2:
        raise b.error(f"an input of shape {known} for {mode}", "(batch, numbers)")
    hot = _one_hot(b, index, depth)
    return ops.reduce_max(hot, 1) if mode == "multi_hot" else ops.reduce_sum(hot, 1)


def _category(b: Building, x: Tensor) -> Tensor:
    if b.args or any(v is not None for k, v in b.kwargs.items() if k != "training"):
        raise b.error("count_weights", "none")
    index = x if x.dtype.kind in "iu" else ops.cast(x, "int64")
    return _encoded(b, index, b.whole("num_tokens"), "multi_hot")


def _discretization(b: Building, x: Tensor) -> Tensor:
    bounds = b.config.get("bin_boundaries")
    good = isinstance(bounds, list) and all(isinstance(v, (int, float)) and v == v for v in bounds)
    if not isinstance(bounds, list) or not good or len(bounds) > 1 << 16:
        raise b.error(f"bin_boundaries {brief(bounds)}", "numbers", "Save the model after adapt().")
    if policy_of(b.config) in ("int32", "int64"):  # Keras 2: the type of the result
        b.config = {**b.config, "dtype": "float32"}
    x = b.float(x)
    if not bounds:
        return _encoded(b, ops.cast(ops.multiply(x, 0.0), "int64"), 1, "int")
    above = ops.greater_equal(ops.expand_dims(x, -1), ops.constant(np.array(sorted(bounds), x.dtype)))
    index = ops.reduce_sum(ops.cast(above, "int64"), -1)
    return _encoded(b, index, len(bounds) + 1, "int")


def _integer_lookup(b: Building, x: Tensor) -> Tensor:
    b.refuse(invert=False, num_oov_indices=1, pad_to_max_tokens=False, idf_weights=None)
    words = b.config.get("vocabulary")
    if not isinstance(words, list) or not words or not all(type(v) is int for v in words) or len(words) > 1 << 16:
        raise b.error(f"vocabulary {brief(words)}", "whole numbers in the config, not in a file beside it")
    index = x if x.dtype == np.int64 else ops.cast(x, "int64")
    masked = b.config.get("mask_token")
    first = 1 if masked is None or b.get("output_mode", "int") != "int" else 2
    if type(masked) is int:
        words = [w for w in words if w != masked]
    same = ops.equal(ops.expand_dims(index, -1), ops.constant(np.array(words, np.int64)))
    known = ops.reduce_any(same, -1)
    place = ops.argmax(ops.cast(same, "int32"), -1)
    place = ops.where(known, ops.add(place, first), ops.constant(np.array(first - 1, np.int64)))
    if first == 2:
        zero = ops.constant(np.zeros((), np.int64))
        place = ops.where(ops.equal(index, ops.constant(np.array(masked, np.int64))), zero, place)
    return _encoded(b, place, len(words) + 1, "int")


DISCRETE: dict[str, Callable[[Building, Tensor], Any]] = {
    "CategoryEncoding": _category,
    "Discretization": _discretization,
    "IntegerLookup": _integer_lookup,
}
