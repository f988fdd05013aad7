"""Memory of the process's CUDA device, and copies to and from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..checks import pitch_of
from ..devices import BoundSequence, InTurn, after_giving_back
from ..errors import KernelError
from ..tensor import Array, DType
from . import binding

__all__ = ["CudaDevice"]


class CudaDevice:
    """CuPy arrays as memory; copies go through pinned host memory, on the current stream.

    Errors: OutOfMemoryError, and DeviceError for whatever else CUDA reports, also of an earlier kernel.
    """

    name = "cuda"

    def allocate(self, nbytes: int) -> Array:
        """By CuPy's current allocator, aligned to 256 bytes or more; idle memory is released before it fails."""
        binding.enter()
        cupy = binding.cupy()

        def allocate() -> Any:
            try:
                return cupy.cuda.alloc(nbytes)
            except Exception as error:
                raise binding.failure(error, f"allocating {nbytes:,} bytes") from error

        memory = after_giving_back(allocate, lambda: cupy.get_default_memory_pool().free_all_blocks())
        return cupy.ndarray((nbytes,), np.uint8, memory)

    def view(
        self, buffer: Array, offset: int, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...] | None = None
    ) -> Array:
        return binding.cupy().ndarray(shape, dtype, buffer.data + offset, strides)

    def upload(self, source: np.ndarray[Any, Any], target: Array) -> None:
        """Returns when ``source`` may be changed again; the copy is ordered before later work of the stream.

        ``target``: rows with a dense last axis and one common pitch, as all arrays of a plan are.
        """
        if source.shape != target.shape or source.dtype != target.dtype:
            raise KernelError(
                f"cupy: upload of {source.dtype}{source.shape} into {target.dtype}{target.shape}; expected equal types"
            )
        if source.size == 0:
            return
        binding.enter()
        cuda = binding.cupy().cuda
        try:
            staging = binding.pinned(source.nbytes)
            np.copyto(_host_view(staging, source), source)
            stream = cuda.get_current_stream()
            if target.flags.c_contiguous:
                target.data.copy_from_host_async(staging.ptr, source.nbytes, stream)
            else:
                width, pitch = _row_bytes("an upload's target", target)
                kind = cuda.runtime.memcpyHostToDevice
                rows = source.nbytes // width
                cuda.runtime.memcpy2DAsync(target.data.ptr, pitch, staging.ptr, width, width, rows, kind, stream.ptr)
            # CuPy's pool of pinned memory knows nothing of streams: the staging is free only after the copy.
            stream.synchronize()
        except Exception as error:
            raise binding.failure(error, f"copying {source.nbytes:,} bytes to the device") from error

    def download(self, source: Array) -> np.ndarray[Any, Any]:
        """``source``: as upload's target. Waits for the work of the current stream."""
        result = np.empty(source.shape, source.dtype)
        if source.size == 0:
            return result
        binding.enter()
        cuda = binding.cupy().cuda
        try:
            staging = binding.pinned(result.nbytes)
            stream = cuda.get_current_stream()
            if source.flags.c_contiguous:
                source.data.copy_to_host_async(staging.ptr, result.nbytes, stream)
            else:
                width, pitch = _row_bytes("a download's source", source)
                kind = cuda.runtime.memcpyDeviceToHost
                rows = result.nbytes // width
                cuda.runtime.memcpy2DAsync(staging.ptr, width, source.data.ptr, pitch, width, rows, kind, stream.ptr)
            stream.synchronize()
        except Exception as error:
            raise binding.failure(error, f"copying {result.nbytes:,} bytes from the device") from error
        np.copyto(result, _host_view(staging, result))
        return result

    def synchronize(self) -> None:
        """Waits for the current stream, and reports what went wrong in it."""
        binding.enter()
        try:
            binding.cupy().cuda.get_current_stream().synchronize()
        except Exception as error:
            raise binding.failure(error, "waiting for the device") from error

    def sequence(self, runs: Iterable[Callable[[], None]]) -> BoundSequence:
        return InTurn(runs)


def _host_view(staging: Any, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Pinned memory as a dense array of that type."""
    return np.frombuffer(staging, like.dtype, like.size).reshape(like.shape)


def _row_bytes(what: str, array: Array) -> tuple[int, int]:
    """Bytes of a row, and from one row to the next."""
    return array.shape[-1] * array.dtype.itemsize, pitch_of(f"cupy: {what}", array) * array.dtype.itemsize
