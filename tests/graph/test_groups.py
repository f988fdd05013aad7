"""Grouped convolutions: a Conv2D whose filter takes a part of the image's channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.gradients import gradients

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Any]


def by_hand(x: NDArray, w: NDArray, groups: int, stride: int) -> NDArray:
    """VALID, in float64, group by group."""
    kh, kw, cin, cout = w.shape
    n, h, width, _ = x.shape
    oh, ow, share = (h - kh) // stride + 1, (width - kw) // stride + 1, cout // groups
    y = np.zeros((n, oh, ow, cout))
    for o in range(cout):
        g = o // share
        for i, j in np.ndindex(oh, ow):
            window = x[:, i * stride : i * stride + kh, j * stride : j * stride + kw, g * cin : (g + 1) * cin]
            y[:, i, j, o] = (window.astype(np.float64) * w[..., o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize("given", ["constant", "fed"])
@pytest.mark.parametrize(
    ("channels", "groups", "out", "size", "stride"),
    [(4, 2, 6, 1, 1), (6, 3, 9, 3, 1), (6, 3, 3, 2, 2), (5, 5, 5, 3, 1), (4, 4, 12, 2, 1), (64, 2, 64, 3, 1)],
)
@pytest.mark.parametrize("skipped", [(), ("fold_constants",)])
def test_every_group_sees_its_own_channels(
    graph: Graph, session: Make, rng: np.random.Generator, channels: int, groups: int, out: int, size: int, stride: int,
    given: str, skipped: tuple[str, ...],
) -> None:  # fmt: skip
    x = rng.normal(size=(2, 6, 7, channels)).astype(np.float32)
    w = rng.normal(size=(size, size, channels // groups, out)).astype(np.float32)
    b = rng.normal(size=out).astype(np.float32)
    image = ops.placeholder("float32", (None, None, None, channels))
    weights = ops.constant(w) if given == "constant" else ops.placeholder("float32", w.shape)
    y = ops.conv2d(image, weights, stride)
    z = ops.relu(ops.bias_add(y, b))
    assert y.shape == (None, None, None, out)
    feeds = {image: x} if given == "constant" else {image: x, weights: w}
    found = session(skip_passes=skipped).run([y, z], feeds)
    wanted = by_hand(x, w, groups, stride)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], np.maximum(wanted + b, 0), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_split_is_refused_by_name(graph: Graph, session: Make) -> None:
    w = np.ones((1, 1, 2, 6), np.float32)
    with pytest.raises(GraphError, match=r"3 groups .* do not divide 4 output channels"):
        ops.conv2d(np.ones((1, 3, 3, 6), np.float32), np.ones((1, 1, 2, 4), np.float32))
    unknown = ops.placeholder("float32")
    with pytest.raises(UnsupportedOpError, match=r"grouped convolution \(groups = 2\)"):
        session().run(ops.conv2d(unknown, w), {unknown: np.ones((1, 3, 3, 4), np.float32)})
    x = ops.placeholder("float32", (1, 3, 3, 4))
    with pytest.raises(UnsupportedOpError, match=r"groups = 2.*no gradient"):
        gradients(ops.conv2d(x, w), [x])
