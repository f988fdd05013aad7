"""KIGRAPH_LOG: how much kigraph says, and where, if the application has not decided that.

kigraph logs to the logger "kigraph" and those below it ("kigraph.serve"). The variable sets its level. A handler is added once, and
writes to standard error only while neither the root logger nor "kigraph" has another one: an application's own logging stays
as it is, and nothing is said twice. docs/logging.md lists what is logged.
"""

from __future__ import annotations

import logging
import sys
import threading

from .settings import LOG

__all__ = ["follow_setting"]

_LOGGER = logging.getLogger("kigraph")
_LOCK = threading.Lock()
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


class _ToStandardError(logging.Handler):
    """Lines on whatever standard error is at that time (a notebook replaces it), where nothing else takes the record."""

    def emit(self, record: logging.LogRecord) -> None:
        others = (*logging.getLogger().handlers, *_LOGGER.handlers)
        if any(h is not self and not isinstance(h, logging.NullHandler) for h in others) or sys.stderr is None:
            return
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # as every handler of the library: a closed stream is no error of the caller
            self.handleError(record)


_HANDLER = _ToStandardError()
_HANDLER.setFormatter(_FORMAT)


def follow_setting() -> None:
    """Does what KIGRAPH_LOG says now; nothing if it is not set. SettingsError if its value is invalid.

    Called where a session is made, a model is loaded and a command starts, so ``import kigraph`` changes no logging.
    """
    level = LOG.get()
    if level is None:
        return
    with _LOCK:
        _LOGGER.setLevel(level.upper())
        if _HANDLER not in _LOGGER.handlers:
            _LOGGER.addHandler(_HANDLER)
