"""Memory of the host and of accelerators. The plan allocates arenas, views and copies only through these objects."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import numpy as np

from .errors import OutOfMemoryError
from .room import require
from .tensor import Array, DType

__all__ = [
    "ALIGNMENT",
    "HOST",
    "BoundSequence",
    "Device",
    "HoldsIdleMemory",
    "HostDevice",
    "InTurn",
    "after_giving_back",
    "align",
    "give_back_idle",
    "may_give_back",
]

T = TypeVar("T")

#: Bytes; one cache line, and the widest SIMD register.
ALIGNMENT = 64


_HUGE_PAGE = 2 << 20
_SLAB_BYTES = 32 << 20
#: Bytes below which no slab is begun: where packed weights are mapped, biases alone would take a huge page.
_LEAST_SLAB = 64 << 10
#: Slabs whose room is looked at: with one slab of 8 MB, Inception v3 takes 15 MB more, weights of 4 MB the half more.
_OPEN_SLABS = 8


class BoundSequence(Protocol):
    """Bound kernels as one call; for one thread at a time."""

    #: The number of the kernel at which the last call ended: of the one that raised, if one did.
    at: int

    def __call__(self) -> None: ...


class InTurn:
    """Runs all, one after the other. An exception of one of them is raised unchanged."""

    __slots__ = ("_runs", "at")

    def __init__(self, runs: Iterable[Callable[[], None]]) -> None:
        self._runs, self.at = tuple(runs), 0

    def __call__(self) -> None:
        at = 0
        try:
            for at, run in enumerate(self._runs):  # noqa: B007 - the index tells which one failed
                run()
        finally:
            self.at = at


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

    def sequence(self, runs: Iterable[Callable[[], None]]) -> BoundSequence:
        """One call for bound kernels of this device that run one after the other, repeatedly: see ``InTurn``.

        A device may record them once and replay the record.
        """
        ...


class HoldsIdleMemory(Protocol):
    """An owner of memory that it keeps for later and does not use at the moment."""

    def give_back(self) -> None:
        """Drops that memory; called from any thread, when an allocation failed."""
        ...


_HOLDERS: weakref.WeakSet[HoldsIdleMemory] = weakref.WeakSet()
_HOLDERS_LOCK = threading.Lock()


def _renew_holders_lock() -> None:
    global _HOLDERS_LOCK
    _HOLDERS_LOCK = threading.Lock()  # a thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_holders_lock)


def may_give_back(holder: HoldsIdleMemory) -> None:
    """Registers, weakly, a holder of idle memory, which a failed allocation makes it release."""
    with _HOLDERS_LOCK:
        _HOLDERS.add(holder)


def give_back_idle() -> None:
    """Makes every holder release its idle memory."""
    with _HOLDERS_LOCK:
        holders = list(_HOLDERS)
    for holder in holders:
        holder.give_back()


def after_giving_back(allocate: Callable[[], T], free: Callable[[], None] | None = None) -> T:
    """``allocate()``; if it raises a MemoryError, once more after all idle memory was given back.

    free: returns the released memory from an allocator's pool to the device.
    """
    try:
        return allocate()
    except MemoryError:
        give_back_idle()
    if free is not None:
        free()
    return allocate()


def align(nbytes: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _aligned(nbytes: int, alignment: int) -> np.ndarray[Any, Any]:
    raw = np.empty(nbytes + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + nbytes]


def _huge(nbytes: int, *, last: bool = True) -> np.ndarray[Any, Any]:
    """Memory in huge pages where the system gives them on request, else in ordinary ones.

    last: also where less than a whole page is left at the end, of which the system then gives all.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return _aligned(nbytes, ALIGNMENT)
    try:
        block = mmap.mmap(-1, nbytes + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:  # ENOMEM
        raise MemoryError(str(error)) from error
    raw = np.frombuffer(block, np.uint8)  # keeps the mapping
    start = -raw.ctypes.data % _HUGE_PAGE
    with contextlib.suppress(OSError):  # a kernel without transparent huge pages
        block.madvise(mmap.MADV_HUGEPAGE, *(() if last else (start, nbytes // _HUGE_PAGE * _HUGE_PAGE)))
    return raw[start : start + nbytes]


class HostDevice:
    """Main memory, NumPy arrays."""

    name = "cpu"

    def __init__(self) -> None:
        #: The slab that was begun last; and slabs, where their room begins and ends: they live as long as what is in them.
        self._slab = np.empty(0, np.uint8)
        self._rooms: list[tuple[weakref.ref[np.ndarray[Any, Any]], int, int]] = []
        self._renew_lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def allocate(self, nbytes: int) -> np.ndarray[Any, Any]:
        def make() -> np.ndarray[Any, Any]:
            require(nbytes, "a buffer needs")
            return _aligned(nbytes, ALIGNMENT) if nbytes < _HUGE_PAGE else _huge(nbytes, last=False)

        try:
            return after_giving_back(make)
        except OutOfMemoryError:
            raise
        except (MemoryError, ValueError, OverflowError):  # NumPy's words for beyond what addresses reach: ValueError
            raise OutOfMemoryError(
                f"{nbytes:,} bytes of main memory cannot be had. Remedy: run a smaller batch, or close other sessions"
            ) from None

    def allocate_lasting(self, nbytes: int) -> np.ndarray[Any, Any]:
        """A buffer that is read in every run and lives about as long as its neighbours: packed weights.

        They are allocated one after the other in slabs of huge pages: Inception v3 51.7 -> 47.9 ms on one thread, 36.8 -> 33 on
        two. A slab is given back when nothing in it is used any more. What is small goes where other slabs have room left, and
        begins none: a page of 2 MB is there as a whole once it is touched.
        """
        size = align(nbytes)
        with self._lock:
            rooms = [(whole, begin, end) for slab, begin, end in self._rooms if (whole := slab()) is not None]
            fits = [(end - begin, at) for at, (_, begin, end) in enumerate(rooms) if end - begin >= size]
            if not fits and size < _LEAST_SLAB:
                return self.allocate(nbytes)
            whole, begin, end = rooms.pop(min(fits)[1]) if fits else self._begun(size)
            rooms.append((whole, begin + size, end))
            self._rooms = [(weakref.ref(slab), at, end) for slab, at, end in rooms[-_OPEN_SLABS:]]
        return whole[begin : begin + nbytes]

    def _begun(self, size: int) -> tuple[np.ndarray[Any, Any], int, int]:
        """A new slab, and where its room begins and ends."""
        self._slab = _huge(-(-max(size, _SLAB_BYTES) // _HUGE_PAGE) * _HUGE_PAGE)
        whole = (
            self._slab.base if isinstance(self._slab.base, np.ndarray) else self._slab
        )  # what views of views refer to
        begin = self._slab.ctypes.data - whole.ctypes.data
        return whole, begin, begin + self._slab.nbytes

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
        target[...] = source

    def download(self, source: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.array(source, order="C", copy=True)

    def synchronize(self) -> None:
        """Nothing runs asynchronously."""

    def sequence(self, runs: Iterable[Callable[[], None]]) -> BoundSequence:
        return InTurn(runs)


HOST = HostDevice()
