"""Element types as TensorFlow 1 has them: objects with a name, that compare with NumPy's types and with texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graph.ir import LIST, UNKNOWN
from ...graph.values import as_dtype as core_dtype
from ...kernels.tensor import STRING

__all__ = ["DTYPES", "DType", "as_dtype", "numpy_dtype"]


class DType:
    """One element type; there is one object per type."""

    __slots__ = ("as_numpy_dtype", "name", "np")

    def __init__(self, name: str, dtype: np.dtype[Any]) -> None:
        self.name = name
        #: The type as kigraph's graph has it.
        self.np = dtype
        self.as_numpy_dtype: Any = np.object_ if dtype == STRING else dtype.type

    @property
    def base_dtype(self) -> DType:
        return self

    @property
    def real_dtype(self) -> DType:
        return as_dtype(np.zeros(0, self.np).real.dtype) if self.is_complex else self

    @property
    def is_floating(self) -> bool:
        return self.np.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.np.kind in "iu"

    @property
    def is_complex(self) -> bool:
        return self.np.kind == "c"

    @property
    def is_bool(self) -> bool:
        return self.np.kind == "b"

    @property
    def size(self) -> int:
        return 1 if self.np == STRING else self.np.itemsize

    @property
    def min(self) -> Any:
        """The least value of a type of numbers."""
        return np.iinfo(self.np).min if self.is_integer else np.finfo(self.np).min

    @property
    def max(self) -> Any:
        """The largest value of a type of numbers."""
        return np.iinfo(self.np).max if self.is_integer else np.finfo(self.np).max

    def is_compatible_with(self, other: Any) -> bool:
        return self == as_dtype(other)

    def __eq__(self, other: object) -> bool:
        if other is None:
            return False
        try:
            return self.np == numpy_dtype(other)
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.np)

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"


_NAMES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "complex64",
)  # fmt: skip
_ALL = {
    **{name: DType(name, np.dtype(name)) for name in _NAMES},
    "bool": DType("bool", np.dtype(np.bool_)),
    "string": DType("string", STRING),
}
#: Name in the module -> element type.
DTYPES: dict[str, DType] = {
    **_ALL,
    "half": _ALL["float16"],
    "double": _ALL["float64"],
}
#: What TensorFlow means by Python's types and by some texts.
_ALIASES: dict[Any, str] = {
    float: "float32", "float": "float32", int: "int32", "int": "int32", bool: "bool", object: "string", np.object_: "string",
    str: "string", bytes: "string", "half": "float16", "double": "float64",
}  # fmt: skip
_BY_NUMPY = {d.np: d for d in _ALL.values()}
_VARIANT = DType("variant", LIST)
_RESOURCE = DType("unknown", UNKNOWN)


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """The element type of kigraph's graph from what TensorFlow's programs write; TypeError for anything else."""
    if isinstance(dtype, DType):
        return dtype.np
    try:
        known = _ALIASES.get(dtype) if isinstance(dtype, (str, type)) else None
        return core_dtype(dtype) if known is None else _ALL[known].np
    except Exception as error:
        raise TypeError(f"cannot convert {dtype!r} to an element type: {error}") from None


def as_dtype(dtype: Any) -> DType:
    """The DType of a DType, a NumPy type or a text; TypeError for anything else."""
    if isinstance(dtype, DType):
        return dtype
    if isinstance(dtype, np.dtype) and dtype in (LIST, UNKNOWN):
        return _VARIANT if dtype == LIST else _RESOURCE
    return _BY_NUMPY[numpy_dtype(dtype)]
