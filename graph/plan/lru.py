"""A bounded map: compiled stages and plans of a session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["LRU"]

T = TypeVar("T")


class LRU:
    """A bounded map; the least recently used entry goes first. Thread-safe; two threads may make one entry twice.

    spared: whether an entry was used without the map's knowledge, so that it counts as used now; it is asked when the entry
    would go. gone: called after entries went.
    """

    def __init__(
        self, size: int, spared: Callable[[Any], bool] = lambda entry: False, gone: Callable[[], None] = lambda: None
    ) -> None:
        self._size, self._spared, self._gone = size, spared, gone
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
            full = len(self._entries) > self._size
            while len(self._entries) > self._size:
                self._drop()
        if full:
            self._gone()
        return result

    def _drop(self) -> None:
        """Removes one entry; each of the others is spared once at most, and the newest always."""
        for _ in range(len(self._entries) - 1):
            key = next(iter(self._entries))
            if not self._spared(self._entries[key]):
                break
            self._entries.move_to_end(key)
        else:
            self._entries.move_to_end(next(iter(self._entries)))  # the newest
        self._entries.popitem(last=False)

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
