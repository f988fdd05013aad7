"""ResNet, Wide ResNet, ResNeXt and SE-ResNet (arXiv 1512.03385, 1605.07146, 1611.05431, 1709.01507), also with the stem of
ResNet-D (arXiv 1812.01187). torchvision and timm have the same names; a block's stride is in its 3x3 convolution."""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_resnet"]

_STAGES = 4


def build_resnet(net: Net) -> Tensor:
    """Images of any size to logits."""
    net.images = {"size": 224, "resize": 256}
    x = _stem(net)
    x = net.max_pool(x, 3, 2, 1)
    for stage in range(1, _STAGES + 1):
        for block in range(max(net.arrays.count(f"layer{stage}."), 1)):
            x = _block(net, x, f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1)
    return net.linear(net.mean(x), "fc")


def _stem(net: Net) -> Tensor:
    if "conv1.weight" in net:
        _kernel(net, "conv1", 7)
        return net.conv_norm(net.input("conv1.weight"), "conv1", "bn1", stride=2)
    for name in ("conv1.0", "conv1.3", "conv1.6"):
        _kernel(net, name, 3)
    x = net.conv_norm(net.input("conv1.0.weight"), "conv1.0", "conv1.1", stride=2)
    x = net.conv_norm(x, "conv1.3", "conv1.4")
    return net.conv_norm(x, "conv1.6", "bn1")


def _kernel(net: Net, name: str, size: int) -> None:
    """Another window means another stem, of which the strides and the pool are unknown (a ResNet for CIFAR has 3x3)."""
    shape = net.arrays.shape(f"{name}.weight", 4)
    if shape[2:] != (size, size):
        found = f"a window of {shape[2]}x{shape[3]}, whose stride and pool the file does not say"
        raise net.arrays.error(f"array '{name}.weight'", found, f"{size}x{size}")


def _block(net: Net, x: Tensor, name: str, stride: int) -> Tensor:
    bottleneck = f"{name}.conv3.weight" in net
    if bottleneck:
        y = net.conv_norm(x, f"{name}.conv1", f"{name}.bn1")
        y = net.conv_norm(y, f"{name}.conv2", f"{name}.bn2", stride=stride, grouped=True)
        y = net.conv_norm(y, f"{name}.conv3", f"{name}.bn3", "none")
    else:
        y = net.conv_norm(x, f"{name}.conv1", f"{name}.bn1", stride=stride)
        y = net.conv_norm(y, f"{name}.conv2", f"{name}.bn2", "none")
    if "layer1.0.se.fc1.weight" in net:  # the first block tells for all
        y = net.squeeze(y, f"{name}.se.fc1", f"{name}.se.fc2")
    down = f"{name}.downsample"
    if f"{down}.0.weight" in net:
        x = net.conv_norm(x, f"{down}.0", f"{down}.1", "none", stride)
    elif f"{down}.1.weight" in net:  # ResNet-D: the mean of 2x2 pixels, then 1x1
        if stride > 1:
            x = _mean_of_pairs(net, x)
        x = net.conv_norm(x, f"{down}.1", f"{down}.2", "none")
    if net.channels(x) != net.channels(y) or (
        stride > 1 and f"{down}.0.weight" not in net and f"{down}.1.weight" not in net
    ):
        raise net.arrays.error(name, "a block that changes the size, without 'downsample'", "one with it")
    return ops.relu(ops.add(y, x))


def _mean_of_pairs(net: Net, x: Tensor) -> Tensor:
    """AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)."""
    attrs = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": "SAME", "data_format": "NHWC"}
    return x.graph.create_op("AvgPool", [x], attrs).outputs[0]
