"""A stand-in for CuPy: as much of it as the backend and its benchmarks use, over host memory, with kernels emulated.

With it the whole backend runs on a machine without a GPU: probe, device memory, copies, launches through
"cuLaunchKernel", streams, captured graphs, and sessions over all of that. ``install(patch)`` puts it in CuPy's place.
Device arrays are opaque: what touches their memory other than by a copy or a kernel fails, as it would on a GPU.

It fails as CuPy does: memory comes from a pool over a device of limited size (``memory``) and ends in OutOfMemoryError;
a kernel that faults (``break_launch``) is reported by the next synchronisation, and then by every call.
"""

from __future__ import annotations

import ctypes
import itertools
import pickle
import threading
from collections.abc import Callable
from math import prod
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import backends
from ..cupy import binding, runtime
from ..cupy.launch import Build, Function
from .launcher import FORWARD, Schedule, library, run_emulated
from .standin_memory import CUDADriverError, CUDARuntimeError, OutOfMemoryError, Pinned, Pointer, Pool

__all__ = ["StandIn"]

_CAPTURING = 900  # cudaErrorStreamCaptureUnsupported


class _Module:
    """cupy.cuda.Module; a "cubin" is the name of its build."""

    _numbers = itertools.count(1)

    def __init__(self, functions: dict[int, Function]) -> None:
        self._functions = functions

    def load(self, cubin: bytes) -> None:
        self._build: Build = pickle.loads(cubin)
        library(self._build)

    def get_function(self, name: str) -> Any:
        number = next(self._numbers)
        self._functions[number] = Function(self._build, name)
        return SimpleNamespace(ptr=number)


class _Graph:
    """cupy.cuda.Graph: what was captured, in order."""

    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._work = work

    def launch(self, stream: _Stream | None = None) -> None:
        for do in self._work:
            do()


class _Stream:
    """cupy.cuda.Stream; work happens when it is given, or is written down while it is captured."""

    _numbers = itertools.count(1)

    def __init__(self, gpu: StandIn, null: bool = False, non_blocking: bool = False) -> None:
        self._gpu = gpu
        self._captured: list[Callable[[], None]] | None = None
        self._before: list[_Stream] = []
        self.ptr = 0 if null else next(self._numbers)
        gpu.streams[self.ptr] = self

    def __enter__(self) -> _Stream:
        self._before.append(self._gpu.current_stream())
        self._gpu.local.stream = self
        return self

    def __exit__(self, *error: object) -> None:
        self._gpu.local.stream = self._before.pop()

    def use(self) -> _Stream:
        self._gpu.local.stream = self
        return self

    def synchronize(self) -> None:
        if self._captured is not None:
            raise CUDARuntimeError(_CAPTURING)
        self._gpu.check()

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise CUDARuntimeError(_CAPTURING)
        self._captured = []

    def end_capture(self) -> _Graph:
        work, self._captured = self._captured, None
        return _Graph(work or [])

    def do(self, work: Callable[[], None]) -> None:
        if self._captured is None:
            work()
        else:
            self._captured.append(work)


class _Event:
    """cupy.cuda.Event; its time is the wall's."""

    def __init__(self, gpu: StandIn) -> None:
        self._gpu, self.seconds = gpu, 0.0

    def record(self, stream: _Stream | None = None) -> None:
        self.seconds = perf_counter()

    def synchronize(self) -> None:
        self._gpu.check()


class StandIn:
    """``cupy``, ``driver`` and ``compile_cubin`` for the backend.

    ``launches`` counts; ``copies`` has sizes in bytes; ``plain_allocations`` counts those that came from no pool.
    """

    def __init__(
        self,
        schedule: Schedule = FORWARD,
        multiprocessors: int = 4,
        memory: int = 1 << 40,
        devices: int = 1,
    ) -> None:
        self.launches = 0
        self.copies: list[int] = []
        self.plain_allocations = 0
        self.streams: dict[int, _Stream] = {}
        self.local = threading.local()
        self.pool = Pool(memory)
        self._allocator: Callable[[int], Pointer] | None = self.pool.malloc
        self._schedule = schedule
        self._functions: dict[int, Function] = {}
        self._shared: dict[int, int] = {}
        self._devices = devices
        self._broken: dict[int, int] = {}
        #: The error of a kernel that faulted: nobody was told yet; or everybody is.
        self._pending = self._lost = 0
        self._null = _Stream(self, null=True)
        self._properties = {"name": b"emulated", "major": 9, "minor": 0, "multiProcessorCount": multiprocessors}
        self.driver = SimpleNamespace(
            CUDADriverError=CUDADriverError, launchKernel=self._launch, funcSetAttribute=self._set_attribute
        )
        self.cupy = SimpleNamespace(
            __version__="emulated",
            ndarray=self._array_type(),
            cuda=self._cuda(),
            get_default_memory_pool=lambda: self.pool,
            get_default_pinned_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
        )

    def _array_type(self) -> type[_Array]:
        return type("ndarray", (_Array,), {"_allocate": staticmethod(lambda nbytes: self._alloc(nbytes))})

    def _cuda(self) -> SimpleNamespace:
        runtime = SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            driverGetVersion=lambda: 13000,
            getDeviceCount=lambda: self._devices,
            getDevice=lambda: getattr(self.local, "device", 0),
            setDevice=self._set_device,
            getDeviceProperties=lambda device: self._properties,
            memGetInfo=lambda: self.pool.info(),
            memcpy2DAsync=self._copy_rows,
            memcpyHostToDevice=1,
            memcpyDeviceToHost=2,
            deviceSynchronize=self.check,
            streamCaptureModeThreadLocal=1,
        )
        return SimpleNamespace(
            runtime=runtime,
            nvrtc=SimpleNamespace(getVersion=lambda: (0, 0)),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            alloc=self._alloc,
            set_allocator=self._set_allocator,
            alloc_pinned_memory=self._pinned,
            get_current_stream=self.current_stream,
            Module=lambda: _Module(self._functions),
            Stream=lambda null=False, non_blocking=False: _Stream(self, null, non_blocking),
            Event=lambda: _Event(self),
            get_elapsed_time=lambda start_event, end_event: (end_event.seconds - start_event.seconds) * 1e3,
        )

    @staticmethod
    def compile_cubin(build: Build, arch: str) -> bytes:
        """What _Module.load takes."""
        return pickle.dumps(build)

    def install(self, patch: Callable[[Any, str, Any], None]) -> None:
        """Replaces CuPy for the backend; ``patch(module, name, value)`` is setattr, or pytest's monkeypatch.setattr."""
        patch(backends, "can_load", lambda libraries: True)
        patch(binding, "cupy", lambda: self.cupy)
        patch(binding, "driver", lambda: self.driver)
        patch(binding, "STATE", binding.State())
        patch(runtime, "compile_cubin", self.compile_cubin)

    def break_launch(self, number: int, status: int = 700) -> None:
        """The launch of that number, counted from 0 and from the start, faults: 700 is cudaErrorIllegalAddress."""
        self._broken[number] = status

    def check(self) -> None:
        """What every synchronisation does: reports the fault of a kernel; from then on it is reported for ever."""
        self._lost = self._lost or self._pending
        self._refuse_if_lost()

    def _refuse_if_lost(self, kind: type[CUDARuntimeError | CUDADriverError] = CUDARuntimeError) -> None:
        if self._lost:
            raise kind(self._lost)

    def current_stream(self) -> _Stream:
        stream: _Stream = getattr(self.local, "stream", self._null)
        return stream

    def _set_device(self, device: int) -> None:
        if not 0 <= device < self._devices:
            raise CUDARuntimeError(101)
        self.local.device = device

    def _set_allocator(self, allocator: Callable[[int], Pointer] | None = None) -> None:
        self._allocator = allocator

    def _alloc(self, size: int) -> Pointer:
        self._refuse_if_lost()
        if self._allocator is not None:
            return self._allocator(size)
        self.plain_allocations += 1
        return self.pool.plain(size)

    def _pinned(self, size: int) -> Pinned:
        self._refuse_if_lost()
        return Pinned.of(size)

    def _set_attribute(self, f: int, attribute: int, value: int) -> None:
        if attribute != 8:
            raise CUDADriverError(1)
        self._shared[f] = value

    def _launch(
        self, f: int, grid_dim_x: int, grid_dim_y: int, grid_dim_z: int, block_dim_x: int, block_dim_y: int,
        block_dim_z: int, shared_mem_bytes: int, stream: int, kernel_params: int, extra: int,
    ) -> None:  # fmt: skip
        self._refuse_if_lost(CUDADriverError)
        if shared_mem_bytes > self._shared.get(f, 48 << 10) or (block_dim_y, block_dim_z, extra) != (1, 1, 0):
            raise CUDADriverError(1)  # more shared memory than funcSetAttribute allowed, or a shape nobody uses here
        grid, function = (grid_dim_x, grid_dim_y, grid_dim_z), self._functions[f]

        def work() -> None:
            number, self.launches = self.launches, self.launches + 1
            if number in self._broken:
                self._pending = self._broken[number]
            if not self._pending:  # after a fault nothing runs any more
                run_emulated(function, grid, block_dim_x, shared_mem_bytes, kernel_params, self._schedule)

        self.streams[stream].do(work)

    def _copy_rows(
        self, dst: int, dpitch: int, src: int, spitch: int, width: int, height: int, kind: int, stream: int
    ) -> None:
        self._refuse_if_lost()
        if min(dpitch, spitch) < width:
            raise CUDARuntimeError(12)  # cudaErrorInvalidPitchValue

        def work() -> None:
            for row in range(height):
                ctypes.memmove(dst + row * dpitch, src + row * spitch, width)
            self.copies.append(width * height)

        self.streams[stream].do(work)


class _Array:
    """cupy.ndarray without any way to look at the elements."""

    _allocate: Callable[[int], Pointer]

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, memptr: Pointer | None = None, strides: tuple[int, ...] | None = None
    ) -> None:
        self.shape, self.dtype = tuple(map(int, shape)), np.dtype(dtype)
        self.ndim, self.size = len(self.shape), prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize
        self.data = memptr if memptr is not None else type(self)._allocate(max(self.nbytes, 1))
        dense = tuple(self.dtype.itemsize * prod(self.shape[i + 1 :]) for i in range(self.ndim))
        self.strides = dense if strides is None else tuple(strides)
        contiguous = all(n == 1 or s == d for n, s, d in zip(self.shape, self.strides, dense, strict=True))
        self.flags = SimpleNamespace(c_contiguous=contiguous or self.size == 0)

    def reshape(self, *shape: Any) -> _Array:
        dims = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        if not self.flags.c_contiguous or prod(dims) != self.size:
            raise RuntimeError("reshape of a strided device array would run one of CuPy's own kernels")
        return type(self)(dims, self.dtype, self.data)
