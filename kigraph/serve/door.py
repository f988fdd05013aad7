"""Accepts connections in a thread of its own and answers questions about the service's health there.

The system hands connections over in the order of their coming, and thousands may wait: clients that connect, send and hang up in a
loop filled its queue, and a health check waited behind them while the event loop went through one after the other. This thread
empties that queue, looks at the first bytes, and keeps everything but health checks for the event loop.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

__all__ = ["Door"]

_LOG = logging.getLogger("kigraph.serve")
#: Connections that may wait in each state when the limit on connections is reached; below it there is no other limit.
_ROOM = 32
#: Seconds: for the first bytes before the event loop takes the connection; for a client to read a refusal; without an event loop
#: that runs, after which the door answers no health check.
_FIRST, _LINGER, _STALLED = 1.0, 2.0, 2.0
#: Bytes that are looked at, and bytes of a refused body that are read at a time.
_HEAD, _DROPPED = 4096, 1 << 16
#: The states of a TCP connection whose client has closed its side, or reset it (Linux).
_CLOSE, _CLOSE_WAIT = 7, 8
_INFO = socket.TCP_INFO if sys.platform == "linux" else None


def _state(connection: socket.socket) -> int:
    """The state of a TCP connection; 0 where the system does not tell."""
    if _INFO is None:
        return 0
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, _INFO, 1)[0]
    except OSError:
        return _CLOSE


class Door:
    """Accepts connections until ``stop``.

    arrived: is told, from the thread, that ``next`` has a connection. answer: the answer to a health check and the bytes of its
    head, None for anything else. refuse: the answer to a request, by its first bytes, that finds no room. full: whether the
    connections that the event loop has, and so many more, are as many as may be held. dropped: is told of each client that has
    hung up, if more than a few have. idle: seconds between two health checks on a connection.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], arrived: Callable[[], None], answer: Callable[[bytes], tuple[bytes, int] | None],
        refuse: Callable[[bytes], bytes], full: Callable[[int], bool],
        dropped: Callable[[], None] = lambda: None, idle: float = 15.0,
    ) -> None:  # fmt: skip
        self._sockets, self._arrived, self._answer, self._refuse, self._full = sockets, arrived, answer, refuse, full
        self._dropped, self._idle = dropped, idle
        self._selector = selectors.DefaultSelector()
        #: Connections without a byte so far, and those that got a refusal, with the time at which that ends; those of the former
        #: on which a health check was answered before.
        self._silent: OrderedDict[socket.socket, float] = OrderedDict()
        self._checked: set[socket.socket] = set()
        self._refused: OrderedDict[socket.socket, float] = OrderedDict()
        #: For the event loop: those with a request, and those of them whose clients have closed their side.
        self._waiting: deque[socket.socket] = deque()
        self._parting: deque[socket.socket] = deque()
        self._ended, self._paused, self._told = False, 0.0, 0.0
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="kigraph-door", daemon=True)
        #: When the event loop last ran (``time.monotonic``); it says so itself.
        self.beat = time.monotonic()

    def start(self) -> None:
        """Starts the thread; the sockets listen already."""
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._listen(True)
        self._thread.start()

    def stop(self) -> None:
        """Accepts nothing more; ``next`` still gives what was accepted."""
        self._ended = True
        self._wake.send(b"x")
        self._thread.join()
        self._selector.close()
        for one in (self._wake, self._woken, *self._refused):
            one.close()
        self._waiting.extend(self._silent)

    def __len__(self) -> int:
        """Connections that wait for the event loop."""
        return len(self._waiting) + len(self._parting)

    def next(self) -> socket.socket | None:
        """A connection with a request, on the event loop; None if there is none now.

        Those whose clients have closed their side come last, as most of these have hung up, and few of them are kept.
        """
        for _ in range(256):
            if not self._waiting:
                break
            connection = self._waiting.popleft()
            if (state := _state(connection)) not in (_CLOSE, _CLOSE_WAIT):
                return connection
            if state == _CLOSE or len(self._parting) >= _ROOM:
                self._hung_up(connection)
            else:
                self._parting.append(connection)
        return self._parting.popleft() if self._parting and not self._waiting else None

    def _hung_up(self, connection: socket.socket) -> None:
        """Closes a connection without reading it: an answer takes twice as long, and hardly any of these clients would read it."""
        connection.close()
        self._dropped()

    def _listen(self, on: bool) -> None:
        for one in self._sockets:
            one.setblocking(False)
            if on:
                self._selector.register(one, selectors.EVENT_READ)
            else:
                self._selector.unregister(one)

    def _run(self) -> None:
        tidy = 0.0
        while not self._ended:
            try:
                for key, _ in self._selector.select(0.25):
                    if isinstance(one := key.fileobj, socket.socket) and one is not self._woken:
                        self._serve(one)
                if (now := time.monotonic()) > tidy:
                    tidy = now + 0.1
                    self._tidy(now)
            except Exception:  # without this thread the service would be deaf
                _LOG.exception("the thread that accepts connections goes on after an error")
                time.sleep(0.05)

    def _serve(self, one: socket.socket) -> None:
        if one in self._silent:
            self._look(one)
        elif one in self._refused:
            self._drop(one)
        elif one in self._sockets and not self._paused:  # else an event before has ended it, or given it away
            self._accept(one)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(64):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:  # others concern the one connection alone
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._out_of(error)
                return
            self._look(connection)

    def _out_of(self, error: OSError) -> None:
        """No descriptor or no memory for a connection: tries again in a quarter of a second, and says so every ten."""
        now = time.monotonic()
        if now - self._told > 10:
            self._told = now
            remedy = "; remedy: a higher ulimit -n" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
            _LOG.error("no connection can be accepted: %s%s", error.strerror, remedy)
        self._paused = now + 0.25
        self._listen(False)

    def _look(self, connection: socket.socket) -> None:
        """Answers a health check, or gives the connection to the event loop once it has sent something."""
        try:
            self._sort(connection)
        except Exception:  # without this thread the service would be deaf
            _LOG.exception("a connection could not be looked at")
            self._forget(connection)
            connection.close()

    def _sort(self, connection: socket.socket) -> None:
        if len(self._parting) >= _ROOM and _state(connection) in (_CLOSE_WAIT, _CLOSE):
            self._forget(connection)
            self._hung_up(connection)
            return
        try:
            data = connection.recv(_HEAD, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            self._wait_for(connection, _FIRST)
            return
        except OSError:
            data = b""
        if not data:
            self._forget(connection)
            connection.close()
        elif time.monotonic() - self.beat < _STALLED and (found := self._answer(data)) is not None:
            self._reply(connection, *found)
        else:
            self._forget(connection)
            self._give(connection)

    def _wait_for(self, connection: socket.socket, seconds: float) -> None:
        if connection not in self._silent:
            self._selector.register(connection, selectors.EVENT_READ)
            self._silent[connection] = time.monotonic() + seconds
            if len(self._silent) > _ROOM and self._full(len(self._silent) + len(self)):
                oldest = next(iter(self._silent))
                self._forget(oldest)
                self._give(oldest)

    def _reply(self, connection: socket.socket, answer: bytes, length: int) -> None:
        try:
            connection.recv(length, socket.MSG_DONTWAIT)
            sent = connection.send(answer, socket.MSG_DONTWAIT)
            closing = sent < len(answer) or b"\r\nconnection: close\r\n" in answer
        except OSError:
            closing = True
        self._forget(connection)
        if closing:
            connection.close()
        else:
            self._checked.add(connection)
            self._wait_for(connection, self._idle)

    def _forget(self, connection: socket.socket) -> None:
        self._checked.discard(connection)
        if self._silent.pop(connection, None) is not None or self._refused.pop(connection, None) is not None:
            self._selector.unregister(connection)

    def _give(self, connection: socket.socket) -> None:
        if len(self._waiting) >= _ROOM and self._full(len(self._waiting) + len(self._silent)):
            self._refuse_one(connection)
            return
        self._waiting.append(connection)
        self._arrived()

    def _refuse_one(self, connection: socket.socket) -> None:
        """Refuses a request, and reads what its client still sends: closing on unread bytes may lose the answer."""
        try:
            connection.send(self._refuse(connection.recv(_DROPPED, socket.MSG_DONTWAIT)[:_HEAD]), socket.MSG_DONTWAIT)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
            return
        self._selector.register(connection, selectors.EVENT_READ)
        self._refused[connection] = time.monotonic() + _LINGER
        if len(self._refused) > _ROOM:
            self._close_refused(next(iter(self._refused)))

    def _drop(self, connection: socket.socket) -> None:
        try:
            if connection.recv(_DROPPED, socket.MSG_DONTWAIT):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._close_refused(connection)

    def _close_refused(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _tidy(self, now: float) -> None:
        """Ends what has lasted long enough."""
        if self._paused and now > self._paused:
            self._paused = 0.0
            self._listen(True)
        while self._refused and next(iter(self._refused.values())) < now:
            self._close_refused(next(iter(self._refused)))
        for connection in [one for one, end in self._silent.items() if end < now]:
            checked = connection in self._checked
            self._forget(connection)
            if checked:
                connection.close()
            else:
                self._give(connection)
