"""CUDA kernels through CuPy, for GPUs of compute capability 8.0 (Ampere) and newer.

Own sources, compiled at run time by NVRTC and kept on disk; CuPy is the binding of driver, runtime and NVRTC.

    table.py          the list of kernel modules
    conv2d.py ...     kernels of one contract file each; what they launch is in cuda/ under the same or a stated name
    implicit_gemm.py  what convolution and matrix product share: tiles, splits of K, packed weights, three precisions
    copies.py         strided copies, which concat and layout are made of
    launch.py         the Launcher that is passed to all of them, arguments, strides
    compiler.py       NVRTC and the cache of cubins
    elf.py            whether a cubin is whole
    binding.py        the only module that imports CuPy: probe, who may use CUDA, CUDA's errors as kigraph's
    device.py         the device's memory, and copies
    runtime.py        the launcher for the GPU
    cuda/             *.cu and their headers; ptx.cuh has every PTX instruction, each in one inline function

On machines without a GPU kigraph.kernels.testing compiles the same sources as host C++ and runs every kernel.

Importing this package imports neither CuPy nor CUDA.
"""

from __future__ import annotations

from .binding import probe
from .device import CudaDevice
from .implicit_gemm import PRECISIONS as _PRECISIONS
from .launch import set_launcher
from .runtime import CudaLauncher
from .table import KERNELS

__all__ = ["DEVICE", "KERNELS", "PRECISIONS", "probe"]

_LAUNCHER = CudaLauncher()
DEVICE: CudaDevice = _LAUNCHER.device
PRECISIONS = tuple(_PRECISIONS)
set_launcher(_LAUNCHER)
