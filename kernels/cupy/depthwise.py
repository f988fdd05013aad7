"""Depthwise convolution (cuda/depthwise.cu)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from ..checks import pitch_of
from ..contracts.conv2d import DEPTHWISE_CONV2D, Conv2DParams
from ..contracts.geometry import WindowGeometry
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType, is_float
from .launch import (
    ACTIVATIONS,
    C_TYPES,
    THREADS,
    Build,
    Function,
    Launch,
    Launcher,
    LaunchPrepared,
    dense,
    grid_for,
    launched,
    pointer,
    types_only,
)
from .windows import reaches_too_far, window_fields

__all__ = ["BUILDS", "KERNELS", "DepthwiseShape"]

_FLOATS = frozenset(d for d in C_TYPES if is_float(d))

_INT_FIELDS = (
    "h", "w", "multiplier", "kh", "kw", "oh", "ow", "cout", "stride_h", "stride_w", "pad_top", "pad_left",
    "dilation_h", "dilation_w", "x_pitch", "y_pitch", "activation",
)  # fmt: skip


class DepthwiseShape(ctypes.Structure):
    """Mirrors DepthwiseShape of depthwise.cu."""

    _fields_ = (*((name, ctypes.c_int) for name in _INT_FIELDS), ("total", ctypes.c_longlong))


def _build(dtype: DType) -> Build:
    return Build("depthwise.cu", (("ELEMENT", C_TYPES[dtype]),))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple(
    (_build(d), ("depthwise_conv2d",)) for d in C_TYPES if d in _FLOATS
)


def _prepare(launcher: Launcher, query: Query[Conv2DParams], constants: Constants) -> Prepared:
    params = query.params
    g, multiplier = WindowGeometry.of(query.inputs, query.outputs, params), query.inputs[1].dims[3]
    n, oh, ow, cout = query.outputs[0].dims
    function = Function(_build(query.inputs[0].dtype), "depthwise_conv2d")

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        x, weights = inputs[:2]
        bias = inputs[2] if len(inputs) > 2 else None
        (y,) = outputs
        if not y.size:
            return []
        for array in inputs[1:]:
            dense("the weights", array)
        shape = DepthwiseShape(
            multiplier=multiplier, cout=cout, **window_fields(g),
            x_pitch=pitch_of("cupy: the input", x), y_pitch=pitch_of("cupy: the output", y),
            activation=ACTIVATIONS[params.activation], total=n * oh * ow * cout,
        )  # fmt: skip
        arguments = (*(pointer(launcher, a) for a in (x, weights, bias, y)), shape)
        return [Launch(function, grid_for(y.size), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _supports(query: Query[Conv2DParams]) -> str | None:
    return types_only(query, _FLOATS) or reaches_too_far(WindowGeometry.of(query.inputs, query.outputs, query.params))


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        DEPTHWISE_CONV2D,
        "cupy",
        "depthwise_conv2d",
        prepare=launched(_prepare),
        supports=_supports,
        strided_outputs=True,
        strided_inputs=True,
    ),
)
