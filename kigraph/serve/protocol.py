"""uvicorn's HTTP/1.1 protocol (h11) with what it lacks: deadlines, a cap on connections, and one reading of each request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .strict import MAX_HEAD, Strict

__all__ = ["SECURITY_HEADERS", "ConnectionLimits", "Connections", "GuardedProtocol"]

#: What every answer carries; the page has a policy of its own.
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)
#: Seconds until the first check for a reset; then one at each sweep.
_RESET = 0.05

_HTTP_LOG = logging.getLogger("kigraph.serve.http")
_HTTP_LOG.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Times in seconds.

    connections: held at once. head: for a request's head, from its first byte or from the connection. idle: between two
    requests. exchange: for a body and its answer together. unread: for dropping a body that was refused. blocked: for a
    client that does not read its answers.
    """

    connections: int = 832
    head: float = 10.0
    idle: float = 15.0
    exchange: float = 45.0
    unread: float = 30.0
    blocked: float = 10.0


class Connections:
    """All connections of a server. Closes those that let it wait too long, and the longest silent one to make room."""

    def __init__(
        self, limits: ConnectionLimits, report: Callable[[str, int, int, float], None],
        refuse: Callable[[bytes], tuple[bytes, bytes, int, int] | None] = lambda data: None,
    ) -> None:  # fmt: skip
        #: report: is called for answers to what was no request: id, status, bytes, seconds. refuse: a refusal by the head alone.
        self.limits, self.report, self.refuse = limits, report, refuse
        self.all: set[GuardedProtocol] = set()
        #: Those that owe us a head, or the rest of a refused body, or do not read; the longest silent first.
        self.silent: dict[GuardedProtocol, None] = {}

    def add(self, new: GuardedProtocol) -> None:
        """Takes a new connection; the longest silent one goes if there are too many, or the new one if none is silent."""
        self.all.add(new)
        if len(self.all) > self.limits.connections:
            next(iter(self.silent), new).drop()
        if new in self.all:
            self.silent[new] = None

    def sweep(self) -> None:
        """Ends every connection whose time is up; called twice a second."""
        for connection in list(self.all):
            if connection.late():
                connection.expire()


class _Gentle:
    """A transport that sends head and body of an answer together, and whose ``close`` lets the client finish sending first:
    closing on unread bytes resets the connection, and the client may lose the answer with it."""

    def __init__(self, raw: asyncio.Transport, protocol: GuardedProtocol) -> None:
        self._raw, self._protocol = raw, protocol
        self._pending: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._protocol.loop.call_soon(self.flush)
        self._pending.append(data)

    def flush(self) -> None:
        if self._pending:
            data, self._pending = b"".join(self._pending), []
            self._raw.write(data)

    def is_closing(self) -> bool:
        return self._protocol.dropping or self._raw.is_closing()

    def close(self) -> None:
        self.flush()
        self._protocol.close_gently()


class GuardedProtocol(H11Protocol):
    """One connection. ``phase``: head (it owes us one), busy (a body or an answer is on its way), unread (the rest of a
    refused body), blocked (it does not read its answers), since the time ``since``."""

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = self.strict = Strict(h11.SERVER, MAX_HEAD + 4)
        # uvicorn logs a warning for every bad request of any client.
        self.logger = _HTTP_LOG
        self.guard, self.limits = connections, connections.limits
        self.raw: Any = None
        self.since = self.heard = self.loop.time()
        self.phase, self.started, self.dropping, self.half_closed = "head", False, False, False
        #: Bytes of answers that the client had not read, and when they last became fewer.
        self.unsent, self.moved = 0, self.since
        #: Bytes to come of a body that was refused by its head.
        self.skip = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.raw = transport
        super().connection_made(_Gentle(transport, self))  # type: ignore[arg-type]
        self.guard.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        if self.dropping:
            return
        if self.phase == "head" and not self.started:
            self.since, self.started = self.heard, True
        if data := self._skipped(data):
            super().data_received(data)
        self._note()

    def _skipped(self, data: bytes) -> bytes:
        """``data`` without what belongs to a request that is refused by its head; one at a time, so answers cannot pile up."""
        if not self.skip and self.phase == "head" and not self.flow.write_paused and not self.conn.trailing_data[0]:
            if (found := self.guard.refuse(data)) is None:
                return data
            head, body, length, begin = found
            lines = b"".join(b"%s: %s\r\n" % field for field in self.server_state.default_headers)
            self.transport.write(head + lines + b"\r\n" + body)
            self.skip, self.phase = begin + length, "refused"
        now = min(self.skip, len(data))
        self.skip -= now
        return data[now:]

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client may close its half of the connection after its last request, and still gets all answers.

        A client that is gone altogether sends the same. An interim response tells the two apart: clients skip it, and the
        system of one that is gone resets the connection. HTTP/1.0 has no interim responses.
        """
        if (
            self.dropping
            or self.cycle is None
            or self.cycle.response_complete
            or self.conn.their_state is h11.SEND_BODY
        ):
            self.transport.flush()  # type: ignore[attr-defined]
            return False
        if not self.cycle.response_started and self.conn.their_http_version != b"1.0":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.loop.call_later(_RESET, self._drop_if_gone)
        self.half_closed = True
        return True

    def _drop_if_gone(self) -> None:
        if self in self.guard.all and self._gone():
            self.drop()

    def _gone(self) -> bool:
        """Whether the client of a half-closed connection has reset it; nothing reads it any more."""
        return self.half_closed and bool(
            self.raw.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        )

    def on_response_complete(self) -> None:
        super().on_response_complete()  # takes up the next request, if one has arrived after this one
        if self.half_closed and (self.cycle.response_complete or self.conn.their_state is h11.SEND_BODY):
            self.transport.close()
        self._note()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note()

    def _note(self) -> None:
        """Determines the phase of the connection."""
        answered = self.cycle is None or self.cycle.response_complete
        if self.dropping or self.skip or (answered and self.conn.their_state is h11.SEND_BODY):
            phase = "unread"
        elif self.flow.write_paused or self.raw.is_closing():  # closing: only what it has not read keeps it
            phase = "blocked"
        else:
            phase = "head" if self.conn.their_state is h11.IDLE else "busy"
        if phase != self.phase:
            self.phase, self.since, self.started = phase, self.loop.time(), False
            self.unsent, self.moved = self.raw.get_write_buffer_size(), self.since
            self.guard.silent.pop(self, None)
            if phase != "busy" and self in self.guard.all:
                self.guard.silent[self] = None

    def late(self) -> bool:
        """Whether the deadline of this connection has passed, or its client turns out to be gone."""
        now = self.loop.time()
        if self._gone():
            return True
        if self.phase == "unread":
            return now - self.since > self.limits.unread or now - self.heard > self.limits.unread / 10
        if self.phase == "blocked":
            if (unsent := self.raw.get_write_buffer_size()) < self.unsent:
                self.unsent, self.moved = unsent, now
            return now - self.moved > self.limits.blocked or now - self.since > self.limits.exchange
        if self.phase == "busy":
            return now - self.since > self.limits.exchange
        first = self.started or self.cycle is None
        return now - self.since > (self.limits.head if first else self.limits.idle)

    def expire(self) -> None:
        """Ends a connection that is late; one that sent half a head gets the reason."""
        if self.started:
            self._answer(408, "the request did not arrive in time")
        else:
            self.drop()

    def drop(self) -> None:
        """Ends the connection immediately."""
        self._forget()
        self.raw.abort()

    def _forget(self) -> None:
        self.guard.all.discard(self)
        self.guard.silent.pop(self, None)

    def close_gently(self) -> None:
        """Closes as soon as the client has sent what it is sending."""
        if not self.dropping and not self.raw.is_closing():
            if self.skip or self.conn.their_state is h11.SEND_BODY:
                self._drop_what_comes()
            else:
                self.raw.close()

    def _drop_what_comes(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        self.dropping = True
        self._note()
        self.flow.resume_reading()
        if self.raw.can_write_eof():
            with contextlib.suppress(OSError):  # the client has reset the connection
                self.raw.write_eof()

    def send_400_response(self, msg: str) -> None:
        self._answer(*self.strict.problem)

    def _answer(self, status: int, reason: str) -> None:
        """An answer without the application, which never saw a request, or saw the beginning of a broken one."""
        unanswered = self.cycle is not None and not self.cycle.response_complete
        if unanswered:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (unanswered and self.cycle.response_started):
            code = {408: "slow_request", 431: "head_too_large"}.get(status, "bad_request")
            body = json.dumps({"error": {"code": code, "message": reason}}).encode()
            number = self._told(unanswered, status, len(body))
            fields = (
                *SECURITY_HEADERS,
                (b"x-request-id", number.encode()),
                (b"content-type", b"application/json"),
                (b"connection", b"close"),
            )
            head = b"".join(b"%s: %s\r\n" % field for field in fields)
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {len(body)}\r\n".encode()
            self.transport.write(line + head + b"\r\n" + body)
        self._drop_what_comes()

    def _told(self, unanswered: bool, status: int, sent: int) -> str:
        """Has an answer counted and logged, by the application if it has the request; the id for it."""
        if unanswered:
            self.cycle.scope["refused"] = status, sent  # type: ignore[typeddict-unknown-key]
            number: str = self.cycle.scope.setdefault("request_id", os.urandom(8).hex())  # type: ignore[typeddict-item]
        else:
            number = os.urandom(8).hex()
            self.guard.report(number, status, sent, self.loop.time() - self.since)
        return number

    def shutdown(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.transport.flush()  # type: ignore[attr-defined]
            self.raw.close()
