# TensorFlow's random numbers: c/philox.h. Included by loops.pyx.

from libc.stdint cimport uint64_t


cdef extern from "philox.h" nogil:
    ctypedef struct ki_philox_args:
        uint64_t key, low, high
        const uint64_t *offsets
        ptrdiff_t count
        void *y
    ctypedef void (*ki_philox "ki_philox *")(const ki_philox_args *) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_philox_table "ki_table":
        const ki_philox *philox_bits
        const ki_philox *philox_uniform
        const ki_philox *philox_normal


cdef const ki_philox_table *PHILOX = <const ki_philox_table *> TABLE

cdef dict PHILOX_ROWS = {
    "philox_bits": <size_t> PHILOX.philox_bits,
    "philox_uniform": <size_t> PHILOX.philox_uniform,
    "philox_normal": <size_t> PHILOX.philox_normal,
}

for _op, _row in PHILOX_ROWS.items():
    _DTYPES[_op] = _names(<const void *> <size_t> _row)


def fill_philox(str op, y, y_type, uint64_t key, counter, offsets=None, offsets_type=None):
    """Fills dense y with 'philox_bits' (uint32), 'philox_uniform' or 'philox_normal' (float32).

    ``counter``: below 2 ** 128. ``offsets``: uint64, added to it for each group of four elements; else 0, 1, 2, ...
    """
    cdef ki_philox_args a
    cdef ki_philox function
    a.key, a.low, a.high = key, counter & 0xFFFFFFFFFFFFFFFF, counter >> 64
    a.count = prod(y_type.shape)
    a.offsets = NULL
    if offsets is not None:
        if 4 * prod(offsets_type.shape) != a.count or offsets_type.dtype.name != "uint64":
            raise ShapeError(f"{op}: {offsets_type} are no offsets of {y_type}; expected a uint64 per four elements")
        a.offsets = <const uint64_t *> view(offsets, offsets_type, "the offsets", False, False).data
    a.y = view(y, y_type, "the output", True, False).data
    function = (<const ki_philox *> <size_t> PHILOX_ROWS[op])[<int> DTYPE_INDEX[y_type.dtype.name]]
    if function == NULL:
        raise DTypeError(f"{op} is for {', '.join(_DTYPES[op])}, got {y_type}")
    with nogil:
        function(&a)
