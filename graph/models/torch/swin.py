"""Swin Transformer (arXiv 2103.14030), torchvision's names.

Heads and window follow from the table of biases. Images have the size at which every stage is whole windows, or one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from ... import ops
from ...builder import Tensor
from .net import ACTIVATIONS, Net

__all__ = ["build_swin"]

#: Attention between parts of a shifted window that are not neighbours in the image.
_MASKED = -100.0
_STEM_NORM = "features.0.2"
#: Published: 4 stages, windows up to 12; a mask has (side x window) squared entries, here at most 16 MB.
_MOST_STAGES, _LARGEST = 4, 16


@dataclass(frozen=True, slots=True)
class _Windows:
    """One stage: pixels along each side, those of a window, and the channels."""

    side: int
    window: int
    width: int

    @property
    def count(self) -> int:
        """Windows along each side."""
        return self.side // self.window


def build_swin(net: Net) -> Tensor:
    """Images of the one size that is built (224 for windows of 7 and patches of 4) to logits."""
    width, _, patch, across = net.arrays.shape("features.0.0.weight", 4)
    last = net.arrays.count("features.")
    stages = last // 2
    window = _window(net, "features.1.0.attn.relative_position_bias_table")
    if patch != across or last % 2 or not 1 <= stages <= _MOST_STAGES:
        raise net.arrays.error(
            "'features'", f"{last} parts, patches of {patch}x{across}", "stages with a merge between"
        )
    side = window << (stages - 1)
    net.images = {"size": side * patch, "resize": side * patch * 232 // 224, "interpolation": "bicubic"}
    x = net.layer_norm(net.conv(net.input("features.0.0.weight", side * patch), "features.0.0", patch, 0), _STEM_NORM)
    for stage in range(stages):
        if stage:
            x = _merged(net, x, f"features.{2 * stage}", side, width)
            side, width = side // 2, net.channels(x)
        size = _Windows(side, window, width)
        for block in range(max(net.arrays.count(f"features.{2 * stage + 1}."), 1)):
            shift = window // 2 if block % 2 and side > window else 0
            x = _block(net, x, f"features.{2 * stage + 1}.{block}", size, shift)
    return net.linear(net.mean(net.layer_norm(x, "norm")), "head")


def _window(net: Net, table: str) -> int:
    rows = net.arrays.shape(table, 2)[0]
    window = (isqrt(rows) + 1) // 2
    if (2 * window - 1) ** 2 != rows or not 1 < window <= _LARGEST:
        raise net.arrays.error(
            f"array '{table}'", f"{rows} rows", f"(2 w - 1) squared, w the side of a window to {_LARGEST}"
        )
    return window


def _merged(net: Net, x: Tensor, name: str, side: int, width: int) -> Tensor:
    """Four neighbours as one pixel: the columns of the left ones first."""
    half = side // 2
    parts = ops.reshape(x, [-1, half, 2, half, 2, width])
    x = ops.reshape(ops.transpose(parts, [0, 1, 3, 4, 2, 5]), [-1, half, half, 4 * width])
    return net.linear(net.layer_norm(x, f"{name}.norm"), f"{name}.reduction", bias=False)


def _block(net: Net, x: Tensor, name: str, size: _Windows, shift: int) -> Tensor:
    y = _attention(net, net.layer_norm(x, f"{name}.norm1"), f"{name}.attn", size, shift)
    x = ops.add(x, y)
    y = net.linear(net.layer_norm(x, f"{name}.norm2"), f"{name}.mlp.0")
    return ops.add(x, net.linear(ACTIVATIONS["gelu"](y), f"{name}.mlp.3"))


def _attention(net: Net, x: Tensor, name: str, size: _Windows, shift: int) -> Tensor:
    side, window, width, n = size.side, size.window, size.width, size.count
    heads = net.arrays.shape(f"{name}.relative_position_bias_table", 2)[1]
    if width % heads:
        raise net.arrays.error(name, f"{heads} heads of {width} channels", "a number that divides the width")
    pixels, deep = window * window, width // heads
    if shift:
        x = ops.roll(x, [-shift, -shift], [1, 2])
    x = ops.transpose(ops.reshape(x, [-1, n, window, n, window, width]), [0, 1, 3, 2, 4, 5])
    qkv = net.linear(ops.reshape(x, [-1, width]), f"{name}.qkv")
    q, k, v = ops.unstack(ops.transpose(ops.reshape(qkv, [-1, pixels, 3, heads, deep]), [2, 0, 3, 1, 4]), 3, 0)
    scores = ops.add(ops.matmul(ops.multiply(q, deep**-0.5), k, transpose_b=True), _bias(net, name, heads, window))
    if shift:
        scores = ops.reshape(scores, [-1, n * n, heads, pixels, pixels])
        scores = ops.add(scores, net.shared(("mask", size, shift), lambda: _mask(size, shift)))
        scores = ops.reshape(scores, [-1, heads, pixels, pixels])
    x = ops.transpose(ops.matmul(ops.softmax(scores), v), [0, 2, 1, 3])
    x = net.linear(ops.reshape(x, [-1, width]), f"{name}.proj")
    x = ops.transpose(ops.reshape(x, [-1, n, n, window, window, width]), [0, 1, 3, 2, 4, 5])
    x = ops.reshape(x, [-1, side, side, width])
    return ops.roll(x, [shift, shift], [1, 2]) if shift else x


def _bias(net: Net, name: str, heads: int, window: int) -> Tensor:
    """(1, heads, pixels, pixels): the table's row for how far two pixels of a window are apart."""
    rows = _rows(window)
    given = f"{name}.relative_position_index"
    if given in net and (
        net.arrays.shape(given) != (rows.size,) or not np.array_equal(net.arrays.read(given), rows.ravel())
    ):
        raise net.arrays.error(f"array '{given}'", "other rows", "those of a square window, row by row")
    table = net.parameter(f"{name}.relative_position_bias_table", ((2 * window - 1) ** 2, heads))
    return ops.expand_dims(ops.transpose(ops.gather(table, net.shared(("rows", window), lambda: rows)), [2, 0, 1]), 0)


def _rows(window: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    at = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(2, -1)
    apart = at[:, :, None] - at[:, None, :] + window - 1
    return np.asarray(apart[0] * (2 * window - 1) + apart[1], np.int32)


def _mask(size: _Windows, shift: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(1, windows, 1, pixels, pixels)"""
    side, window, n = size.side, size.window, size.count
    region = (np.arange(side) >= side - window).astype(np.int32) + (np.arange(side) >= side - shift)
    image = region[:, None] * 3 + region[None, :]
    parts = image.reshape(n, window, n, window).transpose(0, 2, 1, 3).reshape(n * n, window * window)
    different = parts[:, :, None] != parts[:, None, :]
    return np.where(different, np.float32(_MASKED), np.float32(0))[None, :, None]
