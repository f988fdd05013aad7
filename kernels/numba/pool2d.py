"""Max and average pooling (the kernel is in window.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ..contracts.pool2d import AVG_POOL2D, MAX_POOL2D
from ..types import Array, Constants, Kernel, Query, Run
from .border import FLOATS, NUMBERS, refuse_dtype
from .window import WindowRun, plan_windows

__all__ = ["KERNELS"]


@dataclass(frozen=True, slots=True)
class _Pool2D:
    window: WindowRun
    absorbed: frozenset[int] = frozenset()

    @property
    def workspace_bytes(self) -> int:
        return self.window.workspace_bytes

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return self.window.bind(inputs[0], outputs[0], workspace)


def _prepare_max(query: Query, constants: Constants) -> _Pool2D:
    params: Any = query.params
    return _Pool2D(plan_windows(query, "max", params.window, params.strides, params.padding))


def _prepare_avg(query: Query, constants: Constants) -> _Pool2D:
    params: Any = query.params
    divisor = prod(params.window) if params.count_include_pad else 0
    return _Pool2D(plan_windows(query, "mean", params.window, params.strides, params.padding, divisor=divisor))


def _kernel(contract: Any, prepare: Callable[[Query, Constants], _Pool2D], dtypes: Any) -> Kernel:
    return Kernel(
        contract,
        "numba",
        contract.name,
        prepare=prepare,
        supports=lambda query: refuse_dtype(query, dtypes),
        strided_inputs=True,
        strided_outputs=True,
    )


KERNELS = (_kernel(MAX_POOL2D, _prepare_max, NUMBERS), _kernel(AVG_POOL2D, _prepare_avg, FLOATS))
