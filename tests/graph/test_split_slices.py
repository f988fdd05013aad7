"""Splits whose outputs are slices of their input, and concats of grouped convolutions behind their batch norm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.passes import PASSES
from kigraph.graph.session import Session

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Session]
NAMES = [name for name, _ in PASSES]


def norm(x: Tensor, rng: np.random.Generator) -> Tensor:
    assert x.shape is not None
    vectors = [ops.constant(rng.random(x.shape[-1] or 0).astype(np.float32) + 0.5) for _ in range(4)]
    made: Tensor = x.graph.create_op(
        "FusedBatchNormV3", [x, *vectors], {"is_training": False, "epsilon": 1e-3}
    ).outputs[0]
    return made


def grouped(rng: np.random.Generator, batch: int, channels: int, groups: int) -> tuple[Tensor, list[Tensor]]:
    """1x1 convolution, grouped convolution, batch norm, activation, 1x1 convolution; and all tensors on the way."""
    x = ops.placeholder("float32", (batch, 9, 7, channels))
    w = [
        rng.normal(size=s).astype(np.float32)
        for s in ((1, 1, channels, channels), (3, 3, channels // groups, 2 * channels))
    ]
    a = ops.relu(ops.conv2d(x, w[0]))
    b = ops.conv2d(a, w[1], 1, "SAME")
    c = norm(b, rng)
    d = ops.relu6(c)
    e = ops.conv2d(d, rng.normal(size=(1, 1, 2 * channels, 5)).astype(np.float32))
    return x, [a, b, c, d, e]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (12, 4), (64, 16)])
def test_a_grouped_convolution_is_right_whatever_is_fetched(
    graph: Graph, session: Make, rng: np.random.Generator, channels: int, groups: int, batch: int
) -> None:
    x, every = grouped(rng, batch, channels, groups)
    feeds = {x: rng.normal(size=(batch, 9, 7, channels)).astype(np.float32)}
    wanted = session(backend="numpy", skip_passes=NAMES).run(every, feeds)
    one = session()
    for fetches in ([4], [1, 4], [2, 4], [0, 3], [0, 1, 2, 3, 4]):
        for i, found in zip(fetches, one.run([every[i] for i in fetches], feeds), strict=True):
            np.testing.assert_allclose(found, wanted[i], rtol=2e-4, atol=2e-3, err_msg=f"{i} of {fetches}")


def test_a_grouped_convolution_copies_nothing(
    graph: Graph, session: Make, rng: np.random.Generator, backend: str
) -> None:
    x, every = grouped(rng, 1, 64, 4)
    plan = session(threads=1).plan(every[-1], {x: np.ones((1, 9, 7, 64), np.float32)})
    kinds = Counter(step.op for step in plan.kernel_steps())
    assert kinds["FusedBatchNormV3"] + kinds["Relu6"] == 0
    assert kinds["KiFusedConv2D"] >= 5
    if backend != "numpy":  # its kernels read dense arrays
        assert kinds["Split"] + kinds["ConcatV2"] == 0, plan.explain()
        assert "free: its outputs are slices of its input" in plan.explain()


def test_a_batch_norm_alone_does_not_end_a_stage(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", (1, 5, 5, 4))
    y = ops.relu(norm(ops.sigmoid(x), rng))
    assert len(session().plan(y, {x: np.ones((1, 5, 5, 4), np.float32)}).parts) == 1


SPLITS: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "fetched": lambda x: ops.split(x, 3, 3),
    "read by dense kernels": lambda x: [ops.matmul(p, np.ones((2, 1, 4, 2), np.float32)) for p in ops.split(x, 3, 3)],
    "reshaped": lambda x: [ops.relu(ops.reshape(p, [2, -1])) for p in ops.split(x, 3, 3)],
    "in two": lambda x: [ops.negative(q) for p in ops.split(x, 3, 3) for q in ops.split(ops.split(p, 2, 3)[0], 2, 3)],
    "joined again": lambda x: [ops.relu(ops.concat(ops.split(x, 3, 3)[::-1], 3))],
    "joined with others": lambda x: [ops.concat([ops.relu(x), *(ops.relu(p) for p in ops.split(x, 2, 3))], 3)],
    "of a concat": lambda x: [ops.sigmoid(p) for p in ops.split(ops.concat([ops.relu(x), ops.negative(x)], 3), 8, 3)],
    "with the whole": lambda x: [ops.relu(x), *(ops.relu(p) for p in ops.split(x, 4, 3))],
    "in place": lambda x: [ops.relu(p) + 1.0 for p in ops.split(ops.negative(x), 4, 3)],
    "unequal": lambda x: [ops.relu(p) for p in ops.split(ops.relu(x), [1, 4, 7], 3)],
    "unstacked": lambda x: [ops.relu(p) for p in ops.unstack(ops.relu(x), axis=3)],
    "along another axis": lambda x: [ops.relu(p) for p in ops.split(ops.relu(x), 2, 0)],
    "one row": lambda x: [ops.softmax(p) for p in ops.split(ops.reduce_mean(x[:1], [1, 2]), 3, 1)],
}


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("source", ["fed", "computed"])
def test_splits_of_all_kinds(graph: Graph, session: Make, rng: np.random.Generator, name: str, source: str) -> None:
    x = ops.placeholder("float32", (2, 3, 5, 12))
    made = SPLITS[name](x if source == "fed" else ops.square(x))
    feeds = {x: rng.normal(size=(2, 3, 5, 12)).astype(np.float32)}
    one = session()
    wanted = [session(backend="numpy", skip_passes=NAMES).run(t, feeds) for t in made]
    for _ in range(2):
        for found, w in zip(one.run(made, feeds), wanted, strict=True):
            np.testing.assert_allclose(found, w, rtol=1e-5, atol=1e-5)


def test_a_filter_that_is_joined_too_stays_dense(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x, w = ops.placeholder("float32", (1, 5, 5, 4)), ops.placeholder("float32", (3, 3, 4, 2))
    filters = ops.relu(w)
    made = [ops.conv2d(x, filters), ops.concat([filters, ops.negative(w)], 3)]
    feeds = {t: rng.normal(size=t.shape).astype(np.float32) for t in (x, w)}
    wanted = session(backend="numpy", skip_passes=NAMES).run(made, feeds)
    for found, right in zip(session().run(made, feeds), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)
