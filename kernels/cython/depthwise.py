"""Depthwise convolution; the C side is c/windows.h."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts.conv2d import DEPTHWISE_CONV2D, Conv2DParams, explicit_padding
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .support import ACTIVATION_LIMITS, Bound, refuse_dtype
from .windows import Window, dtypes_of

__all__ = ["KERNELS"]


def _prepare(query: Query[Conv2DParams], constants: Constants) -> Bound:
    params = query.params
    _, height, width, _ = query.inputs[0].dims
    kh, kw, _, _ = query.inputs[1].dims
    top, _, left, _ = explicit_padding(params.padding, (height, width), (kh, kw), params.strides, params.dilations)
    window = Window(
        "depthwise",
        query.inputs,
        query.outputs[0],
        window=(kh, kw),
        strides=params.strides,
        before=(top, left),
        dilations=params.dilations,
        limits=ACTIVATION_LIMITS[params.activation],
        threads=query.threads,
    )

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return window.bind(inputs, outputs[0])

    return Bound(bind)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        DEPTHWISE_CONV2D,
        "cython",
        "depthwise_conv2d",
        prepare=_prepare,
        supports=lambda query: refuse_dtype(query, dtypes_of("depthwise")),
        strided_outputs=True,
        strided_inputs=True,
    ),
)
