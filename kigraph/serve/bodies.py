"""The image in a request: a raw body, the multipart field ``image``, or JSON with base64. Bounded while it is read."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .errors import Refused

__all__ = ["Upload", "read_upload"]

_IMAGES = ("image/", "application/octet-stream")
#: Parts of a multipart body that are looked at; more are refused.
_PARTS = 8


@dataclass(frozen=True, slots=True)
class Upload:
    """An encoded image and the name that the client gave it."""

    filename: str
    data: bytes


async def read_upload(request: Request, max_bytes: int, seconds: float) -> Upload:
    """Raises Refused: 413 too large, 415 unknown type, 400 malformed, 422 no image in it, 408 not sent in time."""
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if not (kind.startswith(_IMAGES) or kind in ("multipart/form-data", "application/json", "")):
        raise Refused(
            415,
            "unsupported_type",
            "send the image as raw body (image/*), multipart field 'image', or JSON with base64",
        )
    # Base64 makes 4 bytes of 3, and multipart adds headers: the cap is on the image, the body gets some room.
    cap = max_bytes * 4 // 3 + 4096 if kind == "application/json" else max_bytes + 4096
    try:
        async with asyncio.timeout(seconds):
            body = await _read(request, cap)
    except TimeoutError:
        raise Refused(408, "slow_upload", "the image did not arrive in time", {"Connection": "close"}) from None
    if kind == "multipart/form-data":
        upload = await _multipart(request.headers, body)
    elif kind == "application/json":
        upload = _json(body)
    else:
        upload = Upload(_safe_name(request.query_params.get("filename", "")), body)
    if len(upload.data) > max_bytes:
        raise _too_large(max_bytes)
    if not upload.data:
        raise Refused(422, "no_image", "the request has no image in it")
    return upload


def _too_large(limit: int) -> Refused:
    return Refused(413, "too_large", f"an image may have at most {limit} bytes", {"Connection": "close"})


async def _read(request: Request, cap: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > cap:
        raise _too_large(cap)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > cap:
            raise _too_large(cap)
    return bytes(body)


async def _multipart(headers: Headers, body: bytes) -> Upload:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(headers, stream(), max_files=_PARTS, max_fields=_PARTS).parse()
    except (MultiPartException, KeyError, ValueError, AssertionError):
        raise Refused(400, "malformed", "the multipart body cannot be read") from None
    try:
        field = form.get("image")
        if isinstance(field, UploadFile):
            return Upload(_safe_name(field.filename or ""), await field.read())
        raise Refused(422, "no_image", "the multipart body has no file field 'image'")
    finally:
        await form.close()


def _json(body: bytes) -> Upload:
    try:
        document = json.loads(body)
        text = document["image"]
        if not isinstance(text, str):
            raise TypeError
        text = text.partition(",")[2] if text.startswith("data:") else text
        data = base64.b64decode(text, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise Refused(400, "malformed", 'expected JSON {"image": "<base64>", "filename": "..."}') from None
    name = document.get("filename", "")
    return Upload(_safe_name(name if isinstance(name, str) else ""), data)


def _safe_name(name: str) -> str:
    """The last part of a client's path, printable and short."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:200]
