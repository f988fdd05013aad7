"""The request log: one line for each request, to standard output, by a thread of its own, so that a reader that stalls or goes away
delays no request."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import queue
import sys
import time
from collections.abc import Iterator

__all__ = ["RequestLog", "access_log"]

_LOG = logging.getLogger("kigraph.serve")
_ACCESS = logging.getLogger("kigraph.serve.access")
#: Lines that wait for a slow reader; more are dropped.
_LINES = 10_000


class RequestLog:
    """Lines of a service. ``kind``: off, text, json; ``model``: the name of its model."""

    def __init__(self, kind: str, model: str) -> None:
        self._kind, self._model = kind, model

    def line(
        self, number: str, method: str, path: str, status: int, sent: int, seconds: float, model: str | None = None
    ) -> None:
        """Writes the line of a request. number: its id; path: as it was sent, without the query; sent: bytes; model: if it is not
        the default."""
        if self._kind == "off":
            return
        now = time.time()
        when = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
        milliseconds = round(seconds * 1000, 2)
        if self._kind == "json":
            record = {"time": when, "id": number, "method": method, "path": path[:200], "status": status, "bytes": sent,
                      "ms": milliseconds, "model": model or self._model}  # fmt: skip
            _ACCESS.info("%s", json.dumps(record))
        else:
            name = "".join(c if c.isprintable() and c != " " else "_" for c in model or self._model)
            _ACCESS.info(
                "%s %s %s %s %d %d %.2fms %s", when, number, method, path[:200], status, sent, milliseconds, name
            )


class _Lines(logging.Handler):
    """Writes to a file descriptor: a thread that hangs in a stream of Python keeps the interpreter from ending."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        if _ACCESS.disabled:
            return
        data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            _ACCESS.disabled = True
            _LOG.error("the request log ends: standard output cannot be written: %s", error.strerror)


class _Dropping(logging.handlers.QueueHandler):
    """A queue that never makes the event loop wait. ``dropped``: lines for which it had no room."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            if not self.dropped:
                _LOG.warning("the reader of the request log is too slow: lines are dropped")
            self.dropped += 1


class _Listener(logging.handlers.QueueListener):
    def end(self, seconds: float) -> None:
        """Writes the queued lines, for at most so long."""
        with contextlib.suppress(queue.Full):
            self.enqueue_sentinel()
        if (thread := self._thread) is not None:
            thread.join(seconds)


@contextlib.contextmanager
def access_log(kind: str, descriptor: int = 1, lines: int = _LINES) -> Iterator[_Dropping | None]:
    """Sends the lines of the request log to a file descriptor while the context lasts, and waits 2 s for them at its end."""
    if kind == "off":
        yield None
        return
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(lines)
    handler, listener = _Dropping(waiting), _Listener(waiting, _Lines(descriptor))
    handler.setFormatter(logging.Formatter("%(message)s"))
    _ACCESS.addHandler(handler)
    _ACCESS.setLevel(logging.INFO)
    _ACCESS.propagate, _ACCESS.disabled = False, False
    sys.stdout.flush()
    listener.start()
    try:
        yield handler
    finally:
        _ACCESS.removeHandler(handler)
        listener.end(2.0)
        if handler.dropped:
            _LOG.warning("%d lines of the request log were dropped", handler.dropped)
