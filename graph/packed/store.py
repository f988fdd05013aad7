"""What outlives a plan: packed weights and device constants, per graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from ...kernels.devices import HOST, Device
from ...kernels.kernel import Kernel
from ...kernels.tensor import Array
from ..ir import Literal
from .cache import PackedCache

__all__ = ["ConstantStore", "KernelConstants"]

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
                if (
                    self._generation == generation
                ):  # else it may be made of damaged data, and its user requests it again
                    self._made[key] = found
            return found

    def on_device(self, literal: Literal, device: Device) -> Array:
        """The literal as a dense, aligned array of a device."""

        if device.name == HOST.name and literal.type.size * literal.dtype.itemsize <= _SMALL:
            return literal.array()  # shapes and the like: not worth storing

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

    def compile_checked(self, make: Callable[[], T]) -> T:
        """``make()``, which uses packed weights from the cache folder before they are checked; again, if some were damaged.

        What is damaged is then made anew. Each session that may have used it is informed, not just the first. Keeps what was
        packed for other processes.
        """
        while True:
            with self._lock:
                generation = self._generation
            made = make()
            if self._confirm() == generation:
                break
        if self._cache is not None:
            self._cache.save()
        return made

    def _confirm(self) -> int:
        """Waits for the checks of packed weights; the number rises when some turn out to be damaged, which are dropped."""
        found = self._cache.confirm() if self._cache is not None else 0
        with self._lock:
            if found > self._generation:
                self._generation = found
                self._made = {k: v for k, v in self._made.items() if not (isinstance(k, tuple) and k[0] == "packed")}
        return found

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
