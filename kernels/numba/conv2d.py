"""Convolution as an implicit matrix product: rows are output pixels, columns output channels (see gemm.py).

A 1x1 convolution of stride 1 without padding reads its rows in place; every other one gathers a block of pixels
into the workspace, a copy of about 1-4 % of the time. Depthwise convolution: see depthwise.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.conv2d import CONV2D, Conv2DParams
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..devices import align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from .arrays import FLOATS, check_dense, pitch, scratch
from .gemm import Gemm
from .threads import parallel, sequence
from .window import geometry_fields

__all__ = ["KERNELS"]


@dataclass(frozen=True, slots=True)
class _Conv2D:
    """Workspace: what the product needs, then the packed weights and bias if they are not constant."""

    query: Query[Conv2DParams]
    gemm: Gemm
    geometry: dict[str, int]
    weights: np.ndarray[Any, Any] | None
    bias: np.ndarray[Any, Any] | None

    @property
    def absorbed(self) -> frozenset[int]:
        return self.query.constants & {1, 2}

    @property
    def workspace_bytes(self) -> int:
        extra = 0 if self.weights is not None else align(self.gemm.packed_bytes)
        return align(self.gemm.workspace_bytes) + extra + (0 if self.bias is not None else self.gemm.bias_bytes)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, gemm = self.query, self.gemm
        params = query.params
        x, x_pitch = pitch("input 0 of conv2d", inputs[0], query.inputs[0])
        y, y_pitch = pitch("the output of conv2d", outputs[0], query.outputs[0])
        work = scratch(workspace, self.workspace_bytes)
        at = align(gemm.workspace_bytes)
        before: list[Run] = []
        weights, bias = self.weights, self.bias
        if weights is None:
            weights = work[at : at + gemm.packed_bytes]
            at += align(gemm.packed_bytes)
            source = check_dense("input 1 of conv2d", inputs[1], query.inputs[1])
            before.append(parallel(gemm.pack_tasks(source, weights.ctypes.data, False, query.threads)))
        if bias is None:
            bias = work[at : at + gemm.bias_bytes]
            check_dense("input 2 of conv2d", inputs[2], query.inputs[2])
            before.append(gemm.bias_run(inputs[2], bias))
        low, high = ACTIVATION_LIMITS[params.activation]
        jobs = gemm.jobs(
            work, a=x, lda=x_pitch, pitch=x_pitch, b=weights.ctypes.data, c=y, ldc=y_pitch, bias=bias.ctypes.data,
            low=low, high=high, **self.geometry,
        )  # fmt: skip
        main = parallel(gemm.tasks(jobs, len(jobs)), query.threads)
        return sequence([*before, main], (inputs, outputs, work, weights, bias))


def _prepare(query: Query[Conv2DParams], constants: Constants) -> _Conv2D:
    x, w = query.inputs[:2]
    (y,) = query.outputs
    params = query.params
    g = WindowGeometry.of(query.inputs, query.outputs, params)
    rows, k, columns = prod(y.dims[:3]), prod(w.dims[:3]), w.dims[3]
    direct = (
        g.window == (1, 1)
        and g.strides == (1, 1)
        and not g.padded
        and g.channels * x.dtype.itemsize % 4096 != 0  # such rows share one set of the L1 cache
    )
    gemm = Gemm.plan(x.dtype, rows, k, columns, query.threads, gathered=not direct)
    weights = bias = None
    if 1 in query.constants:
        weights = constants.packed(1, f"numba-{gemm.layout}", gemm.pack)
    if len(query.inputs) < 3:
        bias = gemm.pack_bias(None)
    elif 2 in query.constants:
        bias = constants.packed(2, f"numba-bias-{gemm.layout}", gemm.pack_bias)
    return _Conv2D(query, gemm, geometry_fields(g), weights, bias)


KERNELS = (
    Kernel(
        CONV2D,
        "numba",
        "conv2d_gemm",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        strided_inputs=True,
        strided_outputs=True,
    ),
)
