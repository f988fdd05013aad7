"""Values: element types, shapes, and TensorType, which is both."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import numpy as np

from .records import dataclass

__all__ = [
    "BFLOAT16",
    "STRING",
    "Array",
    "DType",
    "Dim",
    "Params",
    "Shape",
    "TensorType",
    "dtype_name",
    "is_float",
    "is_int",
]

#: A size along one axis; None = unknown until run time.
Dim = int | None
#: The sizes of all axes; None = even the number of axes is unknown.
Shape = tuple[Dim, ...] | None
DType = np.dtype[Any]
#: An array of the device that the kernel runs on (numpy.ndarray or cupy.ndarray).
Array = Any
#: The element type of strings and bytes: NumPy object arrays that hold ``bytes``.
STRING: DType = np.dtype(object)
#: Two bytes, the upper half of a float32. NumPy has no such numbers: only kernels and plans see arrays of it
#: (kernels/bfloat16.py converts them); what is fed and fetched is float32.
BFLOAT16: DType = np.dtype("V2")


@cache  # NumPy builds the name anew each time
def dtype_name(dtype: DType) -> str:
    """The user's word for an element type: 'float32', 'string', ..."""
    return "string" if dtype == STRING else "bfloat16" if dtype == BFLOAT16 else dtype.name


def is_float(dtype: DType) -> bool:
    """Whether an element type is a real floating-point number."""
    return dtype.kind == "f"


def is_int(dtype: DType) -> bool:
    """Whether an element type is an integer, signed or not; bool is none."""
    return dtype.kind in "iu"


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and (partly known) shape of a tensor."""

    dtype: DType
    shape: Shape = None

    @property
    def known(self) -> bool:
        """True if every size is known."""
        return self.shape is not None and None not in self.shape

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape, for code that needs it fully known."""
        if self.shape is None or None in self.shape:
            raise ValueError(f"shape of {self} is not fully known")
        return self.shape  # type: ignore[return-value]

    @property
    def size(self) -> int:
        """Number of elements (shape fully known)."""
        return prod(self.dims)

    @property
    def nbytes(self) -> int:
        """Bytes of the dense array (shape fully known)."""
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        if self.shape is None:
            return f"{dtype_name(self.dtype)}[...]"
        return f"{dtype_name(self.dtype)}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True, slots=True)
class Params:
    """Base of the frozen parameter records. A contract without parameters uses it as it is."""
