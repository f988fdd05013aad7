"""The kernels that are plain loops, in one extension module: an op's C functions are bound by the .pxi of its name."""

from math import prod

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free

__all__ = [
    "LoopRun", "MAX_MAP_RANK", "MAX_REDUCE_RANK", "MAX_TRANSPOSE_RANK", "bind_batch_norm", "bind_batch_statistics",
    "bind_bf16_mean", "bind_chain", "bind_concat", "bind_cross_entropy", "bind_cumulative", "bind_int_matmul",
    "bind_lrn", "bind_map", "bind_reduce", "bind_resize", "bind_scaled_map", "bind_softmax", "bind_top_k",
    "bind_transpose", "channels_last", "dtypes_of", "fill_philox", "lrn_scratch", "resize_pixels", "statistics_scratch",
    "top_k_scratch",
]

include "_arrays.pxi"
include "_workspace.pxi"

#: Names of the element types that an op has kernels for, by the name of its row in c/table.h or of its map.
cdef dict _DTYPES = {}


def dtypes_of(str name):
    """Names of the element types that an op takes: 'softmax', 'batch_norm', 'reduce_sum', a map as 'add', ..."""
    if name not in _DTYPES:
        raise KernelError(f"no C kernel is called {name!r}; there are {', '.join(_DTYPES)}")
    return _DTYPES[name]


cdef tuple _names(const void *row):
    """Names of the element types for which a row of the table has a kernel."""
    cdef const void *const *kernels = <const void *const *> row
    return tuple(name for i, name in enumerate(core.DTYPES) if kernels[i] != NULL)


cdef class LoopRun:
    """A bound kernel: calling it computes the output once, without the GIL."""

    cdef tuple keep


include "batch_statistics.pxi"
include "cross_entropy.pxi"
include "cumulative.pxi"
include "elementwise.pxi"
include "chain.pxi"
include "concat.pxi"
include "bfloat16.pxi"
include "int_matmul.pxi"
include "lrn.pxi"
include "normalization.pxi"
include "order.pxi"
include "pixels.pxi"
include "philox.pxi"
include "quantized.pxi"
include "reduce.pxi"
include "resize.pxi"
include "softmax.pxi"
include "transpose.pxi"
