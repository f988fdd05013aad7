"""Arrays of a device that are surrounded by guard bytes, to see whether a kernel writes only where it may."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..devices import ALIGNMENT, Device, align
from ..tensor import Array, TensorType
from .case import Memory

__all__ = ["GuardedArray", "GuardedBytes", "place"]

NDArray = np.ndarray[Any, Any]

#: Bytes before and after every array; vector loads and stores of any width that go out of bounds end up there.
_BAND = 4 * ALIGNMENT
_SENTINEL = 0xA5


def place(t: TensorType, memory: Memory) -> tuple[int, tuple[int, ...], int]:
    """(offset of the first element, strides, end) in bytes of an array of that kind of memory."""
    item, shape = t.dtype.itemsize, t.dims
    offset, pitch = _BAND, (shape[-1] if shape else 1) * item
    if memory == "offset":
        offset += item
    elif memory == "misaligned":
        offset += 1
    elif memory == "pitched":
        offset, pitch = offset + 3 * item, pitch + 5 * item
    elif memory == "slice":
        offset, pitch = offset + ALIGNMENT, (pitch // ALIGNMENT + 2) * ALIGNMENT
    strides = [item] * len(shape)
    pixels = 1
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = pitch * pixels
        pixels *= shape[axis]
    end = offset + (pitch * max(int(np.prod(shape[:-1])), 1) if shape else item)
    return offset, tuple(strides), end


class GuardedArray:
    """An array of a device inside a buffer of sentinel bytes.

    ``array`` is what a kernel gets. All bytes of the buffer that are not the array's must keep their value.
    """

    def __init__(self, device: Device, t: TensorType, memory: Memory = "dense") -> None:
        offset, strides, end = place(t, memory)
        self._device = device
        self._type, self._offset, self._strides = t, offset, strides
        self._nbytes = align(end + _BAND)
        self._buffer = device.allocate(self._nbytes)
        self._image = np.full(self._nbytes, _SENTINEL, np.uint8)
        self.array: Array = device.view(self._buffer, offset, t.dtype, t.dims, strides)

    def _view(self, image: NDArray) -> NDArray:
        return np.ndarray(self._type.dims, self._type.dtype, buffer=image, offset=self._offset, strides=self._strides)

    def _upload(self) -> None:
        self._device.upload(self._image, self._device.view(self._buffer, 0, np.dtype(np.uint8), (self._nbytes,)))

    def write(self, values: NDArray) -> None:
        """Sets the array's values and renews all guards."""
        self._view(self._image)[...] = values
        self._upload()

    def fill(self, byte: int) -> None:
        """Sets every byte of the array; 0xFF makes floats NaN."""
        item = self._type.dtype.itemsize
        as_bytes = np.ndarray((*self._type.dims, item), np.uint8, self._image, self._offset, (*self._strides, 1))
        as_bytes[...] = byte
        self._upload()

    def read(self) -> tuple[NDArray, str | None]:
        """A copy of the values; and what is wrong with the bytes around them, if anything."""
        now = np.array(self._device.download(self._device.view(self._buffer, 0, np.dtype(np.uint8), (self._nbytes,))))
        values = self._view(now).copy()
        self._view(self._image)[...] = values
        changed = np.flatnonzero(now != self._image)
        if not changed.size:
            return values, None
        first = int(changed[0]) - self._offset
        return values, (
            f"{changed.size} bytes outside the array were written, the first at byte {first} from its start "
            f"(shape {self._type.dims}, strides {self._strides})"
        )


class GuardedBytes(GuardedArray):
    """A workspace: 64-byte aligned bytes between guards."""

    def __init__(self, device: Device, nbytes: int) -> None:
        super().__init__(device, TensorType(np.dtype(np.uint8), (nbytes,)))
