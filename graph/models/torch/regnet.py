"""RegNet X and Y (arXiv 2003.13678) with torchvision's or timm's names; groups are the weights'."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_regnet", "build_regnet_timm"]

#: Squeeze and excitation of the first block, in the one and the other naming.
_FIRST = ("trunk_output.block1.block1-0.f.se", "s1.b1.se")


def build_regnet(net: Net) -> Tensor:
    """torchvision's names."""
    net.images = {"size": 224, "resize": 232}
    x = net.conv_norm(net.input("stem.0.weight"), "stem.0", "stem.1", stride=2)
    for stage in range(1, net.arrays.count("trunk_output.block", first=1) + 1):
        prefix = f"trunk_output.block{stage}.block{stage}-"
        for block in range(max(net.arrays.count(prefix), 1)):
            name = f"{prefix}{block}"
            convs = tuple((f"{name}.f.{part}.0", f"{name}.f.{part}.1") for part in "abc")
            down = (f"{name}.proj.0", f"{name}.proj.1")
            x = _block(net, x, name, convs, down, f"{name}.f.se", 2 if block == 0 else 1)
    return net.linear(net.mean(x), "fc")


def build_regnet_timm(net: Net) -> Tensor:
    """timm's names."""
    net.images = {"size": 224, "resize": 256, "interpolation": "bicubic"}
    x = net.conv_norm(net.input("stem.conv.weight"), "stem.conv", "stem.bn", stride=2)
    for stage in range(1, net.arrays.count("s", first=1) + 1):
        for block in range(1, max(net.arrays.count(f"s{stage}.b", first=1), 1) + 1):
            name = f"s{stage}.b{block}"
            convs = tuple((f"{name}.conv{i}.conv", f"{name}.conv{i}.bn") for i in (1, 2, 3))
            down = (f"{name}.downsample.conv", f"{name}.downsample.bn")
            x = _block(net, x, name, convs, down, f"{name}.se", 2 if block == 1 else 1)
    return net.linear(net.mean(x), "head.fc")


def _block(
    net: Net, x: Tensor, name: str, convs: tuple[tuple[str, str], ...], down: tuple[str, str], se: str, stride: int
) -> Tensor:
    y = net.conv_norm(x, *convs[0])
    y = net.conv_norm(y, *convs[1], stride=stride, grouped=True)
    if any(f"{first}.fc1.weight" in net for first in _FIRST):  # the first block tells for all
        y = net.squeeze(y, f"{se}.fc1", f"{se}.fc2")
    y = net.conv_norm(y, *convs[2], act="none")
    if f"{down[0]}.weight" in net:
        x = net.conv_norm(x, *down, act="none", stride=stride)
    elif stride > 1 or net.channels(x) != net.channels(y):
        raise net.arrays.error(name, f"a block that changes the size, without '{down[0]}'", "one with it")
    return ops.relu(ops.add(x, y))
