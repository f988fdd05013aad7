# From Python arrays to C: every array is checked here, once per bind, and nowhere else.
# Included textually by the modules, so that they share no Cython types.

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer

from ..errors import DTypeError, KernelError, ShapeError
from ..tensor import dtype_name
from . import core


cdef extern from "table.h" nogil:
    ctypedef struct ki_table
    enum:
        KI_DTYPES


cdef const ki_table *TABLE = <const ki_table *> PyCapsule_GetPointer(
    core.TABLE, "kigraph.kernels.cython.core.TABLE"
)


#: Position of an element type in the rows of the table.
DTYPE_INDEX = {name: i for i, name in enumerate(core.DTYPES)}


cdef struct View:
    char *data
    # Elements between neighbours along the last axis but one. The last axis is dense; this pitch holds for all others.
    Py_ssize_t pitch


cdef View view(object array, object expected, str what, bint writable, bint pitched) except *:
    """Address and pitch of an array that must have the expected TensorType.

    Raises ShapeError, DTypeError or KernelError (layout, alignment, read-only). ``pitched``: a channel slice is fine.
    """
    cdef Py_buffer buffer
    cdef View result
    cdef Py_ssize_t step, pitch
    cdef int axis
    if array.dtype != expected.dtype:
        raise DTypeError(f"{what} has dtype {dtype_name(array.dtype)}; the kernel was prepared for {expected}")
    if array.shape != expected.shape:
        raise ShapeError(f"{what} has shape {array.shape}; the kernel was prepared for {expected}")
    if writable and not array.flags.writeable:
        raise KernelError(f"{what} is read-only; the kernel writes into it. Give a writeable array")
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
    try:
        result.data = <char *> buffer.buf
        pitch = buffer.shape[buffer.ndim - 1] if buffer.ndim else 1
        if buffer.len:
            if <size_t> buffer.buf % <size_t> buffer.itemsize:
                raise KernelError(
                    f"{what} starts at an address that is no multiple of its element size {buffer.itemsize}; "
                    "copy it first (numpy.require(x, requirements='A'))"
                )
            if pitched:
                pitch = _common_pitch(&buffer)
            else:
                step = buffer.itemsize
                for axis in range(buffer.ndim - 1, -1, -1):
                    if buffer.shape[axis] != 1 and buffer.strides[axis] != step:
                        pitch = -1
                    step *= buffer.shape[axis]
            if pitch < 0:
                raise KernelError(
                    f"{what} has strides {array.strides} for shape {array.shape}; expected "
                    + ("a dense last axis and one common pitch of the others" if pitched else "a dense array")
                    + ". Copy it first (numpy.ascontiguousarray)"
                )
        result.pitch = pitch
    finally:
        PyBuffer_Release(&buffer)
    return result


cdef Py_ssize_t _common_pitch(const Py_buffer *buffer) noexcept:
    """The pitch in elements, or -1 if the layout is not a channel slice of a dense array."""
    cdef Py_ssize_t count = 1, pitch = -1
    cdef int axis, last = buffer.ndim - 1
    if buffer.ndim == 0:
        return 1
    if buffer.shape[last] != 1 and buffer.strides[last] != buffer.itemsize:
        return -1
    for axis in range(last - 1, -1, -1):
        if buffer.shape[axis] != 1:
            if pitch < 0:
                if buffer.strides[axis] % (count * buffer.itemsize) != 0:
                    return -1
                pitch = buffer.strides[axis] // (count * buffer.itemsize)
                if pitch < buffer.shape[last]:
                    return -1
            elif buffer.strides[axis] != count * pitch * buffer.itemsize:
                return -1
        count *= buffer.shape[axis]
    return buffer.shape[last] if pitch < 0 else pitch
