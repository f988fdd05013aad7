"""What convolutions and pools share: paddings, strides and dilations of ONNX, and NCHW as NHWC between transposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...builder import Tensor
from .node import Node

__all__ = ["Window", "from_nhwc", "pad_spatial", "to_nhwc", "window_of"]

_NHWC, _NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the spatial axes. ``begins`` and ``ends``: padding; None for 'SAME' with sizes that are not known."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...] | None
    ends: tuple[int, ...] | None

    @property
    def extents(self) -> tuple[int, ...]:
        """What the window spans along each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def padded(self) -> bool:
        return self.begins is None or any(self.begins) or any(self.ends or ())

    def explicit(self) -> list[int]:
        """TensorFlow's explicit_paddings, NHWC."""
        pairs = zip(self.begins or (), self.ends or (), strict=True)
        return [0, 0, *(p for pair in pairs for p in pair), 0, 0]

    def in_plane(self) -> Window:
        """A window over one axis as one over a plane of height 1."""
        if len(self.kernel) != 1:
            return self
        begins, ends = (None if p is None else (0, *p) for p in (self.begins, self.ends))
        return Window((1, *self.kernel), (1, *self.strides), (1, *self.dilations), begins, ends)


def _positive(n: Node, name: str, count: int) -> tuple[int, ...]:
    found = n.ints(name)
    if found is None:
        return (1,) * count
    if len(found) != count or min(found, default=1) < 1 or max(found, default=1) >= 1 << 31:
        raise n.wrong(f"{name} {list(found)[:8]}", f"{count} numbers from 1")
    return found


def window_of(n: Node, kernel: Sequence[int], sizes: Sequence[int | None], *, dilated: bool = True) -> Window:
    """The window of a node from its attributes strides, dilations, pads and auto_pad. ``sizes``: of the spatial axes."""
    count = len(kernel)
    if min(kernel, default=1) < 1 or len(sizes) != count:
        raise n.wrong(f"a window {list(kernel)} over {len(sizes)} spatial axes", "as many sizes from 1")
    strides = _positive(n, "strides", count)
    dilations = _positive(n, "dilations", count) if dilated else (1,) * count
    auto, pads = n.text("auto_pad", "NOTSET"), n.ints("pads") or (0,) * (2 * count)
    if auto == "VALID":
        pads = (0,) * (2 * count)
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        return _same(n, Window(tuple(kernel), strides, dilations, None, None), sizes, lower=auto == "SAME_LOWER")
    elif auto != "NOTSET":
        raise n.wrong(f"auto_pad {auto[:40]!r}", "NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    if len(pads) != 2 * count:
        raise n.wrong(f"pads {list(pads)[:16]}", f"{2 * count} numbers")
    if min(pads, default=0) < 0:
        raise n.unsupported(f"negative padding {list(pads)}", "slice the input instead")
    if max(pads, default=0) >= 1 << 31:
        raise n.wrong(f"pads {list(pads)}", "numbers of pixels")
    return Window(tuple(kernel), strides, dilations, pads[:count], pads[count:])


def _same(n: Node, window: Window, sizes: Sequence[int | None], *, lower: bool) -> Window:
    """The padding for which the output has ceil(size / stride) elements; the odd one comes last, or first (lower)."""
    begins, ends = [], []
    for size, extent, stride in zip(sizes, window.extents, window.strides, strict=True):
        if size is None and stride > 1:
            if lower:
                raise n.unsupported("auto_pad SAME_LOWER of an axis of unknown size", "export it with a fixed size")
            return window
        total = extent - 1 if size is None else max((-(-size // stride) - 1) * stride + extent - size, 0)
        begins.append(total - total // 2 if lower else total // 2)
        ends.append(total - begins[-1])
    return Window(window.kernel, window.strides, window.dilations, tuple(begins), tuple(ends))


def to_nhwc(n: Node, x: Tensor) -> Tensor:
    """(N, C, spatial ...) with one to three spatial axes as (N, height, width, C) or (N, depth, height, width, C)."""
    rank = n.rank(x)
    if rank == 3:
        x = n.op("ExpandDims", x, n.const(2))
    elif x.op.type == "Transpose" and x.dtype.itemsize > 1:  # what from_nhwc has just made; quantised values may be fed
        perm = n.value(x.op.inputs[1])
        if perm is not None and perm.tolist() == [0, rank - 1, *range(1, rank - 1)]:
            return x.op.inputs[0]
    return n.transpose(x, (0, 2, 3, 4, 1) if rank == 5 else _NHWC)


def from_nhwc(n: Node, y: Tensor, rank: int) -> Tensor:
    """The reverse of ``to_nhwc``; ``rank``: that of the value in the file."""
    y = n.transpose(y, (0, 4, 1, 2, 3) if rank == 5 else _NCHW)
    return n.op("Squeeze", y, squeeze_dims=(2,)) if rank == 3 else y


def pad_spatial(n: Node, x: Tensor, begins: Sequence[int], ends: Sequence[int], value: float = 0) -> Tensor:
    """An NHWC value with its spatial axes padded."""
    if not any(begins) and not any(ends):
        return x
    pairs = n.const([[0, 0], *map(list, zip(begins, ends, strict=True)), [0, 0]])
    return n.op("Pad", x, pairs) if value == 0 else n.op("PadV2", x, pairs, n.like(x, value))
