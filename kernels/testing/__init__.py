"""CUDA sources as host C++: every kernel can run, and be tested, on a machine without a GPU.

Part of the checkout and the sdist, not of the wheel: the tests use it, and ``benchmarks/gpu`` with --dry.

    block.cuh     a block's threads as fibers, barriers, operations of a warp, asynchronous copies; the order of blocks
    races.cuh     shadow memory: who has read and written each byte of shared memory since the last barrier
    hooks.cuh     calls that the compiler puts before each memory access, and what they tell the shadow memory
    ptx.cuh       found by the compiler in place of cupy/cuda/ptx.cuh: the same names over block.cuh
    launcher.py   HostLauncher: builds the sources with g++, runs launches over NumPy arrays
    standin.py    a stand-in for CuPy, so that cupy/runtime.py and whole sessions run, too
    standin_memory.py  its memory: a pool of a limited size, CUDA's errors

What it finds: wrong indices and arithmetic; races in shared memory (missing barriers, missing or short waits for
cp.async, two threads that write one byte), in every schedule, as an error that names the byte and both threads; the
same by wrong results (shared memory starts as NaN, blocks and threads run in several orders, copies happen as late or
as early as the rules allow); threads of a warp in different warp operations; deadlocks; misaligned vector accesses and
copies; writes outside shared memory; bank conflicts of ldmatrix; arguments whose number, kind or size does not fit the
kernel's parameters.

Races are judged strictly: lanes of a warp need a barrier like any other threads, and a barrier of the whole block is
the only one known. Plain accesses (``tile[i] = x``) are seen through -fsanitize=thread, without libtsan; g++ 12.2 and
clang++ 22 were tried. Where ``launcher.sees_plain_accesses()`` is false, only the accesses of ptx.cuh's functions are
judged. An access that the compiler drops, or that the inputs at hand do not reach, is not seen. With the detector the
emulation tests take 1.34 times the CPU time (35.4 s for 26.4 s, builds cached).

What it cannot find: races in global memory, between threads of a block or between blocks, that no order of whole
blocks and of whole-thread turns shows; atomics are not emulated; bank conflicts of other accesses than ldmatrix; speed,
registers and spills (the compile tests look at those); differences of the hardware's rounding inside mma.
"""

from __future__ import annotations

__all__: list[str] = []
