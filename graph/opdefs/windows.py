"""Windows over volumes, and those over images that are neither convolutions nor plain pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ...kernels.contracts.base import Contract
from ...kernels.contracts.pool2d import MAX_POOL2D, Pool2DParams
from ...kernels.contracts.volumes import (
    AVG_POOL3D,
    CONV3D,
    CONV3D_INPUT_GRAD,
    MAX_POOL3D,
    Conv3DGradParams,
    VolumeParams,
)
from ...kernels.contracts.windows import (
    DILATION2D,
    EXTRACT_PATCHES,
    MAX_POOL_ARGMAX,
    ArgmaxParams,
    WindowParams,
)
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import FALSE, FORMAT, I32, I64, Attr, Row, T, of, types
from .base import Lowered, OpDef, Site, attr_dtype, attr_ints, entries, ints

__all__ = ["DEFS"]


def _padding(site: Site) -> Literal["SAME", "VALID"]:
    padding = site.attr("padding")
    if padding in ("SAME", b"SAME"):
        return "SAME"
    if padding in ("VALID", b"VALID"):
        return "VALID"
    raise GraphError(f"{site.op} '{site.name}': padding must be SAME or VALID, got {padding!r}")


def _inner(site: Site, name: str, values: tuple[int, ...]) -> tuple[int, ...]:
    """The entries between batch and channels, where both are 1."""
    if values[0] != 1 or values[-1] != 1:
        raise site.unsupported(f"{name} {values} over batch or channels", "they must be 1 there")
    return values[1:-1]


def _pair(site: Site, name: str) -> tuple[int, int]:
    height, width = _inner(site, name, attr_ints(site, name, 4))
    return height, width


def _triple(site: Site, name: str, default: tuple[int, ...] | None = None) -> tuple[int, int, int]:
    depth, height, width = _inner(site, name, attr_ints(site, name, 5, default))
    return depth, height, width


def _volume(site: Site, pool: bool) -> VolumeParams:
    if site.attr("data_format", "NDHWC") != "NDHWC":
        raise site.unsupported(f"data_format {site.attr('data_format')}", "transpose to NDHWC")
    ones = (1,) * 5
    window = _triple(site, "ksize") if pool else (1, 1, 1)
    dilations = (1, 1, 1) if pool else _triple(site, "dilations", ones)
    return VolumeParams(window, _triple(site, "strides"), _padding(site), dilations)


def _over_volumes(contract: Contract[VolumeParams], pool: bool) -> Callable[[Site], Lowered]:
    return lambda site: Lowered(contract, _volume(site, pool))


def _transposed(site: Site) -> Lowered:
    """(sizes of the result, filter, dy)"""
    sizes = ints(site, 0, "the shape of the result")
    if len(sizes) != 5:
        raise GraphError(f"{site.op} '{site.name}': the shape of the result must have 5 sizes, got {sizes}")
    n, d, h, w, c = sizes
    return Lowered(CONV3D_INPUT_GRAD, Conv3DGradParams(_volume(site, False), (n, d, h, w, c)), (1, 2))


def _unknown_transposed(site: Site) -> tuple[TensorType, ...]:
    known = entries(site, 0)
    filters, dy = site.inputs[1], site.inputs[2]
    shape: list[int | None] = list(known) if known is not None and len(known) == 5 else [None] * 5
    if dy.shape is not None and len(dy.shape) == 5:
        shape[0] = dy.shape[0] if shape[0] is None else shape[0]
    if filters.shape is not None and len(filters.shape) == 5:
        shape[4] = filters.shape[3] if shape[4] is None else shape[4]
    return (TensorType(dy.dtype, tuple(shape)),)


def _fed_pool(site: Site) -> Lowered:
    """MaxPoolV2: (x, window, strides)"""
    if site.attr("data_format", "NHWC") != "NHWC":
        raise site.unsupported(f"data_format {site.attr('data_format')}", "transpose to NHWC")
    pairs = []
    for i, what in ((1, "ksize"), (2, "strides")):
        values = ints(site, i, what)
        if len(values) != 4:
            raise GraphError(f"{site.op} '{site.name}': {what} must have 4 entries, got {values}")
        height, width = _inner(site, what, values)
        pairs.append((height, width))
    return Lowered(MAX_POOL2D, Pool2DParams(pairs[0], pairs[1], _padding(site)), (0,))


def _unknown_pool(site: Site) -> tuple[TensorType, ...]:
    x = site.inputs[0]
    ends = (None, None) if x.shape is None or len(x.shape) != 4 else (x.shape[0], x.shape[3])
    return (TensorType(x.dtype, (ends[0], None, None, ends[1])),)


def _argmax(site: Site) -> Lowered:
    window = WindowParams(_pair(site, "ksize"), _pair(site, "strides"), padding=_padding(site))
    places = attr_dtype(site, "Targmax", np.dtype(np.int64))
    return Lowered(MAX_POOL_ARGMAX, ArgmaxParams(window, bool(site.attr("include_batch_in_index", False)), places))


def _dilation(site: Site) -> Lowered:
    return Lowered(DILATION2D, WindowParams((1, 1), _pair(site, "strides"), _pair(site, "rates"), _padding(site)))


def _patches(site: Site) -> Lowered:
    params = WindowParams(_pair(site, "ksizes"), _pair(site, "strides"), _pair(site, "rates"), _padding(site))
    return Lowered(EXTRACT_PATCHES, params)


_FORMAT3D = Attr("string", "NDHWC", allowed=("NDHWC", "NCDHW"))
_POOL3D: Row = {
    **T,
    "ksize": Attr("ints"),
    "strides": Attr("ints"),
    "padding": Attr("string"),
    "data_format": _FORMAT3D,
}
_CONV3D: Row = {
    **T, "strides": Attr("ints"), "padding": Attr("string"), "data_format": _FORMAT3D,
    "dilations": Attr("ints", (1, 1, 1, 1, 1)),
}  # fmt: skip
_F32: Any = types("float32")[0]
_STEPS: Row = {**T, "strides": Attr("ints"), "rates": Attr("ints"), "padding": Attr("string")}

DEFS: tuple[OpDef, ...] = (
    OpDef("Conv3D", _over_volumes(CONV3D, False), arity=(2, 2), attributes=_CONV3D),
    OpDef(
        "Conv3DBackpropInputV2", _transposed, arity=(3, 3), values=(0,), unknown=_unknown_transposed,
        attributes={**_CONV3D, "T": of(1), "Tshape": of(0, I32)},
    ),
    OpDef("MaxPool3D", _over_volumes(MAX_POOL3D, True), attributes=_POOL3D),
    OpDef("AvgPool3D", _over_volumes(AVG_POOL3D, True), attributes=_POOL3D),
    OpDef(
        "MaxPoolV2", _fed_pool, arity=(3, 3), values=(1, 2), unknown=_unknown_pool,
        attributes={"T": of(0, _F32), "padding": Attr("string"), "data_format": FORMAT},
    ),
    OpDef(
        "MaxPoolWithArgmax", _argmax,
        attributes={
            **T, "ksize": Attr("ints"), "strides": Attr("ints"), "padding": Attr("string"),
            "include_batch_in_index": FALSE, "Targmax": Attr("type", I64, allowed=(I32, I64)),
        },
    ),
    OpDef("Dilation2D", _dilation, arity=(2, 2), attributes=_STEPS),
    OpDef("ExtractImagePatches", _patches, attributes={**_STEPS, "ksizes": Attr("ints")}),
)  # fmt: skip
