"""C SIMD kernels called through Cython, for every x86-64 and, in portable C, for any other processor.

Map of the folder::

    conv2d.py siblings.py matmul.py depthwise.py pool2d.py elementwise.py normalization.py softmax.py reduce.py concat.py
    resize.py layout.py arrange.py gradients.py quantized.py
                     the kernel records of one contract file each: what is supported, the geometry, preparation
    chains.py        elementwise ops as one: chain.pxi, c/chain.[hc]; igemm.pyx runs a chain on its tiles
    bfloat16.py      tensors that are bfloat16 in memory: maps, conversion, means (pool2d.py, depthwise.py, concat.py take them, too)
    narrow.py narrow_bytes.py   products of bfloat16 and of bytes: dot.pyx, c/dot*.[hc], on more instruction sets than the rest (c/dot_sets.h)
    winograd_conv2d.py cook_toom.py   convolutions that multiply less, and their matrices
    tiles.py         which register tile for which matrix product: a model of cycles
    roofline.py      the limits of the processor, measured (c/probe.c)
    support.py       reasons of refusal, prepared kernels without packing

    elementwise bfloat16 normalization batch_statistics lrn softmax reduce order cumulative concat transpose resize int_matmul
    cross_entropy philox
                     .pxi: checks arrays, binds addresses, releases the GIL;  c/*.[hc]: the loops, and their arguments
    quantized        the same form: maps of quantised tensors; quantized_windows.pxi, c/quantized_*.c: their pools and depthwise
                     convolutions, included by windows.pyx
    pixels           the same form, for no contract: photographs resized and normalised (kigraph/vision/resize.py)
    loops.pyx        includes these .pxi: one extension module for all, since each costs a dlopen at a cold start
    igemm.pyx winograd.pyx windows.pyx backward.pyx
                     the same for the C header of their name, which serves several .py files:
    c/igemm*.[hc]    implicit GEMM over packed weights: conv2d.py, siblings.py, matmul.py (floats), gradients.py
    c/winograd*.[hc] Winograd and Cook-Toom: transforms, matrix products, inverse transforms, by blocks of tiles: winograd_conv2d.py
    c/windows*.[hc]  sliding windows: pool2d.py;  windows_span.h: where cells lie;  windows_rows.h: tasks that are rows of outputs
    c/depthwise*.[hc]  depthwise convolution with the arguments of windows.h: depthwise.py;  depthwise_tile.h: its register tiles
    c/backward.[hc]  gradients of both, rotated filters: gradients.py
    c/outer*.[hc]    filters of convolutions as sums of outer products: gradients.py;  c/join.h: sums made in parts

    core.pyx         owns the C core: the table of the instruction set in use (KIGRAPH_ISA, else cpuid), the thread pool
    _arrays.pxi      the checks of arrays that all of them include;  _workspace.pxi: the scratch memory of some
    c/table.h        the table of C kernels, and how they are named;  c/cpu.c chooses the table
    c/dtypes.h       the element types as lists;  c/functions.h: exp, log, tanh, sigmoid, erf, sin ...
    c/threads.c      one pool of threads for the library
    c/simd/          one small vector API per instruction set;  bytes*.h: of bytes
"""

from __future__ import annotations

from .. import settings
from ..backends import Status
from ..composites import finishing
from ..devices import HOST
from ..kernel import Kernel, Roof
from . import (
    arrange,
    bfloat16,
    chains,
    concat,
    conv2d,
    core,
    depthwise,
    elementwise,
    gradients,
    layout,
    matmul,
    narrow,
    narrow_bytes,
    normalization,
    pool2d,
    quantized,
    reduce,
    resize,
    siblings,
    softmax,
    winograd_conv2d,
)
from .support import unless_empty

__all__ = [
    "DEVICE",
    "FUSES_CHAINS",
    "IMAGES_SIDE_BY_SIDE",
    "KERNELS",
    "PRECISIONS",
    "STORES_BFLOAT16",
    "WIDENS_HALF",
    "lacks",
    "probe",
    "roof",
    "target",
]

DEVICE = HOST
#: float16 runs through the float32 kernels (kernels/half.py).
WIDENS_HALF = True

#: Whether bf16 pays here, or an instruction set is asked for by name, on which it gives its numbers at any speed.
_BF16 = core.BF16_NATIVE or settings.ISA.get() != "auto"
PRECISIONS = ("fp32", "bf16", "int8") if _BF16 else ("fp32", "int8")

#: Where products are made of tiles (AMX), bfloat16 in memory is faster; elsewhere Winograd's algorithm in float32 is.
STORES_BFLOAT16 = core.DOT_IN_USE == "amx"
#: Plans put chains of elementwise ops together (graph/passes/fuse_chains.py).
FUSES_CHAINS = True
#: Narrow products are so fast that a batch waits for its activations: each thread takes images of its own.
IMAGES_SIDE_BY_SIDE = True

_MODULES = (
    matmul,
    conv2d,
    narrow,
    narrow_bytes,
    winograd_conv2d,
    siblings,
    depthwise,
    pool2d,
    normalization,
    elementwise,
    chains,
    softmax,
    reduce,
    arrange,
    concat,
    layout,
    bfloat16,
    resize,
    gradients,
    quantized,
)

KERNELS: tuple[Kernel, ...] = tuple(
    map(unless_empty, finishing([kernel for module in _MODULES for kernel in module.KERNELS], chains.KERNELS[0]))
)


def probe() -> Status:
    """Always usable once it is built; says which instruction set runs."""
    narrow = f"; bf16 and int8 by {core.DOT_IN_USE}" if core.DOT_IN_USE != core.ISA_IN_USE else ""
    return Status(True, f"{core.ISA_IN_USE} (this processor can run: {', '.join(core.ISAS)}){narrow}")


def target() -> str:
    """The instruction set in use: packed weights and timings belong to it."""
    return str(core.ISA_IN_USE)


def lacks(precision: str) -> str:
    """What the processor lacks for bf16, and where it can be had."""
    if precision != "bf16":
        return ""
    return (
        f"it multiplies in bf16 with the instructions AVX512_BF16 or AMX-BF16, and here it runs {core.ISA_IN_USE} without them, on "
        "which fp32 is faster and more exact: take fp32; the backends numpy and numba give bf16's numbers, slowly"
    )


def roof(threads: int) -> Roof:
    """What this processor can do at most, measured with the instruction set in use."""
    from .roofline import measure_roof

    return measure_roof(threads)
