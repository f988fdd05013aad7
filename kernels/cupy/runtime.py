"""The launcher for the GPU: builds are compiled with NVRTC, loaded, and launched on the current stream."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..errors import DeviceError
from ..kernel import Run
from ..settings import CUPY_SYNC
from ..tensor import Array
from . import binding
from .compiler import compile_cubin
from .device import CudaDevice
from .launch import Build, Function, Launch

__all__ = ["CudaLauncher"]

#: CUfunction attribute: largest dynamic shared memory of a block.
_MAX_DYNAMIC_SHARED = 8
_DEFAULT_SHARED = 48 << 10


class CudaLauncher:
    """Compiles with NVRTC for the process's device, loads cubins, launches through the driver."""

    def __init__(self) -> None:
        self.device = CudaDevice()
        self._modules: dict[Build, Any] = {}
        self._functions: dict[tuple[Function, int], Any] = {}
        self._lock = threading.RLock()
        self._checking = threading.Lock()
        self._thread = threading.local()

    @cached_property
    def _properties(self) -> dict[str, Any]:
        binding.enter()
        properties: dict[str, Any] = binding.cupy().cuda.runtime.getDeviceProperties(binding.STATE.device)
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
                build = function.build
                if build not in self._modules:
                    arch = binding.architecture(self._properties["major"], self._properties["minor"])
                    module = binding.cupy().cuda.Module()
                    module.load(compile_cubin(build, arch))
                    self._modules[build] = module
                kernel = self._modules[build].get_function(function.name)
                if shared_bytes > _DEFAULT_SHARED:
                    binding.driver().funcSetAttribute(kernel.ptr, _MAX_DYNAMIC_SHARED, shared_bytes)
                self._functions[key] = kernel
            return self._functions[key]

    def _enter_thread(self) -> None:
        """Makes the device's context current in this thread: launches through the driver do not do it themselves."""
        binding.cupy().cuda.runtime.setDevice(binding.STATE.device)
        self._thread.entered = True

    def bind(self, launches: Sequence[Launch], keep: Sequence[Any]) -> Run:
        """As Launcher.bind. With KIGRAPH_CUPY_SYNC=1 the run waits for each launch and names the one that failed."""
        binding.enter()
        self._enter_thread()
        cuda = binding.cupy().cuda
        current_stream, current_device = cuda.get_current_stream, cuda.runtime.getDevice
        launch_kernel = binding.driver().launchKernel
        try:
            kernels = [self._function(launch.function, launch.shared_bytes) for launch in launches]
        except Exception as error:
            raise binding.failure(error, "loading kernels") from error
        calls = [
            (kernel.ptr, *launch.grid, launch.threads, 1, 1, launch.shared_bytes)
            for kernel, launch in zip(kernels, launches, strict=True)
        ]
        tables = [ctypes.addressof(launch.table) for launch in launches]
        steps = list(zip(calls, tables, strict=True))
        names = [launch.function.name for launch in launches]
        thread, state = self._thread, binding.STATE

        def enter() -> None:
            try:
                elsewhere = current_device() != state.device
            except Exception as error:  # an earlier kernel's fault, as any call may report it
                raise binding.failure(error, "querying the current device") from error
            if elsewhere or state.blocked:
                binding.enter()
            if not hasattr(thread, "entered"):
                self._enter_thread()

        def run() -> None:
            enter()
            stream = current_stream().ptr
            try:
                for call, table in steps:
                    launch_kernel(*call, stream, table, 0)
            except Exception as error:
                raise binding.failure(error, f"launching {', '.join(names)}") from error

        def run_and_check() -> None:
            enter()
            stream = current_stream()
            for name, (call, table) in zip(names, steps, strict=True):
                with self._checking:  # without the lock another thread's kernel may be the one that failed
                    try:
                        launch_kernel(*call, stream.ptr, table, 0)
                        stream.synchronize()
                    except Exception as error:
                        found = binding.failure(error, f"running {name}")
                        if isinstance(found, DeviceError):
                            found.deferred = False  # all earlier launches have finished
                            found.args = (f"kernel {name}: {found}",)
                        raise found from error

        chosen = run_and_check if CUPY_SYNC.get() else run
        chosen.keep = (tuple(launches), tuple(kernels), tuple(keep))  # type: ignore[attr-defined]
        return chosen
