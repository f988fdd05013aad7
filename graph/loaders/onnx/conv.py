"""Convolutions and transposed convolutions over one, two or three spatial axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...builder import Tensor
from .node import Converter, Node
from .windows import Window, from_nhwc, pad_spatial, to_nhwc, window_of

__all__ = ["CONVERTERS", "checked", "conv_attrs", "convolve"]


def _conv(n: Node) -> Tensor:
    return convolve(n, n.input(0), n.input(1), n.optional(2))


def convolve(n: Node, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution that the attributes of the node describe; ``w`` is (out, in / group, spatial ...)."""
    sizes, shape, group = checked(n, x, w)
    window = window_of(n, shape[2:], sizes[2:])
    channels, rank = sizes[1], len(sizes)
    if channels is not None and channels != shape[1] * group:
        raise n.wrong(f"{channels} channels in {group} groups", f"{shape[1] * group}, as the weights {list(shape)} say")
    if shape[0] % group:
        raise n.wrong(f"{shape[0]} output channels in {group} groups", "a multiple")
    y = to_nhwc(n, x)
    if rank == 3:
        w = n.op("ExpandDims", w, n.const(2))
        shape = (*shape[:2], 1, shape[2])
    if rank == 5:
        y = _conv3d(n, y, w, window, group)
    elif group > 1 and shape[1] == 1:  # output channels of a group follow each other, as TensorFlow's multiplier does
        filter = n.transpose(n.reshape(w, [group, shape[0] // group, *shape[2:]]), (2, 3, 0, 1))
        y = n.op("DepthwiseConv2dNative", y, filter, **conv_attrs(window.in_plane()))
    else:
        y = n.op("Conv2D", y, n.transpose(w, (2, 3, 1, 0)), **conv_attrs(window.in_plane()))
    if bias is not None:
        y = n.op("BiasAdd", y, bias)
    return from_nhwc(n, y, rank)


def checked(n: Node, x: Tensor, w: Tensor) -> tuple[Sequence[int | None], tuple[int, ...], int]:
    """The shapes of the image and of the weights, and the groups."""
    sizes, shape, group = n.shape(x), n.shape(w), n.integer("group", 1)
    if len(sizes) != len(shape) or len(shape) < 3:
        raise n.wrong(f"an image of {len(sizes)} axes and weights of {len(shape)}", "the same number, 3 or more")
    if len(shape) > 5:
        raise n.unsupported(f"a convolution over {len(shape) - 2} axes")
    known = tuple(d for d in shape if d is not None)
    if len(known) != len(shape):
        raise n.unsupported("weights whose shape is not known")
    if group < 1 or 0 in known[:2]:
        raise n.wrong(f"group {group} of weights {list(known)}", "at least 1, and channels")
    kernel = n.ints("kernel_shape")
    if kernel is not None and kernel != known[2:]:
        raise n.wrong(f"kernel_shape {list(kernel)}", f"that of the weights, {list(known[2:])}")
    return sizes, known, group


def conv_attrs(window: Window) -> Mapping[str, Any]:
    """Strides, dilations and padding as attributes of TensorFlow's."""
    common = {"strides": (1, *window.strides, 1), "dilations": (1, *window.dilations, 1)}
    if window.begins is None:
        return {**common, "padding": "SAME"}
    if not window.padded:
        return {**common, "padding": "VALID"}
    return {**common, "padding": "EXPLICIT", "explicit_paddings": tuple(window.explicit())}


def _conv3d(n: Node, y: Tensor, w: Tensor, window: Window, group: int) -> Tensor:
    """TensorFlow's has no explicit padding and no groups."""
    if window.begins is not None and window.ends is not None:
        y = pad_spatial(n, y, window.begins, window.ends)
    attrs = {
        "strides": (1, *window.strides, 1), "dilations": (1, *window.dilations, 1),
        "padding": "SAME" if window.begins is None else "VALID",
    }  # fmt: skip
    filter = n.transpose(w, (2, 3, 4, 1, 0))
    if group == 1:
        return n.op("Conv3D", y, filter, **attrs)
    n.importer.budget.nodes(f"groups of {n.place}", group)
    images = n.ops("Split", [n.const(4), y], group, num_split=group)
    filters = n.ops("Split", [n.const(4), filter], group, num_split=group)
    parts = [n.op("Conv3D", i, f, **attrs) for i, f in zip(images, filters, strict=True)]
    return n.op("ConcatV2", *parts, n.const(4))


# --- transposed ----------------------------------------------------------------------------------------------------------


def _conv_transpose(n: Node) -> Tensor:
    """``w`` is (in, out / group, spatial ...)."""
    x, w, bias = n.input(0), n.input(1), n.optional(2)
    sizes, shape, group = checked(n, x, w)
    rank = len(sizes)
    if (sizes[1] is not None and sizes[1] != shape[0]) or shape[0] % group:
        raise n.wrong(f"{sizes[1]} channels in {group} groups", f"{shape[0]}, as the weights {list(shape)} say")
    window, outs, beyond = _transposed_window(n, shape[2:], sizes[2:])
    if rank == 3:
        w, shape = n.op("ExpandDims", w, n.const(2)), (*shape[:2], 1, shape[2])
        window, outs, beyond = window.in_plane(), [(1, 0), *outs], [0, *beyond]
    y = to_nhwc(n, x)
    if rank == 5:
        return from_nhwc(n, _with_bias(n, _volumes(n, y, w, window, outs, beyond, group), bias), rank)
    spatial = [_stretched(n, y, 1 + i, factor, more) for i, (factor, more) in enumerate(outs)]
    into = n.vector([n.size(y, 0), *spatial, shape[1]])
    n.importer.budget.nodes(f"groups of {n.place}", group)
    images = [y] if group == 1 else n.ops("Split", [n.const(3), y], group, num_split=group)
    filter = n.transpose(w, (2, 3, 1, 0))
    filters = [filter] if group == 1 else n.ops("Split", [n.const(3), filter], group, num_split=group)
    parts = [
        n.op("Conv2DBackpropInput", n.cast(into, "int32"), f, i, **conv_attrs(window))
        for i, f in zip(images, filters, strict=True)
    ]
    y = parts[0] if group == 1 else n.op("ConcatV2", *parts, n.const(3))
    if any(beyond):
        y = pad_spatial(n, y, [0] * len(beyond), beyond)
    return from_nhwc(n, _with_bias(n, y, bias), rank)


def _with_bias(n: Node, y: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return y
    return n.op("BiasAdd", y, bias) if n.rank(y) == 4 else n.op("AddV2", y, bias)


def _volumes(
    n: Node,
    y: Tensor,
    w: Tensor,
    window: Window,
    outs: Sequence[tuple[int, int]],
    beyond: Sequence[int],
    group: int,
) -> Tensor:
    """Over three axes: all that the windows reach, of which the padding is cut off."""
    filter, begins, ends = n.transpose(w, (2, 3, 4, 1, 0)), window.begins or (), window.ends or ()
    full = [
        _stretched(n, y, 1 + i, s, e - s) for i, (s, e) in enumerate(zip(window.strides, window.extents, strict=True))
    ]
    into = n.cast(n.vector([n.size(y, 0), *full, n.size(w, 1)]), "int32")
    n.importer.budget.nodes(f"groups of {n.place}", group)
    images = [y] if group == 1 else n.ops("Split", [n.const(4, "int32"), y], group, num_split=group)
    filters = [filter] if group == 1 else n.ops("Split", [n.const(4, "int32"), filter], group, num_split=group)
    attrs = {"strides": (1, *window.strides, 1), "dilations": (1, *window.dilations, 1), "padding": "VALID"}
    parts = [n.op("Conv3DBackpropInputV2", into, f, i, **attrs) for i, f in zip(images, filters, strict=True)]
    y = parts[0] if group == 1 else n.op("ConcatV2", *parts, n.const(4))
    more = [b + (max(-e, 0)) for b, e in zip(beyond, ends, strict=True)]
    cut = [max(e, 0) for e in ends]
    if any(begins) or any(cut):
        mask = 0b10001 | sum(2 << i for i, e in enumerate(cut) if not e)
        where = n.const([0, *begins, 0]), n.const([0, *(-e for e in cut), 0])
        y = n.op("StridedSlice", y, *where, n.const([1] * 5), begin_mask=0b10001, end_mask=mask)
    return pad_spatial(n, y, [0] * 3, more) if any(more) else y


def _transposed_window(
    n: Node, kernel: Sequence[int], sizes: Sequence[int | None]
) -> tuple[Window, list[tuple[int, int]], list[int]]:
    """The window, for each axis (factor, more): the output has size * factor + more elements, and zeros behind them."""
    count = len(kernel)
    auto, shape = n.text("auto_pad", "NOTSET"), n.ints("output_shape")
    more = n.ints("output_padding") or (0,) * count
    if len(more) != count or (shape is not None and len(shape) < count):
        raise n.wrong(f"output_padding {list(more)}, output_shape {shape}", f"{count} numbers each")
    given = window_of(n, kernel, [1] * count)
    strides, extents = given.strides, given.extents
    if any(not 0 <= m < max(s, d) for m, s, d in zip(more, strides, given.dilations, strict=True)):
        raise n.wrong(f"output_padding {list(more)}", "numbers from 0, less than the strides or dilations")
    begins, ends, outs, beyond = list(given.begins or ()), list(given.ends or ()), [], [0] * count
    for i, (s, e, m, size) in enumerate(zip(strides, extents, more, sizes, strict=True)):
        if shape is not None:
            if size is None:
                raise n.unsupported("output_shape for an image of unknown size", "export it with pads")
            total, out = s * (size - 1) + m + e - shape[i - count], (0, shape[i - count])
        elif auto.startswith("SAME"):
            total, out = max(e + m - s, 0), (s, 0)
        else:
            total, out = begins[i] + ends[i], (s, e + m - s - begins[i] - ends[i])
        if shape is not None or auto.startswith("SAME"):
            if total < 0:  # output_shape is beyond what the windows reach
                beyond[i], out, total = -total, (0, out[1] + total), 0
            begins[i] = total // 2 if auto == "SAME_UPPER" else total - total // 2
            ends[i] = total - begins[i]
        outs.append(out)
        if m >= s:  # the window's last places, which no pixel of the image reaches
            raise n.unsupported(f"output_padding {m} for a stride of {s}")
    return Window(tuple(kernel), strides, given.dilations, tuple(begins), tuple(ends)), outs, beyond


def _stretched(n: Node, y: Tensor, axis: int, factor: int, more: int) -> int | Tensor:
    size = n.shape(y)[axis]
    if factor == 0 or size is not None:
        return (size or 0) * factor + more
    return n.op("AddV2", n.op("Mul", n.size(y, axis), n.const([factor])), n.const([more]))


CONVERTERS: Mapping[str, Converter] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
