"""uvicorn's HTTP/1.1 protocol (h11) with what it lacks: deadlines, a cap on connections, and one reading of each request.

h11 is lenient where the standard lets it be: a bare line feed ends a line, a folded header is joined, Content-Length may
appear beside Transfer-Encoding. A proxy before the service may parse the same bytes as another request, so these forms are
refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

import h11
from h11._readers import ChunkedReader
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["SECURITY_HEADERS", "ConnectionLimits", "Connections", "GuardedProtocol", "ambiguity"]

#: What every answer carries; the page has a policy of its own.
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)
#: Bytes and lines of a request's head.
MAX_HEAD, MAX_LINES = 32 << 10, 100
#: Number of chunks after which their mean size is checked, and the least mean in bytes: h11 takes 12 us for each chunk.
_CHUNKS, _CHUNK_BYTES = 256, 256
#: Seconds until the first check for a reset; then one at each sweep.
_RESET = 0.05

_HTTP_LOG = logging.getLogger("kigraph.serve.http")
_HTTP_LOG.setLevel(logging.ERROR)
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} /[!-\"$-~]* HTTP/1\.[01]|OPTIONS \* HTTP/1\.[01]")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,15}(?:[ \t]*;[\t -~]{0,256})?")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


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


def ambiguity(data: bytes) -> tuple[int, str] | None:
    """What makes the head of a request unfit: (status, reason); None if nothing does, or nothing yet.

    data: all bytes since the end of the request before.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    # The line feed after the last line that arrived is no further line, wherever the packets end.
    lines = head.rstrip(b"\r\n")
    if len(lines) > MAX_HEAD or lines.count(b"\n") >= MAX_LINES:
        return 431, f"the head has more than {MAX_HEAD} bytes or {MAX_LINES} lines"
    if head.count(b"\n") != head.count(b"\r\n"):
        return 400, "a line ends without a carriage return"
    if b"\r\n " in head or b"\r\n\t" in head:
        return 400, "a header is folded over several lines"
    if _CONTROL.search(head):
        return 400, "the head has a control character"
    if end < 0:
        return None
    line, *fields = head.split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(line):
        return 400, "the first line must be: METHOD /path HTTP/1.1"
    reason = _ambiguous_headers(line, fields)
    return None if reason is None else (400, reason)


def _ambiguous_headers(line: bytes, fields: list[bytes]) -> str | None:
    """What is wrong with the headers that say where the body ends and which host is meant."""
    values = [(name.strip().lower(), value.strip()) for name, _, value in (f.partition(b":") for f in fields)]
    count = Counter(name for name, _ in values)
    for name in (b"content-length", b"transfer-encoding", b"host"):
        if count[name] > 1:
            return f"there are several {name.decode()} headers"
    framing = dict(values)
    if b"transfer-encoding" in framing and (b"content-length" in framing or line.endswith(b"0")):
        return "there is a Transfer-Encoding beside Content-Length, or in HTTP/1.0"
    if b"," in framing.get(b"content-length", b""):
        return "Content-Length is a list"
    if b"host" in framing and not _HOST.fullmatch(framing[b"host"]):
        return "Host must be a name or an address, with a port or without"
    return None


class _Chunks(ChunkedReader):
    """h11's reader of chunked bodies with a check of each line that is not data: h11 accepts any extension and any trailer."""

    def __call__(self, buf: Any) -> Any:
        if self._reading_trailer:
            if buf._data[:2] not in (b"", b"\r", b"\r\n"):
                raise h11.LocalProtocolError("the body has trailers, which are not accepted")
        elif not self._bytes_in_chunk and not self._bytes_to_discard:
            line, ended, _ = buf._data[:512].partition(b"\r\n")
            if not _CHUNK.fullmatch(line) and (ended or b"\n" in line or len(line) > 500):
                raise h11.LocalProtocolError("the size of a chunk is malformed, or followed by too much")
        return super().__call__(buf)


class _Strict(h11.Connection):
    """h11 with a check by ``ambiguity`` first. ``problem``: what was refused."""

    problem: tuple[int, str] = (400, "a header is malformed, or Host is missing")
    chunks = chunked_bytes = 0

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            self.chunks = self.chunked_bytes = 0
            if (found := ambiguity(self.trailing_data[0])) is not None:
                self._refuse(*found)
        chunked = isinstance(self._reader, _Chunks)  # after an error it is another
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(400, str(error) if chunked else self.problem[1])
        if isinstance(event, h11.Request) and isinstance(self._reader, ChunkedReader):
            self._reader = _Chunks()
        elif isinstance(event, h11.Data):
            self.chunks += event.chunk_start
            self.chunked_bytes += len(event.data)
            if self.chunks > _CHUNKS and self.chunked_bytes < self.chunks * _CHUNK_BYTES:
                self._refuse(400, f"the body is sent in chunks of less than {_CHUNK_BYTES} bytes")
        return event

    def _refuse(self, status: int, reason: str) -> NoReturn:
        self.problem = status, reason
        raise h11.RemoteProtocolError(reason, error_status_hint=status)


class Connections:
    """All connections of a server. Closes those that let it wait too long, and the longest silent one to make room."""

    def __init__(self, limits: ConnectionLimits, report: Callable[[str, int, int, float], None]) -> None:
        #: ``report``: is called for answers to what was no request: id, status, bytes, seconds.
        self.limits, self.report = limits, report
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
        self.conn = self.strict = _Strict(h11.SERVER, MAX_HEAD + 4)
        # uvicorn logs a warning for every bad request of any client.
        self.logger = _HTTP_LOG
        self.guard, self.limits = connections, connections.limits
        self.raw: Any = None
        self.since = self.heard = self.loop.time()
        self.phase, self.started, self.dropping, self.half_closed = "head", False, False, False
        #: Bytes of answers that the client had not read, and when they last became fewer.
        self.unsent, self.moved = 0, self.since

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
        super().data_received(data)
        self._note()

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
        if self.dropping or (answered and self.conn.their_state is h11.SEND_BODY):
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
            if self.conn.their_state is h11.SEND_BODY:
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
