"""Refusing while the queue is full, from the bytes of a request's head, before a request is made of them.

A refusal by way of h11 and the application takes 0.4 ms of the core that the network needs; at ten times the load that the service
can take these are as much work as its images. Only plain requests are refused here; whatever is unusual takes the long way, and
gets the same answer there.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from .errors import Refused
from .front import SMALL, document_of, forbidden, sane_id
from .protocol import SECURITY_HEADERS
from .strict import ambiguity

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Quick"]

_HEAD = re.compile(
    rb"POST (/v1/classify|/recognize)(?:\?[!-\"$-~]{0,1000})? HTTP/1\.1\r\n((?:[A-Za-z0-9-]{1,64}:[ -~]{0,1000}\r\n){1,40})\r\n"
)
#: What changes how a body is framed, how the connection goes on, or who may ask.
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"origin", b"sec-fetch-site", b"content-encoding"))
_FIXED = b"".join(b"%s: %s\r\n" % pair for pair in SECURITY_HEADERS) + b"content-type: application/json\r\n"


class Quick:
    """Called with the first bytes of a request: (head without its end and body of the answer, bytes of the body that follows the
    request's head, bytes of the head), or None if the request takes the long way."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __call__(self, data: bytes) -> tuple[bytes, bytes, int, int] | None:
        start = time.monotonic()
        service = self._service
        # Nothing was refused in the last second: do not read heads twice.
        if start > service.pressed or (match := _HEAD.match(data)) is None or ambiguity(data) is not None:
            return None
        headers = _plain(match[2])
        if headers is None or forbidden(service.options, headers, "POST") is not None:
            return None
        if b"model=" in match[0].partition(b"\r\n")[0]:
            return None
        try:
            refused = service.refusal(headers)
        except Refused:  # the default model was unloaded a moment ago, which its route says
            return None
        if refused is None or refused.status != 429:
            return None
        path = match[1].decode()
        number = sane_id(headers.get(b"x-request-id"))
        body = document_of(refused, path)
        retry = refused.headers["Retry-After"].encode()
        head = (
            b"HTTP/1.1 429 Too Many Requests\r\n%sretry-after: %s\r\ncontent-length: %d\r\nx-request-id: %s\r\n"
            % (_FIXED, retry, len(body), number.encode())
        )  # fmt: skip
        seconds = time.monotonic() - start
        service.metrics.answered(path, 429, seconds)
        service.log.line(number, "POST", path, 429, len(body), seconds)
        return head, body, int(headers[b"content-length"]), match.end()


def _plain(fields: bytes) -> dict[bytes, bytes] | None:
    """The headers of a request with a small body of known size on a connection that goes on; None for any other."""
    headers: dict[bytes, bytes] = {}
    for line in fields.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        headers.setdefault(name.lower(), value.strip(b" "))
    length = headers.get(b"content-length", b"")
    if not 0 < len(length) < 8 or not length.isdigit() or int(length) > SMALL or b"host" not in headers:
        return None
    if not _UNUSUAL.isdisjoint(headers) or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return headers
