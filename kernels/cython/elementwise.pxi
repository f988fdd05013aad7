# Elementwise maps, with broadcasting and channel slices: c/elementwise.h. Included by loops.pyx.


cdef extern from "elementwise.h" nogil:
    enum:
        KI_MAP_RANK
    ctypedef void (*ki_map "ki_map *")(
        const void *, ptrdiff_t, const void *, ptrdiff_t, void *, ptrdiff_t
    ) noexcept nogil
    ctypedef struct ki_map_kind:
        const char *name
        ki_map by_dtype[KI_DTYPES]
    ctypedef void (*ki_scaled_map "ki_scaled_map *")(
        const void *, ptrdiff_t, const void *, ptrdiff_t, void *, ptrdiff_t, const void *
    ) noexcept nogil
    ctypedef struct ki_map_args:
        ki_map map
        ki_scaled_map scaled
        const void *scales
        int rank, threads
        ptrdiff_t size[8]
        ptrdiff_t step0[8]
        ptrdiff_t step1[8]
        ptrdiff_t step_y[8]
        ptrdiff_t item0, item1, item_y
        const void *x0
        const void *x1
        void *y

cdef extern from "table.h" nogil:
    ctypedef struct ki_map_table "ki_table":
        const ki_map_kind *maps
        void (*run_map)(const ki_map_args *) noexcept nogil


cdef const ki_map_table *MAPS = <const ki_map_table *> TABLE
#: Position of a map, by its name in c/elementwise.c: its contract's, or cast_f32.
cdef dict MAP_INDEX = {}
#: Most axes of a map's output.
MAX_MAP_RANK = KI_MAP_RANK - 1

while MAPS.maps[len(MAP_INDEX)].name != NULL:
    _op = MAPS.maps[len(MAP_INDEX)].name.decode()
    _DTYPES[_op] = _names(<const void *> MAPS.maps[len(MAP_INDEX)].by_dtype)
    MAP_INDEX[_op] = len(MAP_INDEX)


cdef list _steps(View v, tuple shape, Py_ssize_t itemsize, Py_ssize_t rank):
    """Bytes between neighbours along each axis of an output with ``rank`` axes; 0 where the array is repeated."""
    cdef Py_ssize_t step = v.pitch * itemsize
    steps = []
    for i, size in enumerate(reversed(shape)):
        steps.append(0 if size == 1 else itemsize if i == 0 else step)
        if i:
            step *= size
    return ([0] * (rank - len(shape))) + steps[::-1]


cdef list _merged(tuple shape, list all_steps):
    """Axes (size, steps...) without those of size 1, neighbours joined where every array allows it."""
    axes = []
    for size, *steps in zip(shape, *all_steps, strict=True):
        if size == 1:
            continue
        if axes and all(s == t * size for s, t in zip(axes[-1][1:], steps, strict=True)):
            axes[-1] = (axes[-1][0] * size, *steps)
        else:
            axes.append((size, *steps))
    return axes


cdef class MapRun(LoopRun):
    """A bound map: calling it computes y once, without the GIL."""

    cdef ki_map_args args

    def __call__(self):
        with nogil:
            MAPS.run_map(&self.args)


cdef tuple _bind_axes(ki_map_args *args, str op, inputs, input_types, output, output_type, bint pitched):
    """Fills in addresses, axes and item sizes; returns what must stay alive."""
    cdef View x0, x1, y
    cdef int i
    shape = output_type.shape
    x0 = x1 = view(inputs[0], input_types[0], "input 0", False, pitched)
    if len(inputs) == 2:
        x1 = view(inputs[1], input_types[1], "input 1", False, pitched)
    y = view(output, output_type, "the output", True, pitched)
    args.item0, args.item1 = input_types[0].dtype.itemsize, input_types[len(inputs) - 1].dtype.itemsize
    args.item_y = output_type.dtype.itemsize
    arrays = [
        _steps(x0, input_types[0].shape, args.item0, len(shape)),
        _steps(x1, input_types[len(inputs) - 1].shape, args.item1, len(shape)),
        _steps(y, shape, args.item_y, len(shape)),
    ]
    axes = _merged(shape, arrays)
    if not axes or axes[-1][1] not in (0, args.item0) or axes[-1][2] not in (0, args.item1) or (
        axes[-1][3] != args.item_y
    ):
        axes.append((1, args.item0, args.item1, args.item_y))
    if len(axes) > KI_MAP_RANK:
        raise ShapeError(f"{op}: more than {KI_MAP_RANK} axes that cannot be joined: {output_type}")
    args.rank = len(axes)
    for i in range(args.rank):
        args.size[i], args.step0[i], args.step1[i], args.step_y[i] = axes[i]
    args.x0, args.x1, args.y = x0.data, x1.data, y.data
    return (*inputs, output)


def bind_map(str op, inputs, input_types, output, output_type, *, threads=1, pitched=False, stored=False):
    """What runs a map. ``inputs``: one or two arrays that broadcast to the output's shape.

    ``stored``: a map of c/bfloat16.c.
    """
    cdef MapRun run = MapRun.__new__(MapRun)
    run.keep = _bind_axes(&run.args, op, inputs, input_types, output, output_type, pitched)
    run.args.threads = threads
    if stored:
        run.args.map = _stored_map(op)
    elif input_types[0].dtype.name in DTYPE_INDEX:
        run.args.map = MAPS.maps[<int> MAP_INDEX[op]].by_dtype[<int> DTYPE_INDEX[input_types[0].dtype.name]]
    if run.args.map == NULL:
        raise DTypeError(f"{op}: no C kernel for {input_types[0]}; it takes {', '.join(dtypes_of(op))}")
    return run
