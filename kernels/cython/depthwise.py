"""Depthwise convolution; the C side is c/depthwise.c, with the arguments of c/windows.h."""

from __future__ import annotations

from collections.abc import Sequence

from ..checks import refuse_dtypes
from ..contracts.conv2d import DEPTHWISE_CONV2D, Conv2DParams
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import BFLOAT16, Array
from .support import Bound, dtypes
from .windows import Window, dtypes_of

__all__ = ["KERNELS"]


def _prepare(query: Query[Conv2DParams], constants: Constants) -> Bound:
    g = WindowGeometry.of(query.inputs, query.outputs, query.params)
    window = Window(
        "depthwise",
        query.inputs,
        query.outputs[0],
        window=g.window,
        strides=g.strides,
        before=g.before,
        dilations=g.dilations,
        limits=ACTIVATION_LIMITS[query.params.activation],
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
        supports=lambda query: refuse_dtypes(query, (*dtypes(dtypes_of("depthwise")), BFLOAT16)),
        strided_outputs=True,
        strided_inputs=True,
        bfloat16=True,
    ),
)
