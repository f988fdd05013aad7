"""Passes: the results of optimised graphs, of every intermediate tensor, and of graphs that invite wrong rewrites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError
from kigraph.graph.ir import Literal, Port
from kigraph.graph.passes import PASSES, optimize
from kigraph.graph.plan.cut import cut
from kigraph.graph.rewrite import Rewriter
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError

NDArray = np.ndarray[Any, Any]
MakeSession = Callable[..., Session]
NAMES = [name for name, _ in PASSES]
CLOSE = {"rtol": 2e-4, "atol": 2e-4}


class Builder:
    """Adds random layers to a graph; every number drawn comes from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.feeds: dict[Tensor, NDArray] = {}
        self.pool: list[Tensor] = []

    def array(self, *shape: int) -> NDArray:
        return (self.rng.random(shape, np.float32) - 0.4).astype(np.float32)

    def operand(self, *shape: int) -> Tensor:
        """Mostly a constant, at times a variable, a placeholder, an Identity of a constant, or something computed."""
        value = self.array(*shape)
        match self.rng.integers(8):
            case 0:
                return ops.variable(value)
            case 1:
                made = ops.placeholder("float32", shape)
                self.feeds[made] = value
                return made
            case 2:
                return ops.identity(ops.constant(value))
            case 3:
                return ops.constant(value) * 0.5
            case _:
                return ops.constant(value)

    def per_channel(self, channels: int) -> Tensor:
        shapes = [(channels,), (1, 1, 1, channels), (1, channels), (), (1,)]
        return self.operand(*shapes[self.rng.integers(len(shapes))])

    def norm(self, x: Tensor, channels: int) -> Tensor:
        a, b, c = (self.operand(channels) for _ in range(3))
        variance = ops.constant(self.rng.random(channels, np.float32) + 0.5)
        match self.rng.integers(4):
            case 0:
                return ops.fused_batch_norm(x, a, b, c, variance)
            case 1:
                return ops.batch_normalization(x, a, variance, b, c, 1e-3)
            case 2:
                inputs, scaled = [x, a, variance, b, ops.constant(np.full(channels, np.nan, np.float32))], False
            case _:
                inputs, scaled = [x, a, variance, b, c], True
        attrs = {"variance_epsilon": 1e-3, "scale_after_normalization": scaled}
        return x.graph.create_op("BatchNormWithGlobalNormalization", inputs, attrs).outputs[0]

    def weighted(self, kind: int, x: Tensor, out: int) -> Tensor:
        """A convolution, a product or a normalisation."""
        assert x.shape is not None
        _, h, w, c = (d or 0 for d in x.shape)
        match kind:
            case 0 | 1:
                return ops.conv2d(x, self.operand(1, 2, c, out), padding="SAME")
            case 2:
                padded = ops.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]])
                return ops.conv2d(padded, self.operand(2, 2, c, out), padding="VALID")
            case 3:
                return ops.depthwise_conv2d(x, self.operand(2, 2, c, 2 if c < 4 else 1), padding="SAME")
            case 4 | 5:
                return self.norm(x, c)
            case _:
                product = ops.matmul(ops.reshape(x, [-1, c]), self.operand(c, out))
                return ops.reshape(ops.relu(product + 0.1), [-1, h, w, out])

    def elementwise(self, kind: int, x: Tensor) -> Tensor:
        """A bias, arithmetic with one number per channel or with another tensor, an activation."""
        assert x.shape is not None
        c = x.shape[3] or 0
        match kind:
            case 6:
                return ops.bias_add(x, self.operand(c))
            case 7:
                return [ops.add, ops.subtract, ops.multiply][self.rng.integers(3)](x, self.per_channel(c))
            case 8:
                return ops.subtract(self.per_channel(c), x)
            case 9:
                return [ops.relu, ops.relu6, ops.identity, ops.stop_gradient][self.rng.integers(4)](x)
            case _:
                same = [t for t in self.pool if t.shape == x.shape]
                return x * same[self.rng.integers(len(same))]

    def layer(self, x: Tensor) -> Tensor:
        """A layer that keeps rank 4 and at least 2 x 2 pixels."""
        assert x.shape is not None
        out, kind = int(self.rng.integers(1, 4)), int(self.rng.integers(14))
        if kind == 10:
            return [ops.max_pool, ops.avg_pool][self.rng.integers(2)](x, 2, 1, "SAME")
        if kind == 11:
            same = [t for t in self.pool if t.shape and t.shape[:3] == x.shape[:3]]
            return ops.concat([x, same[self.rng.integers(len(same))], x], 3) if (x.shape[3] or 0) < 5 else x + x
        return self.weighted(kind, x, out) if kind < 6 or kind == 12 else self.elementwise(kind, x)

    def build(self, layers: int) -> None:
        x = ops.placeholder("float32", [None, 4, 3, 2])
        self.feeds[x] = self.array(2, 4, 3, 2)
        self.pool.append(x)
        for _ in range(layers):
            source = self.pool[-1] if self.rng.random() < 0.75 else self.pool[self.rng.integers(len(self.pool))]
            self.pool.append(self.layer(source))


def agree(found: list[NDArray], wanted: list[NDArray], what: str) -> None:
    for i, (f, w) in enumerate(zip(found, wanted, strict=True)):
        scale = max(1.0, float(np.abs(w).max(initial=0)))
        np.testing.assert_allclose(f / scale, w / scale, err_msg=f"{what}, fetch {i}", **CLOSE)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), layers=st.integers(1, 12))
def test_random_graphs(session: MakeSession, seed: int, layers: int) -> None:
    with Graph().as_default() as graph:
        one = Builder(seed)
        one.build(layers)
        truth = session(graph, backend="numpy", skip_passes=NAMES).run(one.pool, one.feeds)
        last, wanted = one.pool[-1], [truth[-1]]
        agree([session(graph).run(last, one.feeds)], wanted, "all passes")
        for name in NAMES:
            agree([session(graph, skip_passes=[name]).run(last, one.feeds)], wanted, f"without {name}")
        some = session(graph)
        agree(some.run(one.pool, one.feeds), truth, "every tensor at once")
        for i, tensor in enumerate(one.pool):
            agree(some.run([last, tensor], one.feeds), [truth[-1], truth[i]], f"with tensor {i}")
            agree([some.run(tensor, one.feeds)], [truth[i]], f"tensor {i} alone")


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), layers=st.integers(2, 10))
def test_every_tensor_follows_from_its_inputs_whatever_is_fed(session: MakeSession, seed: int, layers: int) -> None:
    """One tensor is overridden. Of all the others each must be its op applied to the values found for its inputs."""
    with Graph().as_default() as graph:
        one = Builder(seed)
        one.build(layers)
        rng, some = np.random.default_rng(seed), session(graph)
        fed = one.pool[rng.integers(len(one.pool))]
        value = rng.random(np.shape(some.run(fed, one.feeds)), np.float32)
        feeds = {**one.feeds, fed: value}
        every = [op.outputs[0] for op in graph.operations]
        found = dict(zip(every, some.run(every, feeds), strict=True))
        np.testing.assert_array_equal(found[fed], value)
        others = [t for t in every if t.op.inputs and t is not fed]
        for tensor in (others[i] for i in rng.integers(len(others), size=4)):
            inputs = {t: found[t] for t in tensor.op.inputs}
            agree([found[tensor]], [session(graph, backend="numpy").run(tensor, inputs)], tensor.name)


def final_ops(session: Session, fetch: Any, feeds: Any = ()) -> list[str]:
    return [
        node.op for node in session.optimized(fetch, feeds) if node.op not in ("Const", "Placeholder", "VariableV2")
    ]


def both_ways(make: MakeSession, fetch: Any, feeds: dict[Tensor, Any]) -> None:
    """The result with passes is the reference's without."""
    found, wanted = make().run([fetch], feeds), make(backend="numpy", skip_passes=NAMES).run([fetch], feeds)
    agree(found, wanted, "with passes")


@pytest.mark.parametrize("form", ["FusedBatchNorm", "FusedBatchNormV3", "old", "old unscaled", "composed", "bias"])
def test_conv_norm_relu_becomes_one_op(graph: Graph, session: MakeSession, form: str, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [None, 5, 5, 2])
    y = ops.conv2d(x, rng.random((3, 3, 2, 4), np.float32), padding="SAME")
    a, b, c, d = (ops.constant(rng.random(4, np.float32) + 0.5) for _ in range(4))
    if form.startswith("Fused"):
        y = graph.create_op(form, [y, a, b, c, d], {"is_training": False, "epsilon": 1e-2}).outputs[0]
    elif form.startswith("old"):
        garbage = ops.constant(np.full(4, np.nan, np.float32)) if form.endswith("unscaled") else d
        attrs = {"variance_epsilon": 1e-2, "scale_after_normalization": not form.endswith("unscaled")}
        y = graph.create_op("BatchNormWithGlobalNormalization", [y, a, b, c, garbage], attrs).outputs[0]
    else:
        y = ops.batch_normalization(y, a, b, c, d, 1e-2) if form == "composed" else ops.bias_add(y, a)
    y = ops.relu(ops.identity(y))
    assert final_ops(session(), y, [x]) == ["KiFusedConv2D"]
    both_ways(session, y, {x: rng.random((2, 5, 5, 2), np.float32) - 0.5})


def test_one_scalar_serves_layers_of_different_widths(graph: Graph, session: MakeSession) -> None:
    x, half = ops.placeholder("float32", [None, 2, 2, 2]), ops.constant(0.5)
    made = [ops.conv2d(x, np.ones((1, 1, 2, n), np.float32)) * half + half for n in (3, 5, 1)]
    found = session().run(made, {x: np.ones((1, 2, 2, 2))})
    assert [f.shape[-1] for f in found] == [3, 5, 1]
    assert all(np.all(f == 1.5) for f in found)


def test_one_weight_straight_and_transposed(graph: Graph, session: MakeSession) -> None:
    x, w = ops.placeholder("float32", [2, 3]), ops.constant(np.arange(9, dtype=np.float32).reshape(3, 3))
    scale = ops.constant(np.array([1, 2, 3], np.float32))
    both_ways(
        session,
        ops.concat([ops.matmul(x, w) * scale, ops.matmul(x, w, transpose_b=True) * scale], 0),
        {x: np.eye(2, 3)},
    )


def test_the_same_statistics_in_another_role(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    """Two norm ops with the same constants in the same order mean different things by them."""
    x, w = ops.placeholder("float32", [1, 2, 2, 2]), rng.random((1, 1, 2, 3), np.float32)
    statistics = [ops.constant(rng.random(3, np.float32) + 0.5) for _ in range(4)]
    old = {"variance_epsilon": 0.25, "scale_after_normalization": True}
    new = {"epsilon": 0.25, "is_training": False}
    a = graph.create_op("BatchNormWithGlobalNormalization", [ops.conv2d(x, w), *statistics], old).outputs[0]
    b = graph.create_op("FusedBatchNorm", [ops.conv2d(x, w), *statistics], new).outputs[0]
    both_ways(session, ops.concat([a, b], 3), {x: rng.random((1, 2, 2, 2))})


def test_what_is_read_twice_is_not_folded_away(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [1, 4, 4, 2])
    w, b = ops.constant(rng.random((3, 3, 2, 2), np.float32)), ops.constant(rng.random(2, np.float32))
    y = ops.conv2d(x, w, padding="SAME")
    z = ops.conv2d(ops.relu(y * b), w, padding="SAME") + y + b
    both_ways(session, ops.concat([y, z, ops.relu(z), z + z, ops.bias_add(y, b)], 3), {x: rng.random((1, 4, 4, 2))})
    assert "Conv2D" in final_ops(session(), z, [x])


@pytest.mark.parametrize("kind", ["variable", "placeholder"])
def test_weights_that_are_no_constants(graph: Graph, session: MakeSession, kind: str, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [1, 4, 4, 2])
    feeds: dict[Tensor, Any] = {x: rng.random((1, 4, 4, 2))}

    def weight(*shape: int) -> Tensor:
        value = rng.random(shape, np.float32)
        if kind == "variable":
            return ops.variable(value)
        made = ops.placeholder("float32", shape)
        feeds[made] = value
        return made

    y = ops.conv2d(x, weight(2, 2, 2, 3), padding="SAME")
    for z in (ops.relu(ops.bias_add(y, weight(3))), y * 2.0, y * weight(3), ops.relu(y + 1.0) * weight(1, 1, 1, 3)):
        both_ways(session, z, feeds)
    biased = ops.relu(ops.bias_add(ops.conv2d(x, weight(2, 2, 2, 3)), weight(3)))
    assert final_ops(session(), biased, list(feeds)) == ["KiFusedConv2D"]


@pytest.mark.parametrize("shape", [(2, 1, 1, 3), (1, 4, 1, 3), (4, 3), (1, 1, 1, 1, 3), (4, 4, 1), (0,)])
def test_operands_that_are_not_per_channel(graph: Graph, session: MakeSession, shape: tuple[int, ...]) -> None:
    x = ops.placeholder("float32", [None, 4, 4, 2])
    y = ops.conv2d(x, np.ones((1, 1, 2, 1 if shape == (0,) else 3), np.float32))
    both_ways(session, ops.relu(y * np.full(shape, 2, np.float32)), {x: np.ones((1, 4, 4, 2))})


def test_float16_weights_are_not_scaled(graph: Graph) -> None:
    """Folding 512 into weights of 200 would make them infinite, though no value on the way is."""
    x = ops.placeholder("float16", [1, 1, 1, 1])
    y = ops.conv2d(x, np.full((1, 1, 1, 1), 200, np.float16)) * np.float16(512) + np.float16(1)
    found = Session(graph, backend="numpy").run(y, {x: np.full((1, 1, 1, 1), 2.0**-10, np.float16)})
    assert found.item() == 101


def test_constants_of_the_graph_keep_their_names(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [1, 2, 2, 1])
    bias = ops.variable([1.0], name="layer/bias")
    ops.constant([9.0], name="layer/bias_1")
    weights = ops.constant(np.full((1, 1, 1, 1), 2, np.float32), name="layer/scaled_weights")
    y = ops.multiply(ops.bias_add(ops.conv2d(x, weights), [3.0]), 2.0, name="layer")
    found = session().run([y, bias, weights], {x: np.ones((1, 2, 2, 1))})
    assert found[0].ravel().tolist() == [10] * 4
    assert (found[1].tolist(), found[2].ravel().tolist()) == ([1], [2])


def test_outputs_that_are_inputs(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [1, 2, 2, 2])
    one, mean = ops.constant([1.0, 1.0]), ops.constant([5.0, 6.0])
    for op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
        for source in (x, ops.ones([1, 2, 2, 2])):
            norm = graph.create_op(op, [source, one, one, mean, one], {"is_training": False, "epsilon": 0.0})
            for skipped in ([], ["resolve_identities"], ["fold_constants"], NAMES):
                run = session(skip_passes=skipped).run
                assert run(list(norm.outputs[1:3]), {x: np.ones((1, 2, 2, 2))})[0].tolist() == [5, 6]
                assert run(norm.outputs[1] + 1.0, {x: np.ones((1, 2, 2, 2))}).tolist() == [6, 7]
                found = run([norm.outputs[0], norm.outputs[2]], {x: np.ones((1, 2, 2, 2))})
                np.testing.assert_allclose(found[0][0, 0, 0], [-3, -4])
    with pytest.raises(KigraphError, match="does not compute 'FusedBatchNormV3"):
        session().run(norm.outputs[5], {x: np.ones((1, 2, 2, 2))})
    trained = graph.create_op("FusedBatchNormV3", [x, one, one, mean, one], {"is_training": True}, num_outputs=6)
    found = session().run(trained.outputs[:3], {x: np.arange(8.0).reshape(1, 2, 2, 2)})
    assert [found[1].tolist(), found[0].mean((0, 1, 2)).round(5).tolist()] == [[3, 4], [1, 1]]


def test_passes_leave_the_given_graph_alone(graph: Graph) -> None:
    one = Builder(5)
    one.build(12)
    frozen = graph.freeze()
    text = str(frozen)
    given = {t.port: frozen.type_of(t.port) for t in one.feeds}
    whole = cut(frozen, [one.pool[-1].port], (), given).graph
    for name, function in PASSES:
        before = str(whole)
        after = function(whole)
        assert str(whole) == before, name
        assert str(function(whole)) == str(after), f"{name} twice on one graph"
        whole = after
    assert str(graph.freeze()) == text


def test_all_passes_twice_change_nothing_more(graph: Graph) -> None:
    one = Builder(11)
    one.build(10)
    frozen = graph.freeze()
    whole = cut(frozen, [one.pool[-1].port], (), {t.port: frozen.type_of(t.port) for t in one.feeds}).graph
    seen: list[str] = []
    once = optimize(whole, trace=lambda name, _: seen.append(name))
    assert seen == NAMES
    assert len(optimize(once)) <= len(once)
    assert [n.op for n in optimize(optimize(once))] == [n.op for n in optimize(once)]


def test_sessions_of_one_graph_share_what_is_packed(graph: Graph, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [None, 4, 4, 8])
    a, b, c, d = (ops.constant(rng.random(8, np.float32) + 0.5) for _ in range(4))
    y = ops.relu(ops.batch_normalization(ops.conv2d(x, rng.random((3, 3, 8, 8), np.float32)), a, b, c, d, 1e-3))
    y = ops.reshape(ops.matmul(ops.reshape(y, [ops.shape(y)[0], -1]), rng.random((32, 8), np.float32)), [-1, 2, 4])
    sizes = []
    for n in (1, 2, 1, 2, 1, 2):
        Session(graph, backend="numpy").run(y, {x: np.ones((n, 4, 4, 8))})
        sizes.append(len(graph.stores["constants"]))
    assert len(set(sizes[1:])) == 1, sizes


def test_the_rewriter_refuses_changes_of_type(graph: Graph) -> None:
    x = ops.placeholder("float32", [2, 3], name="x")
    y = ops.relu(x, name="y")
    n = ops.cast(y, "int32", name="n")
    ops.transpose(y, name="t")
    frozen = graph.freeze()
    whole = cut(frozen, [n.port, Port("t")], (), {x.port: frozen.type_of(x.port)}).graph

    def edit() -> Rewriter:
        return Rewriter(whole)

    with pytest.raises(GraphError, match=r"redirects y:0 to n:0"):
        edit().redirect(Port("y"), Port("n"))
    with pytest.raises(KigraphError, match=r"redirects y:0 to t:0.*\(2, 3\).*\(3, 2\)"):
        edit().redirect(Port("y"), Port("t"))
    with pytest.raises(GraphError, match="to itself"):
        edit().redirect(Port("y"), Port("y"))
    with pytest.raises(GraphError, match=r"replaces Relu 'y' by Cast"):
        edit().put("y", "Cast", (Port("x"),), {"DstT": np.dtype(np.int32)})
    with pytest.raises(KigraphError, match=r"replaces .*'y'.* by a constant"):
        edit().replace_by_constant("y", Literal.of(np.zeros((3, 2), np.float32)))
    cyclic = edit()
    cyclic.put("y", "Add", (Port("y"), Port("x")), {})
    with pytest.raises(GraphError, match="cycle"):
        cyclic.finish()
    fine = edit()
    fine.put("y", "Neg", (Port("x"),), {})
    assert fine.finish().nodes["y"].op == "Neg"
