"""One reading of each request: h11 with what it leaves open refused.

h11 is lenient where the standard lets it be: a bare line feed ends a line, a folded header is joined, Content-Length may
appear beside Transfer-Encoding. A proxy before the service may parse the same bytes as another request, so these forms are
refused.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NoReturn

import h11
from h11._readers import ChunkedReader

__all__ = ["MAX_HEAD", "Strict", "ambiguity"]

#: Bytes and lines of a request's head.
MAX_HEAD, MAX_LINES = 32 << 10, 100
#: Number of chunks after which their mean size is checked, and the least mean in bytes: h11 takes 12 us for each chunk.
_CHUNKS, _CHUNK_BYTES = 256, 256

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} /[!-\"$-~]* HTTP/1\.[01]|OPTIONS \* HTTP/1\.[01]")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,15}(?:[ \t]*;[\t -~]{0,256})?")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


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


class Strict(h11.Connection):
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
