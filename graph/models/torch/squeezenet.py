"""SqueezeNet 1.0 and 1.1 (arXiv 1602.07360), torchvision's names."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_squeezenet"]


def build_squeezenet(net: Net) -> Tensor:
    """Numbers of ``features`` that are missing, but for the first activation, are the pools."""
    net.images = {"size": 224, "resize": 256}
    x = ops.relu(net.conv(net.input("features.0.weight"), "features.0", 2, 0))
    numbers = net.arrays.numbers("features.")
    pools = set(range(2, numbers[-1])) - set(numbers)
    window = net.arrays.shape("features.0.weight", 4)[2]
    if (window, pools) not in ((7, {2, 6, 11}), (3, {2, 5, 8})):
        found = f"a first window of {window}x{window} and pools at {sorted(pools)[:8]}"
        raise net.arrays.error("'features'", found, "7x7 and 2, 6, 11 (1.0), or 3x3 and 2, 5, 8 (1.1)")
    for number in range(2, numbers[-1] + 1):
        x = net.max_pool(x, ceil=True) if number in pools else _fire(net, x, f"features.{number}")
    return net.mean(ops.relu(net.conv(x, "classifier.1")))


def _fire(net: Net, x: Tensor, name: str) -> Tensor:
    x = ops.relu(net.conv(x, f"{name}.squeeze"))
    return ops.concat([ops.relu(net.conv(x, f"{name}.expand{n}")) for n in ("1x1", "3x3")], 3)
