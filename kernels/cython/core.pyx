"""The C core as one module: it owns the thread pool and the table of kernels of the instruction set in use.

All C objects are linked here, so there is one pool per process; the other extension modules get the table's address
from ``TABLE``.
"""

from cpython.pycapsule cimport PyCapsule_New

from ..errors import SettingsError
from ..settings import ISA

__all__ = [
    "BF16_NATIVE", "DOTS", "DOT_IN_USE", "DOT_TABLES", "DTYPES", "F32_LANES", "F64_LANES", "ISA_IN_USE", "ISAS",
    "L2_BYTES", "OUTER_MR", "TABLE", "TILE_MR", "helpers", "probe_flops",
    "probe_read",
]


cdef extern from "cpu.h" nogil:
    enum:
        KI_MAX_NV
        KI_OUTER_NV
    ctypedef struct ki_table:
        const char *isa
        int f32_lanes
        int f64_lanes
        int tile_mr[5]
        int outer_mr[3]
        double (*probe_flops)(long rounds, float *sink) noexcept nogil
        float (*probe_read)(const float *x, Py_ssize_t n) noexcept nogil
    const ki_table *const *ki_usable_tables()


cdef extern from "dot.h" nogil:
    ctypedef struct ki_dot_table:
        const char *name
        const char *base
        int native_bf16
    const ki_dot_table *const *ki_usable_dots()
    Py_ssize_t ki_l2_bytes()


cdef extern from "threads.h" nogil:
    int ki_helpers()


def _dots():
    """Instruction sets of narrow products that can run here, best first.

    name -> (capsule of its table, base set, whether it has bfloat16).
    """
    cdef const ki_dot_table *const *tables = ki_usable_dots()
    found = {}
    while tables[0] != NULL:
        capsule = PyCapsule_New(<void *> tables[0], "kigraph.kernels.cython.core.dot", NULL)
        found[tables[0].name.decode()] = (capsule, tables[0].base.decode(), bool(tables[0].native_bf16))
        tables += 1
    return found


#: What ``_dots`` gives; the tables of c/dot.h.
DOT_TABLES = _dots()
#: Their names.
DOTS = tuple(DOT_TABLES)


cdef const ki_table *_choose() except NULL:
    """The best table, or the one that KIGRAPH_ISA forces."""
    cdef const ki_table *const *tables = ki_usable_tables()
    wanted = ISA.get()
    base = DOT_TABLES[wanted][1] if wanted in DOT_TABLES else wanted
    names = list(DOTS)
    while tables[0] != NULL:
        if base in ("auto", tables[0].isa.decode()):
            return tables[0]
        tables += 1
    raise SettingsError(
        f"{ISA.name}={wanted!r}: this processor or operating system cannot run it. "
        f"It can run: {', '.join(names)}, auto"
    )


cdef const ki_table *_table = _choose()

#: Address of the ki_table in use, for the other extension modules of this folder.
TABLE = PyCapsule_New(<void *> _table, "kigraph.kernels.cython.core.TABLE", NULL)
#: The instruction set in use.
ISA_IN_USE = _table.isa.decode()
#: The instruction set of narrow products (bfloat16, bytes): ISA_IN_USE, or one that has more.
DOT_IN_USE = DOTS[0] if ISA.get() == "auto" else ISA.get()
#: Whether it multiplies bfloat16 by instructions of its own.
BF16_NATIVE = DOT_TABLES[DOT_IN_USE][2]
#: Element types in the order of ki_dtype (c/dtypes.h).
DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
#: Bytes of the L2 cache; 0 where the system does not say.
L2_BYTES = ki_l2_bytes()
#: Elements of one vector.
F32_LANES = _table.f32_lanes
F64_LANES = _table.f64_lanes
#: Most pixels of an implicit-GEMM tile that is 1, 2, ... vectors of channels wide.
TILE_MR = tuple(_table.tile_mr[i] for i in range(KI_MAX_NV) if _table.tile_mr[i])

#: Most rows of a filter gradient's tile that is 1, 2, ... vectors of channels wide.
OUTER_MR = tuple(_table.outer_mr[i] for i in range(KI_OUTER_NV))


def _usable():
    cdef const ki_table *const *tables = ki_usable_tables()
    names = []
    while tables[0] != NULL:
        names.append(tables[0].isa.decode())
        tables += 1
    return tuple(names)


#: Instruction sets that this processor can run, best first.
ISAS = _usable()


def helpers():
    """Helper threads that the pool has started in this process."""
    return ki_helpers()


def probe_flops(long rounds):
    """Does ``rounds`` rounds of multiply-adds and nothing else, without the GIL; how many float operations."""
    cdef float sink = 0
    cdef double done
    with nogil:
        done = _table.probe_flops(rounds, &sink)
    return done


def probe_read(const float[::1] x):
    """Reads an array once, without the GIL; the bytes that were read. Its size must be a multiple of 128."""
    if x.shape[0] % 128:
        raise ValueError(f"probe_read takes a multiple of 128 floats, got {x.shape[0]}")
    cdef float total = 0
    with nogil:
        if x.shape[0]:
            total = _table.probe_read(&x[0], x.shape[0])
    # The sum is used, so that no compiler removes the loads.
    return 4.0 * x.shape[0] if total == total else 0.0
