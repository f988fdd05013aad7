"""What users write, as arrays, element types and shapes."""

from __future__ import annotations

import operator
import reprlib
import sys
from typing import Any, SupportsIndex

import numpy as np

from ..kernels.contracts.base import MOST_AXES, NUMBERS
from ..kernels.errors import OutOfMemoryError
from ..kernels.tensor import STRING, DType, Shape, dtype_name, is_int
from .errors import GraphError
from .foreign import adopt, adopt_items, is_foreign, widened
from .ir import UNKNOWN
from .symbolic import Symbolic

__all__ = ["as_array", "as_dtype", "as_shape"]

Value = np.ndarray[Any, Any]

_ALLOWED = NUMBERS | {np.dtype(bool), STRING}


def as_dtype(dtype: Any) -> DType:
    """A NumPy dtype from what users write: ki.float32, np.float32, 'float32', float, str ('string')."""
    if dtype is str or dtype is bytes or (isinstance(dtype, str) and dtype == "string"):
        return STRING
    try:
        found: DType = UNKNOWN if dtype is None else np.dtype(dtype).newbyteorder("=")
    except Exception:  # whatever NumPy, or an attribute ``dtype`` of the object, has to say
        found = UNKNOWN
    if found not in _ALLOWED:
        raise GraphError(
            f"{reprlib.repr(dtype)} is not an element type; known: {', '.join(sorted(dtype_name(d) for d in _ALLOWED))}"
        )
    return np.dtype(found.type)  # NumPy's own object for it: ufunc.at takes five times as long with another


def _encode(value: Any, what: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise GraphError(f"{what} has a text that is not Unicode: {error}; give bytes") from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise GraphError(f"{what} is not all numbers, and a string tensor holds str or bytes, got {type(value).__name__}")


def _strings(value: Any, what: str) -> Value:
    """An object array of bytes. Lists are walked here: NumPy's own string types drop zeros at the end."""
    if isinstance(value, np.ndarray) and not value.size:
        return np.empty(value.shape, object)
    shape: list[int] = []
    # A matrix is two-dimensional however often it is indexed.
    items: list[Any] = [np.asarray(value) if isinstance(value, np.ndarray) else value]
    nested = (list, tuple, np.ndarray)
    while items and all(isinstance(item, nested) and getattr(item, "ndim", 1) for item in items):
        sizes = {len(item) for item in items}
        if len(sizes) != 1:
            raise GraphError(
                f"{what} is not a regular array: lists of {min(sizes)} to {max(sizes)} elements, expected one size"
            )
        shape.append(sizes.pop())
        if len(shape) > MOST_AXES:
            raise GraphError(f"{what} has more than {MOST_AXES} axes")
        items = [inner for item in items for inner in item]
    if any(isinstance(item, (list, tuple)) for item in items):
        raise GraphError(f"{what} is not a regular array: strings beside lists")
    result = np.empty(tuple(shape), object)
    flat = result.reshape(-1)
    for i, item in enumerate(items):
        flat[i] = _encode(item[()] if isinstance(item, np.ndarray) else item, what)
    return result


def as_array(value: Any, dtype: DType | None = None, what: str = "the value") -> Value:
    """A dense array of an allowed dtype from a Python or NumPy value.

    Without ``dtype``: Python ints become int32 (int64 if one does not fit), floats float32, complex complex64, str and
    bytes string, bool bool; arrays of NumPy and of other libraries (foreign.py) keep their dtype. With ``dtype``: what
    fits is converted, anything that would lose its meaning (float to int, a number out of range, text to number) is a
    GraphError.
    """
    if isinstance(value, Symbolic):
        raise GraphError(f"{what} must be a value, got {value!r}")
    value = _of_numpy(value, what)
    typed = isinstance(value, (np.ndarray, np.generic))
    masked = sys.modules.get("numpy.ma")  # who made a masked array has imported it, 6 ms
    if masked is not None and isinstance(value, masked.MaskedArray) and masked.is_masked(value):
        raise GraphError(f"{what} has masked elements, which no tensor can have; fill them first: value.filled(0)")
    if dtype == STRING or (dtype is None and isinstance(value, (str, bytes, bytearray, memoryview))):
        return _strings(value, what)
    try:
        array = np.asarray(value)
    except MemoryError:
        raise OutOfMemoryError(f"{what} does not fit into main memory. Remedy: give it in smaller pieces") from None
    except Exception as error:  # an object's own __array__, buffer or length may raise anything
        raise GraphError(f"{what} is not a regular array: {error if str(error) else type(error).__name__}") from error
    array = widened(array)
    if not typed:
        array = _exact_integers(value, array, what)
    if array.dtype.kind in "SUOT" and array.size:
        if dtype is None:
            return _strings(value, what)
        raise GraphError(f"{what} must be {dtype_name(dtype)}, got text or objects")
    if dtype is None:
        dtype = array.dtype.newbyteorder("=") if typed else _default_dtype(array)
    if dtype not in _ALLOWED:
        raise GraphError(f"{what} has dtype {array.dtype}, which kigraph does not have")
    return _convert(array, dtype, what)


def _of_numpy(value: Any, what: str) -> Any:
    """Arrays of other libraries, and lists of them, as NumPy's; all else as it is."""
    if is_foreign(value):
        return adopt(value, what)
    return adopt_items(value, what) if isinstance(value, (list, tuple)) and is_foreign(_first_item(value)) else value


def _first_item(value: Any) -> Any:
    """What nested lists begin with."""
    for _ in range(MOST_AXES):
        if not isinstance(value, (list, tuple)) or not value:
            break
        value = value[0]
    return value


def _exact_integers(value: Any, array: Value, what: str) -> Value:
    """NumPy makes float64 or objects of Python ints beyond int64; here they stay integers, or are refused."""
    if array.dtype != object and (array.dtype != np.float64 or not array.size or not np.abs(array).max() >= 2.0**63):
        return array
    raw = np.asarray(value, object)
    if not raw.size or not all(type(item) is int for item in raw.flat):
        return array
    low, high = min(raw.flat), max(raw.flat)
    if low < 0 or high >= 2**64:
        raise GraphError(f"{what} has numbers from {low} to {high}, which no integer type of 64 bits holds")
    return raw.astype(np.uint64)


def _default_dtype(array: Value) -> DType:
    kind = array.dtype.kind
    if kind == "b":
        return np.dtype(bool)
    if kind in "iu":
        fits = not array.size or (array.min() >= -(2**31) and array.max() < 2**31)
        return np.dtype(np.int32) if fits else np.dtype(np.int64)
    return np.dtype(np.complex64) if kind == "c" else np.dtype(np.float32)


def _convert(array: Value, dtype: DType, what: str) -> Value:
    if array.dtype == dtype:
        return np.asarray(array, order="C")
    if array.size and not np.can_cast(array.dtype, dtype, "same_kind") and not (is_int(array.dtype) and is_int(dtype)):
        raise GraphError(
            f"{what} must be {dtype_name(dtype)}, got {array.dtype}; convert it first (astype) if you mean it"
        )
    if is_int(dtype) and array.size:
        bounds, low, high = np.iinfo(dtype), int(array.min()), int(array.max())
        if low < bounds.min or high > bounds.max:
            raise GraphError(f"{what} has numbers from {low} to {high}, out of range for {dtype_name(dtype)}")
    with np.errstate(over="ignore"):
        result = array.astype(dtype, order="C")
    if dtype.kind in "fc" and array.dtype.kind in "fc" and (np.isinf(result) & ~np.isinf(array)).any():
        raise GraphError(f"{what} has numbers that are too large for {dtype_name(dtype)}")
    return result


def as_shape(shape: Any) -> Shape:
    """None stays unknown; an int means one axis; None or -1 inside mean unknown sizes."""
    if shape is None:
        return None
    try:
        sizes = (shape,) if isinstance(shape, SupportsIndex) else tuple(shape)
        result = tuple(None if d is None or operator.index(d) == -1 else operator.index(d) for d in sizes)
    except Exception:  # an iterator of the caller's may raise anything
        raise GraphError(
            f"{reprlib.repr(shape)} is not a shape; expected None or a list such as [None, 299, 299, 3]"
        ) from None
    if any(d is not None and d < 0 for d in result):
        raise GraphError(f"shape {shape!r} has a negative size; use None for an unknown one")
    return result
