"""ShuffleNet v2 (arXiv 1807.11164), torchvision's names."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_shufflenet"]


def build_shufflenet(net: Net) -> Tensor:
    """Images of any size to logits."""
    net.images = {"size": 224, "resize": 256}
    x = net.max_pool(net.conv_norm(net.input("conv1.0.weight"), "conv1.0", "conv1.1", stride=2), 3, 2, 1)
    for stage in (2, 3, 4):
        for block in range(max(net.arrays.count(f"stage{stage}."), 1)):
            x = _block(net, x, f"stage{stage}.{block}", halved=block == 0)
    return net.linear(net.mean(net.conv_norm(x, "conv5.0", "conv5.1")), "fc")


def _block(net: Net, x: Tensor, name: str, *, halved: bool) -> Tensor:
    stride = 2 if halved else 1
    if halved:
        one = net.conv_norm(x, f"{name}.branch1.0", f"{name}.branch1.1", "none", 2, grouped=True)
        one, two = net.conv_norm(one, f"{name}.branch1.2", f"{name}.branch1.3"), x
    else:
        if net.channels(x) % 2:
            raise net.arrays.error(name, f"{net.channels(x)} channels", "an even number")
        one, two = ops.split(x, 2, 3)
    two = net.conv_norm(two, f"{name}.branch2.0", f"{name}.branch2.1")
    two = net.conv_norm(two, f"{name}.branch2.3", f"{name}.branch2.4", "none", stride, grouped=True)
    two = net.conv_norm(two, f"{name}.branch2.5", f"{name}.branch2.6")
    return _shuffled(net, ops.concat([one, two], 3))


def _shuffled(net: Net, x: Tensor) -> Tensor:
    """Channels of the two halves in turn."""
    channels = net.channels(x)
    if channels % 2:
        raise net.arrays.error("the channels of a block", f"{channels}", "an even number")
    parts = ops.reshape(x, ops.concat([ops.shape(x)[:3], [2, channels // 2]], 0))
    turned = ops.transpose(parts, [0, 1, 2, 4, 3])
    return ops.reshape(turned, ops.concat([ops.shape(x)[:3], [channels]], 0))
