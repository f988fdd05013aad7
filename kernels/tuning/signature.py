"""What a layer is, as text: the key under which a choice is kept."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..contracts.base import Contract
from ..contracts.chains import chain_items
from ..contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams, explicit_padding
from ..kernel import Query
from ..tensor import TensorType

__all__ = ["one_image", "signature"]

#: Contracts of images (input 0, NHWC) and constant filters (input 1).
_IMAGES: tuple[Contract[Any], ...] = (CONV2D, DEPTHWISE_CONV2D)


def signature(query: Query) -> str | None:
    """The layer of a query, or None if its kernels are not chosen by measurement.

    Batch and threads are left out on purpose: an image's result must not depend on them, and two kernels need not agree
    in the last bits.
    """
    if query.contract not in _IMAGES or 1 not in query.constants:
        return None
    if query.inputs[0].dtype != np.float32 or not all(t.known for t in query.inputs) or 0 in query.inputs[0].dims:
        return None
    image, *others = query.inputs[:3]
    params = query.params
    if isinstance(params, Conv2DParams):  # SAME and the same padding in numbers are one layer
        (_, height, width, _), (kh, kw, _, _) = image.dims, others[0].dims
        padding = explicit_padding(params.padding, (height, width), (kh, kw), params.strides, params.dilations)
        params = replace(params, padding=padding, finish="")  # what follows costs the same after every kernel
    sizes = [_sizes(image.dims[1:]), *(_sizes(t.dims) for t in others)]
    values = [f"{f.name}={_text(getattr(params, f.name))}" for f in fields(params) if f.name != "finish"]
    numerics = () if query.numerics.multiplies == "fp32" else (query.numerics.multiplies,)
    return " ".join((query.contract.name, image.dtype.name, *sizes, *values, *numerics))


def one_image(query: Query, threads: int = 1) -> Query:
    """The same layer for a batch of one."""
    image = query.inputs[0]
    inputs = (TensorType(image.dtype, (1, *image.dims[1:])), *query.inputs[1:])
    if getattr(query.params, "finish", ""):
        items = chain_items(image, inputs[3:], 3)
        inputs = tuple(TensorType(t.dtype, (1, *t.dims[1:])) if i in items else t for i, t in enumerate(inputs))
    outputs = query.contract.check(inputs, query.params)
    return replace(query, inputs=inputs, outputs=outputs, threads=threads)


def _sizes(dims: tuple[int, ...]) -> str:
    return "x".join(map(str, dims))


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
