"""The image in a request: a raw body, the multipart field ``image`` or ``file``, or JSON with base64.

``receive`` runs on the event loop and only collects bytes, within a size and a time. ``extract`` runs in a worker thread:
its time grows with the body, and Python's parsers hold the GIL, so JSON is cut into pieces between which other threads
can run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from .documents import Document, MalformedError, parse
from .errors import Refused

__all__ = [
    "Body",
    "Upload",
    "Uploads",
    "cap_of",
    "declared_length",
    "extract",
    "media_type",
    "receive",
    "too_large",
    "too_many",
]

# It logs a warning or an error for every malformed body that a client sends.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
_ACCEPTED = "image/*, application/octet-stream, multipart/form-data, application/json"
#: Parts of a multipart body besides the images; bytes of one that is no file.
_PARTS, _REST = 8, 64 << 10


@dataclass(frozen=True, slots=True)
class Upload:
    """An encoded image and the name that the client gave it."""

    filename: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Uploads:
    """The images of a request. ``listed``: the client expects a list of answers, even for one image."""

    images: tuple[Upload, ...]
    listed: bool


@dataclass(slots=True)
class Body:
    """What was received. ``kind``: its media type; ``content_type``: the header as it was; ``name``: from the query.

    max_bytes: of an image; cap: of the whole body, with what its encoding adds.
    """

    kind: str
    content_type: str
    name: str
    max_bytes: int
    data: bytearray = field(default_factory=bytearray)
    cap: int = 0


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


def declared_length(request: Request, cap: int, shown: int, label: str = "image") -> int:
    """Bytes of the body as far as they are known before it is read; Refused 413 if they are more than ``cap``."""
    declared = int(request.headers.get("content-length", "0"))
    if declared > cap:
        raise too_large(shown, label)
    # A chunked body does not say how long it is; most images are smaller than this, and for others the reservation grows.
    return declared if "content-length" in request.headers else min(1 << 20, cap)


async def receive(
    request: Request, body: Body, seconds: float, deadline: asyncio.Timeout, grow: Callable[[int], None]
) -> None:
    """Reads the body into ``body.data``; Refused 413 if it is too large, 408 if it is not there in time.

    deadline: a timeout not yet entered, which another may shorten. grow: is called with the number of bytes, and may refuse them.
    """
    try:
        async with deadline:
            deadline.reschedule(asyncio.get_running_loop().time() + seconds)
            async for chunk in request.stream():
                body.data += chunk
                if len(body.data) > body.cap:
                    raise too_large(body.max_bytes)
                grow(len(body.data))
    except TimeoutError:
        raise Refused(408, "slow_upload", "the image did not arrive in time", {"Connection": "close"}) from None


def cap_of(kind: str, one: int, whole: int) -> int:
    """Bytes that a body of a media type may have. one: bytes of an image; whole: of all of a request."""
    # Base64 makes 4 bytes of 3, and as JSON may escape '/' and '+' and break lines, some more; multipart adds headers.
    if kind == "application/json":
        return whole * 3 // 2 + 4096
    return (whole if kind == "multipart/form-data" else one) + 4096


def too_large(limit: int, what: str = "image") -> Refused:
    """The refusal of a body that is too long."""
    return Refused(
        413,
        "too_large",
        f"{'an' if what == 'image' else 'a'} {what} may have at most {limit} bytes",
        {"Connection": "close"},
    )


def extract(body: Body, most: int = 32) -> Uploads:
    """The images in a body. Raises Refused: 400 malformed, 413 too large, 422 none or too many in it."""
    if body.kind == "multipart/form-data":
        found = _multipart(body.content_type, body.data, most)
    elif body.kind == "application/json":
        found = _json(body.data)
    else:
        found = Uploads((Upload(_safe_name(body.name), bytes(body.data)),), False)
    if len(found.images) > most:
        raise too_many(most)
    if any(len(upload.data) > body.max_bytes for upload in found.images):
        raise too_large(body.max_bytes)
    if not found.images or not all(found.listed or upload.data for upload in found.images):
        raise Refused(422, "no_image", "the request has no image in it")
    return found


def too_many(most: int) -> Refused:
    """The refusal of a request with more than ``most`` images."""
    return Refused(
        422, "too_many_images", f"a request may have at most {most} images; send the others in further requests"
    )


def _multipart(content_type: str, data: bytes | bytearray, most: int = 32) -> Uploads:
    from python_multipart import FormParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    files: dict[bytes, list[Any]] = {}
    ends: list[bool] = []
    parts = 0

    def keep(part: Any) -> None:
        nonlocal parts
        parts += 1
        if parts > most + _PARTS:
            raise _TooManyError
        if hasattr(part, "file_object"):
            files.setdefault(part.field_name or b"", []).append(part)

    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        parser = FormParser(
            "multipart/form-data", keep, keep, on_end=lambda: ends.append(True), boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(data) + 1, "MAX_FIELDS": most + _PARTS, "MAX_FIELD_SIZE": _REST},
        )  # fmt: skip
        view = memoryview(data)
        for at in range(0, len(data), 1 << 20):
            parser.write(bytes(view[at : at + (1 << 20)]))
        parser.finalize()
        if not ends:
            raise FormParserError("the last boundary is missing")
    except _TooManyError:
        raise Refused(400, "malformed", f"the multipart body has more than {most + _PARTS} parts") from None
    except (FormParserError, ValueError, KeyError, AssertionError, AttributeError, TypeError):
        raise Refused(400, "malformed", "the multipart body cannot be read") from None
    field = next((name for name in (b"images", b"image", b"file") if files.get(name)), None)
    if field is None:
        raise Refused(422, "no_image", "the multipart body has no file field 'image', 'images' or 'file'")
    images = []
    for file in files[field]:
        file.file_object.seek(0)
        name = (file.file_name or b"").decode("utf-8", "replace")
        images.append(Upload(_safe_name(name), file.file_object.read()))
    return Uploads(tuple(images), field == b"images" or len(images) > 1)


class _TooManyError(Exception):
    pass


def _json(body: bytes | bytearray) -> Uploads:
    expected = 'expected {"image": "<base64>", "filename": "..."} or {"images": [{"b64": "<base64>"}, ...]}'
    try:
        document = parse(body)
        listed = "images" in document.value
        items = document.value["images"] if listed else [document.value]
        if not isinstance(items, list) or (listed and "image" in document.value):
            raise TypeError
        images = tuple(_image(document, item) for item in items)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, MalformedError) else expected
        raise Refused(400, "malformed", f"the JSON body cannot be read: {reason}") from None
    return Uploads(images, listed)


def _image(document: Document, item: Any) -> Upload:
    """An image of a JSON body: {"image" or "b64": "<base64>", "filename"}, or in a list the text itself."""
    if isinstance(item, str):
        return Upload("", document.binary(item))
    if not isinstance(item, dict) or ("image" in item) == ("b64" in item):
        raise TypeError
    data = document.binary(item["image"] if "image" in item else item["b64"])
    return Upload(_safe_name(document.short(item.get("filename"))), data)


def _safe_name(name: str) -> str:
    """The last part of a client's path, printable and short."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:200]
