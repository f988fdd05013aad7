"""VGG with and without batch norm (arXiv 1409.1556), AlexNet (arXiv 1404.5997)."""

from __future__ import annotations

from math import isqrt

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_alexnet", "build_vgg"]


def build_vgg(net: Net) -> Tensor:
    """A module of ``features`` without arrays is an activation or a pool: the numbers tell which, and a pool is the last."""
    net.images = {"size": 224, "resize": 256}
    x = net.input("features.0.weight")
    numbers = net.arrays.numbers("features.")
    convs = [n for n in numbers if f"features.{n}.running_mean" not in net]
    for conv, following in zip(convs, [*convs[1:], None], strict=True):
        normed = f"features.{conv + 1}.running_mean" in net
        last = conv + (2 if normed else 1)  # the activation
        if net.arrays.shape(f"features.{conv}.weight", 4)[2:] != (3, 3):
            raise net.arrays.error(f"array 'features.{conv}.weight'", "another window", "3x3")
        if following is not None and following - last not in (1, 2):
            raise net.arrays.error(
                f"the names between 'features.{last}' and 'features.{following}'", f"{following - last - 1} modules",
                "none, or one pool",
            )  # fmt: skip
        x = net.conv(x, f"features.{conv}")
        x = ops.relu(net.norm(x, f"features.{conv + 1}") if normed else x)
        if following is None or following - last == 2:
            x = net.max_pool(x, 2, 2)
    if "pre_logits.fc1.weight" in net:  # timm
        x = ops.relu(net.conv(x, "pre_logits.fc1", pad=0))
        x = ops.relu(net.conv(x, "pre_logits.fc2", pad=0))
        return net.linear(net.mean(x), "head.fc")
    return _classifier(net, x, ("classifier.0", "classifier.3", "classifier.6"))


def build_alexnet(net: Net) -> Tensor:
    """Images of any size to logits."""
    net.images = {"size": 224, "resize": 256}
    x = ops.relu(net.conv(net.input("features.0.weight"), "features.0", 4, 2))
    x = ops.relu(net.conv(net.max_pool(x), "features.3"))
    x = net.max_pool(x)
    for name in ("features.6", "features.8", "features.10"):
        x = ops.relu(net.conv(x, name))
    return _classifier(net, net.max_pool(x), ("classifier.1", "classifier.4", "classifier.6"))


def _classifier(net: Net, x: Tensor, names: tuple[str, ...]) -> Tensor:
    """An average to the square that the first layer takes, then linear layers with activations between them."""
    channels = net.channels(x)
    inputs = net.arrays.shape(f"{names[0]}.weight", 2)[1]
    side = isqrt(inputs // channels)
    if side < 1 or side * side * channels != inputs:
        found = f"{inputs} inputs after {channels} channels"
        raise net.arrays.error(f"array '{names[0]}.weight'", found, "the channels times a square")
    x = ops.reshape(net.adaptive_mean(x, side, side), [-1, inputs])
    present = [name for name in names if f"{name}.weight" in net]
    x = net.linear(x, present[0], (side, side))
    for name in present[1:]:
        x = net.linear(ops.relu(x), name)
    return x
