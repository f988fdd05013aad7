"""MobileNet v1, Xception and NASNet mobile, layer by layer as keras.applications has them, with seeded weights.

kigraph builds these from a Keras file's config, which no weights can stand for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kigraph as ki

from .seeded import BRANCH, norm_arrays, normal

__all__ = ["mobilenet_v1", "nasnet_mobile", "xception"]

Tensor = Any


class _Layers:
    """Layers by number, without biases. Values are NHWC."""

    def __init__(self, network: str, gain: float = 2.0) -> None:
        self.network, self.gain, self.count = network, gain, 0

    def _name(self) -> str:
        self.count += 1
        return f"{self.network}/{self.count}"

    def conv(self, x: Tensor, width: int, window: int = 1, stride: int = 1, padding: str = "SAME") -> Tensor:
        taken = window * window * x.shape[-1]
        weights = normal(self._name(), (window, window, int(x.shape[-1]), width), taken, self.gain)
        return ki.conv2d(x, ki.constant(weights), strides=[1, stride, stride, 1], padding=padding)

    def depthwise(self, x: Tensor, window: int, stride: int = 1, gain: float | None = None) -> Tensor:
        shape = (window, window, int(x.shape[-1]), 1)
        weights = normal(self._name(), shape, window * window, gain or self.gain)
        return ki.depthwise_conv2d(x, ki.constant(weights), strides=[1, stride, stride, 1], padding="SAME")

    def norm(self, x: Tensor, scale: float = 1.0) -> Tensor:
        factor, shift, mean, variance = norm_arrays(self._name(), int(x.shape[-1]), scale)
        return ki.fused_batch_norm(x, factor, shift, mean, variance)

    def separable(self, x: Tensor, width: int, window: int = 3, stride: int = 1, scale: float = 1.0) -> Tensor:
        """Depthwise, 1x1, batch norm."""
        return self.norm(self.conv(self.depthwise(x, window, stride, 1.0), width), scale)

    def head(self, x: Tensor, classes: int = 1000) -> Tensor:
        """The mean of an image and a dense layer."""
        x = ki.reduce_mean(x, [1, 2])
        weights = normal(self._name(), (int(x.shape[-1]), classes), int(x.shape[-1]), 1.0)
        bias = normal(self._name(), (classes,), 100, 1.0)
        return ki.bias_add(ki.matmul(x, ki.constant(weights)), ki.constant(bias))


def _input(size: int) -> Tensor:
    return ki.placeholder(np.float32, (None, size, size, 3), name="input")


def mobilenet_v1() -> Tensor:
    """arXiv 1704.04861; logits of 224x224 images."""
    net = _Layers("mobilenet-v1")
    x = ki.relu6(net.norm(net.conv(_input(224), 32, 3, 2)))
    for width, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *(((512, 1),) * 5),
        (1024, 2),
        (1024, 1),
    ):
        x = ki.relu6(net.norm(net.depthwise(x, 3, stride)))
        x = ki.relu6(net.norm(net.conv(x, width)))
    return net.head(x)


def xception() -> Tensor:
    """arXiv 1610.02357; logits of 299x299 images."""
    net = _Layers("xception")
    x = ki.relu(net.norm(net.conv(_input(299), 32, 3, 2, "VALID")))
    x = ki.relu(net.norm(net.conv(x, 64, 3, 1, "VALID")))
    for width in (128, 256, 728):
        x = _entry(net, x, width, width, first=width == 128)
    for _ in range(8):
        y = x
        for number in range(3):
            y = net.separable(ki.relu(y), 728, scale=BRANCH if number == 2 else 1.0)
        x = ki.add(y, x)
    x = _entry(net, x, 728, 1024)
    x = ki.relu(net.separable(x, 1536))
    return net.head(ki.relu(net.separable(x, 2048)))


def _entry(net: _Layers, x: Tensor, inner: int, width: int, *, first: bool = False) -> Tensor:
    y = net.separable(x if first else ki.relu(x), inner)
    y = net.separable(ki.relu(y), width, scale=BRANCH)
    y = ki.max_pool(y, [1, 3, 3, 1], [1, 2, 2, 1], "SAME")
    return ki.add(y, net.norm(net.conv(x, width, 1, 2)))


def nasnet_mobile() -> Tensor:
    """NASNet-A with 4 cells a stage and 1056 channels at the end (arXiv 1707.07012); logits of 224x224 images."""
    net, width, cells = _Layers("nasnet-mobile"), 44, 4
    x = net.norm(net.conv(_input(224), 32, 3, 2, "VALID"))
    x, before = _reduction(net, x, None, width // 4)
    x, before = _reduction(net, x, before, width // 2)
    for stage in range(3):
        if stage:
            x, before = _reduction(net, x, before, width << stage)
        for _ in range(cells):
            x, before = _normal(net, x, before, width << stage)
    return net.head(ki.relu(x))


def _squeezed(net: _Layers, x: Tensor, width: int) -> Tensor:
    return net.norm(net.conv(ki.relu(x), width))


def _adjusted(net: _Layers, before: Tensor | None, x: Tensor, width: int) -> Tensor:
    """The input of the cell before in the size of this one's."""
    if before is None:
        return x
    if before.shape[1] == x.shape[1]:
        return before if int(before.shape[-1]) == width else _squeezed(net, before, width)
    before = ki.relu(before)
    moved = ki.pad(before, [[0, 0], [0, 1], [0, 1], [0, 0]])[:, 1:, 1:]
    halves = [ki.avg_pool(part, [1, 1, 1, 1], [1, 2, 2, 1], "VALID") for part in (before, moved)]
    return net.norm(ki.concat([net.conv(part, width // 2) for part in halves], 3))


def _twice(net: _Layers, x: Tensor, width: int, window: int, stride: int = 1) -> Tensor:
    """Two separable convolutions, the first with the stride."""
    x = net.separable(ki.relu(x), width, window, stride)
    return net.separable(ki.relu(x), width, window, scale=0.7)


def _mean(x: Tensor) -> Tensor:
    return ki.avg_pool(x, [1, 3, 3, 1], [1, 1, 1, 1], "SAME")


def _normal(net: _Layers, x: Tensor, before: Tensor, width: int) -> tuple[Tensor, Tensor]:
    p, h = _adjusted(net, before, x, width), _squeezed(net, x, width)
    parts = [
        p,
        ki.add(_twice(net, h, width, 5), _twice(net, p, width, 3)),
        ki.add(_twice(net, p, width, 5), _twice(net, p, width, 3)),
        ki.add(_mean(h), p),
        ki.add(_mean(p), _mean(p)),
        ki.add(_twice(net, h, width, 3), h),
    ]
    return ki.concat(parts, 3), x


def _reduction(net: _Layers, x: Tensor, before: Tensor | None, width: int) -> tuple[Tensor, Tensor]:
    p, h = _adjusted(net, before, x, width), _squeezed(net, x, width)
    edge = [1 - int(h.shape[1] + 1) % 2, 1]
    padded = ki.pad(h, [[0, 0], edge, edge, [0, 0]])
    window, stride = [1, 3, 3, 1], [1, 2, 2, 1]
    one = ki.add(_twice(net, h, width, 5, 2), _twice(net, p, width, 7, 2))
    two = ki.add(ki.max_pool(padded, window, stride, "VALID"), _twice(net, p, width, 7, 2))
    three = ki.add(ki.avg_pool(padded, window, stride, "VALID"), _twice(net, p, width, 5, 2))
    four = ki.add(two, _mean(one))
    five = ki.add(_twice(net, one, width, 3), ki.max_pool(padded, window, stride, "VALID"))
    return ki.concat([two, three, four, five], 3), x
