"""C SIMD kernels behind Cython, for every x86-64 and, in portable C, for any other processor.

Map of the folder::

    conv2d.py siblings.py matmul.py depthwise.py pool2d.py elementwise.py normalization.py softmax.py reduce.py concat.py
    resize.py gradients.py
                     the kernel records of one contract file each: what is supported, the geometry, preparation
    winograd_conv2d.py cook_toom.py   convolutions that multiply less, and their matrices
    igemm.pyx winograd.pyx windows.pyx backward.pyx
                     the border to the C header of the same name: checks arrays, binds addresses, releases the GIL
    loops.pyx        the same for the kernels that are plain loops, in one extension module, since each costs a dlopen at a
                     cold start: it includes elementwise.pxi softmax.pxi reduce.pxi normalization.pxi concat.pxi resize.pxi
                     int_matmul.pxi cross_entropy.pxi, each of which binds the C header of its name
    core.pyx         owns the C core: the table of the instruction set in use (KIGRAPH_ISA, else cpuid), the thread pool
    _border.pxi      the checks of arrays that all of them include;  _workspace.pxi: the scratch memory of some
    tiles.py         which register tile for which product: a model of cycles
    roofline.py      the limits of the processor, measured (c/probe.c)
    support.py       reasons of refusal, prepared kernels without packing
    c/table.h        the table of C kernels; c/cpu.c chooses it
    c/threads.c      one pool of threads for the library
    c/simd/          one small vector API per instruction set
    c/igemm*.[hc]    implicit GEMM, for conv2d.py siblings.py matmul.py gradients.py: products over packed weights
    c/winograd*.[hc] Winograd and Cook-Toom, for winograd_conv2d.py: transforms, products, transforms back, by blocks of tiles
    c/windows.[hc]   sliding windows, for pool2d.py and depthwise.py, whose loops over the cells of a window are the same
    c/backward.[hc]  for gradients.py: pooling, depthwise convolutions, turned filters;  c/outer*.[hc]: filters of convolutions
    c/join.h         sums that were made in parts
    c/elementwise*.[hc] softmax reduce normalization concat resize int_matmul cross_entropy
                     the plain loops of each .pxi;  c/functions.h: exp, log, tanh, sigmoid
"""

from __future__ import annotations

from ..backends import Status
from ..devices import HOST
from ..kernel import Kernel, Roof
from . import (
    concat,
    conv2d,
    core,
    depthwise,
    elementwise,
    gradients,
    matmul,
    normalization,
    pool2d,
    reduce,
    resize,
    siblings,
    softmax,
    winograd_conv2d,
)
from .support import unless_empty

__all__ = ["DEVICE", "KERNELS", "probe", "roof", "target"]

DEVICE = HOST

_MODULES = (
    matmul,
    conv2d,
    winograd_conv2d,
    siblings,
    depthwise,
    pool2d,
    normalization,
    elementwise,
    softmax,
    reduce,
    concat,
    resize,
    gradients,
)

KERNELS: tuple[Kernel, ...] = tuple(unless_empty(kernel) for module in _MODULES for kernel in module.KERNELS)


def probe() -> Status:
    """Always usable once it is built; says which instruction set runs."""
    return Status(True, f"{core.ISA_IN_USE} (this processor can run: {', '.join(core.ISAS)})")


def target() -> str:
    """The instruction set in use: packed weights and timings belong to it."""
    return str(core.ISA_IN_USE)


def roof(threads: int) -> Roof:
    """What this processor can do at most, measured with the instruction set in use."""
    from .roofline import measure_roof

    return measure_roof(threads)
