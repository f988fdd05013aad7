"""The wire format against the protobuf package, on random messages and on damaged ones."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph.errors import LoadError
from kigraph.graph.formats.limits import Budget, LoadLimits
from kigraph.graph.formats.protobuf.numbers import unpack_numbers
from kigraph.graph.formats.protobuf.reader import Reader
from kigraph.graph.formats.protobuf.wire import Span
from kigraph.graph.formats.protobuf.write import encode, pack_numbers
from kigraph.graph.formats.tensorflow import AttrValue, Dim, GraphDef, NodeDef, TensorProto, TensorShape, VersionDef

CHEAP = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_KINDS = {"float": "float", "double": "double", "int32": "int32", "int64": "int64", "bool": "bool",
          "uint32": "uint32", "uint64": "uint64", "enum": "enum"}  # fmt: skip

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FLOAT = st.floats(width=32, allow_nan=False)
TEXT = st.text(max_size=8)
DATA = st.binary(max_size=200)


def read(record: type[Any], data: bytes, limits: LoadLimits | None = None) -> tuple[Any, Reader]:
    reader = Reader(memoryview(data), Budget("test.pb", len(data), limits), "test")
    return reader.read(record), reader


def assert_same(ours: Any, theirs: Any, reader: Reader) -> None:
    """Compares a record of ours with a message of protobuf's, field by field."""
    for field in dataclasses.fields(ours):
        if "wire" not in field.metadata:  # what loaders add to a record
            continue
        spec, value = field.metadata["wire"], getattr(ours, field.name)
        if spec.oneof:
            assert (value is not None) == (theirs.WhichOneof("value") == field.name), field.name
            if value is None:
                continue
        if spec.kind in ("map", "message"):
            assert_same_messages(spec, field.name, value, theirs, reader)
        else:
            assert_same_values(spec, field.name, value, getattr(theirs, field.name), reader)


def assert_same_messages(spec: Any, name: str, value: Any, theirs: Any, reader: Reader) -> None:
    other = getattr(theirs, name)
    if spec.kind == "map":
        assert value.keys() == {key for key in other if spec.hints or not key.startswith("_")}
        for key in value:
            assert_same(value[key], other[key], reader)
    elif spec.repeated:
        assert len(value) == len(other)
        for a, b in zip(value, other, strict=True):
            assert_same(reader.read(spec.record(), a.start, a.start + a.size) if spec.late else a, b, reader)
    else:
        assert (value is not None) == theirs.HasField(name)
        if value is not None:
            assert_same(value, other, reader)


def assert_same_values(spec: Any, name: str, value: Any, other: Any, reader: Reader) -> None:
    if spec.kind == "bytes":
        spans = value if spec.repeated else [value] if value is not None else []
        wanted = list(other) if spec.repeated else [other] if value is not None else []
        assert [reader.content(s) for s in spans] == wanted
        assert value is not None or other == b""
    elif spec.repeated and spec.kind != "string":
        got = reader.numbers(value, spec.kind).tolist() if value else []
        assert [float(v) for v in got] == [float(v) for v in other]
    else:
        assert value == (list(other) if spec.repeated else other), name


def filled(draw: Any, message: Any, depth: int = 0) -> Any:
    """Fills a protobuf message at random."""
    values = {5: INT32, 3: INT64, 13: st.integers(0, (1 << 32) - 1), 4: st.integers(0, (1 << 64) - 1), 8: st.booleans(),
              2: FLOAT, 1: st.floats(allow_nan=False), 9: TEXT, 12: DATA}  # fmt: skip
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        target = getattr(message, field.name)
        if field.type == 11 and field.message_type.GetOptions().map_entry:
            if depth < 4:
                for key in draw(st.lists(TEXT, max_size=2)):
                    filled(draw, target[key], depth + 1)
        elif field.type == 11 and field.is_repeated:
            for _ in range(draw(st.integers(0, 2)) if depth < 4 else 0):
                filled(draw, target.add(), depth + 1)
        elif field.type == 11:
            if depth < 4:
                target.SetInParent()
                filled(draw, target, depth + 1)
        elif field.is_repeated:
            target.extend(draw(st.lists(values[field.type], max_size=5)))
        else:
            setattr(message, field.name, draw(values[field.type]))
    return message


@CHEAP
@given(data=st.data())
def test_random_messages_read_as_protobuf_reads_them(tf_proto: SimpleNamespace, data: Any) -> None:
    for record, kind in ((GraphDef, "GraphDef"), (TensorProto, "Tensor"), (AttrValue, "AttrValue")):
        message = filled(data.draw, getattr(tf_proto, kind)())
        ours, reader = read(record, message.SerializeToString())
        assert_same(ours, message, reader)


@CHEAP
@given(data=st.data())
def test_concatenated_messages_merge_as_in_protobuf(tf_proto: SimpleNamespace, data: Any) -> None:
    parts = [filled(data.draw, tf_proto.AttrValue()).SerializeToString() for _ in range(3)]
    theirs = tf_proto.AttrValue.FromString(b"".join(parts))
    ours, reader = read(AttrValue, b"".join(parts))
    assert_same(ours, theirs, reader)


@CHEAP
@given(data=st.data(), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_messages_give_what_protobuf_gives_or_a_load_error(
    tf_proto: SimpleNamespace, data: Any, flips: list[tuple[int, int]]
) -> None:
    from google.protobuf.message import DecodeError

    raw = bytearray(filled(data.draw, tf_proto.GraphDef()).SerializeToString() or b"\x0a\x00")
    for at, value in flips:
        raw[at % len(raw)] = value
    try:
        ours, reader = read(GraphDef, bytes(raw))
    except LoadError:
        return
    try:
        theirs = tf_proto.GraphDef.FromString(bytes(raw))
    except DecodeError:  # damage in what is read later, or not at all
        assert b"_" in raw or (ours.library is not None and ours.library.function)
        return
    assert_same(ours, theirs, reader)


@pytest.mark.parametrize("tag", [b"\x80\x80\x80\x80\x10", b"\x88\x80\x80\x80\x80\x00"], ids=["number", "overlong"])
def test_tags_keep_to_the_formats_limits(tf_proto: SimpleNamespace, tag: bytes) -> None:
    data = tag + b"\x00"
    with pytest.raises(Exception, match=r"(?i)pars|corrupt"):
        tf_proto.GraphDef.FromString(data)
    with pytest.raises(LoadError, match="field number"):
        read(GraphDef, data)


def test_written_records_are_read_by_protobuf(tf_proto: SimpleNamespace) -> None:
    tensor = TensorProto(
        dtype=1,
        tensor_shape=TensorShape(dim=[Dim(size=2), Dim(size=-1)]),
        tensor_content=memoryview(np.arange(5000, dtype=np.uint8)),  # type: ignore[arg-type]
    )
    attrs = {
        "value": AttrValue(tensor=tensor),
        "zero": AttrValue(i=0),
        "no": AttrValue(b=False),
        "text": AttrValue(s=b""),
    }
    graph = GraphDef(
        node=[NodeDef(name="a", op="Const", input=["^b", "c:1"], attr=attrs)],
        versions=VersionDef(producer=8, min_consumer=-1),
    )
    data = b"".join(map(bytes, encode(graph)))
    theirs = tf_proto.GraphDef.FromString(data)
    assert theirs.node[0].attr["value"].tensor.tensor_content == np.arange(5000, dtype=np.uint8).tobytes()
    assert theirs.node[0].attr["value"].tensor.tensor_shape.dim[1].size == -1
    assert list(theirs.node[0].input) == ["^b", "c:1"]
    assert theirs.versions.min_consumer == -1
    # A oneof's member is there even when it has its default value.
    assert [theirs.node[0].attr[k].WhichOneof("value") for k in ("zero", "no", "text")] == ["i", "b", "s"]
    ours, reader = read(GraphDef, data)
    assert_same(ours, theirs, reader)


@CHEAP
@given(st.lists(INT64, max_size=50))
def test_packed_int64_round_trip(values: list[int]) -> None:
    assert unpack_numbers(pack_numbers(values, "int64"), "int64").tolist() == values


@CHEAP
@given(st.lists(st.floats(), max_size=20))
def test_packed_double_round_trip(values: list[float]) -> None:
    got = unpack_numbers(pack_numbers(values, "double"), "double").tolist()
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(got, values, strict=True))


def test_numbers_may_be_packed_or_not_or_both() -> None:
    packed = b"\x2a\x08" + pack_numbers([1.0, 2.0], "float")
    single = b"\x2d" + pack_numbers([3.0], "float")
    ours, reader = read(TensorProto, packed + single + packed)
    assert reader.numbers(ours.float_val, "float").tolist() == [1, 2, 3, 1, 2]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x0a", "the end of the message inside a number"),
        (b"\x0a\x05ab", "a field of 5 bytes where 2 are left"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a field of 18446744073709551615 bytes"),
        (b"\xff" * 11, "more than 10 bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x0f", "wire type 7"),
        (b"\x08\x01", "field 'name' with wire type 0"),
        (b"\x02\x00", "field number 0"),
        (b"\x3d\x00\x00", "inside a number"),
        (b"\x0a\x01\xff", "not UTF-8"),
        (b"\x2a\x03\x08\x01\x00", "in an entry of map 'attr'"),
        (b"\x2a\x02\x0a\x09", "a field of 9 bytes"),
    ],
)
def test_malformed(data: bytes, found: str) -> None:
    with pytest.raises(LoadError, match=found):
        read(NodeDef, data)


def test_a_number_cut_off_inside_a_packed_field() -> None:
    ours, reader = read(TensorProto, b"\x3a\x02\x01\x80")
    with pytest.raises(LoadError, match="end inside a number"):
        reader.numbers(ours.int_val, "int32")


def nested_functions(levels: int) -> bytes:
    """AttrValue.func.attr[''].func.attr[''] ..."""
    data = b"\x18\x01"
    for _ in range(levels):
        entry = b"\x12" + _size(data) + data
        function = b"\x12" + _size(entry) + entry
        data = b"\x52" + _size(function) + function
    return data


def _size(data: bytes) -> bytes:
    return pack_numbers([len(data)], "uint64")


def test_depth_is_bounded() -> None:
    read(AttrValue, nested_functions(30))
    with pytest.raises(LoadError, match="levels of nesting"):
        read(AttrValue, nested_functions(20_000))


def test_count_of_elements_is_bounded() -> None:
    limits = LoadLimits(max_nodes=100)
    read(NodeDef, b"\x1a\x00" * 1000, limits)
    with pytest.raises(LoadError, match="more than 1,000 list elements"):
        read(NodeDef, b"\x1a\x00" * 1001, limits)


def test_bytes_fields_are_not_copied() -> None:
    data = b"\x22\x84\x80\x80\x08" + b"x" * (1 << 24 | 4)
    ours, _ = read(TensorProto, data)
    assert ours.tensor_content == Span(5, 1 << 24 | 4)
