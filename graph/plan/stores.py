"""What outlives a plan: packed weights and device constants per graph, compiled stages per session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from ...kernels.devices import HOST, Device
from ...kernels.kernel import Kernel
from ...kernels.tensor import Array
from ..ir import Literal
from .packed_cache import PackedCache

__all__ = ["LRU", "ConstantStore", "KernelConstants"]

T = TypeVar("T")

#: Bytes up to which a constant is used as it is.
_SMALL = 1024


class ConstantStore:
    """Arrays made from literals, each made once: packed by kernels, or placed on a device. Thread-safe.

    cache: where packed forms are looked up before they are made, and kept for other processes.
    """

    def __init__(self, cache: PackedCache | None = None) -> None:
        self._cache = cache
        self._made: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._generation = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        found: T
        with self._lock:
            if key in self._made:
                found = self._made[key]
                return found
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            with self._lock:
                if key in self._made:
                    found = self._made[key]
                    return found
                generation = self._generation
            found = make()
            with self._lock:
                self._locks.pop(key, None)
                if self._generation == generation:  # else it may be made of damaged data, and its user asks again
                    self._made[key] = found
            return found

    def on_device(self, literal: Literal, device: Device) -> Array:
        """The literal as a dense, aligned array of a device."""

        if device.name == HOST.name and literal.type.size * literal.dtype.itemsize <= _SMALL:
            return literal.array()  # shapes and the like: not worth a place in the store

        def make() -> Array:
            array = literal.array()
            if array.dtype == object:
                return array
            target = device.view(device.allocate(max(array.nbytes, 1)), 0, array.dtype, array.shape)
            device.upload(array, target)
            return target

        return self.get(("device", device.name, literal.key), make)

    def packed(self, kernel: Kernel, layout: str, literal: Literal, pack: Callable[[np.ndarray[Any, Any]], T]) -> T:
        """The form of a literal that a kernel wants, under everything that it depends on."""

        def make() -> T:
            if self._cache is None:
                return pack(literal.array())
            found: T = self._cache.get(kernel, layout, literal, pack)
            return found

        return self.get(("packed", str(kernel), layout, literal.key), make)

    @property
    def generation(self) -> int:
        """Rises when packed weights from the cache folder turn out to be damaged; see ``confirm``."""
        with self._lock:
            return self._generation

    def confirm(self) -> int:
        """Waits for the checks of packed weights. If it is not the ``generation`` from before a compilation, compile again.

        What is damaged is then made anew. Each session that may have met it sees the change, not just the first.
        """
        found = self._cache.confirm() if self._cache is not None else 0
        with self._lock:
            if found > self._generation:
                self._generation = found
                self._made = {k: v for k, v in self._made.items() if not (isinstance(k, tuple) and k[0] == "packed")}
        return found

    def save(self) -> None:
        """Keeps what was packed for other processes; call it when a stage is compiled."""
        if self._cache is not None:
            self._cache.save()

    def __len__(self) -> int:
        return len(self._made)


class KernelConstants:
    """The constants of one kernel's query, with packing through the store (kernels.kernel.Constants)."""

    def __init__(self, kernel: Kernel, literals: dict[int, Literal], store: ConstantStore) -> None:
        self._kernel, self._literals, self._store = kernel, literals, store

    def value(self, index: int) -> np.ndarray[Any, Any]:
        return self._literals[index].array()

    def packed(self, index: int, layout: str, pack: Callable[[np.ndarray[Any, Any]], T]) -> T:
        return self._store.packed(self._kernel, layout, self._literals[index], pack)


class LRU:
    """A bounded map; the least recently used entry goes first. Thread-safe; two threads may make one entry twice."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                found: T = self._entries[key]
                return found
        made = make()
        with self._lock:
            result: T = self._entries.setdefault(key, made)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return result

    def find(self, key: Hashable) -> Any:
        """The entry, or None."""
        with self._lock:
            return self._entries.get(key)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> list[tuple[Any, Any]]:
        """A snapshot of keys and entries, least recently used first."""
        with self._lock:
            return list(self._entries.items())
