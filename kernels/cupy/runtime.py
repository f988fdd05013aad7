"""The only module that imports CuPy: the probe, the device's memory, and launches on the current stream.

CuPy is used as a thin binding of the driver, the runtime and NVRTC; none of its own kernels run.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..backends import Status
from ..errors import BackendError, KernelError
from ..types import Array, DType, Run
from .compiler import architecture, compile_cubin
from .launch import Build, Function, Launch, pitch_of

__all__ = ["CudaDevice", "CudaLauncher", "nvrtc", "probe"]

_CHOOSE = "or choose another backend, for example KIGRAPH_BACKEND=cython"
_INSTALL = f"pip install 'kigraph[cupy]', {_CHOOSE}"
_DRIVER = f"install an NVIDIA driver for CUDA 13 or newer and check it with nvidia-smi, {_CHOOSE}"
#: cp.async and mma.sync on tf32 and bf16 came with it.
_LEAST_CAPABILITY = (8, 0)
#: CUfunction attribute: largest dynamic shared memory of a block.
_MAX_DYNAMIC_SHARED = 8
_DEFAULT_SHARED = 48 << 10


def _cupy() -> Any:
    return importlib.import_module("cupy")


def _driver() -> Any:
    """CuPy's binding of the driver."""
    return importlib.import_module("cupy_backends.cuda.api.driver")


def nvrtc() -> Any:
    """CuPy's binding of the run-time compiler."""
    return _cupy().cuda.nvrtc


def probe() -> Status:
    """Whether CuPy, a driver, a GPU of compute capability 8.0 and NVRTC are there. Never raises."""
    try:
        cupy = _cupy()
    except Exception as error:
        return Status(False, f"CuPy cannot be imported: {error}", _INSTALL)
    runtime = cupy.cuda.runtime
    try:
        if runtime.driverGetVersion() == 0:
            return Status(False, "no CUDA device: no NVIDIA driver is installed (libcuda was not found)", _DRIVER)
        if runtime.getDeviceCount() == 0:
            return Status(
                False,
                "no CUDA device: the driver reports none",
                f"make a GPU visible (CUDA_VISIBLE_DEVICES), {_CHOOSE}",
            )
        properties = runtime.getDeviceProperties(runtime.getDevice())
        name = properties["name"].decode()
        capability = (properties["major"], properties["minor"])
        if capability < _LEAST_CAPABILITY:
            found = ".".join(map(str, capability))
            return Status(
                False,
                f"{name} has compute capability {found}; 8.0 (Ampere) or newer is needed",
                f"use a newer GPU, {_CHOOSE}",
            )
    except Exception as error:
        return Status(False, f"no CUDA device can be used: {error}", _DRIVER)
    try:
        version = ".".join(map(str, nvrtc().getVersion()))
    except Exception as error:
        return Status(
            False, f"the run-time compiler NVRTC cannot be loaded: {error}", f"pip install nvidia-cuda-nvrtc, {_CHOOSE}"
        )
    detail = f"{name}, {architecture(*capability)}, {properties['multiProcessorCount']} multiprocessors, CuPy {cupy.__version__}, NVRTC {version}"
    return Status(True, detail)


def _unavailable() -> BackendError:
    status = probe()
    return BackendError(f"backend cupy cannot be used on this machine: {status.detail}. Remedy: {status.remedy}")


class CudaDevice:
    """Memory of the current CUDA device as CuPy arrays; copies go through pinned host memory, on the current stream."""

    name = "cuda"

    def allocate(self, nbytes: int) -> Array:
        """CuPy's memory pool aligns to 512 bytes."""
        cupy = _cupy()
        try:
            memory = cupy.cuda.alloc(nbytes)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise (
                _unavailable() if not probe().available else BackendError(f"cupy: {nbytes} bytes: {error}")
            ) from error
        return cupy.ndarray((nbytes,), np.uint8, memory)

    def view(
        self, buffer: Array, offset: int, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...] | None = None
    ) -> Array:
        return _cupy().ndarray(shape, dtype, buffer.data + offset, strides)

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
        cuda = _cupy().cuda
        staging = cuda.alloc_pinned_memory(source.nbytes)
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

    def download(self, source: Array) -> np.ndarray[Any, Any]:
        """``source``: as upload's target. Waits for the work of the current stream."""
        result = np.empty(source.shape, source.dtype)
        if source.size == 0:
            return result
        cuda = _cupy().cuda
        staging = cuda.alloc_pinned_memory(result.nbytes)
        stream = cuda.get_current_stream()
        if source.flags.c_contiguous:
            source.data.copy_to_host_async(staging.ptr, result.nbytes, stream)
        else:
            width, pitch = _row_bytes("a download's source", source)
            kind = cuda.runtime.memcpyDeviceToHost
            rows = result.nbytes // width
            cuda.runtime.memcpy2DAsync(staging.ptr, width, source.data.ptr, pitch, width, rows, kind, stream.ptr)
        stream.synchronize()
        np.copyto(result, _host_view(staging, result))
        return result

    def synchronize(self) -> None:
        """Waits for the current stream."""
        _cupy().cuda.get_current_stream().synchronize()


def _host_view(staging: Any, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Pinned memory as a dense array of that type."""
    return np.frombuffer(staging, like.dtype, like.size).reshape(like.shape)


def _row_bytes(what: str, array: Array) -> tuple[int, int]:
    """Bytes of a row, and from one row to the next."""
    return array.shape[-1] * array.dtype.itemsize, pitch_of(what, array) * array.dtype.itemsize


class CudaLauncher:
    """Compiles with NVRTC for the device at hand, loads cubins, launches through the driver."""

    def __init__(self) -> None:
        self.device = CudaDevice()
        self._modules: dict[Build, Any] = {}
        self._functions: dict[tuple[Function, int], Any] = {}
        self._lock = threading.RLock()
        self._thread = threading.local()

    @cached_property
    def _properties(self) -> dict[str, Any]:
        runtime = _cupy().cuda.runtime
        try:
            properties: dict[str, Any] = runtime.getDeviceProperties(runtime.getDevice())
        except runtime.CUDARuntimeError as error:
            raise _unavailable() from error
        return properties

    @property
    def multiprocessors(self) -> int:
        return int(self._properties["multiProcessorCount"])

    def address(self, array: Array) -> int:
        return int(array.data.ptr)

    def _function(self, function: Function, shared_bytes: int) -> Any:
        """The loaded kernel, allowed to use that much shared memory."""
        with self._lock:
            key = (function, shared_bytes)
            if key not in self._functions:
                cupy = _cupy()
                build = function.build
                if build not in self._modules:
                    arch = architecture(self._properties["major"], self._properties["minor"])
                    module = cupy.cuda.Module()
                    module.load(compile_cubin(build, arch))
                    self._modules[build] = module
                kernel = self._modules[build].get_function(function.name)
                if shared_bytes > _DEFAULT_SHARED:
                    _driver().funcSetAttribute(kernel.ptr, _MAX_DYNAMIC_SHARED, shared_bytes)
                self._functions[key] = kernel
            return self._functions[key]

    def _enter_thread(self) -> None:
        """Makes the device's context current in this thread: launches through the driver do not do it themselves."""
        runtime = _cupy().cuda.runtime
        runtime.setDevice(runtime.getDevice())
        self._thread.entered = True

    def bind(self, launches: Sequence[Launch], keep: Sequence[Any]) -> Run:
        self._enter_thread()
        current_stream = _cupy().cuda.get_current_stream
        launch_kernel = _driver().launchKernel
        kernels = [self._function(launch.function, launch.shared_bytes) for launch in launches]
        calls = [
            (kernel.ptr, *launch.grid, launch.threads, 1, 1, launch.shared_bytes)
            for kernel, launch in zip(kernels, launches, strict=True)
        ]
        tables = [ctypes.addressof(launch.table) for launch in launches]
        steps = list(zip(calls, tables, strict=True))
        kept = (tuple(launches), tuple(kernels), tuple(keep))
        thread = self._thread

        def run() -> None:
            if not hasattr(thread, "entered"):
                self._enter_thread()
            stream = current_stream().ptr
            for call, table in steps:
                launch_kernel(*call, stream, table, 0)

        run.keep = kept  # type: ignore[attr-defined]
        return run
