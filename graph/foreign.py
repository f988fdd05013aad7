"""Arrays of other libraries as NumPy arrays, without a copy where their memory allows it.

Taken are objects with ``__dlpack__`` (PyTorch, JAX, CuPy and others) in main memory; those with ``__array_interface__``, a buffer or
``__array__`` NumPy takes itself. bfloat16, which NumPy lacks, becomes float32, which holds its values exactly: that is a copy.
An array on a GPU is refused, since a copy from there waits for all that the GPU has to do: the caller says when.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..kernels.contracts.base import MOST_AXES
from .errors import GraphError

__all__ = ["adopt", "adopt_items", "is_foreign", "widened"]

Value = np.ndarray[Any, Any]

#: DLPack's numbers of devices: those whose memory the processor reads, and names of the others.
_MAIN_MEMORY = (1, 3, 11)
_DEVICES = {2: "a CUDA device", 4: "an OpenCL device", 7: "a Vulkan device", 8: "a Metal device", 10: "a ROCm device",
    13: "CUDA's managed memory", 14: "a oneAPI device", 15: "a WebGPU device",
}  # fmt: skip
_BFLOAT = (4, 16, 1)
_REMEDY = "x.cpu() for PyTorch, cupy.asnumpy(x) for CuPy, jax.device_get(x) for JAX, x.copy_to_host() for Numba"


class _DLTensor(ctypes.Structure):
    """The beginning of DLPack's DLManagedTensor, of capsules that are named 'dltensor'."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


def is_foreign(value: Any) -> bool:
    """Whether ``adopt`` is for it: an array of another library, in main memory or on a GPU."""
    kind = type(value)
    return not isinstance(value, np.ndarray | np.generic) and (
        hasattr(kind, "__dlpack__") or hasattr(kind, "__cuda_array_interface__")
    )


def adopt(value: Any, what: str) -> Value:
    """The elements of a foreign array, sharing its memory; bfloat16 as a new float32 array. ``what``: its name in errors.

    GraphError if it is not in main memory, or its library does not give it.
    """
    name = type(value).__name__
    try:
        device = _device(value)
    except Exception as error:  # the other library's
        raise GraphError(f"{what}, a {name}, does not say where it is: {error or type(error).__name__}") from error
    if device[0] not in _MAIN_MEMORY:
        where = f"{_DEVICES.get(device[0], f'a device of kind {device[0]}')} (number {device[1]})"
        raise GraphError(f"{what}, a {name}, is on {where}, expected main memory; copy it first: {_REMEDY}")
    try:
        return np.from_dlpack(value)
    except Exception as error:
        found = _bfloat16(value)
        if found is None:
            found = _by_numpy(value)
        if found is None:
            raise GraphError(f"{what}, a {name}, cannot be read: {error or type(error).__name__}") from error
        return found


def adopt_items(value: Any, what: str, depth: int = MOST_AXES) -> Any:
    """Lists and tuples with ``adopt`` of each foreign array in them; anything else as it is."""
    if isinstance(value, list | tuple):
        return [adopt_items(item, what, depth - 1) for item in value] if depth else value
    return adopt(value, what) if is_foreign(value) else value


def widened(array: Value) -> Value:
    """float32 of an array of the package ml_dtypes' bfloat16 (as JAX and TensorFlow give); any other as it is."""
    if array.dtype.name != "bfloat16" or array.dtype.itemsize != 2:
        return array
    return _float32_of(array.view(np.uint16))


def _device(value: Any) -> tuple[int, int]:
    if not hasattr(type(value), "__dlpack__"):
        return (2, 0)  # __cuda_array_interface__ alone
    kind, number = value.__dlpack_device__()
    return (int(kind), int(number))


def _float32_of(halves: Value) -> Value:
    """bfloat16 is the upper half of a float32."""
    wide = np.empty(halves.shape, np.uint32)
    np.left_shift(halves, 16, out=wide, dtype=np.uint32)
    return wide.view(np.float32)


def _bfloat16(value: Any) -> Value | None:
    """The elements as float32 if they are bfloat16 and DLPack gives them. The capsule stays unused, and so frees them itself."""
    try:
        capsule = value.__dlpack__()
    except Exception:  # adopt raises what NumPy said
        return None
    valid = ctypes.pythonapi.PyCapsule_IsValid
    valid.argtypes, valid.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.argtypes, pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
    if not valid(capsule, b"dltensor"):
        return None
    tensor = _DLTensor.from_address(pointer(capsule, b"dltensor"))
    if (tensor.code, tensor.bits, tensor.lanes) != _BFLOAT or not 0 <= tensor.ndim <= MOST_AXES:
        return None
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    if 0 in shape:
        return np.empty(shape, np.float32)
    strides = [tensor.strides[i] for i in range(tensor.ndim)] if tensor.strides else _dense(shape)
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
    start = tensor.data + tensor.byte_offset + 2 * low
    memory = (ctypes.c_uint16 * (high - low + 1)).from_address(start)
    halves = np.ndarray(shape, np.uint16, memory, offset=-2 * low, strides=[2 * s for s in strides])
    return _float32_of(halves)  # a copy, made while the capsule lives


def _dense(shape: tuple[int, ...]) -> list[int]:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def _by_numpy(value: Any) -> Value | None:
    """By NumPy's own protocols, for what DLPack has no type for (pyarrow's bools, say)."""
    try:
        found = np.asarray(value)
    except Exception:  # adopt raises what NumPy said of DLPack, which names the remedy (detach, resolve_conj)
        return None
    return None if found.dtype == object else found
