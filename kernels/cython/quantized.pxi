# Elementwise maps of quantised tensors: c/quantized.h. Included by loops.pyx after elementwise.pxi.


cdef extern from "quantized.h" nogil:
    ctypedef struct ki_scales:
        float a_zero, b_zero, a_multiplier, b_multiplier
        int y_zero, low, high, is_unsigned, divide

cdef extern from "table.h" nogil:
    ctypedef struct ki_quantized_table "ki_table":
        const ki_scaled_map *quantize
        const ki_scaled_map *dequantize
        const ki_scaled_map *requantize
        const ki_scaled_map *quantized_add
        const ki_scaled_map *quantized_mul


cdef const ki_quantized_table *QUANTIZED = <const ki_quantized_table *> TABLE


cdef const ki_scaled_map *_scaled_row(str op) except NULL:
    if op == "quantize":
        return QUANTIZED.quantize
    if op == "dequantize":
        return QUANTIZED.dequantize
    if op == "requantize":
        return QUANTIZED.requantize
    return QUANTIZED.quantized_add if op == "quantized_add" else QUANTIZED.quantized_mul


for _op in ("quantize", "dequantize", "requantize", "quantized_add", "quantized_mul"):
    _DTYPES[_op] = _names(<const void *> _scaled_row(_op))


cdef class ScaledMapRun(MapRun):
    """A bound map with its scales."""

    cdef ki_scales scales


def bind_scaled_map(
    str op, inputs, input_types, output, output_type, *, a_zero=0, b_zero=0, a_multiplier=1.0, b_multiplier=1.0,
    y_zero=0, low=0, high=0, divide=False, threads=1,
):
    """What runs a map of quantised tensors, dense or channel slices; inputs broadcast.

    ``op``: as for dtypes_of; the numbers: c/quantized.h. The scale of quantize and dequantize is ``a_multiplier``.
    """
    cdef ScaledMapRun run = ScaledMapRun.__new__(ScaledMapRun)
    cdef ki_scales *s = &run.scales
    run.keep = _bind_axes(&run.args, op, inputs, input_types, output, output_type, True)
    s.a_zero, s.b_zero, s.a_multiplier, s.b_multiplier = a_zero, b_zero, a_multiplier, b_multiplier
    s.y_zero, s.low, s.high, s.divide = y_zero, low, high, divide
    s.is_unsigned = output_type.dtype.kind == "u"
    run.args.threads, run.args.scales = threads, s
    if input_types[0].dtype.name in DTYPE_INDEX:
        run.args.scaled = _scaled_row(op)[<int> DTYPE_INDEX[input_types[0].dtype.name]]
    if run.args.scaled == NULL:
        raise DTypeError(f"{op}: no C kernel for {input_types[0]}; it takes {', '.join(dtypes_of(op))}")
    return run
