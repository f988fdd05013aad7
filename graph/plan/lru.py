"""A bounded map: compiled stages and plans of a session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["LRU"]

T = TypeVar("T")


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
