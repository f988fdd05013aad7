"""DenseNet (arXiv 1608.06993); torchvision and timm have the same names, torchvision's first files 'norm.1' for 'norm1'."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_densenet"]


def build_densenet(net: Net) -> Tensor:
    """Images of any size to logits."""
    net.images = {"size": 224, "resize": 256}
    shape = net.arrays.shape("features.conv0.weight", 4)
    if shape[2:] != (7, 7):
        raise net.arrays.error("array 'features.conv0.weight'", f"a window of {shape[2]}x{shape[3]}", "7x7")
    x = net.conv_norm(net.input("features.conv0.weight"), "features.conv0", "features.norm0", stride=2)
    x = net.max_pool(x, 3, 2, 1)
    blocks = net.arrays.count("features.denseblock", first=1)
    for block in range(1, blocks + 1):
        for layer in range(1, net.arrays.count(f"features.denseblock{block}.denselayer", first=1) + 1):
            x = ops.concat([x, _layer(net, x, f"features.denseblock{block}.denselayer{layer}")], 3)
        if block < blocks:
            name = f"features.transition{block}"
            x = net.avg_pool(net.conv(ops.relu(net.norm(x, f"{name}.norm")), f"{name}.conv", bias=False), 2, 2)
    return net.linear(net.mean(ops.relu(net.norm(x, "features.norm5"))), "classifier")


def _layer(net: Net, x: Tensor, name: str) -> Tensor:
    dot = "." if f"{name}.norm.1.weight" in net else ""
    for part in ("1", "2"):
        x = net.conv(ops.relu(net.norm(x, f"{name}.norm{dot}{part}")), f"{name}.conv{dot}{part}", bias=False)
    return x
