# bfloat16 in memory: maps, the mean of an image; channels last: c/bfloat16.h. Included by loops.pyx.


cdef extern from "bfloat16.h" nogil:
    ctypedef struct ki_bf16_map:
        const char *name
        ki_map map
    ctypedef struct ki_bf16_mean_args:
        ptrdiff_t images, pixels, channels, x_step
        int threads
        const void *x
        float *y
    ctypedef void (*ki_bf16_mean "ki_bf16_mean *")(const ki_bf16_mean_args *) noexcept nogil
    ctypedef void (*ki_channels_last "ki_channels_last *")(
        const float *, float *, ptrdiff_t, ptrdiff_t, ptrdiff_t
    ) noexcept nogil

cdef extern from "table.h" nogil:
    ctypedef struct ki_bf16_table "ki_table":
        const ki_bf16_map *bf16_maps
        ki_bf16_mean bf16_mean
        ki_channels_last channels_last


cdef const ki_bf16_table *STORED = <const ki_bf16_table *> TABLE


cdef ki_map _stored_map(str name) noexcept:
    """The map of that name in c/bfloat16.c; NULL if there is none."""
    cdef int i = 0
    while STORED.bf16_maps[i].name != NULL:
        if STORED.bf16_maps[i].name.decode() == name:
            return STORED.bf16_maps[i].map
        i += 1
    return NULL


cdef class MeanRun(LoopRun):
    cdef ki_bf16_mean_args args

    def __call__(self):
        with nogil:
            STORED.bf16_mean(&self.args)


def bind_bf16_mean(x, x_type, y, y_type, *, threads=1):
    """The mean over height and width of NHWC images x, bfloat16, which may be a channel slice; y is dense float32."""
    cdef MeanRun run = MeanRun.__new__(MeanRun)
    cdef ki_bf16_mean_args *a = &run.args
    cdef View source = view(x, x_type, "the input", False, True)
    a.images, a.pixels, a.channels = x_type.shape[0], x_type.shape[1] * x_type.shape[2], x_type.shape[3]
    a.x_step, a.threads = source.pitch, threads
    a.x, a.y = source.data, <float *> view(y, y_type, "the output", True, False).data
    run.keep = (x, y)
    return run


def channels_last(x, y, x_type, y_type):
    """y (n, height, width, c) = x (n, c, height, width), both dense float32."""
    cdef View source = view(x, x_type, "the input", False, False)
    cdef View target = view(y, y_type, "the output", True, False)
    cdef ptrdiff_t images = x_type.shape[0], channels = x_type.shape[1], pixels = x_type.shape[2] * x_type.shape[3]
    with nogil:
        STORED.channels_last(<const float *> source.data, <float *> target.data, images, channels, pixels)
