"""The stand-in's memory: host blocks that count against a device's size, a pool as CuPy's over them; CUDA's errors."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

__all__ = ["CUDADriverError", "CUDARuntimeError", "Memory", "OutOfMemoryError", "Pinned", "Pointer", "Pool"]

_ALIGNMENT = 512
_NAMES = {
    1: "InvalidValue: invalid argument",
    2: "MemoryAllocation: out of memory",
    12: "InvalidPitchValue: invalid pitch argument",
    101: "InvalidDevice: invalid device ordinal",
    700: "IllegalAddress: an illegal memory access was encountered",
    716: "MisalignedAddress: misaligned address",
    719: "LaunchFailure: unspecified launch failure",
    900: "StreamCaptureUnsupported: operation not permitted when stream is capturing",
}


class CUDARuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaError{_NAMES[status]}")


class CUDADriverError(RuntimeError):
    """cupy_backends.cuda.api.driver.CUDADriverError."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"CUDA_ERROR of cudaError{_NAMES[status]}")


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError; no CUDARuntimeError."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


class Memory:
    """A block that a pool gave out, and gets back when nobody points into it any more."""

    def __init__(self, pool: Pool, nbytes: int, pooled: bool) -> None:
        self._pool, self._pooled, self.nbytes = pool, pooled, nbytes
        self.raw = np.full(nbytes + _ALIGNMENT, 0xFF, np.uint8)
        self.start = self.raw.ctypes.data + -self.raw.ctypes.data % _ALIGNMENT

    def __del__(self) -> None:
        self._pool.take_back(self.nbytes, self._pooled)


class Pointer:
    """cupy.cuda.MemoryPointer: an address that keeps its memory alive."""

    def __init__(self, mem: Memory, ptr: int) -> None:
        self._mem, self.ptr = mem, ptr

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self._mem, self.ptr + offset)

    def copy_from_host_async(self, mem: int, size: int, stream: Any = None) -> None:
        stream.do(lambda: ctypes.memmove(self.ptr, mem, size))

    def copy_to_host_async(self, mem: int, size: int, stream: Any = None) -> None:
        stream.do(lambda: ctypes.memmove(mem, self.ptr, size))


class Pool:
    """cupy.cuda.MemoryPool over a device of ``total`` bytes: what is given back stays with the pool until it is freed."""

    def __init__(self, total: int) -> None:
        self.total, self.used, self.idle, self.limit = total, 0, 0, 0
        self._lock = threading.RLock()

    def info(self) -> tuple[int, int]:
        """cudaMemGetInfo: free and all bytes."""
        return self.total - self.used - self.idle, self.total

    def malloc(self, size: int) -> Pointer:
        """As CuPy's: from what is idle, else from the device; then idle blocks are freed and it is tried once more."""
        size = -(-size // _ALIGNMENT) * _ALIGNMENT
        with self._lock:
            if self.idle >= size:
                self.idle -= size
            elif self.limit and self.used + self.idle + size > self.limit:
                raise OutOfMemoryError(size, self.used + self.idle, self.limit)
            elif self.used + self.idle + size > self.total:
                self.free_all_blocks()
                if self.used + size > self.total:
                    raise OutOfMemoryError(size, self.used)
            self.used += size
        return self._new(size, pooled=True)

    def plain(self, size: int) -> Pointer:
        """cudaMalloc."""
        with self._lock:
            if self.used + self.idle + size > self.total:
                raise CUDARuntimeError(2)
            self.used += size
        return self._new(size, pooled=False)

    def _new(self, size: int, pooled: bool) -> Pointer:
        memory = Memory(self, size, pooled)
        return Pointer(memory, memory.start)

    def take_back(self, size: int, pooled: bool) -> None:
        with self._lock:
            self.used -= size
            self.idle += size if pooled else 0

    def set_limit(self, size: int | None = None) -> None:
        """The pool takes at most ``size`` bytes of the device, idle ones included; 0 for all."""
        self.limit = size or 0

    def used_bytes(self) -> int:
        return self.used

    def free_all_blocks(self, stream: Any = None) -> None:
        with self._lock:
            self.idle = 0


class Pinned(np.ndarray[Any, Any]):
    """cupy.cuda.PinnedMemoryPointer: a buffer with an address."""

    @classmethod
    def of(cls, size: int) -> Pinned:
        return np.empty(size, np.uint8).view(cls)

    @property
    def ptr(self) -> int:
        return int(self.ctypes.data)
