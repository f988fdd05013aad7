"""Max and average pooling; the C side is c/windows.h."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from ..checks import refuse_dtypes
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import BFLOAT16, Array
from .support import Bound, dtypes
from .windows import Window, dtypes_of

__all__ = ["KERNELS"]


def _prepare(kind: Literal["max", "average"], query: Query[Pool2DParams], constants: Constants) -> Bound:
    params = query.params
    y = query.outputs[0]
    g = WindowGeometry.of(query.inputs, query.outputs, params)
    window = Window(
        kind,
        query.inputs,
        y,
        window=g.window,
        strides=g.strides,
        before=g.before,
        count_padding=params.count_include_pad,
        limits=ACTIVATION_LIMITS[params.activation],
        threads=query.threads,
    )

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return window.bind(inputs, outputs[0])

    return Bound(bind)


def _supports(kind: Literal["max", "average"], query: Query) -> str | None:
    return refuse_dtypes(query, (*dtypes(dtypes_of(kind)), BFLOAT16))


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        MAX_POOL2D,
        "cython",
        "max_pool2d",
        prepare=partial(_prepare, "max"),
        supports=partial(_supports, "max"),
        strided_outputs=True,
        strided_inputs=True,
        bfloat16=True,
    ),
    Kernel(
        AVG_POOL2D,
        "cython",
        "avg_pool2d",
        prepare=partial(_prepare, "average"),
        supports=partial(_supports, "average"),
        strided_outputs=True,
        strided_inputs=True,
        bfloat16=True,
    ),
)
