"""A stand-in for CuPy: as much of it as runtime.py uses, over host memory, with kernels emulated.

With it the whole backend runs on a machine without a GPU: probe, device memory, copies, launches through
"cuLaunchKernel", and sessions over all of that. ``install(patch)`` puts it in CuPy's place. Device arrays are opaque:
what touches their memory other than by a copy or a kernel fails, as it would on a GPU.
"""

from __future__ import annotations

import ctypes
import itertools
import pickle
from collections.abc import Callable
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..launch import Build, Function
from .launcher import FORWARD, Schedule, library, run_emulated

__all__ = ["StandIn"]

_ALIGNMENT = 512


class _Error(RuntimeError):
    """CUDARuntimeError."""


class _Pointer:
    """cupy.cuda.MemoryPointer: an address that keeps its memory alive."""

    def __init__(self, owner: np.ndarray[Any, Any], ptr: int) -> None:
        self._owner, self.ptr = owner, ptr

    def __add__(self, offset: int) -> _Pointer:
        return _Pointer(self._owner, self.ptr + offset)

    def copy_from_host_async(self, source: int, size: int, stream: object) -> None:
        ctypes.memmove(self.ptr, source, size)

    def copy_to_host_async(self, target: int, size: int, stream: object) -> None:
        ctypes.memmove(target, self.ptr, size)


class _Array:
    """cupy.ndarray without any way to look at the elements."""

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, data: _Pointer | None = None, strides: tuple[int, ...] | None = None
    ) -> None:
        self.shape, self.dtype = tuple(map(int, shape)), np.dtype(dtype)
        self.ndim, self.size = len(self.shape), prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize
        self.data = data if data is not None else _allocate(max(self.nbytes, 1))
        dense = tuple(self.dtype.itemsize * prod(self.shape[i + 1 :]) for i in range(self.ndim))
        self.strides = dense if strides is None else tuple(strides)
        contiguous = all(n == 1 or s == d for n, s, d in zip(self.shape, self.strides, dense, strict=True))
        self.flags = SimpleNamespace(c_contiguous=contiguous or self.size == 0)

    def reshape(self, *shape: Any) -> _Array:
        dims = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        if not self.flags.c_contiguous or prod(dims) != self.size:
            raise _Error("reshape of a strided device array would run one of CuPy's own kernels")
        return _Array(dims, self.dtype, self.data)


def _allocate(nbytes: int) -> _Pointer:
    raw = np.full(nbytes + _ALIGNMENT, 0xFF, np.uint8)
    return _Pointer(raw, raw.ctypes.data + -raw.ctypes.data % _ALIGNMENT)


class _Pinned(np.ndarray[Any, Any]):
    """cupy.cuda.PinnedMemoryPointer: a buffer with an address."""

    @property
    def ptr(self) -> int:
        return int(self.ctypes.data)


def _pinned(nbytes: int) -> _Pinned:
    return np.empty(nbytes, np.uint8).view(_Pinned)


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


class StandIn:
    """``cupy``, ``driver`` and ``compile_cubin`` for runtime.py. ``launches`` counts; ``copies`` has sizes in bytes."""

    def __init__(self, schedule: Schedule = FORWARD, multiprocessors: int = 4) -> None:
        self.launches = 0
        self.copies: list[int] = []
        self._schedule = schedule
        self._functions: dict[int, Function] = {}
        self._shared: dict[int, int] = {}
        properties = {"name": b"emulated", "major": 9, "minor": 0, "multiProcessorCount": multiprocessors}
        stream = SimpleNamespace(ptr=0, synchronize=lambda: None)
        self.driver = SimpleNamespace(launchKernel=self._launch, funcSetAttribute=self._set_attribute)
        runtime = SimpleNamespace(
            CUDARuntimeError=_Error,
            driverGetVersion=lambda: 13000,
            getDeviceCount=lambda: 1,
            getDevice=lambda: 0,
            setDevice=lambda number: None,
            getDeviceProperties=lambda number: properties,
            memcpy2DAsync=self._copy_rows,
            memcpyHostToDevice=1,
            memcpyDeviceToHost=2,
        )
        self.cupy = SimpleNamespace(
            __version__="emulated",
            ndarray=_Array,
            cuda=SimpleNamespace(
                runtime=runtime,
                nvrtc=SimpleNamespace(getVersion=lambda: (0, 0)),
                alloc=_allocate,
                alloc_pinned_memory=_pinned,
                get_current_stream=lambda: stream,
                Module=lambda: _Module(self._functions),
            ),
        )

    @staticmethod
    def compile_cubin(build: Build, arch: str) -> bytes:
        """What _Module.load takes."""
        return pickle.dumps(build)

    def install(self, patch: Callable[[str, object], None]) -> None:
        """Replaces CuPy in runtime.py; ``patch(name, value)`` sets an attribute of that module."""
        patch("_cupy", lambda: self.cupy)
        patch("_driver", lambda: self.driver)
        patch("compile_cubin", self.compile_cubin)

    def _set_attribute(self, function: int, attribute: int, value: int) -> None:
        if attribute != 8:
            raise _Error(f"unknown attribute {attribute}")
        self._shared[function] = value

    def _launch(
        self, function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int,
        parameters: int, extra: int,
    ) -> None:  # fmt: skip
        if shared > self._shared.get(function, 48 << 10):
            raise _Error("a launch with more than 48 KB of shared memory that funcSetAttribute did not allow")
        if (by, bz, extra) != (1, 1, 0):
            raise _Error("blocks have one axis here")
        run_emulated(self._functions[function], (gx, gy, gz), bx, shared, parameters, self._schedule)
        self.launches += 1

    def _copy_rows(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        height: int,
        kind: int,
        stream: int,
    ) -> None:
        if min(target_pitch, source_pitch) < width:
            raise _Error("cudaErrorInvalidPitchValue")
        for row in range(height):
            ctypes.memmove(target + row * target_pitch, source + row * source_pitch, width)
        self.copies.append(width * height)
