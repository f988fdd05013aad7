"""The numba backend: loops compiled by Numba for the machine they run on, cached on disk, free of the GIL.

Element types: float32 and float64 everywhere, integers where the contract knows them; others are refused. Every kernel
works on raw addresses that arrays.py has checked, and splits its work into tasks for a pool of Python threads.

Map of the folder (arrows of import point down only)::

    conv2d.py matmul.py         matrix products: implicit (convolution) and plain
        gemm.py                 blocks, packed panels, division among the threads
        gather.py               the record of one task; gathers its rows (im2col) block by block
        tile.py                 the register tile in LLVM IR
    depthwise.py pool2d.py      sliding windows without a sum over channels
        window.py               one kernel, explicit vectors, for max, mean and depthwise
    elementwise.py normalization.py batch_statistics.py softmax.py reduce.py concat.py resize.py
        scalar.py               exp, sigmoid, tanh that vectorise
    quantized.py quantized_windows.py quantized_elements.py
        quantized_tile.py       the register tile of int8 products in LLVM IR
        quantized_finish.py     the rounding to bytes
    gradients.py                backward ops, on gemm.py, window.py and gradient_loops.py
        gradient_loops.py       those of them that are plain loops
    arrays.py                   checks of arrays between Python and raw addresses
    threads.py                  runs tasks at the same time: any number of callers, safe after fork
        crew.py                 helpers that spin in compiled code, for the short tasks of a network
    targets.py                  AVX-512, AVX2 or portable (KIGRAPH_ISA), and their tile shapes
    jit.py                      the one import of Numba: decorator, cache on disk, intrinsics
"""

from __future__ import annotations

from ..backends import Status
from ..devices import HOST, Device
from ..kernel import Kernel
from . import (
    batch_statistics,
    concat,
    conv2d,
    depthwise,
    elementwise,
    gradients,
    matmul,
    normalization,
    pool2d,
    quantized,
    quantized_elements,
    quantized_windows,
    reduce,
    resize,
    softmax,
)
from .jit import VERSION, switched_off
from .targets import current

__all__ = ["DEVICE", "KERNELS", "PRECISIONS", "ROUNDS", "WIDENS_HALF", "probe", "target"]

KERNELS: tuple[Kernel, ...] = (
    *matmul.KERNELS,
    *conv2d.KERNELS,
    *depthwise.KERNELS,
    *pool2d.KERNELS,
    *quantized.KERNELS,
    *quantized_elements.KERNELS,
    *quantized_windows.KERNELS,
    *normalization.KERNELS,
    *batch_statistics.KERNELS,
    *elementwise.KERNELS,
    *softmax.KERNELS,
    *reduce.KERNELS,
    *concat.KERNELS,
    *resize.KERNELS,
    *gradients.KERNELS,
)

DEVICE: Device = HOST
#: float16 runs through the float32 kernels (kernels/half.py).
WIDENS_HALF = True
PRECISIONS = ("fp32", "bf16", "int8")
#: bf16 by operands that are rounded (kernels/rounded.py): its numbers, not its speed.
ROUNDS = True


def probe() -> Status:
    """Available wherever Numba can be imported, unless its compiler is switched off."""
    if switched_off():
        return Status(False, "NUMBA_DISABLE_JIT switches Numba's compiler off", "unset NUMBA_DISABLE_JIT")
    return Status(True, f"Numba {VERSION}, {current().name}")


def target() -> str:
    """The instruction set in use: packed weights and timings belong to it."""
    return current().name
