"""Python values to arrays and constants, and the values of tensors that are known while a graph is built."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.contracts.base import FLOATS, NUMBERS
from ..kernels.types import STRING, DType, dtype_name
from .errors import GraphError, UnsupportedOpError
from .evaluate import evaluate
from .handles import Tensor
from .ir import UNKNOWN
from .opdefs import Site

__all__ = ["as_array", "as_dtype", "constant_value"]

Value = np.ndarray[Any, Any]

_ALLOWED = NUMBERS | {np.dtype(bool), STRING}
#: Elements above which nothing is evaluated while a graph is built.
_SMALL = 4096
_DEPTH = 32


def as_dtype(dtype: Any) -> DType:
    """A NumPy dtype from what users write: ki.float32, np.float32, 'float32', float, str ('string')."""
    if dtype in ("string", str, bytes):
        return STRING
    try:
        found: DType = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        found = UNKNOWN
    if found not in _ALLOWED:
        raise GraphError(
            f"{dtype!r} is not an element type; known: {', '.join(sorted(dtype_name(d) for d in _ALLOWED))}"
        )
    return found


def _encode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview, np.bytes_)):
        return bytes(value)
    raise GraphError(f"a string tensor holds str or bytes, got {type(value).__name__}")


def _strings(value: Any) -> Value:
    raw = np.asarray(value, dtype=object)
    result = np.empty(raw.shape, object)
    flat = result.reshape(-1) if raw.shape else None
    if flat is None:
        result[()] = _encode(raw[()])
    else:
        for i, item in enumerate(raw.reshape(-1)):
            flat[i] = _encode(item)
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
    if dtype == STRING:
        return _strings(value)
    if isinstance(value, (str, bytes, bytearray, memoryview)) and dtype is None:
        return _strings(value)
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise GraphError(f"{what} is not a regular array: {error}") from None
    if array.dtype.kind in "SUO" and array.size:
        if dtype is None:
            return _strings(array)
        raise GraphError(f"{what} must be {dtype_name(dtype)}, got text or objects")
    if dtype is None:
        dtype = array.dtype.newbyteorder("=") if typed else _default_dtype(array)
    if dtype not in _ALLOWED:
        raise GraphError(f"{what} has dtype {array.dtype}, which kigraph does not have")
    return _convert(array, dtype, what)


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
    if (
        array.size
        and not np.can_cast(array.dtype, dtype, "same_kind")
        and not (array.dtype.kind in "iu" and dtype.kind in "iu")
    ):
        raise GraphError(
            f"{what} must be {dtype_name(dtype)}, got {array.dtype}; convert it first (astype) if you mean it"
        )
    if dtype.kind in "iu" and array.size:
        bounds = np.iinfo(dtype)
        if array.min() < bounds.min or array.max() > bounds.max:
            raise GraphError(
                f"{what} has numbers from {array.min()} to {array.max()}, out of range for {dtype_name(dtype)}"
            )
    with np.errstate(over="ignore"):
        result = array.astype(dtype, order="C")
    if dtype in FLOATS and np.isinf(result).any() and not np.isinf(array).any():
        raise GraphError(f"{what} has numbers that are too large for {dtype_name(dtype)}")
    return result


def constant_value(tensor: Tensor, depth: int = _DEPTH) -> Value | None:
    """The value of a tensor if it is known while the graph is built (small constants and what follows from them)."""
    op = tensor.op
    if op.type == "Const":
        literal = op.attrs["value"]
        return literal.array() if literal.type.size <= _SMALL else None
    if depth == 0 or (not op.inputs and op.type != "Range") or any(t.dtype == UNKNOWN for t in op.inputs):
        return None
    small = tensor.type.known and tensor.type.size <= _SMALL
    if not small and op.type not in ("Shape", "Size", "Rank", "StridedSlice", "Pack"):
        return None
    memo: dict[int, Value | None] = {}

    def value_of(index: int) -> Value | None:
        if index not in memo:
            memo[index] = constant_value(op.inputs[index], depth - 1)
        return memo[index]

    site = Site(op.name, op.type, op.attrs, tuple(t.type for t in op.inputs), value_of)
    try:
        if op.type in ("Shape", "Size", "Rank"):
            outputs = evaluate(site, ())
        else:
            inputs = [value_of(i) for i in range(len(op.inputs))]
            outputs = None if any(v is None for v in inputs) else evaluate(site, inputs)
    except UnsupportedOpError:
        return None
    return None if outputs is None else outputs[tensor.index]
