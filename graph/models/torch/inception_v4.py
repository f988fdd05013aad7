"""Inception v4 and Inception-ResNet v2 (arXiv 1602.07261) with timm's names."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_inception_resnet_v2", "build_inception_v4"]

#: As the networks' own examples scale pixels: from -1 to 1.
_IMAGES = {"size": 299, "resize": 342, "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}


def build_inception_v4(net: Net) -> Tensor:
    """Images of any size from 75 pixels to logits."""
    net.images = dict(_IMAGES)
    x = _conv(net, net.input("features.0.conv.weight"), "features.0", 2, 0)
    x = _conv(net, _conv(net, x, "features.1", 1, 0), "features.2")
    x = ops.concat([net.max_pool(x), _conv(net, x, "features.3.conv", 2, 0)], 3)
    short = _conv(net, _conv(net, x, "features.4.branch0.0"), "features.4.branch0.1", 1, 0)
    long = _chain(net, x, "features.4.branch1", 3)
    x = ops.concat([short, _conv(net, long, "features.4.branch1.3", 1, 0)], 3)
    x = ops.concat([_conv(net, x, "features.5.conv", 2, 0), net.max_pool(x)], 3)
    for block in range(6, 10):
        x = _mixed(net, x, f"features.{block}")
    x = _reduced(net, x, "features.10")
    for block in range(11, 18):
        x = _mixed(net, x, f"features.{block}")
    halves = (_chain(net, x, "features.18.branch0", 2, 2), _chain(net, x, "features.18.branch1", 4, 2))
    x = ops.concat([*halves, net.max_pool(x)], 3)
    for block in range(19, 22):
        x = _split(net, x, f"features.{block}")
    return net.linear(net.mean(x), "last_linear")


def build_inception_resnet_v2(net: Net) -> Tensor:
    """Images of any size from 75 pixels to logits."""
    net.images = dict(_IMAGES)
    x = _conv(net, net.input("conv2d_1a.conv.weight"), "conv2d_1a", 2, 0)
    x = net.max_pool(_conv(net, _conv(net, x, "conv2d_2a", 1, 0), "conv2d_2b"))
    x = net.max_pool(_conv(net, _conv(net, x, "conv2d_3b"), "conv2d_4a", 1, 0))
    x = _mixed(net, x, "mixed_5b")
    for block in range(net.arrays.count("repeat.")):
        x = _residual(net, x, f"repeat.{block}", 0.17)
    x = _reduced(net, x, "mixed_6a")
    for block in range(net.arrays.count("repeat_1.")):
        x = _residual(net, x, f"repeat_1.{block}", 0.1)
    parts = [_chain(net, x, f"mixed_7a.branch{i}", length, 2) for i, length in enumerate((2, 2, 3))]
    x = ops.concat([*parts, net.max_pool(x)], 3)
    for block in range(net.arrays.count("repeat_2.")):
        x = _residual(net, x, f"repeat_2.{block}", 0.2)
    x = _residual(net, x, "block8", 1.0, last=True)
    return net.linear(net.mean(_conv(net, x, "conv2d_7b")), "classif")


def _conv(net: Net, x: Tensor, name: str, stride: int = 1, pad: int | None = None) -> Tensor:
    return net.conv_norm(x, f"{name}.conv", f"{name}.bn", "relu", stride, pad)


def _chain(net: Net, x: Tensor, name: str, length: int, last: int = 1) -> Tensor:
    """Convolutions one after the other. last: stride of the last one, which has no padding if it is 2."""
    for i in range(length):
        end = i == length - 1 and last > 1
        x = _conv(net, x, f"{name}.{i}", last if end else 1, 0 if end else None)
    return x


def _branch(net: Net, x: Tensor, name: str) -> Tensor:
    """A branch of as many convolutions as it has; one alone has no number."""
    return _conv(net, x, name) if f"{name}.conv.weight" in net else _chain(net, x, name, net.arrays.count(f"{name}."))


def _pooled(net: Net, x: Tensor, name: str) -> Tensor:
    return _conv(net, net.avg_pool(x, 3, 1, 1, counted=False), f"{name}.branch3.1")


def _mixed(net: Net, x: Tensor, name: str) -> Tensor:
    """Three branches, and one behind a pool."""
    return ops.concat([*(_branch(net, x, f"{name}.branch{i}") for i in range(3)), _pooled(net, x, name)], 3)


def _reduced(net: Net, x: Tensor, name: str) -> Tensor:
    return ops.concat(
        [_conv(net, x, f"{name}.branch0", 2, 0), _chain(net, x, f"{name}.branch1", 3, 2), net.max_pool(x)], 3
    )


def _split(net: Net, x: Tensor, name: str) -> Tensor:
    """Branches that end in two convolutions next to each other."""
    short, long = _conv(net, x, f"{name}.branch1_0"), _conv(net, x, f"{name}.branch2_0")
    long = _conv(net, _conv(net, long, f"{name}.branch2_1"), f"{name}.branch2_2")
    parts = [_conv(net, x, f"{name}.branch0")]
    parts += [_conv(net, short, f"{name}.branch1_1{i}") for i in "ab"]
    parts += [_conv(net, long, f"{name}.branch2_3{i}") for i in "ab"]
    return ops.concat([*parts, _pooled(net, x, name)], 3)


def _residual(net: Net, x: Tensor, name: str, scale: float, *, last: bool = False) -> Tensor:
    count = net.arrays.count(f"{name}.branch", first=0)
    parts = [_branch(net, x, f"{name}.branch{i}") for i in range(count)]
    y = net.conv(ops.concat(parts, 3), f"{name}.conv2d")
    y = ops.add(ops.multiply(y, scale) if scale != 1 else y, x)
    return y if last else ops.relu(y)
