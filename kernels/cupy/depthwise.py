"""Depthwise convolution (cuda/depthwise.cu)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial

from ..contracts.conv2d import DEPTHWISE_CONV2D, Conv2DParams, explicit_padding
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
    pitch_of,
    pointer,
    reaches_too_far,
    types_only,
)

__all__ = ["BUILDS", "DepthwiseShape", "kernels"]

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
    _, h, w, _ = query.inputs[0].dims
    kh, kw, _, multiplier = query.inputs[1].dims
    n, oh, ow, cout = query.outputs[0].dims
    top, _, left, _ = explicit_padding(params.padding, (h, w), (kh, kw), params.strides, params.dilations)
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
            h=h, w=w, multiplier=multiplier, kh=kh, kw=kw, oh=oh, ow=ow, cout=cout,
            stride_h=params.strides[0], stride_w=params.strides[1],
            dilation_h=params.dilations[0], dilation_w=params.dilations[1], pad_top=top, pad_left=left,
            x_pitch=pitch_of("the input", x), y_pitch=pitch_of("the output", y),
            activation=ACTIVATIONS[params.activation], total=n * oh * ow * cout,
        )  # fmt: skip
        arguments = (*(pointer(launcher, a) for a in (x, weights, bias, y)), shape)
        return [Launch(function, grid_for(y.size), THREADS, arguments)]

    return LaunchPrepared(launcher, launches)


def _supports(query: Query[Conv2DParams]) -> str | None:
    (_, h, w, _), (kh, kw, *_) = (t.dims for t in query.inputs[:2])
    params = query.params
    far = reaches_too_far((h, w), (kh, kw), params.strides, params.dilations, params.padding)
    return types_only(query, _FLOATS) or far


def kernels(launcher: Launcher) -> tuple[Kernel, ...]:
    return (
        Kernel(
            DEPTHWISE_CONV2D,
            "cupy",
            "depthwise_conv2d",
            prepare=partial(_prepare, launcher),
            supports=_supports,
            strided_outputs=True,
            strided_inputs=True,
        ),
    )
