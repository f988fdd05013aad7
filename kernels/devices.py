"""Where arrays live. The plan allocates arenas, views and copies only through these objects."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .types import Array, DType

__all__ = ["ALIGNMENT", "HOST", "Device", "HostDevice"]

#: Bytes; one cache line, and the widest SIMD register.
ALIGNMENT = 64


class Device(Protocol):
    """Memory of one kind. Buffers are one-dimensional uint8 arrays whose start is ALIGNMENT-aligned."""

    @property
    def name(self) -> str: ...

    def allocate(self, nbytes: int) -> Array:
        """A new buffer; its content is undefined."""
        ...

    def view(
        self, buffer: Array, offset: int, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...] | None = None
    ) -> Array:
        """An array over a part of a buffer; ``strides`` in bytes, None = dense row-major."""
        ...

    def upload(self, source: np.ndarray[Any, Any], target: Array) -> None:
        """Copies a host array into an array of this device; complete when it returns or ordered before later kernels."""
        ...

    def download(self, source: Array) -> np.ndarray[Any, Any]:
        """A fresh host array with the source's values; waits for the kernels before it."""
        ...

    def synchronize(self) -> None:
        """Waits until all work given to the device is done."""
        ...


class HostDevice:
    """Main memory, NumPy arrays."""

    name = "cpu"

    def allocate(self, nbytes: int) -> np.ndarray[Any, Any]:
        raw = np.empty(nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + nbytes]

    def view(
        self,
        buffer: np.ndarray[Any, Any],
        offset: int,
        dtype: DType,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
    ) -> np.ndarray[Any, Any]:
        return np.ndarray(shape, dtype, buffer=buffer, offset=offset, strides=strides)

    def upload(self, source: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> None:
        np.copyto(target, source)

    def download(self, source: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.array(source, order="C", copy=True)

    def synchronize(self) -> None:
        """Nothing runs behind the caller's back."""


HOST = HostDevice()
