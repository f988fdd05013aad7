"""ConvNeXt (arXiv 2201.03545) with the names of torchvision, of timm or of its authors."""

from __future__ import annotations

from dataclasses import dataclass

from ... import ops
from ...builder import Tensor
from .net import ACTIVATIONS, Net

__all__ = ["build_convnext"]

_STAGES = 4
#: Blocks of the stages of timm's networks with GELU and an epsilon of 1e-6, but for XXL.
_PUBLISHED = {(2, 2, 6, 2), (2, 2, 8, 2), (3, 3, 9, 3), (3, 3, 27, 3), (3, 4, 30, 3)}
#: Width of the stem of ConvNeXt XXL, whose norms have another epsilon.
_XXL = 384


@dataclass(frozen=True, slots=True)
class _Names:
    """``down``: norm and convolution before a stage, of which ``stem`` are those of the first, the other way round.

    ``stage``: prefix of its blocks; then the names inside of a block; ``head``: norm and linear layer.
    """

    stem: tuple[str, str]
    down: tuple[str, str]
    stage: str
    deep: str
    norm: str
    fc1: str
    fc2: str
    scale: str
    head: tuple[str, str]
    step: int = 1


_TORCHVISION = _Names(
    ("features.0.0", "features.0.1"), ("features.{}.0", "features.{}.1"), "features.{}.", "block.0", "block.2", "block.3",
    "block.5", "layer_scale", ("classifier.0", "classifier.2"), 2,
)  # fmt: skip
_TIMM = _Names(
    ("stem.0", "stem.1"), ("stages.{}.downsample.0", "stages.{}.downsample.1"), "stages.{}.blocks.", "conv_dw", "norm",
    "mlp.fc1", "mlp.fc2", "gamma", ("head.norm", "head.fc"),
)  # fmt: skip
_AUTHORS = _Names(
    ("downsample_layers.0.0", "downsample_layers.0.1"), ("downsample_layers.{}.0", "downsample_layers.{}.1"), "stages.{}.",
    "dwconv", "norm", "pwconv1", "pwconv2", "gamma", ("norm", "head"),
)  # fmt: skip


def build_convnext(net: Net) -> Tensor:
    """Images of any size to logits."""
    names = next(n for n in (_TORCHVISION, _TIMM, _AUTHORS) if f"{n.stem[0]}.weight" in net)
    net.images = {"size": 224, "resize": 232 if names is _TORCHVISION else 256}
    net.images["interpolation"] = "bilinear" if names is _TORCHVISION else "bicubic"
    depths = tuple(net.arrays.count(f"stages.{stage}.blocks.") for stage in range(_STAGES))
    if names is _TIMM and depths not in _PUBLISHED:
        found = f"stages of {depths} blocks: timm has others of these names with another activation and epsilon"
        raise net.arrays.error(net.arrays.network, found, ", ".join(map(str, sorted(_PUBLISHED))))
    if names is _TIMM and net.arrays.shape("stem.0.weight", 4)[0] == _XXL:
        net.layer_eps = 1e-5
    x = _patches(net, net.input(f"{names.stem[0]}.weight"), names.stem[0], 4)
    x = net.layer_norm(x, names.stem[1])
    for stage in range(_STAGES):
        if stage:
            norm, conv = (n.format(stage * names.step) for n in names.down)
            x = _patches(net, net.layer_norm(x, norm), conv, 2)
        prefix = names.stage.format(stage * names.step + names.step - 1)
        for block in range(max(net.arrays.count(prefix), 1)):
            x = _block(net, x, f"{prefix}{block}", names)
    return net.linear(net.layer_norm(net.mean(x), names.head[0]), names.head[1])


def _patches(net: Net, x: Tensor, name: str, size: int) -> Tensor:
    shape = net.arrays.shape(f"{name}.weight", 4)
    if shape[2:] != (size, size):
        raise net.arrays.error(f"array '{name}.weight'", f"patches of {shape[2]}x{shape[3]}", f"{size}x{size}")
    return net.conv(x, name, size, 0)


def _block(net: Net, x: Tensor, name: str, names: _Names) -> Tensor:
    y = net.conv(x, f"{name}.{names.deep}", grouped=True)
    y = net.layer_norm(y, f"{name}.{names.norm}")
    y = net.linear(ACTIVATIONS["gelu"](net.linear(y, f"{name}.{names.fc1}")), f"{name}.{names.fc2}")
    scale = f"{name}.{names.scale}"
    if f"{names.stage.format(names.step - 1)}0.{names.scale}" in net:  # the first block tells for all
        size = net.channels(y)
        column = (size, 1, 1) if len(net.arrays.shape(scale)) == 3 else (size,)
        y = ops.multiply(y, net.parameter(scale, column, (size,)))
    return ops.add(x, y)
