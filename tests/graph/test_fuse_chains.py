"""Chains of elementwise ops become one step, or part of the step before; no bit of a result changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.ops import composed
from kigraph.graph.session import Session
from kigraph.kernels.backends import get_backend
from kigraph.kernels.contracts.chains import ChainParams

Array = np.ndarray[Any, Any]
Layer = Callable[[Tensor], Tensor]

if not get_backend("cython").status().available:
    pytest.skip("the compiled kernels are not here; other backends fuse nothing", allow_module_level=True)

RNG = np.random.default_rng(3)
W = (RNG.standard_normal((1, 1, 20, 24)) / 4).astype(np.float32)
DEPTHWISE = RNG.standard_normal((3, 3, 20, 1)).astype(np.float32)
MATRIX = (RNG.standard_normal((20, 24)) / 4).astype(np.float32)


def conv(x: Tensor, w: Array = W) -> Tensor:
    return ops.conv2d(x, ops.constant(w), strides=[1, 1, 1, 1], padding="SAME")


def depthwise(x: Tensor) -> Tensor:
    return ops.depthwise_conv2d(x, ops.constant(DEPTHWISE), strides=[1, 1, 1, 1], padding="SAME")


class Net:
    """A graph of one input and its results, with and without the pass."""

    def __init__(self, build: Layer, shape: tuple[int | None, ...] = (None, 9, 7, 20), dtype: str = "float32") -> None:
        self.graph = Graph()
        with self.graph.as_default():
            self.x = ops.placeholder(dtype, shape, name="x")
            self.y = build(self.x)

    def value(self, batch: int) -> Array:
        dims = [batch if n is None else n for n in self.x.shape or ()]
        x = np.random.default_rng(batch).standard_normal(dims) * 3
        if self.x.dtype.kind == "f":
            x.ravel()[:3] = np.nan, np.inf, -np.inf
        return x.astype(self.x.dtype)

    def steps(self, batch: int = 3, **options: Any) -> list[tuple[str, str]]:
        """(op, chain) of every step."""
        plan = Session(self.graph, backend="cython", threads=1, **options).plan(self.y, {self.x: self.value(batch)})
        return [
            (
                s.op,
                s.query.params.steps
                if isinstance(s.query.params, ChainParams)
                else getattr(s.query.params, "finish", ""),
            )
            for s in plan.kernel_steps()
            if s.query is not None
        ]

    def check(self, want: list[tuple[str, str]]) -> None:
        assert self.steps() == want
        for batch in (1, 3):
            x = self.value(batch)
            plain = Session(self.graph, backend="cython", threads=1, winograd=False, skip_passes=["fuse_chains"]).run(
                self.y, {self.x: x}
            )
            for threads in (1, 2):
                got = Session(self.graph, backend="cython", threads=threads, winograd=False).run(self.y, {self.x: x})
                np.testing.assert_array_equal(got, plain)
        truth = Session(self.graph, backend="numpy").run(self.y, {self.x: x})
        np.testing.assert_allclose(got, truth, rtol=2e-5, atol=2e-5)


def swish_first(x: Tensor) -> Tensor:
    return ops.multiply(ops.sigmoid(x), x)


SIXTH = repr(float(np.float32(1 / 6)))
GATE = f"add(x,3.0);relu6(t0);mul(t1,{SIXTH})"


@pytest.mark.parametrize(
    ("activation", "chain"),
    [
        (composed.silu, "sigmoid(x);mul(x,t0)"),
        (swish_first, "sigmoid(x);mul(t0,x)"),
        (ops.sigmoid, "sigmoid(x)"),
        (ops.tanh, "tanh(x)"),
        (ops.elu, "elu(x)"),
        (composed.hard_swish, f"{GATE};mul(x,t2)"),
        (lambda x: ops.leaky_relu(x, alpha=0.125), "leaky_relu(x,0.125)"),
        (lambda x: ops.clip_by_value(x, -1.0, 1.5), "maximum(x,-1.0);minimum(t0,1.5)"),
        (lambda x: ops.square(ops.relu(x)), "square(x)"),
    ],
    ids=["silu", "swish", "sigmoid", "tanh", "elu", "hard_swish", "leaky_relu", "clip", "relu_square"],
)  # fmt: skip
def test_activations_become_part_of_what_is_before_them(activation: Layer, chain: str) -> None:
    Net(lambda x: activation(conv(x))).check([("KiFusedConv2D", chain)])
    Net(lambda x: activation(depthwise(x))).check([("KiFusedDepthwiseConv2D", chain)])
    dense = Net(lambda x: activation(ops.matmul(x, ops.constant(MATRIX))), (None, 20))
    dense.check([("KiFusedMatMul", chain)])


def test_hard_sigmoid() -> None:
    """Behind a convolution the sum is part of the bias and the clip that of the activation."""
    Net(lambda x: composed.hard_sigmoid(conv(x))).check([("KiFusedConv2D", f"mul(x,{SIXTH})")])
    Net(composed.hard_sigmoid).check([("KiChain", GATE)])


def test_gelu() -> None:
    for approximate in (False, True):
        net = Net(lambda x: composed_gelu(conv(x), approximate))  # noqa: B023 - used at once
        (step,) = net.steps()
        assert step[0] == "KiFusedConv2D"
        assert ("tanh" in step[1]) == approximate
        net.check([step])


def composed_gelu(x: Tensor, approximate: bool) -> Tensor:
    if not approximate:
        return composed.gelu(x)
    cube = ops.multiply(ops.multiply(x, ops.square(x)), 0.044715)
    curve = ops.tanh(ops.multiply(ops.add(x, cube), 0.7978846))
    return ops.multiply(ops.multiply(x, 0.5), ops.add(curve, 1.0))


def test_a_sum_with_another_branch() -> None:
    """The later convolution adds, whichever side it stands on; without a bias it gets zeros."""
    net = Net(lambda x: ops.relu(ops.add(conv(x, W[..., :20]), x)))
    net.check([("KiFusedConv2D", "add(x,a0);relu(t0)")])
    net = Net(lambda x: ops.relu(ops.add(x, ops.bias_add(conv(x, W[..., :20]), ops.constant(np.ones(20, np.float32))))))
    net.check([("KiFusedConv2D", "add(a0,x);relu(t0)")])
    both = Net(lambda x: ops.relu(ops.add(conv(x), ops.relu(conv(x, W[..., ::-1].copy())))))
    found = [chain for _, chain in both.steps(skip_passes=["merge_siblings"])]
    assert found in (["", "add(x,a0);relu(t0)"], ["", "add(a0,x);relu(t0)"])


def test_squeeze_and_excitation() -> None:
    """The gate needs all of the tensor that it scales, so the scale cannot be part of the convolution before."""

    def build(x: Tensor) -> Tensor:
        y = composed.silu(depthwise(x))
        gate = ops.sigmoid(conv(ops.reduce_mean(y, [1, 2], keepdims=True), W[..., :20]))
        return ops.relu(ops.multiply(y, gate))

    Net(build).check(
        [
            ("KiFusedDepthwiseConv2D", "sigmoid(x);mul(x,t0)"),
            ("Mean", ""),
            ("KiFusedConv2D", "sigmoid(x)"),
            ("KiChain", "mul(x,a0);relu(t0)"),
        ]
    )


def test_what_is_read_elsewhere_is_kept() -> None:
    def build(x: Tensor) -> Tensor:
        y = conv(x)
        z = ops.sigmoid(y)
        return ops.concat([ops.multiply(z, 2.0), ops.max_pool(z, [1, 1, 1, 1], [1, 1, 1, 1], "SAME")], 3)

    net = Net(build)
    assert ("KiFusedConv2D", "sigmoid(x)") in net.steps()
    net.check(net.steps())


def test_fetched_tensors_are_kept() -> None:
    net = Net(lambda x: ops.relu(ops.multiply(ops.sigmoid(conv(x)), 2.0)))
    between = net.graph.tensor("Sigmoid:0")
    session = Session(net.graph, backend="cython", threads=1)
    x = net.value(1)
    both = session.run([between, net.y], {net.x: x})
    np.testing.assert_array_equal(both[1], session.run(net.y, {net.x: x}))
    np.testing.assert_array_equal(both[1], np.where(both[0] * 2 < 0, 0, both[0] * 2))


def test_chains_by_themselves() -> None:
    Net(
        lambda x: ops.relu(ops.add(ops.multiply(x, 2.0), ops.constant(RNG.standard_normal(20).astype(np.float32))))
    ).check([("KiChain", "mul(x,2.0);add(t0,a0);relu(t1)")])
    Net(ops.relu).check([("Relu", "")])
    Net(lambda x: ops.exp(ops.negative(x)), (None, 5), "float64").check([("KiChain", "neg(x);exp(t0)")])
    assert Net(lambda x: ops.abs(ops.negative(x)), (None, 5), "int32").steps() == [("Neg", ""), ("Abs", "")]


def test_long_chains_are_cut() -> None:
    def build(x: Tensor) -> Tensor:
        for _ in range(20):
            x = ops.tanh(x)
        return x

    net = Net(build)
    assert [op for op, _ in net.steps()] == ["KiChain", "KiChain"]
    net.check(net.steps())


def test_numbers_that_no_text_tells() -> None:
    """Infinities, NaN and -0 stay operands."""
    for number in (np.inf, np.nan, -0.0):
        net = Net(lambda x: ops.relu(ops.maximum(conv(x), np.float32(number))))  # noqa: B023 - used at once
        net.check([("KiFusedConv2D", "maximum(x,a0);relu(t0)")])


def test_leaving_it_out() -> None:
    net = Net(lambda x: composed.silu(conv(x)))
    assert net.steps(skip_passes=["fuse_chains"]) == [("Conv2D", ""), ("Sigmoid", ""), ("Mul", "")]


def test_other_backends_fuse_nothing() -> None:
    net = Net(lambda x: composed.silu(conv(x)))
    plan = Session(net.graph, backend="numpy", threads=1).plan(net.y, {net.x: net.value(1)})
    assert [s.op for s in plan.kernel_steps()] == ["Conv2D", "Sigmoid", "Mul"]


def test_explain_and_profile_name_the_chain() -> None:
    net = Net(lambda x: composed.silu(conv(x)))
    session = Session(net.graph, backend="cython", threads=1)
    text = session.plan(net.y, {net.x: net.value(1)}).explain()
    assert "then sigmoid(x);mul(x,t0)" in text
    assert "KiFusedConv2D" in str(session.profile(net.y, {net.x: net.value(1)}, runs=1))


def test_computed_shapes_do_not_cut_the_plan() -> None:
    """Each Reshape is to a shape that is computed from the result of the one before; all follow from what is fed."""

    def build(x: Tensor) -> Tensor:
        for _ in range(4):
            rows = ops.matmul(ops.reshape(x, [-1, 20]), ops.constant(MATRIX[:, :20]))
            x = ops.tanh(ops.reshape(rows, ops.concat([ops.shape(x)[:-1], [20]], 0)))
        return x

    net = Net(build)
    session = Session(net.graph, backend="cython", threads=1)
    for batch in (1, 3):
        plan = session.plan(net.y, {net.x: net.value(batch)})
        assert [part.static for part in plan.parts] == [True]
    net.check(net.steps())


def test_slices_have_a_note_of_their_own() -> None:
    """Parameters of other ops that are called steps are no chain."""
    net = Net(lambda x: ops.relu(ops.strided_slice(x, [0, 0, 0, 0], [1, 9, 7, 20], [1, 2, 1, 1])), (1, 9, 7, 20))
    assert net.steps(1)[1] == ("Relu", "")


def test_linear_layers_over_several_axes() -> None:
    """The chain moves before the Reshape to those axes, and what it adds gets the shape of the rows."""

    def build(x: Tensor) -> Tensor:
        rows = ops.matmul(ops.reshape(x, [-1, 20]), ops.constant(MATRIX[:, :20]))
        y = ops.reshape(rows, ops.concat([ops.shape(x)[:-1], [20]], 0))
        scale = ops.constant(np.linspace(0.5, 2, 20, dtype=np.float32).reshape(1, 1, 1, 20))
        return ops.add(x, ops.multiply(ops.sigmoid(y), scale))

    Net(build).check([("KiFusedMatMul", "sigmoid(x);mul(t0,a0);add(a1,x)".replace("add(a1,x)", "add(a1,t1)"))])

    def of_images(x: Tensor) -> Tensor:  # one value for each image is no value for each row
        rows = ops.matmul(ops.reshape(x, [-1, 20]), ops.constant(MATRIX[:, :20]))
        y = ops.reshape(rows, ops.concat([ops.shape(x)[:-1], [20]], 0))
        return ops.sigmoid(ops.multiply(y, ops.reduce_mean(x, [1, 2, 3], keepdims=True)))

    assert sorted(Net(of_images).steps()) == [("KiChain", "mul(x,a0);sigmoid(t0)"), ("MatMul", ""), ("Mean", "")]
