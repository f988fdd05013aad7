"""What files have beside plain convolutions: how many transposes are left of it, and its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Tensor
from kigraph.graph.passes import PASSES
from kigraph.graph.session import Session

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Session]
NAMES = [name for name, _ in PASSES]
RNG = np.random.default_rng(11)
IMAGE, LINE = (3, 16, 16), (3, 16)


def array(*shape: int) -> NDArray:
    return (RNG.standard_normal(shape) * 0.3).astype(np.float32)


def conv(x: Tensor, size: int, out: int, stride: int = 1, padding: str = "SAME", channels: int = 0) -> Tensor:
    assert x.shape is not None
    return ops.conv2d(x, array(size, size, channels or x.shape[1] or 0, out), stride, padding, data_format="NCHW")


def transposed_convolution(x: Tensor) -> Tensor:
    """Its sizes are computed from those of the image."""
    y = ops.relu(conv(x, 3, 6, 2))
    sizes = ops.stack([ops.shape(y)[0], 4, 16, 16])
    attrs = {"strides": (1, 1, 2, 2), "padding": "VALID", "data_format": "NCHW"}
    up = x.graph.create_op("Conv2DBackpropInput", [sizes, ops.constant(array(2, 2, 4, 6)), y], attrs).outputs[0]
    return ops.reduce_mean(conv(ops.concat([ops.relu(up), x], 1), 3, 5, channels=7), [2, 3])


def patches(x: Tensor) -> Tensor:
    """A vision transformer's: tokens are the channels last already."""
    tokens = ops.transpose(ops.reshape(conv(x, 4, 8, 4, "VALID"), [-1, 8, 16]), [0, 2, 1]) + array(1, 16, 8)
    return ops.reduce_mean(ops.matmul(ops.reshape(tokens, [-1, 8]), array(8, 4)), [1])


def attention(x: Tensor) -> Tensor:
    """Heads are put beside each other, taken apart and joined again."""
    tokens = ops.transpose(ops.reshape(conv(x, 4, 8, 4, "VALID"), [-1, 8, 16]), [0, 2, 1])
    flat = ops.reshape(tokens, [-1, 8])
    q, k, v = (ops.reshape(ops.matmul(flat, array(8, 8)), [-1, 16, 2, 4]) for _ in range(3))
    weights = ops.softmax(ops.matmul(ops.transpose(q, [0, 2, 1, 3]) * 0.5, ops.transpose(k, [0, 2, 3, 1])))
    joined = ops.transpose(ops.matmul(weights, ops.transpose(v, [0, 2, 1, 3])), [0, 2, 1, 3])
    return ops.matmul(ops.reshape(joined, [-1, 8]), array(8, 4))


def norm_of_channels(x: Tensor) -> Tensor:
    """ConvNeXt: the block itself transposes, to work on the last axis."""
    y = conv(x, 4, 8, 4, "VALID")
    t = ops.transpose(ops.depthwise_conv2d(y, array(3, 3, 8, 1), 1, "SAME", data_format="NCHW"), [0, 2, 3, 1])
    t = t - ops.reduce_mean(t, [-1], keepdims=True)
    t = t * ops.rsqrt(ops.reduce_mean(ops.square(t), [-1], keepdims=True) + 1e-6) * array(8) + array(8)
    t = ops.reshape(ops.matmul(ops.reshape(t, [-1, 8]), array(8, 8)), [-1, 4, 4, 8])
    return ops.reduce_mean(y + ops.transpose(t, [0, 3, 1, 2]) * array(8, 1, 1), [2, 3])


def norm_of_groups(x: Tensor) -> Tensor:
    y = ops.reshape(conv(x, 3, 8), [-1, 2, 4, 16, 16])
    y = ops.reshape(y - ops.reduce_mean(y, [2, 3, 4], keepdims=True), [-1, 8, 16, 16]) * array(8, 1, 1)
    return ops.reduce_max(conv(y, 3, 4), [1, 2, 3])


def line(x: Tensor) -> Tensor:
    """Convolutions of one dimension."""

    def one(x: Tensor, cin: int, out: int) -> Tensor:
        w = array(1, 3, cin, out)
        return ops.squeeze(ops.conv2d(ops.expand_dims(x, 2), w, 1, "SAME", data_format="NCHW"), [2])

    return ops.reduce_mean(one(ops.relu(one(x, 3, 8) * array(8, 1) + array(8, 1)), 8, 4), [2])


def boxes(x: Tensor) -> Tensor:
    """The head of a detector, whose result has boxes in the order of the channels first."""
    y = ops.transpose(ops.reshape(conv(x, 3, 14), [-1, 2, 7, 16, 16]), [0, 1, 3, 4, 2])
    a, b = ops.split(ops.sigmoid(y), [2, 5], 4)
    return ops.reshape(ops.concat([a * 2.0 - array(1, 1, 16, 16, 2), b], 4), [-1, 512, 7])


def classes(x: Tensor) -> Tensor:
    """A segmentation: the class of every pixel."""
    edges = ops.constant([[0, 0], [0, 0], [1, 1], [2, 2]])
    y = x.graph.create_op("MirrorPad", [x, edges], {"mode": "REFLECT"}).outputs[0]
    y = ops.softmax(conv(y, 3, 4), axis=1)
    return ops.cast(ops.argmax(ops.where(ops.greater(y, 0.3), y, ops.negative(y)), 1), "float32")


def parts(x: Tensor) -> Tensor:
    """Slices, tiles and single channels of a map."""
    y = conv(x, 3, 6)
    y = ops.concat([y[:, 1:4, ::2, ::2], ops.tile(y[:, 5:, 1::2, 1::2], [1, 2, 1, 1])], 1)
    one = ops.stack(ops.unstack(y, axis=1)[:3], axis=1) * ops.expand_dims(y[:, 0], 1)
    return ops.reduce_mean(conv(ops.concat([one, ops.gather(y, [4, 3], axis=1)], 1), 1, 4), [2, 3])


#: Form -> its transposes: that of the image, and where another order is asked for.
FORMS: dict[Callable[[Tensor], Tensor], int] = {
    transposed_convolution: 1, patches: 1, attention: 5, norm_of_channels: 1, norm_of_groups: 1, line: 1, boxes: 2, classes: 1, parts: 1,
}  # fmt: skip


@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
def test_forms(session: Make, form: Callable[[Tensor], Tensor], batch: int | None, seed: int) -> None:
    shape = LINE if form is line else IMAGE
    x = ops.placeholder("float32", (batch, *shape))
    y = form(x)
    one = session()
    found = Counter(node.op for node in one.optimized([y], [x]))
    assert found["Transpose"] == FORMS[form], found
    value = np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)
    wanted = session(backend="numpy", skip_passes=NAMES).run(y, {x: value})
    got = one.run(y, {x: value})
    if form is classes:  # where two are equal but for rounding
        assert (got != wanted).mean() < 0.01
    else:
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
