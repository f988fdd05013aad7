"""Windows over images in ONNX: convolutions, pools, and what follows them. They stay in NCHW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..builder import Operation, Tensor
from ..errors import GraphError
from .onnx_parts import Parts
from .onnx_writer import Writer, data_type

__all__ = ["RULES", "dilated_pads_of", "image_of", "pads_of", "sizes_of"]

Rule = Callable[[Writer, Operation], None]


def _is_nchw(op: Operation) -> bool:
    return bool(op.attrs.get("data_format", "NHWC") == "NCHW")


def image_of(writer: Writer, op: Operation) -> str:
    """The first input in NCHW: as it is if the op itself works so."""
    return writer.get(op.inputs[0]) if _is_nchw(op) else writer.get_nchw(op.inputs[0])


def sizes_of(op: Operation, name: str, default: tuple[int, ...] = (1, 1, 1, 1)) -> tuple[int, int]:
    """Height and width of an attribute with an entry for each axis."""
    four = op.attrs.get(name, default)
    return tuple(four[2:4]) if _is_nchw(op) else tuple(four[1:3])


def pads_of(op: Operation) -> dict[str, Any]:
    """The padding as ONNX's attributes."""
    padding = op.attrs.get("padding")
    if padding in ("EXPLICIT", b"EXPLICIT"):
        top, bottom, left, right = op.attrs["explicit_paddings"][4 if _is_nchw(op) else 2 :][:4]
        return {"pads": (top, left, bottom, right)}
    return {"auto_pad": "SAME_UPPER"} if padding in ("SAME", b"SAME") else {"pads": (0, 0, 0, 0)}


def dilated_pads_of(op: Operation) -> dict[str, Any]:
    """SAME with dilations as numbers, where they follow: ONNX Runtime does not compute them."""
    dilations, strides, shape = sizes_of(op, "dilations"), sizes_of(op, "strides"), op.inputs[0].shape
    if max(dilations) == 1 or op.attrs.get("padding") not in ("SAME", b"SAME"):
        return pads_of(op)
    sizes = (None, None) if shape is None else shape[2:4] if _is_nchw(op) else shape[1:3]
    totals = []
    for size, step, dilation, cells in zip(sizes, strides, dilations, op.inputs[1].type.dims[:2], strict=True):
        if size is None and step > 1:
            return pads_of(op)
        rest = step if size is None or size % step == 0 else size % step
        totals.append(max((cells - 1) * dilation + 1 - rest, 0))
    return {"pads": (*(t // 2 for t in totals), *(t - t // 2 for t in totals))}


def _conv(writer: Writer, op: Operation) -> None:
    x, w = op.inputs
    dims = w.type.dims
    channels = x.shape[1 if _is_nchw(op) else 3] if x.shape is not None else None
    depthwise = op.type == "DepthwiseConv2dNative"
    # HWIO -> OIHW; depthwise HW(I)(M) -> (I*M) 1 H W, one group per input channel.
    value = writer.literal(w)
    if depthwise:
        flat = (dims[2] * dims[3], 1, dims[0], dims[1])
        if value is None:
            shape = writer.constant(np.array(flat, np.int64), f"{w.op.name}.shape")
            weights = writer.emit("Transpose", [writer.get(w)], f"{w.op.name}.mhw", perm=(2, 3, 0, 1))
            weights = writer.emit("Reshape", [weights, shape], f"{w.op.name}.oihw")
        else:
            weights = writer.constant(np.ascontiguousarray(value.transpose(2, 3, 0, 1)).reshape(flat), w.op.name)
    elif value is None:
        weights = writer.emit("Transpose", [writer.get(w)], f"{w.op.name}.oihw", perm=(3, 2, 0, 1))
    else:
        weights = writer.constant(np.ascontiguousarray(value.transpose(3, 2, 0, 1)), w.op.name)
    groups = dims[2] if depthwise else channels // dims[2] if channels else 1
    name = writer.emit(
        "Conv", [image_of(writer, op), weights], op.name, kernel_shape=dims[:2], strides=sizes_of(op, "strides"),
        dilations=sizes_of(op, "dilations"), group=groups, **dilated_pads_of(op),
    )  # fmt: skip
    writer.set(op.outputs[0], name, nchw=not _is_nchw(op))


def _pool(onnx: str) -> Rule:
    def rule(writer: Writer, op: Operation) -> None:
        extra: dict[str, Any] = (
            {"count_include_pad": int(bool(op.attrs.get("count_include_pad")))} if onnx == "AveragePool" else {}
        )
        name = writer.emit(
            onnx, [image_of(writer, op)], op.name, kernel_shape=sizes_of(op, "ksize"), strides=sizes_of(op, "strides"), **extra,
            **pads_of(op),
        )  # fmt: skip
        writer.set(op.outputs[0], name, nchw=not _is_nchw(op))

    return rule


def _bias_add(writer: Writer, op: Operation) -> None:
    x, b = op.inputs
    value = writer.literal(b)
    if _is_nchw(op):
        shape = writer.constant(np.array([-1, *(1,) * ((x.type.rank or 4) - 2)], np.int64), f"{op.name}.channels")
        column = writer.emit("Reshape", [writer.get(b), shape], f"{op.name}.bias")
        writer.set(op.outputs[0], writer.emit("Add", [writer.get(x), column], op.name))
    elif writer.in_nchw(x) and value is not None:
        name = writer.emit("Add", [writer.get_nchw(x), writer.constant(value.reshape(1, -1, 1, 1), b.op.name)], op.name)
        writer.set(op.outputs[0], name, nchw=True)
    else:
        writer.set(op.outputs[0], writer.emit("Add", [writer.get(x), writer.get(b)], op.name))


def _batch_norm(writer: Writer, op: Operation) -> None:
    if op.type == "BatchNormWithGlobalNormalization":
        order, epsilon = (4, 3, 1, 2), float(op.attrs.get("variance_epsilon", 1e-3))
        scaled = bool(op.attrs.get("scale_after_normalization", True))
    else:
        order, epsilon, scaled = (1, 2, 3, 4), float(op.attrs.get("epsilon", 1e-4)), True
        if op.attrs.get("is_training", True):
            _batch_statistics(Parts(writer, op), epsilon)
            return
    gamma = op.inputs[order[0]]
    scale = writer.get(gamma) if scaled else writer.constant(np.ones(gamma.type.dims, gamma.dtype), f"{op.name}.scale")
    names = [scale, *(writer.get(op.inputs[i]) for i in order[1:])]
    name = writer.emit("BatchNormalization", [image_of(writer, op), *names], op.name, epsilon=epsilon)
    writer.set(op.outputs[0], name, nchw=not _is_nchw(op))


def _batch_statistics(p: Parts, epsilon: float) -> None:
    """Batch normalisation with the mean and variance of the batch itself; the variance that it gives has n - 1 below."""
    op, (x, scale, offset, *_) = p.op, p.op.inputs
    if _is_nchw(op) or float(op.attrs.get("exponential_avg_factor", 1.0)) != 1.0:
        raise p.wrong("training mode in this form (NCHW, or with running statistics); freeze the graph first")
    axes = np.array([0, 1, 2], np.int32)
    mean = p("Mean", x, axes, keep_dims=False)
    variance = p("Mean", p("SquaredDifference", x, mean), axes, keep_dims=False)
    factor = p("Mul", scale, p("Rsqrt", p("AddV2", variance, np.array(epsilon, x.dtype))))
    y = p("AddV2", p("Mul", p("Sub", x, mean), factor), offset)
    wide = p("Shape", x, out_type=np.dtype(np.int32))
    rows = p("Prod", p("GatherV2", wide, np.array([0, 1, 2]), np.array(0)), np.array([0], np.int32), keep_dims=False)
    n = p.cast(rows, x.dtype)
    less = p("Maximum", p("Sub", n, np.array(1, x.dtype)), np.array(1, x.dtype))
    p.done(y, mean, p("Mul", variance, p("RealDiv", n, less)), mean, variance)


def _lrn(writer: Writer, op: Operation) -> None:
    """ONNX divides alpha by the number of channels that are summed, so a radius beyond the channels is cut for both."""
    attrs, shape = op.attrs, op.inputs[0].shape
    radius = int(attrs.get("depth_radius", 5))
    if shape is not None and shape[-1] is not None:
        radius = min(radius, max(shape[-1] - 1, 0))
    size = 2 * radius + 1
    if size >= 2**31:
        raise GraphError(f"ONNX: LRN '{op.name}': depth_radius {radius} needs a known number of channels, got {shape}")
    name = writer.emit(
        "LRN", [writer.get_nchw(op.inputs[0])], op.name, size=size, alpha=float(attrs.get("alpha", 1)) * size,
        beta=float(attrs.get("beta", 0.5)), bias=float(attrs.get("bias", 1)),
    )  # fmt: skip
    writer.set(op.outputs[0], name, nchw=True)


def _input_grad(writer: Writer, op: Operation) -> None:
    """A transposed convolution: (sizes of the result, filter, dy)."""
    p, (_, w, dy) = Parts(writer, op), op.inputs
    depthwise, dims = op.type.startswith("Depthwise"), w.type.dims
    first = _is_nchw(op)
    rows, targets = _ends(p, dy)
    weights = _filter(writer, op, w, (2, 3, 0, 1) if depthwise else (3, 2, 0, 1), depthwise)
    begins, ends, extra = _margins(p, rows, targets, dims[:2])
    image = writer.get(dy) if first else writer.get_nchw(dy)
    name = writer.emit(
        "ConvTranspose", [image, weights], op.name, kernel_shape=dims[:2], strides=sizes_of(op, "strides"),
        dilations=sizes_of(op, "dilations"), group=dims[2] if depthwise else 1, pads=(*begins, *ends), output_padding=extra,
    )  # fmt: skip
    writer.set(op.outputs[0], name, nchw=not first)


def _ends(p: Parts, dy: Tensor) -> tuple[list[int], list[int]]:
    """Height and width of the image and of the result, which the filter must have the channels of."""
    op, first = p.op, _is_nchw(p.op)
    given, made = dy.shape or (None,) * 4, op.outputs[0].shape or (None,) * 4
    rows, columns = ((d[2:4] if first else d[1:3]) for d in (given, made))
    targets = [a if a is not None else b for a, b in zip(_stated(p.writer, op), columns, strict=True)]
    known = [d for d in (*rows, *targets) if d is not None]
    if len(known) < 4:
        raise p.wrong("the height and width of its image and of its result must be known")
    channels, taken = made[1 if first else 3], op.inputs[1].type.dims[2]
    if not op.type.startswith("Depthwise") and channels not in (None, taken):
        raise p.wrong(f"it has groups of channels ({channels} with a filter for {taken})")
    return known[:2], known[2:]


def _stated(writer: Writer, op: Operation) -> tuple[int | None, int | None]:
    """Height and width that the first input states."""
    value = writer.value(op.inputs[0])
    if value is None or value.size not in (2, 4):
        return None, None
    flat = value.ravel().tolist()
    height, width = flat if len(flat) == 2 else flat[2:4] if _is_nchw(op) else flat[1:3]
    return height, width


def _filter(writer: Writer, op: Operation, w: Tensor, perm: tuple[int, ...], depthwise: bool) -> str:
    p = Parts(writer, op)
    turned = p.transpose(w, perm)
    if depthwise:
        turned = p("Reshape", turned, p.ints(w.type.dims[2] * w.type.dims[3], 1, *w.type.dims[:2]))
    return writer.get(turned)


def _margins(
    p: Parts, given: list[int], made: list[int], window: tuple[int, ...]
) -> tuple[list[int], list[int], list[int]]:
    """What the transposed convolution cuts off before and after, and what it adds after."""
    op = p.op
    strides, dilations = sizes_of(op, "strides"), sizes_of(op, "dilations")
    padding, explicit = op.attrs.get("padding"), op.attrs.get("explicit_paddings", ())
    begins, ends, extra = [], [], []
    for i, (n, target) in enumerate(zip(given, made, strict=True)):
        full = (n - 1) * strides[i] + (window[i] - 1) * dilations[i] + 1
        if padding in ("EXPLICIT", b"EXPLICIT"):
            at = (4 if _is_nchw(op) else 2) + 2 * i
            before, after = explicit[at], explicit[at + 1]
        else:
            cut = max(full - target, 0) if padding in ("SAME", b"SAME") else 0
            before, after = cut // 2, cut - cut // 2
        more = target - (full - before - after)
        if not 0 <= more < max(strides[i], dilations[i], 1):
            raise p.wrong(f"a result of {target} cells from {n} needs {more} more than a stride of {strides[i]} leaves")
        begins.append(before)
        ends.append(after)
        extra.append(more)
    return begins, ends, extra


def _turned(writer: Writer, x: Tensor, name: str) -> str:
    return writer.emit("Transpose", [writer.get(x)], f"{name}.ncdhw", perm=(0, 4, 1, 2, 3))


def _volume(onnx: str) -> Rule:
    """Conv3D and the pools of volumes, transposed to NCDHW and back."""

    def rule(writer: Writer, op: Operation) -> None:
        p, x = Parts(writer, op), op.inputs[0]
        if op.attrs.get("data_format", "NDHWC") not in ("NDHWC", b"NDHWC"):
            raise p.wrong("data_format NCDHW is not computed with; transpose to NDHWC")
        names, extra = [_turned(writer, x, op.name)], {}
        if onnx == "Conv":
            w = op.inputs[1]
            names.append(writer.get(p.transpose(w, (4, 3, 0, 1, 2))))
            extra = {"kernel_shape": w.type.dims[:3], "dilations": op.attrs.get("dilations", (1,) * 5)[1:4], "group": 1}
        else:
            extra = {"kernel_shape": op.attrs["ksize"][1:4]}
        same = op.attrs.get("padding") in ("SAME", b"SAME")
        pads: dict[str, Any] = {"auto_pad": "SAME_UPPER"} if same else {"pads": (0,) * 6}
        made = writer.emit(onnx, names, f"{op.name}.volume", strides=op.attrs["strides"][1:4], **extra, **pads)
        writer.set(op.outputs[0], writer.emit("Transpose", [made], op.name, perm=(0, 2, 3, 4, 1)))

    return rule


def _fed_pool(writer: Writer, op: Operation) -> None:
    """MaxPoolV2: window and strides are inputs."""
    p = Parts(writer, op)
    window, strides = (tuple(int(v) for v in writer.required(op, i).ravel()) for i in (1, 2))
    p.done(p("MaxPool", op.inputs[0], ksize=window, strides=strides, padding=op.attrs["padding"]))


def _pool_argmax(writer: Writer, op: Operation) -> None:
    """ONNX counts cells of NCHW through the batch, TensorFlow those of NHWC, of one image or of all."""
    p, x, to = Parts(writer, op), op.inputs[0], op.outputs[1].dtype
    if x.shape is None or None in x.shape[1:]:
        raise p.wrong("the sizes of its image must be known")
    _, height, width, channels = x.type.shape or ()
    assert height is not None
    assert width is not None
    assert channels is not None
    image = writer.get_nchw(x)
    values, places = writer.emit_many(
        "MaxPool",
        [image],
        op.name,
        2,
        kernel_shape=sizes_of(op, "ksize"),
        strides=sizes_of(op, "strides"),
        **pads_of(op),
    )

    def number(value: Any) -> str:
        return writer.constant(np.asarray(value, np.int64), f"{op.name}.number")

    cell = writer.emit("Mod", [places, number(height * width)], f"{op.name}.cell")
    cell = writer.emit("Mul", [cell, number(channels)], f"{op.name}.cells")
    cell = writer.emit("Add", [cell, number(np.arange(channels).reshape(1, -1, 1, 1))], f"{op.name}.place")
    if op.attrs.get("include_batch_in_index", False):
        whole = height * width * channels
        first = writer.emit(
            "Sub", [places, writer.emit("Mod", [places, number(whole)], f"{op.name}.rest")], f"{op.name}.image"
        )
        cell = writer.emit("Add", [cell, first], f"{op.name}.places")
    if to != np.int64:
        cell = writer.emit("Cast", [cell], f"{op.name}.cast", to=data_type(to, op.name))
    writer.set(op.outputs[0], values, nchw=True)
    writer.set(op.outputs[1], cell, nchw=True)


RULES: dict[str, Rule] = {
    "Conv2D": _conv, "DepthwiseConv2dNative": _conv, "MaxPool": _pool("MaxPool"), "AvgPool": _pool("AveragePool"),
    "BiasAdd": _bias_add, "BatchNormWithGlobalNormalization": _batch_norm, "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm, "FusedBatchNormV3": _batch_norm, "LRN": _lrn, "Conv2DBackpropInput": _input_grad,
    "DepthwiseConv2dNativeBackpropInput": _input_grad, "Conv3D": _volume("Conv"), "MaxPool3D": _volume("MaxPool"),
    "AvgPool3D": _volume("AveragePool"), "MaxPoolV2": _fed_pool, "MaxPoolWithArgmax": _pool_argmax,
}  # fmt: skip
