# The scratch memory that a caller gives to ``bind``. Included after _arrays.pxi by the modules that need some.


cdef char *scratch(object workspace, Py_ssize_t nbytes) except? NULL:
    """Address of a workspace of at least ``nbytes`` bytes; KernelError if it is too small."""
    cdef Py_buffer buffer
    cdef char *address
    if workspace is None or workspace.nbytes < nbytes:
        raise KernelError(f"the workspace must have {nbytes} bytes, got {workspace!r:.80}")
    PyObject_GetBuffer(workspace, &buffer, PyBUF_STRIDES | PyBUF_WRITABLE)
    address = <char *> buffer.buf
    PyBuffer_Release(&buffer)
    return address
