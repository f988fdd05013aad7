"""Blocks of cells moved to the batch or to the channels in ONNX, and the patches of an image."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from ..builder import Operation, Tensor
from .onnx_parts import Parts
from .onnx_writer import Writer

__all__ = ["RULES"]

Rule = Callable[[Writer, Operation], None]


def _block(writer: Writer, op: Operation) -> tuple[list[int], list[list[int]]]:
    """Sizes of the block and what is padded or cropped."""
    if op.type.endswith("ND"):
        return writer.required(op, 1).ravel().tolist(), writer.required(op, 2).tolist()
    return [int(op.attrs["block_size"])] * 2, writer.required(op, 1).tolist()


def _space_to_batch(writer: Writer, op: Operation) -> None:
    """Pad; every axis into blocks and cells; the blocks before the batch."""
    p, x = Parts(writer, op), op.inputs[0]
    block, edges = _block(writer, op)
    count, rank = len(block), x.type.rank or 0
    if any(a or b for a, b in edges):
        pads = np.array([[0, 0], *edges, *[[0, 0]] * (rank - count - 1)], np.int64)
        x = p("Pad", x, pads)
    batch, *sizes = p.sizes(x)
    inner = [p.over(d, b) for d, b in zip(sizes, block, strict=False)]
    split = [batch]
    for size, b in zip(inner, block, strict=True):
        split += [size, b]
    cells = p.reshape(x, [*split, *sizes[count:]])
    rest = range(2 * count + 1, 2 * count + 1 + len(sizes) - count)
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count + 1, 2), *rest]
    moved = p.transpose(cells, order)
    p.done(p.reshape(moved, [p.times(batch, prod(block)), *inner, *sizes[count:]]))


def _batch_to_space(writer: Writer, op: Operation) -> None:
    """The inverse: blocks from the batch beside their axes, then a slice."""
    p, x = Parts(writer, op), op.inputs[0]
    block, crops = _block(writer, op)
    count = len(block)
    batch, *sizes = p.sizes(x)
    images = p.over(batch, prod(block))
    cells = p.reshape(x, [*block, images, *sizes])
    order = [count]
    for i in range(count):
        order += [count + 1 + i, i]
    order += range(2 * count + 1, count + 1 + len(sizes))
    outer = [p.times(d, b) for d, b in zip(sizes, block, strict=False)]
    whole = p.reshape(p.transpose(cells, order), [images, *outer, *sizes[count:]])
    if not any(a or b for a, b in crops):
        p.done(whole)
        return
    axes = list(range(1, count + 1))
    far = np.iinfo(np.int64).max
    bounds = [[a for a, _ in crops], [-b if b else far for _, b in crops], axes]
    names = [writer.constant(np.array(v, np.int64), f"{op.name}.crop") for v in bounds]
    writer.set(op.outputs[0], writer.emit("Slice", [writer.get(whole), *names], op.name))


def _depth(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        first = op.attrs.get("data_format", "NHWC") in ("NCHW", b"NCHW")
        x = writer.get(op.inputs[0]) if first else writer.get_nchw(op.inputs[0])
        name = writer.emit(onnx, [x], op.name, blocksize=int(op.attrs["block_size"]))
        writer.set(op.outputs[0], name, nchw=not first)

    return rule


def _patches(writer: Writer, op: Operation) -> None:
    """One strided slice for every cell of the window, side by side as channels."""
    p, x = Parts(writer, op), op.inputs[0]
    window, strides, rates = (op.attrs[k][1:3] for k in ("ksizes", "strides", "rates"))
    sizes, made = p.sizes(x)[1:3], op.outputs[0].shape
    if made is None or None in made[1:3] or not all(isinstance(d, int) for d in sizes):
        raise p.wrong("the image has no known height and width")
    targets = [d for d in made[1:3] if d is not None]
    spans = [(n - 1) * s + (k - 1) * r + 1 for n, s, k, r in zip(targets, strides, window, rates, strict=True)]
    edges = [max(a - d, 0) if isinstance(d, int) else 0 for a, d in zip(spans, sizes, strict=True)]
    if any(edges):
        x = p("Pad", x, np.array([[0, 0], *([e // 2, e - e // 2] for e in edges), [0, 0]], np.int64))
    p.done(p("ConcatV2", *_cells(p, x, targets, strides, window, rates), np.array(-1, np.int32)))


def _cells(
    p: Parts, x: Tensor, targets: list[int], strides: tuple[int, ...], window: tuple[int, ...], rates: tuple[int, ...]
) -> list[Tensor]:
    found = []
    for row in range(window[0]):
        for column in range(window[1]):
            begin = [row * rates[0], column * rates[1]]
            end = [b + (n - 1) * s + 1 for b, n, s in zip(begin, targets, strides, strict=True)]
            bounds = [np.array(v, np.int32) for v in ((0, *begin, 0), (0, *end, 0), (1, *strides, 1))]
            found.append(p("StridedSlice", x, *bounds, begin_mask=9, end_mask=9))
    return found


RULES: dict[str, Rule] = {
    "SpaceToBatchND": _space_to_batch, "SpaceToBatch": _space_to_batch, "BatchToSpaceND": _batch_to_space,
    "BatchToSpace": _batch_to_space, "SpaceToDepth": _depth("SpaceToDepth"), "DepthToSpace": _depth("DepthToSpace"),
    "ExtractImagePatches": _patches,
}  # fmt: skip
