"""Max and average pooling (the kernel is in window.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from .arrays import FLOATS, NUMBERS, check_dense
from .window import WindowRun, plan_windows

__all__ = ["KERNELS"]


@dataclass(frozen=True, slots=True)
class _Pool2D:
    window: WindowRun
    #: Instead of a bias, where the kernel adds one and there is none.
    zeros: np.ndarray[Any, Any] | None = None
    absorbed: frozenset[int] = frozenset()

    @property
    def workspace_bytes(self) -> int:
        return self.window.workspace_bytes

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        bias = 0
        if len(inputs) > 1:
            bias = check_dense("input 1 of avg_pool2d", inputs[1], self.window.query.inputs[1])
        elif self.zeros is not None:
            bias = self.zeros.ctypes.data
        return self.window.bind(inputs[0], outputs[0], workspace, (inputs, self.zeros), bias=bias)


def _prepare_max(query: Query[Pool2DParams], constants: Constants) -> _Pool2D:
    return _Pool2D(plan_windows(query, "max", WindowGeometry.of(query.inputs, query.outputs, query.params)))


def _prepare_avg(query: Query[Pool2DParams], constants: Constants) -> _Pool2D:
    params = query.params
    divisor = float(prod(params.window)) if params.count_include_pad else 0.0
    geometry = WindowGeometry.of(query.inputs, query.outputs, params)
    if len(query.inputs) == 1 and params.activation == "none":
        return _Pool2D(plan_windows(query, "mean", geometry, divisor=divisor))
    low, high = ACTIVATION_LIMITS[params.activation]
    x = query.inputs[0]
    zeros = np.zeros(x.dims[-1], x.dtype) if len(query.inputs) == 1 else None
    return _Pool2D(plan_windows(query, "mean_bias", geometry, divisor=divisor, low=low, high=high), zeros)


def _kernel(contract: Any, prepare: Callable[[Query, Constants], _Pool2D], dtypes: Any) -> Kernel:
    return Kernel(
        contract,
        "numba",
        contract.name,
        prepare=prepare,
        supports=lambda query: refuse_dtypes(query, dtypes),
        strided_inputs=True,
        strided_outputs=True,
    )


KERNELS = (_kernel(MAX_POOL2D, _prepare_max, NUMBERS), _kernel(AVG_POOL2D, _prepare_avg, FLOATS))
