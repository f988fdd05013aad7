"""data_format: ops whose channels may come first (NCHW, NCDHW), and what of them has its axes in that order.

There is one rule per op, for channels last. An op in NCHW is seen by it with its types, attributes and sizes in the order of
NHWC (``channels_last``); passes/legalize_layouts.py makes the same of its node before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import Shape, TensorType

__all__ = ["CHANNELS", "Channels", "channels_last", "last_attrs", "last_order", "stated_types"]

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Channels:
    """``inputs``, ``outputs``: tensors whose axes are in the order of data_format. ``sizes``: inputs that hold a number for
    each of these axes. ``rank``: of the tensors; None: that of input 0."""

    inputs: tuple[int, ...] = (0,)
    outputs: tuple[int, ...] = (0,)
    sizes: tuple[int, ...] = ()
    any_rank: bool = False


_IMAGE, _INPUT_GRAD, _FILTER_GRAD = Channels(), Channels((2,), (0,), (0,)), Channels((0, 2), ())

#: Ops that have data_format.
CHANNELS: Mapping[str, Channels] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool", "SpaceToDepth", "DepthToSpace"), _IMAGE),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _IMAGE),
    "BiasAdd": Channels(any_rank=True),
    "BiasAddGrad": Channels(outputs=(), any_rank=True),
    **dict.fromkeys(("KiFusedConv2D", "KiFusedDepthwiseConv2D", "KiFusedAvgPool"), _IMAGE),
    # Their types alone: the plan takes them apart before it looks at data_format.
    **dict.fromkeys(("_FusedConv2D", "_FusedDepthwiseConv2dNative", "_FusedBatchNormEx"), _IMAGE),
    "MaxPoolV2": Channels(sizes=(1, 2)),
    "MaxPoolGrad": Channels((0, 1, 2)),
    "MaxPoolGradV2": Channels((0, 1, 2), sizes=(3, 4)),
    "AvgPoolGrad": Channels((1,), (0,), (0,)),
    "Conv2DBackpropInput": _INPUT_GRAD,
    "Conv2DBackpropFilter": _FILTER_GRAD,
    "DepthwiseConv2dNativeBackpropInput": _INPUT_GRAD,
    "DepthwiseConv2dNativeBackpropFilter": _FILTER_GRAD,
    **dict.fromkeys(("Conv3D", "MaxPool3D", "AvgPool3D"), _IMAGE),
    "Conv3DBackpropInputV2": _INPUT_GRAD,
}

_LAST = {"NCHW": "NHWC", "NCDHW": "NDHWC"}
#: Attributes with one number, or two, for each axis.
_EVERY_AXIS = {"strides": 1, "ksize": 1, "dilations": 1, "explicit_paddings": 2}


class _Site(Protocol):
    @property
    def op(self) -> str: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...
    @property
    def inputs(self) -> tuple[TensorType, ...]: ...
    @property
    def value_of(self) -> Callable[[int], np.ndarray[Any, Any] | None]: ...
    @property
    def sizes_of(self) -> Callable[[int], Shape]: ...


S = TypeVar("S", bound=_Site)


def _stated(attrs: Mapping[str, Any]) -> str:
    """data_format, if it has the channels first, else ''."""
    value = attrs.get("data_format")
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text if isinstance(text, str) and text in _LAST else ""


def last_order(op: str, attrs: Mapping[str, Any], first: TensorType | None) -> tuple[int, ...] | None:
    """The axes of an op's tensors in the order that has channels last; None if the op has them there already.

    first: the type of its input 0. An empty order: the number of axes is not known.
    """
    channels = CHANNELS.get(op)
    stated = "" if channels is None else _stated(attrs)
    if channels is None or not stated:
        return None
    rank = len(stated) if not channels.any_rank else None if first is None else first.rank
    return () if rank is None or rank < 2 else (0, *range(2, rank), 1)


def last_attrs(attrs: Mapping[str, Any], order: Sequence[int]) -> dict[str, Any]:
    """The attributes of an op with channels first as those of the op with channels last."""
    made = {**attrs, "data_format": _LAST[_stated(attrs)]}
    for name, each in _EVERY_AXIS.items():
        value = attrs.get(name)
        if isinstance(value, (tuple, list)) and len(value) == each * len(order):  # else the op's rule refuses it
            made[name] = tuple(value[each * i + j] for i in order for j in range(each))
    return made


def _permuted(values: Sequence[V] | None, order: Sequence[int]) -> tuple[V, ...] | None:
    if values is None or len(values) != len(order):
        return None if values is None else tuple(values)
    return tuple(values[i] for i in order)


def channels_last(site: S) -> tuple[S, tuple[int, ...]] | None:
    """An op with channels first as one that has them last, and the order of its axes then; None for other ops."""
    order = last_order(site.op, site.attrs, site.inputs[0] if site.inputs else None)
    if order is None:
        return None
    channels = CHANNELS[site.op]
    inputs = [
        TensorType(t.dtype, _permuted(t.shape, order)) if i in channels.inputs else t for i, t in enumerate(site.inputs)
    ]

    def value_of(index: int) -> np.ndarray[Any, Any] | None:
        value = site.value_of(index)
        if index not in channels.sizes or value is None or value.shape != (len(order),):
            return value
        return value[list(order)]

    def sizes_of(index: int) -> Shape:
        sizes = site.sizes_of(index)
        return _permuted(sizes, order) if index in channels.sizes else sizes

    attrs = last_attrs(site.attrs, order)
    made: Any = replace(site, attrs=attrs, inputs=tuple(inputs), value_of=value_of, sizes_of=sizes_of)  # type: ignore[type-var]
    return made, order


def stated_types(op: str, types: Sequence[TensorType], order: Sequence[int]) -> tuple[TensorType, ...]:
    """Types of the outputs in the op's own order, from those with channels last."""
    back = [order.index(i) for i in range(len(order))]
    outputs = CHANNELS[op].outputs
    return tuple(TensorType(t.dtype, _permuted(t.shape, back)) if i in outputs else t for i, t in enumerate(types))
