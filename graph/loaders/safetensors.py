"""safetensors: 8 bytes of length, a JSON header, the arrays.

Format: https://huggingface.co/docs/safetensors. Rules checked: header size, first byte '{', no duplicate names, known
element types, element count times size equals the range, ranges cover the data without hole or overlap.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from ...kernels.tensor import DType
from ..formats.json_text import check_json
from ..formats.limits import Budget, brief, size_text
from ..formats.source import Source
from .weights import BFLOAT16, TensorInfo, WeightsFile, widen_bfloat16

__all__ = ["looks_like_safetensors", "read_safetensors"]

#: The format allows 100 MB; 100,000 arrays need about 10 MB.
_MAX_HEADER = 16 << 20
_DTYPES: dict[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": BFLOAT16, "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64",
}  # fmt: skip


def looks_like_safetensors(view: memoryview) -> bool:
    """True if a header of plausible length follows that begins with '{'."""
    if len(view) < 10 or view[8] != 0x7B:
        return False
    return bool(2 <= struct.unpack("<Q", view[:8])[0] <= 100_000_000)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice[:80]!r} twice")
    return result


def _no_constant(text: str) -> Any:
    raise ValueError(f"the number {text}")


def _header(source: Source, budget: Budget) -> tuple[dict[str, Any], int]:
    if source.size < 10:
        raise budget.error("the header", f"a file of {source.size} bytes", "8 bytes of length and a JSON header")
    (size,) = struct.unpack("<Q", source.read(0, 8))
    most = min(_MAX_HEADER, source.size - 8)
    if not 2 <= size <= most:
        raise budget.error("bytes 0 to 7, the header's length", size_text(size), f"2 bytes to {size_text(most)}")
    raw = source.read(8, size)
    if raw[:1] != b"{":
        raise budget.error("byte 8", f"{raw[:1]!r}", "'{'")
    check_json(raw, "the JSON header", budget)
    try:
        header = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(header, ensure_ascii=False).encode()  # "\\ud800" is half a character, which cannot be printed
    except RecursionError:
        raise budget.error("the JSON header", "deep nesting", "a flat object") from None
    except ValueError as e:  # also UnicodeDecodeError, JSONDecodeError, integers of thousands of digits
        raise budget.error("the JSON header", str(e)[:200], "an object with unique names") from None
    if not isinstance(header, dict):
        raise budget.error("the JSON header", type(header).__name__, "an object")
    return header, 8 + size


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A JSON list of whole numbers from 0; True and 1.0 are not whole numbers."""
    if not isinstance(value, list) or any(type(v) is not int or v < 0 for v in value):
        return None
    return tuple(value)


def _loader(source: Source, offset: int, stored: str, shape: tuple[int, ...]) -> Callable[[], np.ndarray[Any, Any]]:
    if stored == BFLOAT16:
        return lambda: widen_bfloat16(source.array(offset, np.dtype(np.uint16), shape))
    if stored == "bool":
        return lambda: source.array(offset, np.dtype(np.uint8), shape) != 0
    dtype = np.dtype(stored)
    return lambda: source.array(offset, dtype, shape)


def read_safetensors(source: Source, budget: Budget) -> WeightsFile:
    """The arrays of a safetensors file; only the header is read here."""
    header, start = _header(source, budget)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise budget.error("'__metadata__'", f"{brief(metadata)}", "an object of strings")
    ranges: list[tuple[int, int, str]] = []
    tensors: dict[str, TensorInfo] = {}
    for name, entry in header.items():
        place = f"array {name[:200]!r}"
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise budget.error(place, f"{brief(entry)}", "an object of dtype, shape and data_offsets")
        stored = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
        if stored is None:
            raise budget.error(place, f"dtype {brief(entry['dtype'])}", f"one of {', '.join(_DTYPES)}")
        shape, offsets = _sizes(entry["shape"]), _sizes(entry["data_offsets"])
        if shape is None or offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise budget.error(place, f"{brief(entry)}", "sizes from 0, and data_offsets [begin, end]")
        begin, end = offsets
        dtype: DType = np.dtype(np.float32 if stored == BFLOAT16 else stored)
        width = 2 if stored == BFLOAT16 else dtype.itemsize
        budget.tensor(shape, dtype.itemsize, place)
        if prod(shape) * width != end - begin:
            raise budget.error(
                place, f"{end - begin} bytes", f"{prod(shape) * width} bytes for {stored} of shape {list(shape)}"
            )
        ranges.append((begin, end, name))
        load = _loader(source, start + begin, stored, shape)
        tensors[name] = TensorInfo(dtype, shape, stored, load, ("file", source, start + begin, stored, shape))
    _check_ranges(ranges, source.size - start, budget)
    return WeightsFile(source.name, "safetensors", MappingProxyType(tensors), MappingProxyType(metadata))


def _check_ranges(ranges: list[tuple[int, int, str]], size: int, budget: Budget) -> None:
    at = 0
    for begin, end, name in sorted(ranges):
        if begin != at:
            kind = "an overlap" if begin < at else "a hole"
            raise budget.error(
                f"array {name[:200]!r}", f"{kind} at byte {begin} of the data", f"a range from byte {at}"
            )
        at = end
    if at != size:
        raise budget.error("the end of the data", f"{size} bytes", f"{at} bytes", "The file is truncated or damaged.")
