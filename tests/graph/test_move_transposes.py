"""Transposes move until they cancel: how many are left of networks in NCHW, and the values of random graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph import ir, ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.passes import PASSES
from kigraph.graph.passes.axis_groups import arranged, contiguous, groups_of_axes
from kigraph.graph.passes.move_transposes import move_transposes
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError
from tests.graph.layout_graphs import RandomGraph

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Session]
NAMES = [name for name, _ in PASSES]
IMAGE = (3, 33, 33)


class Net:
    """Layers in one data format, with the weights of one seed: the same network in the other one has the same weights."""

    def __init__(self, data_format: str) -> None:
        self.format = data_format
        self.rng = np.random.default_rng(5)
        self.space = [2, 3] if data_format == "NCHW" else [1, 2]
        self.channels = 1 if data_format == "NCHW" else 3

    def array(self, *shape: int) -> NDArray:
        return (self.rng.standard_normal(shape) * 0.2).astype(np.float32)

    def width(self, x: Tensor) -> int:
        assert x.shape is not None
        return x.shape[self.channels] or 0

    def vector(self, size: int) -> NDArray:
        """One number for every channel, to be broadcast."""
        return self.array(size).reshape((size, 1, 1) if self.format == "NCHW" else (size,))

    def conv(
        self, x: Tensor, out: int, size: int = 1, stride: int = 1, *, groups: int = 1, plain: bool = False, relu: bool = True,
        padding: str = "SAME",
    ) -> Tensor:  # fmt: skip
        w = self.array(size, size, self.width(x) // groups, out)
        y = ops.conv2d(x, w, stride, padding, data_format=self.format)
        if plain:
            return ops.bias_add(y, self.array(out), data_format=self.format)
        a, b, m, v = (ops.constant(self.array(out) + k) for k in (1, 0, 0, 2))
        attrs = {"epsilon": 1e-3, "is_training": False, "data_format": self.format}
        y = x.graph.create_op("FusedBatchNormV3", [y, a, b, m, v], attrs).outputs[0]
        return ops.relu(y) if relu else y

    def pool(self, x: Tensor, size: int, stride: int, kind: Any = ops.max_pool) -> Tensor:
        made: Tensor = kind(x, size, stride, "SAME", data_format=self.format)
        return made

    def mean(self, x: Tensor, keepdims: bool = False) -> Tensor:
        return ops.reduce_mean(x, self.space, keepdims=keepdims)

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        return ops.relu6(x + 3.0) * np.float32(1 / 6)

    def squeeze_excite(self, x: Tensor) -> Tensor:
        s = self.conv(self.mean(x, keepdims=True), 4, plain=True)
        s = self.conv(ops.relu(s), self.width(x), plain=True)
        return x * self.hard_sigmoid(s)

    # --- networks: one or more results, which are logits unless a map is asked for ------------------------------------

    def resnet(self, x: Tensor) -> Tensor:
        x = self.conv((x - self.vector(3)) * self.vector(3), 16, 7, 2)
        x = self.pool(x, 3, 2)
        for stride in (1, 2):
            y = self.conv(self.conv(self.conv(x, 8), 8, 3, stride), 16, relu=False)
            x = ops.relu(y + self.conv(x, 16, 1, stride, relu=False))
            x = ops.relu(x + self.conv(self.conv(x, 8), 16, 3, relu=False))
        return ops.matmul(self.mean(x), self.array(16, 7)) + self.array(7)

    def densenet(self, x: Tensor) -> Tensor:
        x = self.conv(x, 8, 3, 2)
        for _ in range(3):
            x = ops.concat([x, self.conv(self.conv(x, 8), 4, 3)], self.channels)
        x = self.pool(self.conv(x, 12), 2, 2, ops.avg_pool)
        return ops.matmul(ops.reshape(self.mean(x, keepdims=True), [-1, 12]), self.array(12, 7))

    def inception(self, x: Tensor) -> Tensor:
        x = self.conv(x, 8, 3, 2)
        parts = [
            self.conv(x, 4), self.conv(self.conv(x, 4), 6, 3), self.conv(self.pool(x, 3, 1, ops.avg_pool), 5), self.pool(x, 3, 1)
        ]  # fmt: skip
        x = self.pool(ops.concat(parts, self.channels), 3, 2)
        return ops.softmax(ops.squeeze(self.conv(self.mean(x, keepdims=True), 7, plain=True), self.space))

    def mobilenet(self, x: Tensor) -> Tensor:
        def hard_swish(x: Tensor) -> Tensor:
            return x * self.hard_sigmoid(x)

        x = hard_swish(self.conv(x, 8, 3, 2, relu=False))
        y = hard_swish(self.conv(x, 16, relu=False))
        y = ops.depthwise_conv2d(y, self.array(3, 3, 16, 1), 1, "SAME", data_format=self.format)
        x = x + self.conv(self.squeeze_excite(hard_swish(y)), 8, relu=False)
        edges = [[1, 1] if axis in self.space else [0, 0] for axis in range(4)]
        x = self.conv(ops.pad(x, edges), 8, 3, 2, padding="VALID")
        x = hard_swish(self.mean(x, keepdims=True))
        return ops.matmul(ops.reshape(x, ops.stack([ops.shape(x)[0], 8])), self.array(8, 7))

    def resnext(self, x: Tensor) -> Tensor:
        x = self.conv(x, 8, 3, 2)
        return self.mean(ops.relu(x + self.conv(self.conv(x, 8, 3, groups=4), 8, relu=False)))

    def shufflenet(self, x: Tensor) -> Tensor:
        x = self.conv(x, 8, 3, 2)
        a, b = ops.split(x, 2, self.channels)
        x = ops.concat([a, self.conv(b, 4)], self.channels)
        assert x.shape is not None
        _, *sizes = x.shape
        if self.format == "NCHW":
            split = ops.transpose(ops.reshape(x, [-1, 2, 4, *sizes[1:]]), [0, 2, 1, 3, 4])
        else:
            split = ops.transpose(ops.reshape(x, [-1, *sizes[:2], 2, 4]), [0, 1, 2, 4, 3])
        return self.mean(self.conv(ops.reshape(split, [-1, *sizes]), 6))


#: Ops that are not of the network, or compute sizes only.
NOT_COUNTED = {"Transpose", "Reshape", "Const", "Shape", "StridedSlice", "Pack"}
#: Network -> transposes that are left: that of the image, and those of its own.
NETS = {"resnet": 1, "densenet": 1, "inception": 1, "mobilenet": 1, "resnext": 1, "shufflenet": 2}


def ops_of(session: Session, fetches: list[Tensor], feeds: list[Tensor]) -> Counter[str]:
    return Counter(node.op for node in session.optimized(fetches, feeds))


@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("name", NETS)
def test_networks_keep_the_transpose_of_their_image(session: Make, name: str, batch: int | None, seed: int) -> None:
    value = np.random.default_rng(seed).standard_normal((2, *IMAGE)).astype(np.float32)
    results, counts = [], []
    for data_format in ("NCHW", "NHWC"):
        x = ops.placeholder("float32", (batch, *IMAGE) if data_format == "NCHW" else (batch, 33, 33, 3))
        y = getattr(Net(data_format), name)(x)
        one = session()
        results.append(one.run(y, {x: value if data_format == "NCHW" else value.transpose(0, 2, 3, 1)}))
        counts.append(ops_of(one, [y], [x]))
    np.testing.assert_allclose(*results, rtol=2e-4, atol=2e-5)
    assert counts[0]["Transpose"] == NETS[name], counts[0]
    for op in {*counts[0], *counts[1]} - NOT_COUNTED:  # as much is folded as in NHWC
        assert counts[0][op] == counts[1][op], op


def test_a_map_of_features_is_transposed_once_at_the_end(session: Make, seed: int) -> None:
    net = Net("NCHW")
    x = ops.placeholder("float32", (None, *IMAGE))
    y = net.squeeze_excite(net.conv(x, 8, 3))
    flat = ops.reshape(net.pool(y, 2, 2), [-1, 8 * 17 * 17])
    one = session()
    assert ops_of(one, [y], [x])["Transpose"] == 2
    assert ops_of(one, [ops.matmul(flat, net.array(8 * 17 * 17, 3))], [x])["Transpose"] == 2
    assert ops_of(one, [ops.argmax(y, 1)], [x])["Transpose"] == 1
    assert ops_of(one, [ops.softmax(y, axis=1)], [x])["Transpose"] == 2


def test_a_normalisation_of_the_image_is_folded_as_in_nhwc(session: Make) -> None:
    net = Net("NCHW")
    x = ops.placeholder("uint8", (None, *IMAGE))
    mean = net.vector(3)
    y = net.conv((ops.cast(x, "float32") - mean) * np.float32(1 / 64), 8, 3, padding="VALID")
    found = ops_of(session(), [net.mean(y)], [x])
    assert (found["Sub"], found["Mul"], found["Transpose"]) == (0, 0, 1)


def test_filters_of_other_programs_are_transposed_once_and_nothing_of_them_runs(session: Make, seed: int) -> None:
    """OIHW filters behind a Transpose, as files of ONNX hold them."""
    rng = np.random.default_rng(seed)
    x = ops.placeholder("float32", (None, 3, 8, 8))
    w, v = (rng.normal(size=s).astype(np.float32) for s in ((6, 3, 3, 3), (4, 3, 1, 1)))
    y = ops.relu(ops.conv2d(x, ops.transpose(ops.constant(w), [2, 3, 1, 0]), data_format="NCHW"))
    z = ops.conv2d(y, ops.transpose(ops.constant(v), [2, 3, 1, 0]), data_format="NCHW")  # two groups
    value = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    found = ops_of(session(), [ops.reduce_mean(z, [2, 3])], [x])
    assert (found["Transpose"], found["Split"]) == (1, 1)
    plain = session(backend="numpy", skip_passes=NAMES).run(z, {x: value})
    np.testing.assert_allclose(session().run(z, {x: value}), plain, rtol=1e-4, atol=1e-4)


def test_targets_keep_their_names(graph: Graph) -> None:
    x = ops.placeholder("float32", (None, 3, 4, 5))
    y = ops.relu(ops.transpose(x, [0, 2, 3, 1], name="first"))
    z = ops.transpose(ops.transpose(y, [0, 3, 1, 2], name="second"), [0, 2, 3, 1], name="third")
    frozen = graph.freeze()
    moved = move_transposes(ir.Graph(frozen.nodes, (z.port,), ("first", "second", "third")))
    assert {"first", "second", "third"} <= moved.nodes.keys()
    assert [str(moved.type_of(p)) for p in moved.outputs] == [str(z.type)]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_random_graphs_have_the_values_that_they_have_without_passes(seed: int) -> None:
    made = RandomGraph(seed)
    plain, moved = Session(made.graph, "numpy", skip_passes=NAMES), Session(made.graph, "numpy")
    values: dict[Tensor, NDArray] = {}
    for t in made.pool:
        try:
            values[t] = plain.run(t, made.feeds)
        except KigraphError:  # sizes that were unknown do not fit
            continue
    tensors = list(values)
    some = [tensors[int(i)] for i in made.rng.integers(len(tensors), size=3)]
    for fetches in ([tensors[-1]], some, tensors):
        for found, t in zip(moved.run(fetches, made.feeds), fetches, strict=True):
            agree(found, values[t], f"{t.op.type} {t.name}")
    fed = some[0]
    agree(moved.run(tensors[-1], {**made.feeds, fed: values[fed]}), values[tensors[-1]], f"with {fed.name} fed")


def agree(found: NDArray, wanted: NDArray, what: str) -> None:
    assert np.shape(found) == np.shape(wanted), what
    assert np.asarray(found).dtype == np.asarray(wanted).dtype, what
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4, err_msg=what)


@pytest.mark.parametrize(
    ("before", "after", "groups"),
    [
        ((None, 8, 1, 1), (None, 8), [([0], [0]), ([1, 2, 3], [1])]),
        ((2, 3, 4), (6, 4), [([0, 1], [0]), ([2], [1])]),
        ((None, 6, 5), (None, 2, 3, 5), [([0], [0]), ([1], [1, 2]), ([2], [3])]),
        ((2, None, 3), (None, 3), None),
        ((1, 1), (1,), [([0, 1], [0])]),
        ((None, 4), (None, 8), None),
        ((2, 6), (3, 4), [([0, 1], [0, 1])]),
        ((None, None), (None,), None),
        ((0, 3), (3, 0), None),
        ((), (1, 1), None),
    ],
)
def test_groups_of_a_reshape(before: Any, after: Any, groups: Any) -> None:
    assert groups_of_axes(before, after) == groups


def test_a_group_that_is_not_together_is_put_in_order() -> None:
    groups = [([0], [0]), ([1, 2], [1]), ([3], [2])]
    assert contiguous((0, 3, 2, 1), (2, 3, 4, 5), groups) == ([0, 3, 1, 2], [0, 2, 1])
    assert contiguous((0, 3, 1, 2), (2, 3, 4, 5), groups) == ([0, 3, 1, 2], [0, 2, 1])
    assert arranged((0, 2, 1), groups) == ([0, 3, 1, 2], [0, 2, 1])
    assert arranged((1, 0, 2), [([0], [0, 1]), ([1], [2])]) is None
