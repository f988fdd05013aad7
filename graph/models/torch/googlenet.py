"""GoogLeNet (arXiv 1409.4842) as torchvision has it, with batch norm. The auxiliary heads are for training."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_googlenet"]

_NORM = ("weight", "bias", "running_mean", "running_var")
_AUXILIARY = (
    *(f"conv.bn.{n}" for n in _NORM), "conv.conv.weight", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias",
)  # fmt: skip


def build_googlenet(net: Net) -> Tensor:
    """Images of any size to logits; the auxiliary heads are left out."""
    # torchvision's weights take pixels from -1 to 1: its transform_input turns ImageNet's scaling into that.
    net.images = {"size": 224, "resize": 256, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    x = _conv(net, net.input("conv1.conv.weight"), "conv1", 2)
    x = net.max_pool(x, ceil=True)
    x = net.max_pool(_conv(net, _conv(net, x, "conv2"), "conv3"), ceil=True)
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        if block == "4a":
            x = net.max_pool(x, ceil=True)
        if block == "5a":
            x = net.max_pool(x, 2, 2, ceil=True)
        x = _inception(net, x, f"inception{block}")
    net.arrays.skip(*(f"aux{i}.{name}" for i in (1, 2) for name in _AUXILIARY))
    return net.linear(net.mean(x), "fc")


def _conv(net: Net, x: Tensor, name: str, stride: int = 1) -> Tensor:
    return net.conv_norm(x, f"{name}.conv", f"{name}.bn", stride=stride)


def _inception(net: Net, x: Tensor, name: str) -> Tensor:
    parts = [_conv(net, x, f"{name}.branch1")]
    parts += [_conv(net, _conv(net, x, f"{name}.branch{i}.0"), f"{name}.branch{i}.1") for i in (2, 3)]
    parts += [_conv(net, net.max_pool(x, 3, 1, 1), f"{name}.branch4.1")]
    return ops.concat(parts, 3)
