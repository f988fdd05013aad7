"""What kernels of every backend check in the same way: element types, and the strides of arrays."""

from __future__ import annotations

from collections.abc import Iterable

from .contracts.base import shape_text
from .errors import KernelError
from .kernel import Query
from .tensor import Array, DType, dtype_name

__all__ = ["pitch_of", "refuse_dtypes"]


def refuse_dtypes(query: Query, allowed: Iterable[DType], index: int = 0) -> str | None:
    """For ``Kernel.supports``: a reason if an input's element type is none of those that the kernel takes."""
    dtype, taken = query.inputs[index].dtype, tuple(allowed)
    if dtype in taken:
        return None
    return f"takes {', '.join(sorted(map(dtype_name, taken)))}, not {dtype_name(dtype)}"


def pitch_of(what: str, array: Array) -> int:
    """Elements from one row (all axes but the last) to the next: of a dense array, or of a channel slice of one.

    The last axis must be dense and all others must have one common pitch, or KernelError. ``what`` names the array.
    """
    last = int(array.shape[-1]) if array.ndim else 1
    if array.size == 0 or array.ndim == 0:
        return last
    size, pitch, rows = array.dtype.itemsize, 0, 1
    fits = last == 1 or array.strides[-1] == size
    for n, stride in zip(array.shape[-2::-1], array.strides[-2::-1], strict=True):
        if n > 1:
            step, left_over = divmod(stride, rows * size)
            fits = fits and not left_over and step >= last and pitch in (0, step)
            pitch = step
        rows *= n
    if not fits:
        raise KernelError(
            f"{what} of shape {shape_text(tuple(array.shape))} has byte strides {array.strides}; expected a dense last axis and one "
            "common pitch for all others (a dense array or a channel slice of one). Copy it first (numpy.ascontiguousarray)"
        )
    return int(pitch) or last
