"""What the kernels written in plain NumPy share: quiet arithmetic, the accumulation type, activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts.base import Contract
from ..kernel import Kernel, Query, simple_kernel
from ..tensor import Array, DType, is_float

__all__ = ["Function", "activate", "lowest", "numpy_kernel", "wider"]

#: (inputs, outputs, params) -> None; writes into the outputs.
Function = Callable[[Sequence[Array], Sequence[Array], Any], None]

_WIDER = {np.dtype(np.float16): np.dtype(np.float32)}


def wider(dtype: DType) -> DType:
    """The type to compute in: float32 for float16, every other type as it is."""
    return _WIDER.get(dtype, dtype)


def lowest(dtype: DType) -> Any:
    """The value that never wins a maximum: -inf, or the least integer."""
    return dtype.type(-np.inf) if is_float(dtype) else np.iinfo(dtype).min


def activate(y: Array, activation: str) -> None:
    """Applies an activation in place. NaN and -0 stay: neither is below 0 or above 6."""
    if activation != "none":
        np.copyto(y, 0, where=y < 0)
    if activation == "relu6":
        np.copyto(y, 6, where=y > 6)


def numpy_kernel(
    contract: Contract[Any],
    backend: str,
    function: Function,
    *,
    supports: Callable[[Query], str | None] | None = None,
) -> Kernel:
    """A kernel of plain NumPy calls: any strides, and IEEE results (inf, NaN, wrap-around) without warnings."""

    def quiet(inputs: Sequence[Array], outputs: Sequence[Array], params: Any) -> None:
        with np.errstate(all="ignore"):
            function(inputs, outputs, params)

    if supports is None:
        return simple_kernel(contract, backend, quiet, strided=True)
    return simple_kernel(contract, backend, quiet, supports=supports, strided=True)
