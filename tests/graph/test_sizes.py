"""Sizes and values that are impossible: kigraph's error says what was requested and what is possible; a session stays usable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import FeedError, GraphError
from kigraph.graph.session import Session
from kigraph.kernels import room
from kigraph.kernels.errors import KigraphError, OutOfMemoryError, ShapeError

MakeSession = Callable[..., Session]
SIZES = [-(2**70), -(2**63), -(2**41), 2**31 - 1, 2**31, 2**41, 2**62, 2**63 - 1, 2**63, 2**70]


def image() -> Any:
    return ops.constant(np.ones((1, 8, 8, 3), np.float32))


def vector() -> Any:
    return ops.constant(np.ones(3, np.float32))


FILTER = np.ones((3, 3, 3, 2), np.float32)
MADE: dict[str, Callable[[int], Any]] = {
    "fill": lambda n: ops.fill([n, n, n], 1.0),
    "fill beside 0": lambda n: ops.fill([n, 0, n, n], 1.0),
    "tile": lambda n: ops.tile(vector(), [n]) if abs(n) > 2**33 else ops.tile(image(), [n, 1, n, 1]),
    "broadcast_to": lambda n: ops.broadcast_to(ops.constant([1.0]), [n, n, n]),
    "pad": lambda n: ops.pad(image(), [[0, 0], [n, n], [n, n], [0, 0]]),
    "resize": lambda n: ops.resize_bilinear(image(), [n, n]),
    "reshape": lambda n: ops.reshape(vector(), [n, 1]),
    "range": lambda n: ops.range(0.0, float(n), 1e-12) if n > 0 else ops.range(n, 0, 0),
    "transpose": lambda n: ops.transpose(vector(), [n]),
    "zeros": lambda n: ops.zeros([n, n, n]),
    "constant": lambda n: ops.constant(1.0, shape=[n, n, n]),
    "constant of two": lambda n: ops.constant([1.0, 2.0], shape=[n]),
    "placeholder": lambda n: ops.placeholder("float32", [n, n, n]),
    "conv padding": lambda n: ops.conv2d(image(), FILTER, 1, [[n, n], [n, n]]),
    "number of parts": lambda n: ops.split(vector(), [n, 3 - n]),
    "axis": lambda n: ops.expand_dims(vector(), n),
    "int8": lambda n: ops.constant(n, "int8"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MADE)
def test_sizes_that_no_array_has(graph: Graph, session: MakeSession, name: str, size: int) -> None:
    good = ops.add(vector(), 1.0)
    with pytest.raises(KigraphError, match=r".{15}"):
        session().run(MADE[name](size))
    assert session().run(good).tolist() == [2, 2, 2]


def test_a_size_says_how_many_bytes_it_would_be(graph: Graph) -> None:
    with pytest.raises(
        ShapeError, match=r"Fill 'y': fill: float32\[2199023255552, 2199023255552\].* bytes .*at most 9,223"
    ):
        ops.fill(np.array([2**41, 2**41]), 1.0, name="y")
    with pytest.raises(ShapeError, match="65 axes, at most 64"):
        ops.reshape(vector(), [3, *[1] * 64])
    with pytest.raises(OutOfMemoryError, match=r"constant: float32\[1099511627776\] needs 4,398,046,511,104 bytes"):
        ops.constant(1.0, shape=[2**40])
    with pytest.raises(GraphError, match="attribute strides must have integers of 64 bits"):
        ops.max_pool(image(), 2, 2**70, "SAME")


def test_a_run_that_does_not_fit_is_refused_before_it_allocates(graph: Graph, session: MakeSession) -> None:
    n = ops.placeholder("int32", [1])
    y = ops.negative(ops.fill(n, 1.0, name="wide"), name="y")
    one = session()
    assert one.run(y, {n: [3]}).tolist() == [-1, -1, -1]
    wanted = r"steps \(the largest is float32\[2147483647\] of (Fill 'wide'|Neg 'y'), 8,589,934,588 bytes\)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "main_memory", lambda: room.Room(1 << 32, "a test's limit"))
        with pytest.raises(
            OutOfMemoryError, match=wanted + r" need, .* but 4,294,967,296 are available \(a test's limit\)"
        ):
            one.run(y, {n: [2**31 - 1]})
    assert one.run(y, {n: [2]}).tolist() == [-1, -1]


def test_nothing_needs_no_room_for_work(graph: Graph, session: MakeSession) -> None:
    """The workspace of LRN is lines of channels: none, where there is no line."""
    x = ops.placeholder("float32", [None, 1, 1, None])
    assert session().run(ops.lrn(x), {x: np.empty((0, 1, 1, 2**40), np.float32)}).shape == (0, 1, 1, 2**40)


def test_results_count_beside_the_activations(graph: Graph) -> None:
    x = ops.negative(ops.fill(ops.placeholder("int32", [1], name="n"), 1.0))
    one = Session(graph, backend="numpy")
    size = 80 << 20  # 320 MiB
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "main_memory", lambda: room.Room(400 << 20, "a test's limit"))
        with pytest.raises(OutOfMemoryError, match="for activations and results"):
            one.run(x, {"n:0": [size]})


def test_room_is_the_least_of_what_the_limits_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (groups / "a" / "b").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\nSwapFree: 1000 kB\n")
    (proc / "self" / "statm").write_text("0 0 0 0 0 0 0\n")
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    monkeypatch.setattr(room, "_PROC", proc)
    monkeypatch.setattr(room, "_CGROUPS", groups)
    monkeypatch.setattr(room, "_limits", lambda: iter(()))
    assert room.main_memory() == (6000 << 10, "MemAvailable and SwapFree")
    for folder, limit in ((groups / "a" / "b", "max"), (groups / "a", "3000000")):
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text("1000000\n")
        (folder / "memory.stat").write_text("anon 1\nfile 400000\ninactive_file 300000\nactive_file 100000\n")
    assert room.main_memory() == (2_400_000, "memory.max of the control group")
    (proc / "meminfo").unlink()
    (proc / "self" / "cgroup").unlink()
    assert room.main_memory() is None
    room.require(1 << 60, "what nothing is known of")


class Raises:
    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("by an object")


def nested(depth: int) -> Any:
    value: Any = 1.0
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


ODD: dict[str, Callable[[], Any]] = {
    "__array__ that raises": Raises,
    "masked": lambda: np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]),
    "surrogates": lambda: "\ud800",
    "deep": lambda: nested(100_000),
    "endless": endless,
    "None": lambda: [None, 1.0, 2.0],
    "objects": lambda: np.array([1, "a", None], object),
    "structured": lambda: np.zeros(3, [("a", "f4")]),
    "dates": lambda: np.array(["2020-01-01"] * 3, "M8[D]"),
    "longdouble": lambda: np.ones(3, np.longdouble) * np.longdouble("1e4000"),
    "huge": lambda: 10**400,
    "a generator": lambda: (i for i in range(3)),
    "ragged": lambda: [[1.0], [1.0, 2.0]],
}


@pytest.mark.parametrize("name", ODD)
def test_values_that_are_no_tensors(graph: Graph, name: str) -> None:
    x = ops.placeholder("float32", None)
    good = ops.add(vector(), 1.0)
    one = Session(graph, backend="numpy")
    with pytest.raises(FeedError, match=r"fed to 'Placeholder:0'"):
        one.run(x, {x: ODD[name]()})
    with pytest.raises(GraphError):
        ops.constant(ODD[name](), "float32")
    assert one.run(good).tolist() == [2, 2, 2]


def test_values_of_odd_memory_are_read_as_they_are(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", None)
    base = np.arange(6, dtype=np.float32)
    frozen = base.copy()
    frozen.flags.writeable = False

    class Sub(np.ndarray[Any, Any]):
        pass

    for value in (
        base[::-2], base.astype(">f4"), base.reshape(2, 3).T, np.array(5, np.float32), frozen, base.view(Sub), memoryview(base),
        np.broadcast_to(np.float32(2), (3,)), base.astype(np.float16), base.astype(np.longdouble), np.array([[1, 2], [3, 4]]).view(np.matrix),
        np.ma.masked_array([1.0, 2.0], [0, 0]), range(3), np.ones((1,) * 40, np.float32),
    ):  # fmt: skip
        found = session().run(ops.identity(x), {x: value})
        np.testing.assert_array_equal(found, np.asarray(value, np.float32))
    with pytest.raises(GraphError, match="string"):
        ops.constant(np.array([[1, 2, 3]]).view(np.matrix), "string")


def test_arguments_of_the_wrong_kind(graph: Graph) -> None:
    x = image()
    for make in (
        lambda: ops.identity(x, name=3),  # type: ignore[arg-type]
        lambda: ops.concat(3, 0),  # type: ignore[arg-type]
        lambda: ops.max_pool(x, 2, 1.5, "SAME"),  # type: ignore[arg-type]
        lambda: ops.max_pool(x, 2, 1, 3),  # type: ignore[arg-type]
        lambda: ops.shape(x, out_type="nothing"),
        lambda: ops.placeholder(np.ones(3), [3]),
        lambda: ops.placeholder("float32", endless()),
        lambda: graph.name_scope(3).__enter__(),  # type: ignore[arg-type]
        lambda: Session(graph).run(x, np.ones(3)),  # type: ignore[arg-type]
        lambda: Session(graph).run(endless()),
        lambda: Session(graph).set_variables(3),  # type: ignore[arg-type]
    ):
        with pytest.raises(KigraphError):
            make()


def test_broadcasting_to_a_shape_with_unknown_sizes(graph: Graph) -> None:
    x = ops.placeholder("float32", [None, 1])
    assert ops.broadcast_to(x, [2, 1, 5]).shape == (2, 1, 5)
    for wrong in ([5], [], [3, 0, 2]):
        with pytest.raises(ShapeError, match="BroadcastTo"):
            ops.broadcast_to(ops.placeholder("float32", [None, 3]), wrong)
