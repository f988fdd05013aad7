"""Strings: object arrays of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..contracts.concat import CONCAT, ConcatParams
from ..contracts.strings import AS_STRING, STRING_JOIN, AsStringParams, StringJoinParams
from ..types import STRING, Array, Query
from .support import numpy_kernel

__all__ = ["KERNELS"]


def _formatter(kind: str, precision: int) -> Callable[[Any], bytes]:
    def number(x: Any) -> str:
        return str(x) if precision < 0 else f"{x:.{precision}f}"

    if kind == "b":
        return lambda x: b"true" if x else b"false"
    if kind == "f":
        return lambda x: number(x).encode()
    if kind == "c":
        return lambda x: f"({number(x.real)},{number(x.imag)})".encode()
    return lambda x: str(x).encode()


def _as_string(inputs: Sequence[Array], outputs: Sequence[Array], params: AsStringParams) -> None:
    (x,), (y,) = inputs, outputs
    if x.dtype == STRING:
        y[...] = x
        return
    text = _formatter(x.dtype.kind, params.precision)
    for index in np.ndindex(x.shape):
        y[index] = text(x[index])


def _string_join(inputs: Sequence[Array], outputs: Sequence[Array], params: StringJoinParams) -> None:
    (y,) = outputs
    parts: list[Array] = [np.broadcast_to(x, y.shape) for x in inputs]
    for index in np.ndindex(y.shape):
        y[index] = params.separator.join(part[index] for part in parts)


def _concat(inputs: Sequence[Array], outputs: Sequence[Array], params: ConcatParams) -> None:
    np.concatenate(inputs, axis=params.axis, out=outputs[0])


def _strings_only(query: Query) -> str | None:
    return None if query.inputs[0].dtype == STRING else "serves strings only"


KERNELS = (
    numpy_kernel(AS_STRING, "host", _as_string),
    numpy_kernel(STRING_JOIN, "host", _string_join),
    numpy_kernel(CONCAT, "host", _concat, supports=_strings_only),
)
