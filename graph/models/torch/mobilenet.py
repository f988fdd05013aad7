"""MobileNet v2 (arXiv 1801.04381) and v3 (arXiv 1905.02244), torchvision's names. No array says which block halves the image:
it is known for the published sequences of blocks, of any width."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import NamedTuple

from ... import ops
from ...builder import Tensor
from .arrays import EXPORT
from .net import ACTIVATIONS, Net

__all__ = ["build_mobilenet_v2", "build_mobilenet_v3"]

_COUNTS_V2, _STRIDES_V2 = (1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1)


def build_mobilenet_v2(net: Net) -> Tensor:
    """Images of any size to logits; LoadError for a sequence of blocks whose strides are unknown."""
    net.images = {"size": 224, "resize": 256}
    last = net.arrays.count("features.") - 1
    strides = _strides_v2(net, last - 1)
    x = net.conv_norm(net.input("features.0.0.weight"), "features.0.0", "features.0.1", "relu6", 2)
    for block in range(1, last):
        x = _inverted(net, x, f"features.{block}.conv", strides[block - 1])
    x = net.conv_norm(x, f"features.{last}.0", f"features.{last}.1", "relu6")
    return net.linear(net.mean(x), "classifier.1")


def _strides_v2(net: Net, blocks: int) -> list[int]:
    """The first block of a stage has the stage's stride; a stage is where the width stays, or as many as are published."""
    widths = []
    for block in range(1, blocks + 1):
        name = f"features.{block}.conv"
        project = f"{name}.2" if f"{name}.1.0.weight" in net else f"{name}.1"
        widths.append(net.arrays.shape(f"{project}.weight", 4)[0])
    given = net.option("strides", "the stride of every block")
    if given is not None:
        if len(given) != blocks:
            found = f"{len(given)} strides for {blocks} blocks"
            raise net.arrays.error(net.arrays.network, found, "one stride for each block, 1 or 2")
        return given
    starts = [0, *accumulate(_COUNTS_V2)]
    standard = blocks == starts[-1] and all(len(set(widths[a:b])) == 1 for a, b in pairwise(starts))
    if not standard:
        starts = [i for i in range(blocks) if i == 0 or widths[i] != widths[i - 1]]
        if len(starts) != len(_STRIDES_V2):
            raise net.arrays.error(
                net.arrays.network,
                f"{blocks} blocks of widths {widths[:20]}: {len(starts)} stages, and no array says which of them halve the image",
                "17 blocks, or 7 stages of different widths",
                f"Say it: ki.load(path, architecture='mobilenet_v2 strides=1,2,1,...'), a stride for each block. {EXPORT}.",
            )
    strides = [1] * blocks
    for start, stride in zip(starts, _STRIDES_V2, strict=False):
        strides[start] = stride
    return strides


def _inverted(net: Net, x: Tensor, name: str, stride: int) -> Tensor:
    y, at = x, 0
    if f"{name}.1.0.weight" in net:
        y, at = net.conv_norm(y, f"{name}.0.0", f"{name}.0.1", "relu6"), 1
    y = net.conv_norm(y, f"{name}.{at}.0", f"{name}.{at}.1", "relu6", stride, grouped=True)
    y = net.conv_norm(y, f"{name}.{at + 1}", f"{name}.{at + 2}", "none")
    return ops.add(x, y) if stride == 1 and net.channels(x) == net.channels(y) else y


class _Row(NamedTuple):
    """One block of MobileNet v3, but for its widths."""

    window: int
    squeezed: bool
    act: str
    stride: int


_LARGE = (
    *(_Row(3, False, "relu", s) for s in (1, 2, 1)), *(_Row(5, True, "relu", s) for s in (2, 1, 1)),
    *(_Row(3, False, "hardswish", s) for s in (2, 1, 1, 1)), *(_Row(3, True, "hardswish", 1) for _ in range(2)),
    *(_Row(5, True, "hardswish", s) for s in (2, 1, 1)),
)  # fmt: skip
_SMALL = (
    _Row(3, True, "relu", 2), _Row(3, False, "relu", 2), _Row(3, False, "relu", 1),
    *(_Row(5, True, "hardswish", s) for s in (2, 1, 1, 1, 1, 2, 1, 1)),
)  # fmt: skip


def build_mobilenet_v3(net: Net) -> Tensor:
    """Images of any size to logits; small or large, by the number of blocks, which have to be the published ones."""
    net.images = {"size": 224, "resize": 256}
    last = net.arrays.count("features.") - 1
    rows = {len(_LARGE): _LARGE, len(_SMALL): _SMALL}.get(last - 1)
    if rows is None:
        raise net.arrays.error(net.arrays.network, f"{last - 1} blocks", "15 (large) or 11 (small)")
    x = net.conv_norm(net.input("features.0.0.weight"), "features.0.0", "features.0.1", "hardswish", 2)
    for block, row in enumerate(rows, 1):
        x = _block_v3(net, x, f"features.{block}.block", row)
    x = net.conv_norm(x, f"features.{last}.0", f"features.{last}.1", "hardswish")
    x = ACTIVATIONS["hardswish"](net.linear(net.mean(x), "classifier.0"))
    return net.linear(x, "classifier.3")


def _block_v3(net: Net, x: Tensor, name: str, row: _Row) -> Tensor:
    count = net.arrays.count(f"{name}.")
    deep = count - 2 - row.squeezed  # where the depthwise convolution is: 1 after an expansion, else 0
    window = net.arrays.shape(f"{name}.{max(deep, 0)}.0.weight", 4)[2:]
    if deep not in (0, 1) or window != (row.window, row.window):
        found = f"{count} parts, a window of {window[0]}x{window[1]}"
        raise net.arrays.error(name, found, f"the published block: {row.window}x{row.window}, squeezed: {row.squeezed}")
    y = net.conv_norm(x, f"{name}.0.0", f"{name}.0.1", row.act) if deep else x
    y = net.conv_norm(y, f"{name}.{deep}.0", f"{name}.{deep}.1", row.act, row.stride, grouped=True)
    if row.squeezed:
        y = net.squeeze(y, f"{name}.{deep + 1}.fc1", f"{name}.{deep + 1}.fc2", gate="hardsigmoid")
    y = net.conv_norm(y, f"{name}.{count - 1}.0", f"{name}.{count - 1}.1", "none")
    return ops.add(x, y) if row.stride == 1 and net.channels(x) == net.channels(y) else y
