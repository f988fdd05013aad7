"""Python values to arrays and constants, and the values of tensors that are known while a graph is built."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.contracts.base import MOST_AXES, NUMBERS
from ..kernels.errors import KigraphError, OutOfMemoryError
from ..kernels.tensor import STRING, DType, Shape, TensorType, dtype_name, is_int
from .errors import GraphError
from .evaluate import evaluate
from .handles import Operation, Tensor
from .ir import UNKNOWN
from .opdefs import DESCRIBES, Site

__all__ = ["as_array", "as_dtype", "constant_value", "known_sizes", "site_of_operation"]

Value = np.ndarray[Any, Any]

_ALLOWED = NUMBERS | {np.dtype(bool), STRING}
#: Elements above which nothing is evaluated while a graph is built.
_SMALL = 4096
_DEPTH = 32


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
    return found


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
    bytes string, bool bool; NumPy values keep their dtype. With ``dtype``: what fits is converted, anything that would
    lose its meaning (float to int, a number out of range, text to number) is a GraphError.
    """
    if isinstance(value, Tensor):
        raise GraphError(f"{what} must be a value, got {value!r}")
    typed = isinstance(value, (np.ndarray, np.generic))
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise GraphError(f"{what} has masked elements, which no tensor can have; fill them first: value.filled(0)")
    if dtype == STRING or (dtype is None and isinstance(value, (str, bytes, bytearray, memoryview))):
        return _strings(value, what)
    try:
        array = np.asarray(value)
    except MemoryError:
        raise OutOfMemoryError(f"{what} does not fit into main memory. Remedy: give it in smaller pieces") from None
    except Exception as error:  # an object's own __array__, buffer or length may raise anything
        raise GraphError(f"{what} is not a regular array: {error if str(error) else type(error).__name__}") from error
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


def site_of_operation(op: Operation, value_of: Callable[[Tensor], Value | None]) -> Site:
    """An operation of the builder as its op definition sees it."""
    types = tuple(t.type for t in op.inputs)
    return Site(op.name, op.type, op.attrs, types, lambda i: value_of(op.inputs[i]))


def constant_value(tensor: Tensor, depth: int = _DEPTH, memo: dict[Tensor, Value | None] | None = None) -> Value | None:
    """The value of a tensor if it is known while the graph is built (small constants and what follows from them)."""
    known = {} if memo is None else memo
    if tensor not in known:
        known[tensor] = None  # what is deeper than ``depth`` stays unknown
        known[tensor] = _evaluated(tensor, depth, known)
    return known[tensor]


def _evaluated(tensor: Tensor, depth: int, memo: dict[Tensor, Value | None]) -> Value | None:
    op = tensor.op
    if op.type == "Const":
        literal = op.attrs["value"]
        return literal.array() if literal.type.size <= _SMALL else None
    if depth == 0 or (not op.inputs and op.type != "Range") or any(t.dtype == UNKNOWN for t in op.inputs):
        return None
    small = tensor.type.known and tensor.type.size <= _SMALL
    if not small and op.type not in DESCRIBES and op.type not in ("StridedSlice", "Pack"):
        return None
    site = site_of_operation(op, lambda t: constant_value(t, depth - 1, memo))
    try:
        if op.type in DESCRIBES:
            outputs = evaluate(site, ())
        else:
            inputs = [constant_value(t, depth - 1, memo) for t in op.inputs]
            outputs = None if any(v is None for v in inputs) else evaluate(site, inputs)
    except KigraphError:  # not an error before it runs
        return None
    return None if outputs is None else outputs[tensor.index]


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add, "AddV2": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Maximum": max, "Minimum": min,
}  # fmt: skip


def known_sizes(tensor: Tensor, depth: int = _DEPTH, memo: dict[Tensor, Shape] | None = None) -> Shape:
    """Entries of a vector (or scalar) of integers that are known while the graph is built, None for the others.

    So ``reshape(x, [shape(x)[0], -1])`` keeps what is known of x, whatever its batch size is.
    """
    known = {} if memo is None else memo
    if depth == 0 or not is_int(tensor.dtype) or tensor.type.rank not in (0, 1):
        return None
    if tensor not in known:
        known[tensor] = None
        value = constant_value(tensor)
        known[tensor] = _sizes(tensor, depth, known) if value is None else tuple(int(v) for v in value.reshape(-1))
    return known[tensor]


def _sizes(tensor: Tensor, depth: int, memo: dict[Tensor, Shape]) -> Shape:
    op = tensor.op
    if op.type == "Shape":
        return op.inputs[0].shape
    parts = [known_sizes(t, depth - 1, memo) for t in op.inputs]
    if op.type in ("Identity", "Cast", "ExpandDims", "Squeeze", "Reshape"):
        return parts[0]
    if op.type == "Pack":
        return tuple(None if p is None else p[0] for p in parts)
    if op.type == "ConcatV2":
        return None if any(p is None for p in parts[:-1]) else tuple(d for p in parts[:-1] if p is not None for d in p)
    if op.type == "StridedSlice" and parts[0] is not None:
        return _picked_sizes(tensor, parts[0])
    if op.type in _ARITHMETIC and parts[0] is not None and parts[1] is not None:
        length = max(len(parts[0]), len(parts[1]))
        pairs = zip(*(p * length if len(p) == 1 else p for p in (parts[0], parts[1])), strict=True)
        return tuple(None if a is None or b is None else _ARITHMETIC[op.type](a, b) for a, b in pairs)
    if op.type == "Prod" and parts[0] is not None and None not in parts[0] and tensor.type.rank == 0:
        return (math.prod(d for d in parts[0] if d is not None),)
    return None


def _picked_sizes(tensor: Tensor, sizes: tuple[int | None, ...]) -> Shape:
    """The entries that a StridedSlice takes of a vector: the same slice is taken of the positions 0, 1, ..."""
    op = tensor.op
    bounds = [constant_value(t) for t in op.inputs[1:]]
    if any(b is None for b in bounds):
        return None
    dtype = op.inputs[0].dtype
    if len(sizes) > np.iinfo(dtype).max:
        return None
    vector = TensorType(dtype, (len(sizes),))
    types = (vector, *(t.type for t in op.inputs[1:]))
    site = Site(op.name, op.type, op.attrs, types, lambda i: bounds[i - 1] if i else None)
    outputs = evaluate(site, [np.arange(len(sizes), dtype=dtype), *bounds])
    return None if outputs is None else tuple(sizes[int(i)] for i in outputs[0].reshape(-1))
