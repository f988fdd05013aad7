"""Random ops: known numbers of TensorFlow, streams, and dropout that drops nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError
from kigraph.graph.session import Session

F = np.float32
#: What TensorFlow 2.21 gives for seed=5, seed2=9 and for the stateless seed [3, -4]: the first three elements of shape [3, 7].
KNOWN: dict[str, tuple[dict[str, Any], list[float]]] = {
    "RandomUniform float16": ({}, [0.982421875, 0.6884765625, 0.1240234375]),
    "RandomUniform float32": ({}, [0.8590066432952881, 0.2115098237991333, 0.17018115520477295]),
    "RandomUniform float64": ({}, [0.8720533702736903, 0.3614498111582678, 0.587190935378811]),
    "RandomStandardNormal float16": ({}, [0.53515625, 0.132080078125, -1.87890625]),
    "RandomStandardNormal float32": ({}, [0.5352789759635925, 0.13203659653663635, -1.879108190536499]),
    "RandomStandardNormal float64": ({}, [0.4001297752992255, -0.3372024138800406, 0.5384131589843909]),
    "StatelessRandomUniform float16": ({}, [0.4453125, 0.4130859375, 0.048828125]),
    "StatelessRandomUniform float32": ({}, [0.19548892974853516, 0.72270667552948, 0.8852598667144775]),
    "StatelessRandomUniform float64": ({}, [0.5639122309586158, 0.08207911738811147, 0.7890958737475771]),
    "StatelessRandomNormal float16": ({}, [-1.7802734375, -0.308349609375, -0.310546875]),
    "StatelessRandomNormal float32": ({}, [-1.780290961265564, -0.30832916498184204, -0.3106456696987152]),
    "StatelessRandomNormal float64": ({}, [0.5278684414155569, 0.9311649829545875, -0.6852638555127535]),
    "StatelessTruncatedNormal float16": ({}, [-1.7802734375, -0.308349609375, -0.310546875]),
    "StatelessTruncatedNormal float32": ({}, [-1.780290961265564, -0.30832916498184204, -0.3106456696987152]),
    "StatelessTruncatedNormal float64": ({}, [0.5278684414155569, 0.9311649829545875, 0.6150508715475489]),
    "RandomUniformInt int32": ({}, [47, 88, 55]),
    "RandomUniformInt int64": ({}, [35, 89, 8]),
}  # fmt: skip


def make(op: str, shape: Any, attrs: dict[str, Any], *more: Any) -> Tensor:
    graph = ops.constant(0).graph
    inputs = [shape if isinstance(shape, Tensor) else ops.constant(np.array(shape, np.int32))]
    inputs += [ops.constant(m) for m in more]
    return graph.create_op(op, inputs, attrs).outputs[0]


def run(fetch: Any, feeds: Any = None) -> Any:
    graph = (fetch[0] if isinstance(fetch, list) else fetch).graph
    with Session(graph, backend="numpy") as session:
        return session.run(fetch, feeds)


@pytest.mark.parametrize("name", KNOWN)
def test_numbers_of_tensorflow(name: str) -> None:
    op, _, dtype = name.partition(" ")
    attrs, want = KNOWN[name]
    with Graph().as_default():
        if op.startswith("Stateless"):
            y = make(op, [3, 7], {"dtype": np.dtype(dtype), **attrs}, np.array([3, -4], np.int64))
        elif op == "RandomUniformInt":
            y = make(op, [3, 7], {"seed": 5, "seed2": 9}, np.array(-5, dtype), np.array(90, dtype))
        else:
            y = make(op, [3, 7], {"dtype": np.dtype(dtype), "seed": 5, "seed2": 9, **attrs})
        got = run(y)
    assert got.shape == (3, 7)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_allclose(got.ravel()[:3].astype(np.float64), want, rtol=2e-7)


def test_a_seed_gives_the_same_stream_in_every_session_and_goes_on() -> None:
    with Graph().as_default():
        y = make("RandomUniform", [4], {"dtype": np.dtype(F), "seed": 1})
        fresh = make("RandomUniform", [4], {"dtype": np.dtype(F)})
        runs = []
        for _ in range(2):
            with Session(y.graph, backend="numpy") as session:
                runs.append([session.run(y), session.run(y)])
        np.testing.assert_array_equal(runs[0], runs[1])
        assert not np.array_equal(*runs[0])
        assert not np.array_equal(run(fresh), run(fresh))


def test_shapes_are_known_as_far_as_they_can_be() -> None:
    with Graph().as_default():
        x = ops.placeholder("float32", (None, 3), name="x")
        y = make("RandomUniform", ops.shape(x), {"dtype": np.dtype(F)})
        assert y.shape == (None, 3)
        assert run(y, {x: np.zeros((5, 3), F)}).shape == (5, 3)
        assert run(y, {x: np.zeros((0, 3), F)}).shape == (0, 3)
        with pytest.raises(GraphError, match="negative"):
            make("RandomUniform", [-1], {"dtype": np.dtype(F)})


@pytest.mark.parametrize("old", [True, False])
def test_dropout_that_keeps_everything_is_gone(old: bool) -> None:
    with Graph().as_default():
        x = ops.placeholder("float32", (None, 3), name="x")
        keep = ops.placeholder_with_default(F(1), (), name="keep")
        u = make("RandomUniform", ops.shape(x), {"dtype": np.dtype(F)})
        u = ops.add(ops.multiply(u, ops.subtract(ops.constant(F(1)), ops.constant(F(0)))), ops.constant(F(0)))
        if old:
            mask = ops.floor(ops.add(keep, u))
            y = ops.multiply(ops.divide(x, keep), mask)
        else:
            mask = ops.cast(ops.greater_equal(u, ops.constant(F(0))), "float32")
            y = ops.multiply(ops.multiply(x, ops.constant(F(1))), mask)
        value = np.random.default_rng(0).normal(size=(5, 3)).astype(F)
        with Session(y.graph, backend="numpy") as session:
            left = {n.op for n in session.optimized(y, [x])}
            assert not left & {"RandomUniform", "Floor", "GreaterEqual", "Fill", "Shape"}
            np.testing.assert_array_equal(session.run(y, {x: value}), value)
            np.testing.assert_array_equal(session.run(mask, {x: value}), np.ones((5, 3)))
            if old:  # the numbers are drawn, and none of them matters
                np.testing.assert_array_equal(session.run(y, {x: value, "keep:0": 1.0}), value)
                half = session.run(y, {x: np.ones((200, 3), F), "keep:0": 0.5})
                assert set(np.unique(half)) == {0, 2}


def test_what_depends_on_the_number_is_not_folded() -> None:
    with Graph().as_default():
        for bound in (0.9, 1.0, np.nan):
            u = make("RandomUniform", [1000], {"dtype": np.dtype(F), "seed": 3})
            low = ops.floor(ops.add(u, ops.constant(F(bound))))
            u2 = make("RandomUniform", [1000], {"dtype": np.dtype(F), "seed": 3})
            got, direct = run(low), np.floor(run(u2) + F(bound))
            np.testing.assert_array_equal(got, direct)
        ones = ops.floor(ops.add(make("RandomUniform", [2, 3], {"dtype": np.dtype(F)}), ops.constant(F(1))))
        x = ops.placeholder("float32", (None, 3), name="x")
        y = ops.multiply(x, ones)  # broadcasts: the ones are not of the shape of x
        assert run(y, {x: np.ones((1, 3), F)}).shape == (2, 3)
