"""Large graphs load in linear time, and what is too large is refused while it is parsed."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load

Write = Callable[..., Path]


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(name: str, op: str, inputs: tuple[str, ...] = (), *attrs: bytes) -> bytes:
    parts = field(1, name.encode()) + field(2, op.encode()) + b"".join(field(3, i.encode()) for i in inputs)
    return field(1, parts + b"".join(attrs))


def attr(name: str, value: bytes) -> bytes:
    return field(5, field(1, name.encode()) + field(2, value))


FLOAT = attr("T", b"\x30\x01")
INPUT = node("x", "Placeholder", (), attr("dtype", b"\x30\x01"), attr("shape", field(7, field(2, b"\x08\x04"))))


def chain(count: int, op: str, inputs: int = 1, scope: str = "") -> list[bytes]:
    names = ["x", *(f"{scope}n{i}" for i in range(count - 1))]
    return [INPUT, *(node(b, op, (a,) * inputs, FLOAT) for a, b in pairwise(names))]


GRAPHS: dict[str, Callable[[int], list[bytes]]] = {
    "identities": lambda n: chain(n, "Identity"),
    "backwards": lambda n: chain(n, "Identity")[::-1],
    "sums": lambda n: chain(n, "AddV2", 2),
    "unknown ops": lambda n: chain(n, "Mystery"),
    "long names": lambda n: chain(n, "Relu", scope="a/scope/that/all/of/them/share/" * 10),
    "control inputs": lambda n: [
        INPUT,
        *(node(f"n{i}", "Identity", ("x", *(f"^n{j}" for j in range(max(0, i - 8), i))), FLOAT) for i in range(n - 1)),
    ],
    "one node that reads all": lambda n: [
        INPUT,
        *(node(f"n{i}", "Identity", ("x",), FLOAT) for i in range(n - 2)),
        node("all", "AddN", tuple(f"n{i}" for i in range(n - 2)), FLOAT, attr("N", b"\x18" + varint(n - 2))),
    ],
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_linear(kind: str, write: Write) -> None:
    path = write(b"".join(GRAPHS[kind](20_000)))
    start = time.process_time()
    graph = load(path).graph
    # 0.5 to 1 s; what is quadratic takes minutes.
    assert time.process_time() - start < 20
    assert graph is not None
    assert len(graph.operations) == 20_000


@pytest.mark.parametrize("kind", ["unknown input", "duplicate"])
def test_errors_of_large_graphs(kind: str, write: Write) -> None:
    nodes = chain(20_000, "Identity")
    nodes.append(node("n5" if kind == "duplicate" else "new", "Identity", ("nowhere",), FLOAT))
    path = write(b"".join(nodes))
    start = time.process_time()
    with pytest.raises(LoadError) as e:
        load(path)
    assert time.process_time() - start < 20
    assert len(str(e.value)) < 1000


def refused(path: Path, limits: LoadLimits | None = None) -> tuple[str, int]:
    """The message, and the most memory that Python held meanwhile."""
    tracemalloc.start()
    try:
        with pytest.raises(LoadError) as e:
            load(path, limits)
        return str(e.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_nodes_are_counted_while_they_are_parsed(write: Write) -> None:
    path = write(b"".join(chain(100_000, "Identity")))
    message, memory = refused(path, LoadLimits(max_nodes=1000))
    assert "more than 1,000 nodes" in message
    assert memory < 8 << 20  # all nodes take 100 MB


LISTS = {
    "attributes": lambda n: b"".join(attr(f"a{i}", b"\x18\1") for i in range(n)),
    "numbers, unpacked": lambda n: attr("l", field(1, b"\x18\1" * n)),
    "numbers, packed": lambda n: attr("l", field(1, field(3, b"\1" * n))),
    "texts": lambda n: attr("l", field(1, field(2, b"") * n)),
    "shapes": lambda n: attr("l", field(1, field(7, b"") * n)),
    "sizes of a shape": lambda n: attr("l", field(7, field(2, b"") * n)),
    "tensors": lambda n: attr("l", field(1, field(8, b"\x08\1") * n)),
    "functions": lambda n: attr("l", field(1, field(9, b"") * n)),
    "inputs": lambda n: field(3, b"x") * n,
}


@pytest.mark.parametrize("kind", LISTS)
def test_long_lists_in_one_node(kind: str, write: Write) -> None:
    limits = LoadLimits(max_nodes=8000)
    assert load(write(INPUT + node("a", "Mystery", ("x",), LISTS[kind](500))), limits).graph is not None
    path = write(INPUT + node("a", "Mystery", ("x",), LISTS[kind](100_000)))
    message, memory = refused(path, limits)
    assert "list elements" in message
    assert memory < 32 << 20


def test_a_list_may_be_as_long_as_the_graph(write: Write) -> None:
    """20 elements for each node, wherever they are."""
    limits = LoadLimits(max_nodes=8000)
    nodes = [*chain(2000, "Identity"), node("a", "Mystery", ("x",), LISTS["texts"](30_000))]
    assert load(write(b"".join(nodes)), limits).graph is not None


def test_functions_in_attributes_nest_to_a_limit(write: Write) -> None:
    value = b"\x18\1"
    for _ in range(200):
        value = field(10, field(1, b"f") + field(2, field(1, b"k") + field(2, value)))
    with pytest.raises(LoadError, match="levels of nesting"):
        load(write(INPUT + node("a", "Mystery", ("x",), attr("f", value))))
