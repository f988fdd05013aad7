"""What loops, branches and lists give to the rest of a run: memory of its own, values of the types that are stated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Operation, Tensor
from kigraph.graph.errors import FetchError, UnsupportedOpError
from kigraph.graph.session import Session
from kigraph.kernels.errors import DTypeError, KigraphError

F32 = np.dtype(np.float32)
X = np.arange(6, dtype=np.float32).reshape(3, 2)
BACKENDS = ["numpy", "cython"]


@pytest.fixture
def x() -> Iterator[Tensor]:
    with Graph().as_default():
        yield ops.placeholder("float32", (3, 2), name="x")


def listed(x: Tensor) -> Tensor:
    """A list of the rows."""
    return x.graph.create_op(
        "TensorListFromTensor", [x, ops.constant([2], "int32")], {"element_dtype": F32}, num_outputs=1
    ).outputs[0]


def row(rows: Tensor, index: int, dtype: np.dtype[np.generic] = F32) -> Tensor:
    inputs = [rows, ops.constant(index, "int32"), ops.constant([2], "int32")]
    return rows.graph.create_op("TensorListGetItem", inputs, {"element_dtype": dtype}).outputs[0]


def switch(data: Tensor, p: Tensor) -> tuple[Tensor, ...]:
    return data.graph.create_op("Switch", [data, p]).outputs


def merge(*inputs: Tensor) -> Operation:
    return inputs[0].graph.create_op("Merge", list(inputs))


def loop(x: Tensor, *, variable: bool = False) -> Tensor:
    """Adds ones to x while its sum is less than 20."""
    with Graph().as_default() as inner:
        y = ops.placeholder("float32", (3, 2), name="y")
        more = ops.less(ops.reduce_sum(y), 20.0)
        ones = np.ones(2, np.float32)
        body = ops.add(y, ops.variable(ones, name="v") if variable else ones)
    frozen = inner.freeze()
    attrs = {
        "cond": replace(frozen, outputs=(more.port,)), "body": replace(frozen, outputs=(body.port,)),
        "cond_inputs": ("y",), "body_inputs": ("y",), "count": 1,
    }  # fmt: skip
    return x.graph.create_op("KiWhile", [x], attrs).outputs[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_share_no_memory(x: Tensor, backend: str) -> None:
    rows = listed(x)
    fetches = [row(rows, 1), row(rows, 1), loop(x)]
    with Session(x.graph, backend=backend) as session:
        for scale in (1, 100):  # the second time the loop runs not once, and gives back what it got
            fed = X * scale
            results = session.run(fetches, {x: fed})
            shared = [np.shares_memory(a, b) for i, a in enumerate(results) for b in (fed, *results[:i])]
            assert not any(shared), shared
            results[0][:] = -1
            np.testing.assert_array_equal(results[1], X[1] * scale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "build",
    [
        lambda rows: ops.stack([rows, rows]),
        lambda rows: ops.concat([rows, rows], 0),
        lambda rows: ops.tile(rows, [2]),
        lambda rows: ops.where(ops.constant(True), rows, rows),
        lambda rows: rows.graph.create_op("AddN", [rows, rows]).outputs[0],
        lambda rows: rows.graph.create_op("ZerosLike", [rows]).outputs[0],
        lambda rows: rows.graph.create_op("StridedSlice", [rows, *(ops.constant([i], "int32") for i in (0, 1, 1))]).outputs[0],
    ],
)  # fmt: skip
def test_no_kernel_works_on_a_list(x: Tensor, backend: str, build: object) -> None:
    assert callable(build)
    with pytest.raises(DTypeError, match=r"list of tensors|void64"), Session(x.graph, backend=backend) as session:
        session.run(build(listed(x)), {x: X})


def test_lists_are_handed_on(x: Tensor) -> None:
    p = ops.placeholder("bool", (), name="p")
    other, rows = switch(ops.identity(listed(x)), p)
    y = row(merge(other, rows).outputs[0], 2)
    with Session(x.graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run(y, {x: X, p: True}), X[2])


def test_an_element_of_another_type_than_stated_is_an_error(x: Tensor) -> None:
    y = ops.add(row(listed(x), 0, np.dtype(np.int32)), 1)
    with pytest.raises(KigraphError, match=r"output 0 is float32, stated as int32\[2\]"), Session(x.graph) as session:
        session.run(y, {x: X})


def test_one_output_of_a_switch_fed_and_the_other_read(x: Tensor) -> None:
    p = ops.placeholder("bool", (), name="p")
    false, true = switch(x, p)
    y, n = ops.multiply(true, 2.0), ops.add(false, 1.0)
    with Session(x.graph, backend="numpy") as session:
        np.testing.assert_array_equal(session.run(y, {x: X, p: True, false: X * 10}), X * 2)
        np.testing.assert_array_equal(session.run([n, y], {x: X, p: True, false: X * 10}), [X * 10 + 1, X * 2])
        with pytest.raises(FetchError, match="not taken"):
            session.run(y, {x: X, p: False, false: X * 10})


def test_one_output_of_a_merge_fed_and_the_other_read(x: Tensor) -> None:
    p = ops.placeholder("bool", (), name="p")
    false, true = switch(x, p)
    value, which = merge(ops.negative(false), ops.exp(true)).outputs
    with Session(x.graph, backend="numpy") as session:
        assert session.run([ops.identity(which), which], {x: X, p: True, value: X}) == [1, 1]
        np.testing.assert_array_equal(session.run(ops.identity(value), {x: X, p: False, which: np.int32(5)}), -X)


def test_no_update_is_lost_where_a_predicate_reads_the_variable() -> None:
    with Graph().as_default() as graph:
        v = ops.variable(np.float32(0), name="v")
        same, more = switch(v, ops.less(v, 1e9))
        up = ops.assign(v, merge(ops.identity(same), ops.add(more, 1.0)).outputs[0])
    with Session(graph, backend="numpy") as session:

        def work() -> None:
            for _ in range(50):
                session.run(up)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert session.variable_value(v) == 200


def test_a_variable_inside_of_a_loop_is_refused(x: Tensor) -> None:
    with pytest.raises(UnsupportedOpError, match="variable 'v' belongs to a graph inside"), Session(x.graph) as session:
        session.run(loop(x, variable=True), {x: X})
