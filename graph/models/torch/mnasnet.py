"""MNASNet (arXiv 1807.11626), torchvision's names; windows and depths are the arrays'."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_mnasnet"]

_STACKS = tuple(zip(range(8, 14), (2, 2, 2, 1, 2, 1), strict=True))


def build_mnasnet(net: Net) -> Tensor:
    """Images of any size to logits."""
    net.images = {"size": 224, "resize": 256}
    x = net.conv_norm(net.input("layers.0.weight"), "layers.0", "layers.1", stride=2)
    x = net.conv_norm(x, "layers.3", "layers.4", grouped=True)
    x = net.conv_norm(x, "layers.6", "layers.7", "none")
    for stack, stride in _STACKS:
        for block in range(max(net.arrays.count(f"layers.{stack}."), 1)):
            x = _inverted(net, x, f"layers.{stack}.{block}.layers", stride if block == 0 else 1, block > 0)
    x = net.conv_norm(x, "layers.14", "layers.15")
    return net.linear(net.mean(x), "classifier.1")


def _inverted(net: Net, x: Tensor, name: str, stride: int, added: bool) -> Tensor:
    y = net.conv_norm(x, f"{name}.0", f"{name}.1")
    y = net.conv_norm(y, f"{name}.3", f"{name}.4", stride=stride, grouped=True)
    y = net.conv_norm(y, f"{name}.6", f"{name}.7", "none")
    return ops.add(y, x) if added or (stride == 1 and net.channels(x) == net.channels(y)) else y
