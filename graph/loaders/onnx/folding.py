"""Col2Im: blocks of an image put back to their places, and added where they overlap."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from ...builder import Tensor
from .node import Converter, Node

__all__ = ["CONVERTERS"]

_MOST = 1 << 24


def _numbers(n: Node, name: str, count: int, default: int, least: int) -> tuple[int, ...]:
    found = n.ints(name) or (default,) * count
    if len(found) != count or min(found) < least or max(found) > _MOST:
        raise n.wrong(f"{name} {list(found)[:16]}", f"{count} numbers from {least}")
    return found


def _places(n: Node, image: tuple[int, ...], block: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The pixel's number for each (cell of the block, place of the block); one more than the last for what is outside."""
    axes = len(image)
    strides, dilations = _numbers(n, "strides", axes, 1, 1), _numbers(n, "dilations", axes, 1, 1)
    pads = _numbers(n, "pads", 2 * axes, 0, 0)
    counts, steps = [], []
    for a in range(axes):
        room = image[a] + pads[a] + pads[a + axes] - dilations[a] * (block[a] - 1) - 1
        if room < 0:
            raise n.wrong(f"blocks {list(block)} in an image {list(image)}", "blocks that fit")
        counts.append(room // strides[a] + 1)
    n.importer.budget.bytes(16 * prod(block) * prod(counts), n.place)
    for a in range(axes):
        cells = np.arange(block[a]) * dilations[a] - pads[a]
        steps.append(cells[:, None] + np.arange(counts[a]) * strides[a])
    place = np.zeros((1,) * (2 * axes), np.int64)
    inside = np.ones((1,) * (2 * axes), bool)
    for a, step in enumerate(steps):
        shape = [1] * (2 * axes)
        shape[a], shape[axes + a] = step.shape
        step = step.reshape(shape)
        place = place * image[a] + step
        inside = inside & (step >= 0) & (step < image[a])
    return np.where(inside, place, prod(image)).reshape(prod(block), prod(counts))


def _col2im(n: Node) -> Tensor:
    """(batch, channels * cells, blocks) -> (batch, channels, ...)."""
    x, image, block = n.input(0), n.int_list(1, "the size of the image"), n.int_list(2, "the size of the blocks")
    if n.rank(x) != 3 or not image or not block or len(image) != len(block) or min(*image, *block) < 1:
        raise n.wrong(f"{n.type_of(x)}, image {image}, block {block}", "3 axes, and as many sizes from 1 of both")
    if len(image) > 8 or prod(image) > _MOST or prod(block) > _MOST:
        raise n.unsupported(f"an image {list(image)} of blocks {list(block)}")
    places, width = _places(n, image, block), n.shape(x)[1]
    if width is None:
        raise n.unsupported("an unknown number of channels", "export it with fixed sizes")
    cells, count = places.shape
    if width % cells or n.shape(x)[2] not in (None, count):
        raise n.wrong(f"{n.type_of(x)}", f"a multiple of {cells} channels, and {count} blocks")
    channels, batch = width // cells, n.size(x, 0)
    parts = n.op("Reshape", x, n.vector([batch, channels, cells, count]))
    rows = n.op("Reshape", n.transpose(parts, (2, 3, 0, 1)), n.vector([cells * count, batch, channels]))
    total = n.op("UnsortedSegmentSum", rows, n.const(places.reshape(-1)), n.const(prod(image) + 1))
    kept = n.op("Slice", total, n.const([0, 0, 0]), n.const([prod(image), -1, -1]))
    return n.op("Reshape", n.transpose(kept, (1, 2, 0)), n.vector([batch, channels, *image]))


CONVERTERS: Mapping[str, Converter] = {"Col2Im": _col2im}
