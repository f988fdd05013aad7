"""Python's cycle collector, paused while a model is read and compiled."""

from __future__ import annotations

import gc
import threading
from types import TracebackType

__all__ = ["uncollected"]

_LOCK = threading.Lock()
#: How many blocks are open, in all threads, and whether the collector was on when the first one began.
_STATE = {"open": 0, "was_on": False}


class uncollected:  # noqa: N801 - reads like a function
    """``with uncollected():`` no cycles are looked for. What is made here lasts, and a collector that follows every new
    object again takes a tenth to a quarter of the processor time of loading a SavedModel.

    Blocks may be nested and open in several threads; the collector is as it was when the last one ends.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        with _LOCK:
            if not _STATE["open"]:
                _STATE["was_on"] = gc.isenabled()
                gc.disable()
            _STATE["open"] += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with _LOCK:
            _STATE["open"] -= 1
            if not _STATE["open"] and _STATE["was_on"]:
                gc.enable()
