"""JSON values to arrays of a stated element type, and arrays to JSON values."""

from __future__ import annotations

import base64
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ...kernels.tensor import STRING
from ..documents import Document, MalformedError, plain_numbers
from ..errors import Refused

__all__ = ["Array", "array_of", "is_binary", "plain", "plain_size"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_AXES = 8
#: Elements of an answer in JSON: Python needs 60 bytes for each until it is text.
_MOST = 2_000_000


def is_binary(value: Any) -> bool:
    """Whether a JSON value is {"b64": "..."}."""
    return isinstance(value, dict) and set(value) == {"b64"}


def array_of(document: Document, value: Any, dtype: np.dtype[Any]) -> Array:
    """A number, a text, {"b64"}, or regular nested lists of these, as an array. MalformedError for anything else."""
    leaves: list[Any] = []
    shape = _gather(document, value, dtype, leaves, 0)
    if len(leaves) == 1 and isinstance(leaves[0], np.ndarray):
        return leaves[0].reshape(shape)
    if leaves and any(isinstance(leaf, np.ndarray) for leaf in leaves):
        if not all(isinstance(leaf, np.ndarray) for leaf in leaves):
            raise MalformedError("an array is not regular: its rows differ in length")
        return np.concatenate([leaf.ravel() for leaf in leaves]).reshape(shape)
    if dtype == STRING:
        made: Array = np.empty(len(leaves), object)
        made[:] = leaves
        return made.reshape(shape)
    return plain_numbers(leaves, dtype).reshape(shape)


def _gather(document: Document, value: Any, dtype: np.dtype[Any], leaves: list[Any], depth: int) -> tuple[int, ...]:
    """Collects the leaves of nested lists; their shape."""
    if depth > _AXES:
        raise MalformedError(f"an array has more than {_AXES} axes")
    if isinstance(value, list):
        if not value:
            return (0,)
        shapes = [_gather(document, item, dtype, leaves, depth + 1) for item in value]
        if any(shape != shapes[0] for shape in shapes):
            raise MalformedError("an array is not regular: its rows differ in length")
        return (len(value), *shapes[0])
    if dtype == STRING:
        leaves.append(_text(document, value))
        return ()
    if (cut := document.numbers(value, dtype)) is not None:
        leaves.append(cut)
        return tuple(cut.shape)
    if isinstance(value, bool | int | float):
        leaves.append(value)
        return ()
    what = '{"b64"}' if is_binary(value) else type(value).__name__
    raise MalformedError(f"a tensor of {dtype.name} has {what} in it")


def _text(document: Document, value: Any) -> bytes:
    if is_binary(value):
        return document.binary(value["b64"])
    if isinstance(value, str):
        if value in document.cut:
            start, end = document.cut[value]
            raw = bytes(document.body[start:end])
            if b"\\" in raw or raw[:1] == b"[":
                raise MalformedError('a long text with escapes in it is expected as {"b64": "..."}')
            return raw
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise MalformedError("a text has half a surrogate pair in it") from None
    raise MalformedError(f'a tensor of strings has {type(value).__name__} in it; expected texts or {{"b64": "..."}}')


def plain_size(arrays: dict[str, Array]) -> None:
    """Refused 422 for outputs that are too large for JSON."""
    count = sum(prod(array.shape) for array in arrays.values())
    if count > _MOST:
        raise Refused(
            422,
            "answer_too_large",
            f"the outputs have {count} elements, the limit in JSON is {_MOST}; ask for binary data by /v2",
        )


def plain(array: Array) -> Any:
    """Nested lists. Bytes that are no UTF-8 become {"b64"}; Refused 422 for NaN and infinities, which JSON has no form for."""
    if array.dtype == STRING:
        return _texts(array.tolist())
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Refused(
            422, "not_finite", "an output has NaN or infinities, which JSON cannot say; ask for binary data by /v2"
        )
    return array.tolist()


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(item) for item in value]
    data = value if isinstance(value, bytes) else str(value).encode()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}
