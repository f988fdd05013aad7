"""Health checks answered from the bytes of their heads, by the thread that accepts connections, with the answers of the routes.

Only plain questions are answered here; whatever is unusual takes the long way, and gets the same answer there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from .errors import Refused
from .front import document_of, forbidden, sane_id
from .protocol import SECURITY_HEADERS
from .strict import ambiguity

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Checks"]

_CHECK = re.compile(rb"GET (/livez|/readyz) HTTP/1\.1\r\n((?:[A-Za-z0-9-]{1,64}:[ -~]{0,1000}\r\n){1,40})\r\n")
#: The beginning of any request: its method and its path without the query.
_LINE = re.compile(rb"([A-Z]{1,16}) (/[!->@-~]{0,200})")
_UNUSUAL = frozenset((b"transfer-encoding", b"content-length", b"expect", b"upgrade", b"origin"))
_FULL = Refused(429, "too_many_connections", "too many connections are waiting; try again later", {"Retry-After": "1"})


class Checks:
    """Whole answers, for the thread that accepts connections."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def answer(self, data: bytes, default: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, int] | None:
        """The answer to the one health check that ``data`` is, and its length; None if it is anything else.

        default: headers of every answer.
        """
        start = time.monotonic()
        match = _CHECK.fullmatch(data)
        if match is None or ambiguity(data) is not None:
            return None
        headers: dict[bytes, bytes] = {}
        for line in match[2].split(b"\r\n")[:-1]:
            name, _, value = line.partition(b":")
            headers.setdefault(name.lower(), value.strip(b" "))
        connection = headers.get(b"connection", b"keep-alive").lower()
        if b"host" not in headers or not _UNUSUAL.isdisjoint(headers) or connection not in (b"keep-alive", b"close"):
            return None
        if forbidden(self._service.options, headers, "GET") is not None:
            return None
        path = match[1].decode()
        status, text = self._service.live_answer() if path == "/livez" else self._service.ready_answer()
        closing = connection == b"close"
        number = sane_id(headers.get(b"x-request-id"))
        self._told(number, "GET", path, status, len(text), start)
        return _written(status, text, "text/plain; charset=utf-8", number, default, {}, closing), len(data)

    def refusal(self, data: bytes) -> bytes:
        """The answer to a request that finds no room, by its first bytes."""
        start = time.monotonic()
        match = _LINE.match(data)
        method, path = (match[1].decode(), match[2].decode()) if match is not None else ("-", "-")
        body, number = document_of(_FULL, path), sane_id(None)
        self._told(number, method, path, _FULL.status, len(body), start)
        return _written(_FULL.status, body, "application/json", number, (), _FULL.headers, True)

    def dropped(self) -> None:
        """Counts a client that has hung up before it was heard."""
        self._service.metrics.answered("other", 499, 0.0)

    def _told(self, number: str, method: str, path: str, status: int, sent: int, start: float) -> None:
        """Counts and logs an answer."""
        seconds = time.monotonic() - start
        known = path in ("/livez", "/readyz", "/v1/classify", "/recognize")
        self._service.metrics.answered(path if known else "other", status, seconds)
        self._service.log.line(number, method, path, status, sent, seconds)


def _written(
    status: int, body: bytes, kind: str, number: str, default: Sequence[tuple[bytes, bytes]], more: dict[str, str], closing: bool
) -> bytes:  # fmt: skip
    fields = [
        *default,
        *((name.lower().encode(), value.encode()) for name, value in more.items()),
        (b"content-length", b"%d" % len(body)),
        (b"content-type", kind.encode()),
        *SECURITY_HEADERS,
        (b"x-request-id", number.encode()),
        *([(b"connection", b"close")] if closing else []),
    ]
    head = b"".join(b"%s: %s\r\n" % field for field in fields)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() + head + b"\r\n" + body
