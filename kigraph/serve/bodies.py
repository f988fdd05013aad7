"""The image in a request: a raw body, the multipart field ``image`` or ``file``, or JSON with base64.

``receive`` runs on the event loop and only collects bytes, within a size and a time. ``extract`` runs in a worker thread:
its time grows with the body, and Python's parsers hold the GIL, so JSON is cut into pieces between which other threads
can run.
"""

from __future__ import annotations

import asyncio
import binascii
import io
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from .errors import Refused

__all__ = ["Body", "Upload", "declared_length", "extract", "media_type", "receive"]

# It logs a warning or an error for every malformed body that a client sends.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
_ACCEPTED = "image/*, application/octet-stream, multipart/form-data, application/json"
#: Parts of a multipart body that are read; more are refused.
_PARTS = 8
#: Bytes of a string of a JSON document above which it is cut out before parsing; the most bytes of the rest.
_LONG, _REST = 4096, 64 << 10
#: Marks that a JSON document with an image has few of: parsing a million keys takes a second, counting them 6 ms.
_MARKS = {b'"': 128, b"[": 64, b"{": 64, b",": 1024}
#: Bytes that are scanned, and characters of base64 that are decoded, at a time: less than 1 ms.
_PART, _PIECE = 1 << 20, 96 << 10
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True)
class Upload:
    """An encoded image and the name that the client gave it."""

    filename: str
    data: bytes


@dataclass(slots=True)
class Body:
    """What was received. ``kind``: its media type; ``content_type``: the header as it was; ``name``: from the query."""

    kind: str
    content_type: str
    name: str
    max_bytes: int
    data: bytearray = field(default_factory=bytearray)


def media_type(request: Request) -> str:
    """The media type of the body, in lower case; Refused 415 if no image can be in it."""
    header = request.headers.get("content-type", "application/octet-stream")
    kind = header.partition(";")[0].strip().lower() or "application/octet-stream"
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        message = "the body has a Content-Encoding, which is not undone; send it without"
        raise Refused(415, "unsupported_encoding", message, {"Accept-Encoding": "identity"})
    if kind.startswith("image/") or kind in ("application/octet-stream", "multipart/form-data", "application/json"):
        return kind
    shown = "".join(c for c in kind[:60] if c.isprintable())
    raise Refused(
        415,
        "unsupported_type",
        f"the header Content-Type is {shown!r}; send 'Content-Type: image/jpeg' (or another image/*) with the image as the "
        'body, multipart/form-data with a file field \'image\', or application/json with {"image": "<base64>"}',
        {"Accept": _ACCEPTED},
    )


def declared_length(request: Request, kind: str, max_bytes: int) -> int:
    """Bytes of the body as far as they are known before it is read; Refused 413 if they are too many."""
    declared = int(request.headers.get("content-length", "0"))
    if declared > _cap(kind, max_bytes):
        raise _too_large(max_bytes)
    # A chunked body does not say how long it is; most images are smaller than this, and for others the reservation grows.
    return declared if "content-length" in request.headers else min(1 << 20, max_bytes)


async def receive(
    request: Request, body: Body, seconds: float, deadline: asyncio.Timeout, grow: Callable[[int], None]
) -> None:
    """Reads the body into ``body.data``; Refused 413 if it is too large, 408 if it is not there in time.

    deadline: a timeout not yet entered, which another may shorten. grow: is called with the number of bytes, and may refuse them.
    """
    cap = _cap(body.kind, body.max_bytes)
    try:
        async with deadline:
            deadline.reschedule(asyncio.get_running_loop().time() + seconds)
            async for chunk in request.stream():
                body.data += chunk
                if len(body.data) > cap:
                    raise _too_large(body.max_bytes)
                grow(len(body.data))
    except TimeoutError:
        raise Refused(408, "slow_upload", "the image did not arrive in time", {"Connection": "close"}) from None


def _cap(kind: str, max_bytes: int) -> int:
    # Base64 makes 4 bytes of 3, and as JSON may escape '/' and '+' and break lines, some more; multipart adds headers.
    return max_bytes * 3 // 2 + 4096 if kind == "application/json" else max_bytes + 4096


def _too_large(limit: int) -> Refused:
    return Refused(413, "too_large", f"an image may have at most {limit} bytes", {"Connection": "close"})


def extract(body: Body) -> Upload:
    """The image in a body. Raises Refused: 400 malformed, 413 too large, 422 no image in it."""
    if body.kind == "multipart/form-data":
        upload = _multipart(body.content_type, body.data)
    elif body.kind == "application/json":
        upload = _json(body.data)
    else:
        upload = Upload(_safe_name(body.name), bytes(body.data))
    if len(upload.data) > body.max_bytes:
        raise _too_large(body.max_bytes)
    if not upload.data:
        raise Refused(422, "no_image", "the request has no image in it")
    return upload


def _multipart(content_type: str, data: bytes | bytearray) -> Upload:
    from python_multipart import FormParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    files: dict[bytes, Any] = {}
    ends: list[bool] = []
    parts = 0

    def keep(part: Any) -> None:
        nonlocal parts
        parts += 1
        if parts > _PARTS:
            raise FormParserError("too many parts")
        if hasattr(part, "file_object"):
            files.setdefault(part.field_name or b"", part)

    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        parser = FormParser(
            "multipart/form-data", keep, keep, on_end=lambda: ends.append(True), boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(data) + 1, "MAX_FIELDS": _PARTS, "MAX_FIELD_SIZE": _REST},
        )  # fmt: skip
        view = memoryview(data)
        for at in range(0, len(data), 1 << 20):
            parser.write(bytes(view[at : at + (1 << 20)]))
        parser.finalize()
        if not ends:
            raise FormParserError("the last boundary is missing")
    except (FormParserError, ValueError, KeyError, AssertionError, AttributeError, TypeError):
        raise Refused(400, "malformed", "the multipart body cannot be read") from None
    file = files.get(b"image") or files.get(b"file")
    if file is None:
        raise Refused(422, "no_image", "the multipart body has no file field 'image' or 'file'")
    file.file_object.seek(0)
    name = (file.file_name or b"").decode("utf-8", "replace")
    return Upload(_safe_name(name), file.file_object.read())


def _json(body: bytes | bytearray) -> Upload:
    try:
        document, long = _parse(body)
        text = document["image"]
        if not isinstance(text, str):
            raise TypeError
        whole = json.dumps(text)[1:-1].encode()
        data = _decode(body, *long[text]) if text in long else _decode(whole, 0, len(whole))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (
            str(error) if isinstance(error, _MalformedError) else 'expected {"image": "<base64>", "filename": "..."}'
        )
        raise Refused(400, "malformed", f"the JSON body cannot be read: {reason}") from None
    name = document.get("filename", "")
    return Upload(_safe_name(name if isinstance(name, str) and name not in long else ""), data)


class _MalformedError(ValueError):
    """Its text is for the client."""


def _parse(body: bytes | bytearray) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The document with a token for each long string, and where the strings that the tokens stand for are.

    The long strings are found without parsing: a quote ends a string unless a backslash escapes it.
    """
    too_much = 'it has more in it than {"image": "<base64>", "filename": "..."}'
    for mark, most in _MARKS.items():
        # In pieces: one count over 10 MB takes 6 ms, during which no other thread runs.
        if sum(body.count(mark, part, part + _PART) for part in range(0, len(body), _PART)) > most:
            raise _MalformedError(too_much)
    long: dict[str, tuple[int, int]] = {}
    rest: list[bytes | bytearray] = []
    secret, copied, at, size = os.urandom(8).hex(), 0, 0, len(body)
    while (start := body.find(b'"', at)) >= 0:
        end = body.find(b'"', start + 1)
        while end > 0 and (end - _run_of_backslashes(body, end)) % 2:
            end = body.find(b'"', end + 1)
        if end < 0:
            raise ValueError
        at = end + 1
        if end - start > _LONG:
            token = f"{secret}{len(long)}"
            long[token] = (start + 1, end)
            size += len(token) - (end - start - 1)
            rest += (body[copied : start + 1], token.encode())
            copied = end
        if size - len(body) + at > _REST:
            break
    if size > _REST:
        raise _MalformedError(too_much)
    rest.append(body[copied:])
    # Not strict: a shell that puts the output of `base64 FILE` into a string leaves its line breaks bare.
    document = json.loads(b"".join(rest), strict=False)
    if not isinstance(document, dict):
        raise TypeError
    return document, long


def _run_of_backslashes(body: bytes | bytearray, end: int) -> int:
    """Where the run of backslashes before ``end`` begins; ``end`` if there are none."""
    first = end
    while first and body[first - 1] == 0x5C:
        first -= 1
        if end - first > 64:
            raise ValueError
    return first


def _decode(body: bytes | bytearray, start: int, end: int) -> bytes:
    """Base64 from the inside of a JSON string: standard or URL-safe, padded or not, with line breaks or without."""
    out, left, at = io.BytesIO(), b"", start
    standard = url_safe = False
    while at < end:
        cut = _unbroken(body, at + _PIECE) if at + _PIECE < end else end
        piece = bytes(body[at:cut])
        if b"\\" in piece:
            piece = json.loads(b'"%b"' % piece, strict=False).encode("ascii")
        if at == start and piece.startswith(b"data:"):
            head, _, piece = piece.partition(b",")
            if not head.endswith(b";base64"):
                raise _MalformedError("the data URL is not base64")
        at = cut
        raw = piece.translate(None, b" \t\r\n")
        standard, url_safe = standard or b"+" in raw or b"/" in raw, url_safe or b"-" in raw or b"_" in raw
        if standard and url_safe:
            raise _MalformedError("the base64 text mixes the standard and the URL-safe alphabet")
        raw = raw.translate(_URL_SAFE) if url_safe else raw
        left += raw
        # The last group is kept: it may be padded, or have to be.
        ready = max(len(left) - 1, 0) // 4 * 4
        if b"=" in left[:ready]:
            raise _MalformedError("the image is not base64")
        out.write(_base64(left[:ready]))
        left = left[ready:]
    out.write(_base64(left if b"=" in left else left + b"=" * (-len(left) % 4)))
    return out.getvalue()


def _base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise _MalformedError("the image is not base64") from None


def _unbroken(body: bytes | bytearray, end: int) -> int:
    """The nearest position before ``end`` that is inside no escape sequence of a JSON string."""
    slash = body.rfind(b"\\", end - 6, end)
    return end if slash < 0 else _run_of_backslashes(body, slash + 1)


def _safe_name(name: str) -> str:
    """The last part of a client's path, printable and short."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:200]
