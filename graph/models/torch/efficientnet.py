"""EfficientNet B0 to B7 (arXiv 1905.11946) and v2 S, M, L (arXiv 2104.00298), torchvision's names.

Strides and the epsilon of the batch norms are in no array: they are known by the numbers of blocks in the stages. timm's
names are not read: those of padding as TensorFlow pads ('tf_') have the same names.
"""

from __future__ import annotations

from ... import ops
from ...builder import Tensor
from .net import Net

__all__ = ["build_efficientnet"]

_STRIDES = (1, 2, 2, 2, 1, 2, 1)
#: Blocks of each stage -> epsilon, size of images, size that they are resized to.
_KNOWN: dict[tuple[int, ...], tuple[float, int, int]] = {
    (1, 2, 2, 3, 3, 4, 1): (1e-5, 224, 256),
    (2, 3, 3, 4, 4, 5, 2): (1e-5, 240, 256),
    (2, 3, 3, 5, 5, 6, 2): (1e-5, 300, 320),
    (2, 4, 4, 6, 6, 8, 2): (1e-5, 380, 384),
    (3, 5, 5, 7, 7, 9, 3): (1e-3, 456, 456),
    (3, 6, 6, 8, 8, 11, 3): (1e-3, 528, 528),
    (4, 7, 7, 10, 10, 13, 4): (1e-3, 600, 600),
    (2, 4, 4, 6, 9, 15): (1e-3, 384, 384),
    (3, 5, 5, 7, 14, 18, 5): (1e-3, 480, 480),
    (4, 7, 7, 10, 19, 25, 7): (1e-3, 480, 480),
}
_FUSED = {(2, 4, 4, 6, 9, 15), (3, 5, 5, 7, 14, 18, 5), (4, 7, 7, 10, 19, 25, 7)}
#: Width after the stem of B2, which has the depths of B1.
_STEM_OUT_B2 = (1408, 288)


def build_efficientnet(net: Net) -> Tensor:
    """Images of any size to logits."""
    last = net.arrays.count("features.") - 1
    depths = tuple(net.arrays.count(f"features.{stage}.") for stage in range(1, last))
    if depths not in _KNOWN:
        found = f"stages of {depths[:10]} blocks, whose strides the file does not say"
        raise net.arrays.error(net.arrays.network, found, "those of B0 to B7 or v2 S, M, L")
    net.eps, size, resize = _KNOWN[depths]
    if depths == (2, 3, 3, 4, 4, 5, 2) and net.arrays.shape(f"features.{last}.0.weight", 4)[0] in _STEM_OUT_B2:
        size, resize = 288, 288
    bilinear = (depths in _FUSED and len(depths) == len(_STRIDES) - 1) or depths == (3, 5, 5, 7, 14, 18, 5)
    net.images = {"size": size, "resize": resize, "interpolation": "bilinear" if bilinear else "bicubic"}
    x = net.conv_norm(net.input("features.0.0.weight"), "features.0.0", "features.0.1", "silu", 2)
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            name = f"features.{stage}.{block}.block"
            x = _block(net, x, name, _STRIDES[stage - 1] if block == 0 else 1, depths in _FUSED and stage <= 3)
    x = net.conv_norm(x, f"features.{last}.0", f"features.{last}.1", "silu")
    return net.linear(net.mean(x), "classifier.1")


def _block(net: Net, x: Tensor, name: str, stride: int, fused: bool) -> Tensor:
    count = net.arrays.count(f"{name}.")
    if fused:
        y = net.conv_norm(x, f"{name}.0.0", f"{name}.0.1", "silu", stride)
        y = net.conv_norm(y, f"{name}.1.0", f"{name}.1.1", "none") if count > 1 else y
    else:
        if count not in (3, 4):
            raise net.arrays.error(name, f"{count} parts", "3, or 4 with an expansion")
        y = net.conv_norm(x, f"{name}.0.0", f"{name}.0.1", "silu") if count > 3 else x
        y = net.conv_norm(y, f"{name}.{count - 3}.0", f"{name}.{count - 3}.1", "silu", stride, grouped=True)
        y = net.squeeze(y, f"{name}.{count - 2}.fc1", f"{name}.{count - 2}.fc2", "silu")
        y = net.conv_norm(y, f"{name}.{count - 1}.0", f"{name}.{count - 1}.1", "none")
    return ops.add(y, x) if stride == 1 and net.channels(x) == net.channels(y) else y
