"""Feeding the output of an op that kigraph does not know: its dtype and shape come from what is fed, each time anew."""

from __future__ import annotations

import numpy as np

import kigraph as ki


def test_every_fed_shape_counts() -> None:
    graph = ki.Graph()
    mystery = graph.create_op("Mystery", (), name="m", num_outputs=1)
    with graph.as_default():
        shape = ki.shape(mystery.outputs[0])
    session = ki.Session(graph, backend="numpy")
    for size in ((2, 3), (4, 5), (6,)):
        assert session.run(shape, {"m:0": np.zeros(size, np.float32)}).tolist() == list(size)


def test_concat_with_empty_parts() -> None:
    with ki.Graph().as_default() as graph:
        empty, wide = ki.placeholder("float32", [2, 0]), ki.placeholder("float32", [2, 3])
        y = ki.concat([empty, wide, ki.relu(wide)], 1)
    value = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
    got = ki.Session(graph, backend="numpy").run(y, {empty: np.zeros((2, 0)), wide: value})
    np.testing.assert_array_equal(got, np.concatenate([value, np.maximum(value, 0)], 1))


def test_an_unknown_op_behind_a_control_edge_is_left_out() -> None:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder("float32", [2], name="x")
        check = graph.create_op("Assert", [x], name="check", num_outputs=0)
        with graph.control_dependencies([check]):
            y = ki.identity(x * 2.0)
    assert ki.Session(graph, backend="numpy").run(y, {x: [1.0, 2.0]}).tolist() == [2, 4]
