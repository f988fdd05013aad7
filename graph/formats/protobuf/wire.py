"""Protocol Buffers' wire format: records declared as dataclasses. reader.py reads them without copying, write.py writes them.

Why not the protobuf package: it copies every bytes field, so an 87 MB frozen graph costs twice its size, and every
import costs time. Here a bytes field becomes a Span, a place in the file, and its content is read when it is used::

    @dataclass(slots=True)
    class VersionDef:
        producer: int = int32(1)
        bad_consumers: list[Span] = int32s(3)

Only declared fields are decoded, all others are skipped. Merging of repeated singular messages, last-one-wins and
packed or unpacked numbers follow https://protobuf.dev/programming-guides/encoding. Stricter than the reference:
groups (deprecated, never used by the formats here) and a declared field with a foreign wire type are errors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from ....kernels.records import dataclass

__all__ = [
    "FIXED32",
    "FIXED64",
    "LEN",
    "SCALARS",
    "VARINT",
    "Span",
    "Spec",
    "boolean",
    "bytes_",
    "bytes_list",
    "double",
    "enum",
    "enums",
    "float32",
    "int32",
    "int64",
    "layout_of",
    "map_of",
    "message",
    "messages",
    "numbers",
    "oneof",
    "string",
    "strings",
]

VARINT, FIXED64, LEN, FIXED32 = 0, 1, 2, 5
#: Kind -> wire type, and struct format or signed bits of the scalar kinds.
SCALARS: dict[str, tuple[int, str | None]] = {
    "int32": (VARINT, None),
    "int64": (VARINT, None),
    "uint32": (VARINT, None),
    "uint64": (VARINT, None),
    "enum": (VARINT, None),
    "bool": (VARINT, None),
    "float": (FIXED32, "<f"),
    "fixed32": (FIXED32, "<I"),
    "double": (FIXED64, "<d"),
}


class Span(NamedTuple):
    """A range of bytes of the file."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Spec:
    """How a field is stored. ``record`` is a thunk, so that records can contain themselves. ``node``, ``late``: see messages; ``hints``: see map_of."""

    number: int
    kind: str
    repeated: bool = False
    record: Callable[[], type[Any]] | None = None
    oneof: bool = False
    node: bool = False
    late: bool = False
    hints: bool = True


def _field(spec: Spec) -> Any:
    meta = {"wire": spec}
    if spec.kind == "map":
        return dataclasses.field(default_factory=dict, metadata=meta)
    if spec.repeated:
        return dataclasses.field(default_factory=list, metadata=meta)
    defaults: dict[str, Any] = {"string": "", "bytes": None, "message": None, "bool": False}
    return dataclasses.field(default=None if spec.oneof else defaults.get(spec.kind, 0), metadata=meta)


def int32(number: int) -> Any:
    return _field(Spec(number, "int32"))


def int64(number: int) -> Any:
    return _field(Spec(number, "int64"))


def enum(number: int) -> Any:
    return _field(Spec(number, "enum"))


def boolean(number: int) -> Any:
    return _field(Spec(number, "bool"))


def float32(number: int) -> Any:
    return _field(Spec(number, "float"))


def double(number: int) -> Any:
    return _field(Spec(number, "double"))


def string(number: int) -> Any:
    """UTF-8 text, decoded."""
    return _field(Spec(number, "string"))


def strings(number: int) -> Any:
    return _field(Spec(number, "string", repeated=True))


def bytes_(number: int) -> Any:
    """A Span when read (None if absent); bytes-like when written."""
    return _field(Spec(number, "bytes"))


def bytes_list(number: int) -> Any:
    return _field(Spec(number, "bytes", repeated=True))


def enums(number: int) -> Any:
    return numbers(number, "enum")


def numbers(number: int, kind: str) -> Any:
    """A repeated number: spans of raw wire bytes when read (see unpack_numbers), packed bytes when written."""
    return _field(Spec(number, kind, repeated=True))


def message(number: int, record: Callable[[], type[Any]]) -> Any:
    return _field(Spec(number, "message", record=record))


def messages(number: int, record: Callable[[], type[Any]], node: bool = False, late: bool = False) -> Any:
    """``node``: they are the nodes of a graph, and are counted before they are made.

    ``late``: a Span each when read, for ``Reader.read`` when one is needed; records when written.
    """
    return _field(Spec(number, "message", repeated=True, record=record, node=node, late=late))


def map_of(number: int, record: Callable[[], type[Any]], hints: bool = True) -> Any:
    """map<string, record>. Without ``hints`` entries whose names begin with ``_`` are skipped when read."""
    return _field(Spec(number, "map", record=record, hints=hints))


def oneof(number: int, kind: str, record: Callable[[], type[Any]] | None = None) -> Any:
    """A member of the record's one oneof: None unless it is the member that was set last."""
    return _field(Spec(number, kind, record=record, oneof=True))


_Layout = tuple[dict[int, tuple[str, Spec]], tuple[str, ...]]
_LAYOUTS: dict[type[Any], _Layout] = {}


def layout_of(record: type[Any]) -> _Layout:
    """Field number -> (name, spec), and the names of the oneof's members; made once per record."""
    layout = _LAYOUTS.get(record)
    if layout is None:
        fields = [(f.name, f.metadata["wire"]) for f in dataclasses.fields(record) if "wire" in f.metadata]
        members = tuple(name for name, spec in fields if spec.oneof)
        layout = _LAYOUTS[record] = ({spec.number: (name, spec) for name, spec in fields}, members)
    return layout
