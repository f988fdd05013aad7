"""CUDA sources as host C++: every kernel can run, and be tested, on a machine without a GPU.

    block.cuh     a block's threads as fibers, barriers, operations of a warp, asynchronous copies
    ptx.cuh       found by the compiler in place of cuda/ptx.cuh: the same names over block.cuh
    launcher.py   HostLauncher: builds the sources with g++, runs launches over NumPy arrays
    standin.py    a stand-in for CuPy, so that runtime.py and whole sessions run, too

What it finds: wrong indices and arithmetic; missing barriers and missing waits for cp.async (shared memory starts as
NaN, threads run in several orders, copies happen as late or as early as the rules allow); threads of a warp in
different warp operations; deadlocks; misaligned vector accesses and copies; writes outside shared memory; bank
conflicts of ldmatrix; arguments whose number, kind or size does not fit the kernel's parameters.

What it cannot find: races between blocks or between warps that no order of whole-thread turns shows, speed, registers
and spills (the compile tests look at those), and differences of the hardware's rounding inside mma.
"""

from __future__ import annotations

__all__: list[str] = []
