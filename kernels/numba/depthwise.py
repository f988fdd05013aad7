"""Depthwise convolution: one filter per channel. The kernel is in window.py; with a multiplier m it
reads a copy of x that has every channel m times."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.conv2d import DEPTHWISE_CONV2D, Conv2DParams
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..devices import align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, TensorType
from .arrays import FLOATS, check, check_dense, scratch
from .threads import sequence
from .window import WindowRun, plan_windows

__all__ = ["KERNELS"]

NDArray = np.ndarray[Any, Any]


def _operands(query: Query[Conv2DParams], constants: Constants) -> tuple[NDArray | None, NDArray | None]:
    """Weights and bias as far as they are known; a missing bias is zeros."""
    weights = bias = None
    if 1 in query.constants:
        weights = constants.packed(1, "numba-dense", np.array)
    if len(query.inputs) < 3:
        bias = np.zeros(query.outputs[0].dims[-1], query.inputs[0].dtype)
    elif 2 in query.constants:
        bias = constants.packed(2, "numba-dense", np.array)
    return weights, bias


def _addresses(
    query: Query[Conv2DParams], inputs: Sequence[Array], weights: NDArray | None, bias: NDArray | None
) -> tuple[int, int]:
    op = "depthwise_conv2d"
    w = check_dense(f"input 1 of {op}", inputs[1], query.inputs[1]) if weights is None else weights.ctypes.data
    b = check_dense(f"input 2 of {op}", inputs[2], query.inputs[2]) if bias is None else bias.ctypes.data
    return w, b


@dataclass(frozen=True, slots=True)
class _Depthwise:
    """Workspace: that of the windows; with a multiplier m also x with every channel m times."""

    query: Query[Conv2DParams]
    window: WindowRun
    weights: NDArray | None
    bias: NDArray | None

    @property
    def absorbed(self) -> frozenset[int]:
        return self.query.constants & {1, 2}

    @property
    def _repeats(self) -> bool:
        return self.window.query.inputs[0] != self.query.inputs[0]

    @property
    def _repeated_bytes(self) -> int:
        return align(self.window.query.inputs[0].nbytes) if self._repeats else 0

    @property
    def workspace_bytes(self) -> int:
        return self._repeated_bytes + self.window.workspace_bytes

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        weights, bias = _addresses(self.query, inputs, self.weights, self.bias)
        keep = (*inputs, self.weights, self.bias)
        work = scratch(workspace, self.workspace_bytes)
        unknown = inputs[1] if self.weights is None else None
        if not self._repeats:
            return self.window.bind(inputs[0], outputs[0], work, keep, weights, bias, unknown)
        x = check("input 0 of depthwise_conv2d", inputs[0], self.query.inputs[0])
        wide = self.window.query.inputs[0]
        repeated = work[: wide.nbytes].view(wide.dtype).reshape((*x.shape, self.query.inputs[1].dims[3]))
        main = self.window.bind(
            repeated.reshape(wide.dims), outputs[0], work[self._repeated_bytes :], keep, weights, bias, unknown
        )
        return sequence([functools.partial(np.copyto, repeated, x[..., None]), main], work)


def _prepare(query: Query[Conv2DParams], constants: Constants) -> _Depthwise:
    params = query.params
    low, high = ACTIVATION_LIMITS[params.activation]
    x = query.inputs[0]
    weights, bias = _operands(query, constants)
    # A zero times a finite weight adds nothing, and padding is left out.
    multiplies = weights is None or not bool(np.isfinite(weights).all())
    wide = TensorType(x.dtype, (*x.dims[:3], query.outputs[0].dims[-1]))
    of_wide = replace(query, inputs=(wide, *query.inputs[1:]))
    geometry = WindowGeometry.of(of_wide.inputs, of_wide.outputs, params)
    plan = plan_windows(of_wide, "depthwise", geometry, multiplies_padding=multiplies, low=low, high=high)
    return _Depthwise(query, plan, weights, bias)


KERNELS = (
    Kernel(
        DEPTHWISE_CONV2D,
        "numba",
        "depthwise_conv2d",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        strided_inputs=True,
        strided_outputs=True,
    ),
)
