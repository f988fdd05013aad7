"""C SIMD kernels behind Cython, for every x86-64 and, in portable C, for any other processor.

Map of the folder::

    core.pyx         owns the C core: the table of the instruction set in use (KIGRAPH_ISA, else cpuid), the thread pool
    _border.pxi      the checks of arrays that every module includes
    tiles.py         which register tile for which product: a model of cycles
    igemm.pyx        the implicit GEMM as a class; conv2d.py and matmul.py say what is computed with it
    c/table.h        the table of C kernels;  c/cpu.c chooses it
    c/threads.c      one pool of threads for the library
    c/simd/          one small vector API per instruction set
    c/igemm*.h, .c   implicit GEMM: register tiles, driver, packing
"""

from __future__ import annotations

from ..backends import Status
from ..devices import HOST
from ..types import Kernel
from . import conv2d, core

__all__ = ["DEVICE", "KERNELS", "probe"]

DEVICE = HOST

KERNELS: tuple[Kernel, ...] = (*conv2d.KERNELS,)


def probe() -> Status:
    """Always usable once it is built; says which instruction set runs."""
    return Status(True, f"{core.ISA_IN_USE} (this processor can run: {', '.join(core.ISAS)})")
