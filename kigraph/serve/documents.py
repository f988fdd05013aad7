"""JSON bodies, read without ever parsing them as a whole: Python's parser holds the GIL, a second for a million keys.

Long strings (images in base64) and long arrays of numbers (tensors) are cut out by their bytes and replaced by tokens; the rest is
small and goes through ``json.loads``. What was cut out is decoded in pieces, between which other threads can run.
"""

from __future__ import annotations

import binascii
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

__all__ = ["FEW", "MANY", "Document", "Few", "MalformedError", "parse", "plain_numbers"]

#: Bytes of a string or an array above which it is cut out before parsing.
_LONG = 4096
#: Bytes that are scanned, and characters that are decoded, at a time: about 1 ms.
_PART, _PIECE = 1 << 20, 96 << 10
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_NOT_BRACKETS = b"0123456789+-.eE \t\r\n"
_FLAT = bytes.maketrans(b"[]", b"  ")
#: Axes of an array; TensorFlow has at most 8.
_AXES = 8


class MalformedError(ValueError):
    """Its text is for the client."""


@dataclass(frozen=True, slots=True)
class Few:
    """What a document may have: bytes besides what is cut out, and of each mark (quotes, brackets) how many.

    numbers: whether long arrays of numbers are cut out; then their brackets and commas are not counted.
    """

    rest: int
    marks: Mapping[bytes, int]
    numbers: bool = False


#: A document with images: counting its marks takes 6 ms for 10 MB, parsing a million keys a second.
FEW = Few(64 << 10, {b'"': 1024, b"[": 64, b"{": 256, b",": 1024})
#: A document with tensors: many small arrays, or a few long ones.
MANY = Few(256 << 10, {b'"': 8192, b"{": 4096}, numbers=True)


@dataclass(slots=True)
class Document:
    """A JSON object whose long strings and arrays are tokens. ``cut``: token -> where it is in the body."""

    body: bytes | bytearray
    value: dict[str, Any]
    cut: dict[str, tuple[int, int]] = field(default_factory=dict)

    def binary(self, text: Any) -> bytes:
        """The bytes of a string of base64 in any usual form. MalformedError if it is none."""
        if not isinstance(text, str):
            raise MalformedError("base64 text is expected to be a string")
        body: bytes | bytearray = json.dumps(text)[1:-1].encode()
        start, end = 0, len(body)
        if text in self.cut:
            body, (start, end) = self.body, self.cut[text]
            if body[start : start + 1] == b"[":
                raise MalformedError("base64 text is expected to be a string, got an array")
        try:
            return _decode(body, start, end)
        except MalformedError:
            raise
        except (ValueError, RecursionError):  # an escape that is none, or characters beyond ASCII
            raise MalformedError("the image is not base64") from None

    def short(self, text: Any) -> str:
        """A string that was not cut out, '' for anything else."""
        return text if isinstance(text, str) and text not in self.cut else ""

    def numbers(self, value: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
        """The array that a token stands for; None if ``value`` is no token of an array. MalformedError for an irregular one."""
        if not isinstance(value, str) or value not in self.cut:
            return None
        start, end = self.cut[value]
        return _numbers(self.body, start, end, dtype) if self.body[start : start + 1] == b"[" else None


def parse(body: bytes | bytearray, few: Few = FEW) -> Document:
    """The document of a body. MalformedError, ValueError, TypeError or RecursionError for what is none or has too much in it.

    The long strings are found without parsing: a quote ends a string unless a backslash escapes it.
    """
    for mark, most in few.marks.items():
        # In pieces: one count over 10 MB takes 6 ms, during which no other thread runs.
        if sum(body.count(mark, part, part + _PART) for part in range(0, len(body), _PART)) > most:
            raise MalformedError("it has more in it than it needs")
    cut: dict[str, tuple[int, int]] = {}
    rest: list[bytes | bytearray] = []
    secret, copied, at, size = os.urandom(8).hex(), 0, 0, len(body)

    def take(start: int, end: int, quote: bytes) -> None:
        nonlocal copied, size
        token = f"{secret}{len(cut)}"
        cut[token] = (start, end)
        written = quote + token.encode() + quote
        size += len(written) - (end - start)
        rest.extend((body[copied:start], written))
        copied = end

    while (start := body.find(b'"', at)) >= 0:
        if few.numbers and start - at > _LONG and (found := _array(body, at, start)):
            take(*found, b'"')
        end = body.find(b'"', start + 1)
        while end > 0 and (end - _run_of_backslashes(body, end)) % 2:
            end = body.find(b'"', end + 1)
        if end < 0:
            raise ValueError
        at = end + 1
        if end - start > _LONG:
            take(start + 1, end, b"")
        if size - len(body) + at > few.rest:
            break
    else:
        if few.numbers and len(body) - at > _LONG and (found := _array(body, at, len(body))):
            take(*found, b'"')
    if size > few.rest:
        raise MalformedError("it has more in it than it needs")
    rest.append(body[copied:])
    # Not strict: a shell that puts the output of `base64 FILE` into a string leaves its line breaks bare.
    value = json.loads(b"".join(rest), strict=False, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise MalformedError("the document is expected to be a JSON object")
    return Document(body, value, cut)


def _no_constant(name: str) -> Any:
    raise MalformedError(f"{name} is no JSON number")


def _array(body: bytes | bytearray, start: int, end: int) -> tuple[int, int] | None:
    """Where the long array between two strings is; whether it is one is checked when it is decoded."""
    first = body.find(b"[", start, end)
    brace = body.find(b"}", first, end) if first >= 0 else -1
    last = body.rfind(b"]", first, brace if brace >= 0 else end) if first >= 0 else -1
    return (first, last + 1) if last - first > _LONG else None


def _numbers(body: bytes | bytearray, start: int, end: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A regular array of numbers, from its text. Its brackets without the numbers say its shape."""
    skeleton = b"".join(
        bytes(body[i : min(i + _PART, end)]).translate(None, _NOT_BRACKETS) for i in range(start, end, _PART)
    )
    shape = _shape(skeleton)
    out = np.empty(prod(shape), dtype)
    at, done = start, 0
    while at < end:
        cut = body.find(b",", min(at + _PIECE, end), end)
        stop = end if cut < 0 else cut
        piece = bytes(body[at:stop]).translate(_FLAT)
        try:
            found = json.loads(b"[%b]" % piece)
        except (ValueError, RecursionError):
            raise MalformedError("an array has something in it that is no number") from None
        if done + len(found) > len(out):
            raise MalformedError("an array is not regular: its rows differ in length")
        out[done : done + len(found)] = plain_numbers(found, dtype)
        done += len(found)
        at = stop + 1
    if done != len(out):
        raise MalformedError("an array is not regular: its rows differ in length")
    return out.reshape(shape)


def plain_numbers(found: list[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A flat list of JSON numbers as an array. MalformedError for what the type cannot hold."""
    kinds = {type(n) for n in found}
    wanted = {bool} if dtype.kind == "b" else {int} if dtype.kind in "iu" else {int, float}
    if not kinds <= wanted:
        what = {"b": "true and false", "i": "whole numbers", "u": "whole numbers"}.get(dtype.kind, "numbers")
        raise MalformedError(
            f"a tensor of {dtype.name} takes {what}, got {', '.join(sorted(k.__name__ for k in kinds - wanted))}"
        )
    try:
        if (
            dtype.kind in "iu"
            and found
            and not (np.iinfo(dtype).min <= min(found) and max(found) <= np.iinfo(dtype).max)
        ):
            raise OverflowError
        with np.errstate(over="ignore"):
            made = np.array(found, np.float64).astype(dtype) if dtype.kind == "f" else np.array(found, dtype)
        if dtype.kind == "f" and not np.isfinite(made).all():
            raise OverflowError
    except OverflowError:
        raise MalformedError(f"a number is too large for {dtype.name}") from None
    return made


def _shape(skeleton: bytes) -> tuple[int, ...]:
    """The sizes of the axes of an array, from its brackets and commas alone; it has a number between any two of them."""
    axes = len(skeleton) - len(skeleton.lstrip(b"["))
    if not 1 <= axes <= _AXES:
        raise MalformedError(
            f"an array has more than {_AXES} axes" if axes else "an array has something in it that is no number"
        )
    count = skeleton.find(b"]") - axes + 1
    sizes = [count]
    unit = b"[" + b"," * (count - 1) + b"]"
    for axis in range(axes - 2, -1, -1):
        # One more closing bracket than a unit ends with ends the axis.
        end = skeleton.find(b"]" * (axes - axis), axis)
        count = (end + axes - axis - 1 - (axis + 1) + 1) // (len(unit) + 1)
        sizes.append(count)
        if count < 1 or (len(unit) + 1) * count > len(skeleton) + 1:
            raise MalformedError("an array is not regular: its rows differ in length")
        unit = b"[" + b",".join([unit] * count) + b"]"
    if unit != skeleton:
        other = bytes(set(skeleton) - set(b"[],"))
        what = "has something in it that is no number" if other else "is not regular: its rows differ in length"
        raise MalformedError(f"an array {what}")
    return tuple(reversed(sizes))


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
                raise MalformedError("the data URL is not base64")
        at = cut
        raw = piece.translate(None, b" \t\r\n")
        standard, url_safe = standard or b"+" in raw or b"/" in raw, url_safe or b"-" in raw or b"_" in raw
        if standard and url_safe:
            raise MalformedError("the base64 text mixes the standard and the URL-safe alphabet")
        raw = raw.translate(_URL_SAFE) if url_safe else raw
        left += raw
        # The last group is kept: it may be padded, or have to be.
        ready = max(len(left) - 1, 0) // 4 * 4
        if b"=" in left[:ready]:
            raise MalformedError("the image is not base64")
        out.write(_base64(left[:ready]))
        left = left[ready:]
    out.write(_base64(left if b"=" in left else left + b"=" * (-len(left) % 4)))
    return out.getvalue()


def _base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise MalformedError("the image is not base64") from None


def _unbroken(body: bytes | bytearray, end: int) -> int:
    """The nearest position before ``end`` that is inside no escape sequence of a JSON string."""
    slash = body.rfind(b"\\", end - 6, end)
    return end if slash < 0 else _run_of_backslashes(body, slash + 1)
