"""What of a graph's message is read, and when: functions when they are called, equal attributes once, hints never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.formats import tensorflow as tf
from kigraph.graph.formats.limits import Budget
from kigraph.graph.formats.protobuf.reader import Reader
from kigraph.graph.formats.protobuf.write import encode
from kigraph.graph.loaders import LoadLimits, load
from kigraph.graph.session import Session
from tests.loaders.graph_files import F32, attr, called, function, library, node, save

ADD = function("add", {"a": F32, "b": F32}, {"y": "s:z:0"}, node("s", "AddV2", "a", "b", T=F32))
TWICE = function("twice", {"a": F32}, {"y": "s:y:0"}, node("s", "add", "a", "a"))
OTHER = function("other", {"a": F32}, {"y": "n:y:0"}, node("only_in_other", "Neg", "a", T=F32))
CALL = (node("x", "Placeholder", dtype=F32), node("call", "PartitionedCall", "x", f=called("twice")))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the records that are read as a whole."""
    found: list[str] = []
    plain = Reader.read

    def noted(self: Reader, record: type[Any], *args: Any) -> Any:
        found.append(record.__name__)
        return plain(self, record, *args)

    monkeypatch.setattr(Reader, "read", noted)
    return found


def encoded(record: Any) -> bytes:
    return b"".join(bytes(part) for part in encode(record))


def test_only_called_functions_are_read_and_each_once(tmp_path: Path, read: list[str]) -> None:
    nodes = (*CALL, node("again", "PartitionedCall", "call", f=called("twice")))
    graph = load(save(tmp_path / "g.pb", *nodes, functions=library(ADD, OTHER, TWICE))).graph
    assert graph is not None
    assert (read.count("FunctionName"), read.count("FunctionDef")) == (3, 2)
    x = np.arange(4, dtype=np.float32)
    with Session(graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run("again:0", {"x:0": x}), 4 * x)


def test_damage_is_found_in_functions_that_are_called(tmp_path: Path) -> None:
    path = save(tmp_path / "g.pb", *CALL, functions=library(ADD, OTHER, TWICE))
    plain = path.read_bytes()
    # 0xff is no UTF-8.
    path.write_bytes(plain.replace(b"only_in_other", b"only_in_othe\xff"))
    assert load(path).graph is not None
    path.write_bytes(plain.replace(b"AddV2", b"AddV\xff"))
    with pytest.raises(LoadError, match="UTF-8"):
        load(path)


def test_names_of_functions_are_read_though_they_are_not_called(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="unique names"):
        load(save(tmp_path / "g.pb", *CALL, functions=library(ADD, TWICE, OTHER, OTHER)))


def test_nodes_of_functions_are_counted_when_they_are_read(tmp_path: Path) -> None:
    many = function("many", {"a": F32}, {"y": "n0:y:0"}, *(node(f"n{i}", "Neg", "a", T=F32) for i in range(50)))
    limits = LoadLimits(max_nodes=20)
    nodes = (node("x", "Placeholder", dtype=F32), node("y", "Neg", "x", T=F32))
    assert load(save(tmp_path / "g.pb", *nodes, functions=library(many)), limits).graph is not None
    call = node("call", "PartitionedCall", "x", f=called("many"))
    with pytest.raises(LoadError, match="more than 20 nodes"):
        load(save(tmp_path / "h.pb", *nodes, call, functions=library(many)), limits)


def _nodes(count: int, **attrs: Any) -> tf.GraphDef:
    return tf.GraphDef(
        node=[tf.NodeDef(f"n{i}", "Neg", attr={k: attr(v) for k, v in attrs.items()}) for i in range(count)]
    )


def _reader(data: bytes, limits: LoadLimits | None = None) -> Reader:
    return Reader(memoryview(data), Budget("t.pb", len(data), limits), "test")


def test_equal_attributes_are_one_object_and_those_with_places_in_the_file_are_not() -> None:
    data = encoded(_nodes(3, T=F32, shape=(2, 3), text="a"))
    reader = _reader(data)
    first, *others = reader.read(tf.GraphDef).node
    for other in others:
        assert other.attr["T"] is first.attr["T"]
        assert other.attr["shape"] is first.attr["shape"]
        assert other.attr["text"].s != first.attr["text"].s
        assert reader.content(other.attr["text"].s) == b"a"


def test_equal_attributes_are_counted_like_others() -> None:
    def most(data: bytes) -> int:
        """The smallest limit under which the message is read."""
        for limit in range(1, 200):
            try:
                _reader(data, LoadLimits(max_nodes=limit)).read(tf.GraphDef)
            except LoadError:
                continue
            return limit
        return 0

    shapes = [tuple(range(i, i + 9)) for i in range(1, 41)]
    unequal = tf.GraphDef(node=[tf.NodeDef(f"n{i}", "Neg", attr={"s": attr(s)}) for i, s in enumerate(shapes)])
    assert most(encoded(_nodes(40, s=shapes[0]))) == most(encoded(unequal)) > 0


def test_hints_are_not_read() -> None:
    graph = _nodes(2, T=F32, _output_shapes=(2, 3))
    data = encoded(graph)
    damaged = data.replace(encoded(attr((2, 3))), b"\xff" * len(encoded(attr((2, 3)))))
    assert damaged != data
    for content in (data, damaged):
        assert [set(n.attr) for n in _reader(content).read(tf.GraphDef).node] == [{"T"}, {"T"}]
