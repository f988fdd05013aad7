"""Checks of the arrays to which a kernel is bound; the only ones between Python and raw addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import pitch_of
from ..contracts.base import shape_text
from ..errors import KernelError
from ..kernel import Query, Run
from ..records import dataclass
from ..tensor import Array, DType, TensorType, dtype_name

__all__ = ["FLOATS", "INTEGERS", "NUMBERS", "Zeros", "check", "check_dense", "pitch", "scratch"]

FLOATS: tuple[DType, ...] = tuple(map(np.dtype, ("float32", "float64")))
INTEGERS: tuple[DType, ...] = tuple(
    map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))
)
NUMBERS = FLOATS + INTEGERS


def check(what: str, array: Any, wanted: TensorType) -> np.ndarray[Any, Any]:
    """A NumPy array of exactly this type and shape, aligned to its element size."""
    if not isinstance(array, np.ndarray):
        raise KernelError(f"numba: {what} must be a numpy.ndarray, got {type(array).__name__}")
    if array.dtype != wanted.dtype or array.shape != wanted.dims:
        raise KernelError(
            f"numba: {what} is {dtype_name(array.dtype)}{shape_text(array.shape)}, the kernel was prepared for {wanted}"
        )
    if not array.flags.aligned:
        raise KernelError(f"numba: {what} is not aligned to its element size; copy it first (numpy.array(x))")
    return array


def check_dense(what: str, array: Any, wanted: TensorType) -> int:
    """Address of a dense row-major array."""
    checked = check(what, array, wanted)
    if not checked.flags.c_contiguous:
        raise KernelError(
            f"numba: {what} must be dense and row-major, got strides {checked.strides} for shape "
            f"{shape_text(checked.shape)}; use numpy.ascontiguousarray"
        )
    return checked.ctypes.data


def pitch(what: str, array: Any, wanted: TensorType) -> tuple[int, int]:
    """Address, and elements between neighbours along the last axis but one, of a dense array or a channel slice.

    The last axis must be dense and all others must have one common step, or KernelError.
    """
    x = check(what, array, wanted)
    return x.ctypes.data, pitch_of(f"numba: {what}", x)


def scratch(workspace: Array | None, nbytes: int) -> np.ndarray[Any, Any]:
    """The workspace, at least ``nbytes`` bytes long."""
    if nbytes == 0 and workspace is None:
        return np.empty(0, np.uint8)
    if workspace is None or workspace.nbytes < nbytes:
        found = "none" if workspace is None else f"{workspace.nbytes} bytes"
        raise KernelError(f"numba: the kernel needs a workspace of {nbytes} bytes, got {found}")
    result: np.ndarray[Any, Any] = workspace
    return result


@dataclass(frozen=True, slots=True)
class Zeros:
    """Sums of no terms, or an output without elements. Other axes may be huge: no loop or workspace depends on them."""

    query: Query
    absorbed: frozenset[int] = frozenset()
    workspace_bytes: int = 0

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        name, (out,) = self.query.contract.name, self.query.outputs
        for i, (x, wanted) in enumerate(zip(inputs, self.query.inputs, strict=True)):
            check(f"input {i} of {name}", x, wanted)
        y = check(f"the output of {name}", outputs[0], out)
        return lambda: y.fill(0)
