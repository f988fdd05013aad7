"""Tensors that become bfloat16 in memory: which, where conversions stand, and that results stay near those in float32."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph import ir
from kigraph.graph.errors import GraphError
from kigraph.graph.passes.narrow_activations import narrow_activations
from kigraph.kernels import numpy as reference
from kigraph.kernels.tensor import BFLOAT16

RNG = np.random.default_rng()


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference keeps tensors as bfloat16, as a backend with kernels for that does."""
    monkeypatch.setattr(reference, "PRECISIONS", ("fp32", "bf16"), raising=False)
    monkeypatch.setattr(reference, "STORES_BFLOAT16", True, raising=False)


def weights(*shape: int) -> Any:
    return ki.constant((RNG.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32))


def conv(x: Any, out: int, size: int = 3, stride: int = 1) -> Any:
    y = ki.conv2d(x, weights(size, size, x.shape[3], out), stride, "SAME")
    return ki.relu(ki.bias_add(y, ki.constant(RNG.standard_normal(out).astype(np.float32))))


def narrow(graph: ir.Graph) -> Counter[str]:
    """How many nodes of each op type give bfloat16."""
    return Counter(node.op for node in graph if any(t.dtype == BFLOAT16 for t in node.outputs))


def compared(graph: ki.Graph, fetch: Any, x: Any, shape: tuple[int, ...]) -> ir.Graph:
    """Runs both ways; the results agree within what roundings to 8 bits leave. Gives the graph that ran."""
    value = RNG.standard_normal(shape).astype(np.float32)
    session = ki.Session(graph, backend="numpy", precision="bf16", threads=1)
    got = session.run(fetch, {x: value})
    want = ki.Session(graph, backend="numpy", precision="fp32", threads=1).run(fetch, {x: value})
    assert got.dtype == np.float32
    assert np.linalg.norm(got - want) < 0.02 * np.linalg.norm(want) + 1e-6
    assert not np.array_equal(got, want)
    again = ki.Session(graph, backend="numpy", precision="bf16", threads=1, skip_passes=["narrow_activations"])
    plain = again.run(fetch, {x: value})
    assert np.linalg.norm(plain - want) < 0.02 * np.linalg.norm(want) + 1e-6
    return session.optimized(fetch, [x])


@pytest.mark.usefixtures("stores")
def test_an_inception_block_is_narrow_from_the_first_convolution_to_the_mean() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (None, 17, 17, 3), "x")
        stem = ki.max_pool(conv(x, 16, stride=2), 3, 2, "SAME")
        pooled = conv(ki.avg_pool(stem, 3, 1, "SAME"), 8, 1)
        joined = ki.concat([conv(stem, 8, 1), conv(conv(stem, 8, 1), 12), pooled], 3)
        features = ki.reduce_mean(joined, [1, 2])
        logits = ki.matmul(features, weights(28, 5))
        y = ki.softmax(logits)
    made = compared(graph, y, x, (2, 17, 17, 3))
    found = narrow(made)
    assert found["ConcatV2"] == found["MaxPool"] == 1
    assert found["KiFusedAvgPool"] + found["AvgPool"] == 1
    assert not any(node.op == "Cast" for node in made)
    assert all(node.outputs[0].dtype == np.float32 for node in made if node.op in ("Mean", "MatMul", "Softmax"))
    assert made.type_of(made.outputs[0]).dtype == np.float32


@pytest.mark.usefixtures("stores")
def test_a_residual_block_adds_in_bfloat16() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (2, 9, 9, 4), "x")
        first = conv(x, 8)
        y = ki.reduce_mean(ki.relu(ki.add(conv(conv(first, 8), 8), first)), [1, 2])
    made = compared(graph, y, x, (2, 9, 9, 4))
    assert narrow(made)["AddV2"] + narrow(made)["Add"] == 1
    assert narrow(made)["Relu"] == 1


@pytest.mark.usefixtures("stores")
def test_a_fetched_tensor_is_float32_and_its_readers_take_it() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 9, 9, 4), "x")
        first = conv(x, 8)
        second = conv(first, 8)
        last = conv(second, 8)
    session = ki.Session(graph, backend="numpy", precision="bf16", threads=1)
    made = session.optimized([second, last], [x])
    assert [made.type_of(p).dtype for p in made.outputs] == [np.dtype(np.float32)] * 2
    assert sum(narrow(made).values()) == 1
    value = RNG.standard_normal((1, 9, 9, 4)).astype(np.float32)
    both, alone = session.run([second, last], {x: value}), session.run(second, {x: value})
    np.testing.assert_array_equal(both[0], alone)


@pytest.mark.usefixtures("stores")
def test_other_ops_read_a_conversion_and_one_op_between_two_stays() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 9, 9, 4), "x")
        first = conv(x, 8)
        y = ki.add(ki.reduce_mean(conv(first, 8), [1, 2]), ki.reduce_mean(ki.tanh(first), [1, 2]))
        single = ki.tanh(ki.max_pool(ki.tanh(x), 3, 2, "SAME"))
    made = compared(graph, y, x, (1, 9, 9, 4))
    casts = [node for node in made if node.op == "Cast"]
    assert len(casts) == 1
    assert [node.op for node in made if any(p.node == casts[0].name for p in node.inputs)] == ["Tanh"]
    session = ki.Session(graph, backend="numpy", precision="bf16", threads=1)
    assert not narrow(session.optimized(single, [x]))


@pytest.mark.usefixtures("stores")
def test_weights_that_are_computed_or_fed_stay_float32() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 9, 9, 4), "x")
        w = ki.placeholder("float32", (3, 3, 8, 8), "w")
        y = ki.relu(ki.conv2d(conv(x, 8), w, 1, "SAME"))
    session = ki.Session(graph, backend="numpy", precision="bf16", threads=1)
    assert not narrow(session.optimized(y, [x, w]))


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("depthwise", [False, True])
def test_any_batch_gives_the_same_bits(depthwise: bool) -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (None, 12, 12, 3), "x")
        y = conv(x, 8)
        if depthwise:
            y = ki.relu6(ki.depthwise_conv2d(y, weights(3, 3, 8, 1), (1, 1, 1, 1), "SAME"))
        y = ki.reduce_mean(conv(ki.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]]), 8, 3, 2), [1, 2])
    session = ki.Session(graph, backend="numpy", precision="bf16", threads=1)
    value = RNG.standard_normal((3, 12, 12, 3)).astype(np.float32)
    whole = session.run(y, {x: value})
    for number in range(3):
        np.testing.assert_array_equal(session.run(y, {x: value[number : number + 1]})[0], whole[number])
    found = narrow(session.optimized(y, [x]))
    assert found["Pad"] == 1
    assert found["KiFusedDepthwiseConv2D"] == depthwise


def test_other_precisions_and_backends_keep_float32() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 9, 9, 4), "x")
        y = conv(conv(x, 8), 8)
    session = ki.Session(graph, backend="numpy", threads=1)
    assert not narrow(session.optimized(y, [x]))
    assert narrow(narrow_activations(session.optimized(y, [x]))) == {"KiFusedConv2D": 1}
    with pytest.raises(GraphError, match="narrow_activations"):
        ki.Session(graph, backend="numpy", threads=1, skip_passes=["no_such_pass"]).run(
            y, {x: np.zeros((1, 9, 9, 4), np.float32)}
        )


@pytest.mark.usefixtures("stores")
def test_a_concat_with_its_axis_first_joins_bfloat16() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (1, 9, 9, 4), "x")
        first = conv(x, 8)
        parts = [ki.constant(3), conv(first, 4), ki.max_pool(first, 3, 1, "SAME")]
        joined = graph.create_op("Concat", parts, {"N": 2}).outputs[0]
        y = ki.reduce_mean(conv(joined, 8), [1, 2])
    made = compared(graph, y, x, (1, 9, 9, 4))
    assert narrow(made)["Concat"] + narrow(made)["ConcatV2"] == 1
    assert not any(node.op == "Cast" for node in made)


def test_cython_gives_the_same_bits_on_any_number_of_threads() -> None:
    from kigraph.kernels.backends import get_backend

    if not get_backend("cython").status().available or not getattr(
        get_backend("cython").load(), "STORES_BFLOAT16", False
    ):
        pytest.skip("cython keeps no bfloat16 here: it needs tile instructions (AMX)")
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", (None, 33, 33, 3), "x")
        stem = ki.max_pool(conv(x, 32, stride=2), 3, 2, "SAME")
        joined = ki.concat(
            [conv(stem, 40, 1), conv(conv(stem, 24, 1), 56), conv(ki.avg_pool(stem, 3, 1, "SAME"), 8, 1)], 3
        )
        y = ki.softmax(ki.matmul(ki.reduce_mean(joined, [1, 2]), weights(104, 7)))
    value = RNG.standard_normal((3, 33, 33, 3)).astype(np.float32)
    sessions = [ki.Session(graph, backend="cython", precision="bf16", threads=n) for n in (1, 2)]
    one, two = (session.run(y, {x: value}) for session in sessions)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(sessions[0].run(y, {x: value[1:2]})[0], one[1])
    want = ki.Session(graph, backend="numpy", precision="fp32", threads=1).run(y, {x: value})
    assert np.linalg.norm(one - want) < 0.02 * np.linalg.norm(want)
    assert "bfloat16" in str(sessions[0].plan(y, {x: value}).explain())
