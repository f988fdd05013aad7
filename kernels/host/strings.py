"""Strings: object arrays of bytes."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts.concat import CONCAT, ConcatParams
from ..contracts.strings import (
    AS_STRING,
    BASE64_DECODE,
    BASE64_ENCODE,
    STRING_JOIN,
    AsStringParams,
    Base64Params,
    StringJoinParams,
)
from ..errors import KernelError
from ..kernel import Query
from ..tensor import STRING, Array, Params
from .support import numpy_kernel

__all__ = ["KERNELS"]


def _printf(kind: str, params: AsStringParams) -> Callable[[Any], str]:
    """C's printf for one number. Python's % knows the same flags, but pads inf and nan with zeros, too."""
    width = "" if params.width < 0 else str(params.width)
    if kind in "iu":
        fill = "" if kind == "u" and params.fill in (" ", "+") else params.fill  # flags of signed numbers
        return lambda x: f"%{fill}{width}d" % int(x)
    if not params.form and params.precision < 0:
        return str
    precision = "" if params.precision < 0 else f".{params.precision}"
    finite = f"%{params.fill}{width}{precision}{params.form or 'f'}"
    plain = f"%{'' if params.fill == '0' else params.fill}{width}s"
    sign = params.fill if params.fill in ("+", " ") else ""

    def number(x: Any) -> str:
        if np.isfinite(x):
            return finite % float(x)
        return plain % (("-" if np.signbit(x) else sign) + ("nan" if np.isnan(x) else "inf"))

    return number


def _formatter(kind: str, params: AsStringParams) -> Callable[[Any], bytes]:
    if kind == "b":
        return lambda x: b"true" if x else b"false"
    if kind == "s":
        # TensorFlow gives the text as it is unless a width is given.
        width, most = max(params.width, 0), params.precision if params.precision >= 0 and params.width > 0 else None
        return lambda x: x[:most].ljust(width) if params.fill == "-" else x[:most].rjust(width)
    number = _printf(kind, params)
    if kind == "c":
        return lambda x: f"({number(x.real)},{number(x.imag)})".encode()
    return lambda x: number(x).encode()


def _as_string(inputs: Sequence[Array], outputs: Sequence[Array], params: AsStringParams) -> None:
    (x,), (y,) = inputs, outputs
    text = _formatter("s" if x.dtype == STRING else x.dtype.kind, params)
    for index in np.ndindex(x.shape):
        y[index] = text(x[index])


def _string_join(inputs: Sequence[Array], outputs: Sequence[Array], params: StringJoinParams) -> None:
    (y,) = outputs
    parts: list[Array] = [np.broadcast_to(x, y.shape) for x in inputs]
    for index in np.ndindex(y.shape):
        y[index] = params.separator.join(part[index] for part in parts)


def _concat(inputs: Sequence[Array], outputs: Sequence[Array], params: ConcatParams) -> None:
    np.concatenate(inputs, axis=params.axis, out=outputs[0])


_TEXT = re.compile(rb"[A-Za-z0-9_-]*={0,2}")


def _base64_encode(inputs: Sequence[Array], outputs: Sequence[Array], params: Base64Params) -> None:
    (x,), (y,) = inputs, outputs
    for index in np.ndindex(x.shape):
        text = base64.urlsafe_b64encode(x[index])
        y[index] = text if params.pad else text.rstrip(b"=")


def _base64_decode(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    (x,), (y,) = inputs, outputs
    for index in np.ndindex(x.shape):
        text = x[index]
        bare = text.rstrip(b"=")
        if _TEXT.fullmatch(text) is None or len(bare) % 4 == 1 or (bare != text and len(text) % 4):
            raise KernelError(
                f"base64_decode: not base64 for the web: {text[:40]!r}. Expected A-Z, a-z, 0-9, - and _, perhaps filled "
                "with = to a multiple of 4"
            )
        y[index] = base64.urlsafe_b64decode(bare + b"=" * (-len(bare) % 4))


def _strings_only(query: Query) -> str | None:
    return None if query.inputs[0].dtype == STRING else "serves strings only"


KERNELS = (
    numpy_kernel(AS_STRING, "host", _as_string),
    numpy_kernel(STRING_JOIN, "host", _string_join),
    numpy_kernel(BASE64_ENCODE, "host", _base64_encode),
    numpy_kernel(BASE64_DECODE, "host", _base64_decode),
    numpy_kernel(CONCAT, "host", _concat, supports=_strings_only),
)
