"""Random cases of the ops of images and windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .generate import Rng, array, pick, several
from .oracle import Case, Value

__all__ = ["GENERATORS"]

NUMBERS = ("float32", "float64", "uint8", "int8", "int16", "uint16", "int32", "int64", "float16")


def index(rng: Rng, values: Any) -> Value:
    return np.asarray(values).astype(pick(rng, ("int32", "int64")))


def image(rng: Rng, dtype: str, most: int = 7, odd: bool = False) -> Value:
    return array(rng, dtype, tuple(int(d) for d in rng.integers(1, most + 1, 4)), odd)


def blocks(op: str, rng: Rng) -> Case:
    """Sizes that mostly fit."""
    vector = op.endswith("ND")
    count = int(rng.integers(1, 4)) if vector else 2
    block = rng.integers(1, 4, count) if vector else np.full(2, rng.integers(2, 4))
    edges = rng.integers(0, 3, (count, 2))
    rest = tuple(rng.integers(1, 4, int(rng.integers(0, 3)) if vector else 1))
    grid = rng.integers(1, 4, count)
    if op.startswith("Space"):
        sizes = grid * block - edges.sum(1)
        edges[sizes < 1] = 0
        x = (int(rng.integers(1, 3)), *(grid * block - edges.sum(1)), *rest)
    else:
        x = (int(rng.integers(1, 3)) * int(np.prod(block)), *grid, *rest)
    if rng.random() < 0.15:
        x = (x[0], x[1] + 1, *x[2:])
    inputs = [array(rng, pick(rng, ("float32", "int32", "uint8", "int64")), x, odd=False)]
    if vector:
        return Case(op, [*inputs, index(rng, block), index(rng, edges)], {}, frozenset([0]), **several(rng))
    return Case(op, [*inputs, index(rng, edges)], {"block_size": int(block[0])}, frozenset([0]), **several(rng))


def depth(op: str, rng: Rng) -> Case:
    """The CPU kernels of TensorFlow take NHWC alone."""
    size = int(rng.integers(2, 4))
    n, h, w, c = (int(d) for d in rng.integers(1, 4, 4))
    sizes = (n, h * size, w * size, c) if op == "SpaceToDepth" else (n, h, w, c * size**2)
    if rng.random() < 0.15:
        sizes = (*sizes[:3], sizes[3] + 1) if op == "DepthToSpace" else (sizes[0], sizes[1] + 1, *sizes[2:])
    return Case(
        op,
        [array(rng, pick(rng, ("float32", "int32", "uint8")), sizes, odd=False)],
        {"block_size": size},
        **several(rng),
    )


def resize(op: str, rng: Rng) -> Case:
    dtype = pick(rng, NUMBERS)
    size = rng.integers(0 if rng.random() < 0.1 else 1, 12, 2)
    corners = bool(rng.random() < 0.3)
    attrs = {"align_corners": corners}
    if op != "ResizeArea":
        attrs["half_pixel_centers"] = bool(rng.random() < 0.5) and (not corners or rng.random() < 0.2)
    odd = op == "ResizeNearestNeighbor"
    x = image(rng, dtype, odd=odd)
    if dtype in ("int32", "int64"):
        x = x % 1000
    return Case(
        op,
        [x, size.astype(np.int32)],
        attrs,
        frozenset([0, 1] if rng.random() < 0.3 else [0]),
        0.0 if odd else 2e-5,
        **several(rng),
    )


def translate(op: str, rng: Rng) -> Case:
    x = image(rng, pick(rng, ("float32", "uint8", "int32", "float64")), most=9)
    kernels = ("lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle", "keyscubic", "mitchellcubic")
    attrs = {"kernel_type": pick(rng, kernels), "antialias": bool(rng.random() < 0.6)}
    scale = np.exp(rng.normal(size=2)).astype(np.float32)
    shift = (rng.normal(size=2) * 2).astype(np.float32)
    size = rng.integers(1, 10, 2).astype(np.int32)
    return Case(op, [x, size, scale, shift], attrs, frozenset([0]), 3e-5, **several(rng))


def crop(op: str, rng: Rng) -> Case:
    x = image(rng, pick(rng, NUMBERS))
    count = int(rng.integers(0, 5))
    boxes = (rng.normal(size=(count, 4)) * 0.5 + [0, 0, 1, 1]).astype(np.float32)
    owners = rng.integers(0, len(x) + (rng.random() < 0.1), count).astype(np.int32)
    size = rng.integers(1, 6, 2).astype(np.int32)
    attrs = {"method": pick(rng, ("bilinear", "nearest")), "extrapolation_value": float(np.float32(rng.normal()))}
    return Case(op, [x, boxes, owners, size], attrs, frozenset([0, 1, 2]), 2e-5, **several(rng))


def volume(op: str, rng: Rng) -> Case:
    dtype = pick(rng, ("float32",) if op.endswith("Pool3D") else ("float32", "float64"))
    n, c, out = (int(v) for v in rng.integers(1, 7, 3))
    # Where a window is wider than the volume, TensorFlow's max pool divides by 0 and its convolution drops terms.
    d, h, w = (int(v) for v in rng.integers(3, 8, 3))
    x = array(rng, dtype, (n, d, h, w, c), odd=False)
    window = rng.integers(1, 4, 3).tolist()
    attrs: dict[str, Any] = {
        "strides": [1, *rng.integers(1, 3, 3).tolist(), 1],
        "padding": pick(rng, ("SAME", "VALID")),
    }
    if op.endswith("Pool3D"):
        return Case(op, [x], {**attrs, "ksize": [1, *window, 1]}, loose=1e-5, **several(rng))
    f = rng.normal(size=(*window, c, out)).astype(dtype)
    if op == "Conv3D":
        return Case(op, [x, f], attrs, frozenset(pick(rng, ([0], [0, 1]))), 1e-4)
    same, strides = attrs["padding"] == "SAME", attrs["strides"][1:4]
    sizes = [-(-v // s) if same else (v - k) // s + 1 for v, k, s in zip((d, h, w), window, strides, strict=True)]
    if min(sizes) < 1:
        sizes = [1, 1, 1]
    dy = rng.normal(size=(n, *sizes, out)).astype(dtype)
    return Case(op, [np.array([n, d, h, w, c], np.int32), f, dy], attrs, frozenset([2]), 1e-4)


def transposed(op: str, rng: Rng) -> Case:
    """Sizes that fit the result of the convolution, or (rarely) do not."""
    n, h, w, c, out = (int(v) for v in rng.integers(1, 7, 5))
    kernel, stride = rng.integers(1, 4, 2).tolist(), int(rng.integers(1, 3))
    same = rng.random() < 0.5
    h, w = (max(v, k) for v, k in zip((h, w), kernel, strict=True))
    sizes = [-(-v // stride) if same else (v - k) // stride + 1 for v, k in zip((h, w), kernel, strict=True)]
    depthwise = op.startswith("Depthwise")
    f = rng.normal(size=(*kernel, c, out)).astype(np.float32)
    dy = rng.normal(size=(n, *sizes, c * out if depthwise else out)).astype(np.float32)
    whole = np.array([h, w] if rng.random() < 0.3 and not depthwise else [n, h, w, c], np.int32)
    if rng.random() < 0.1:
        whole = whole + 3
    attrs = {"strides": [1, stride, stride, 1], "padding": "SAME" if same else "VALID"}
    return Case(op, [whole, f, dy], attrs, frozenset([2]), 1e-4, **several(rng))


def windows(op: str, rng: Rng) -> Case:
    dtype = pick(rng, ("float32", "float64", "uint8", "int32", "int16"))
    x = image(rng, dtype, most=8)
    steps = rng.integers(1, 4, 2).tolist()
    attrs: dict[str, Any] = {"padding": pick(rng, ("SAME", "VALID")), "strides": [1, *steps, 1]}
    window, rates = rng.integers(1, 4, 2).tolist(), [1, *rng.integers(1, 3, 2).tolist(), 1]
    if op == "MaxPoolV2":
        x = image(rng, pick(rng, ("float32", "float64")))
        inputs = [x, np.array([1, *window, 1], np.int32), np.array([1, *steps, 1], np.int32)]
        return Case(op, inputs, {"padding": attrs["padding"]}, frozenset(pick(rng, ([0], [0, 1, 2]))), **several(rng))
    if op == "MaxPoolWithArgmax":
        if rng.random() < 0.3 and x.dtype.kind == "f":
            x = np.round(x)  # many equal cells
        more = {"include_batch_in_index": bool(rng.random() < 0.5), "Targmax": pick(rng, ("int32", "int64"))}
        return Case(op, [x], {**attrs, **more, "ksize": [1, *window, 1]}, outputs=2, **several(rng))
    if op == "Dilation2D":
        f = array(rng, dtype, (*window, x.shape[3]), odd=False)
        return Case(op, [x, f], {**attrs, "rates": rates}, frozenset([0, 1]), 1e-6, **several(rng))
    x = image(rng, pick(rng, ("float32", "uint8", "float64", "int64")))
    return Case(op, [x], {**attrs, "rates": rates, "ksizes": [1, *window, 1]}, **several(rng))


def suppression(op: str, rng: Rng) -> Case:
    """Scores of many boxes, some of them equal."""
    count = int(rng.integers(0, 25))
    corners = rng.uniform(0, 1, (count, 2))
    boxes = np.concatenate([corners, corners + rng.normal(size=(count, 2)) * 0.4], 1).astype(np.float32)
    scores = np.round(rng.normal(size=count), int(rng.integers(1, 4))).astype(np.float32)
    most = np.array(rng.integers(0, 12), np.int32)
    limits = [np.array(v, np.float32) for v in (rng.uniform(), rng.normal() - 1, pick(rng, (0.0, 0.3, 1.0)))]
    if op == "CombinedNonMaxSuppression":
        n, c = int(rng.integers(1, 3)), int(rng.integers(1, 4))
        q = pick(rng, (1, c))
        many = rng.uniform(-0.2, 1.2, (n, count, q, 4)).astype(np.float32)
        ranks = rng.uniform(size=(n, count, c)).astype(np.float32)
        sizes = [np.array(v, np.int32) for v in rng.integers(1, 8, 2)]
        attrs = {"pad_per_class": bool(rng.random() < 0.5), "clip_boxes": bool(rng.random() < 0.5)}
        return Case(
            op,
            [many, ranks, *sizes, limits[0], np.array(rng.uniform(), np.float32)],
            attrs,
            frozenset([0, 1]),
            outputs=4,
        )
    version = int(op[-1]) if op[-1].isdigit() else 1
    inputs = [boxes, scores, most, *limits[: (0, 1, 2, 2, 3)[version - 1]]]
    attrs = {"pad_to_max_output_size": bool(rng.random() < 0.5)} if version > 3 else {}
    if version == 1:
        attrs = {"iou_threshold": float(limits[0])}
    return Case(op, inputs, attrs, frozenset([0, 1]), 1e-5, outputs={4: 2, 5: 3}.get(version, 1), **several(rng))


def colours(op: str, rng: Rng) -> Case:
    dtypes = ("float32", "float64") if op.endswith(("HSV", "RGB")) else ("float32",)
    of = (*(int(d) for d in rng.integers(1, 5, 3)), 3 if rng.random() < 0.9 else 2)
    if rng.random() < 0.3:
        of = of[1:]
    x = np.round(rng.uniform(size=of), int(rng.integers(1, 4))).astype(pick(rng, dtypes))
    if op.endswith(("HSV", "RGB")):
        return Case(op, [x], loose=1e-5, **several(rng))
    amount = np.array(rng.uniform(-1, 1) if op == "AdjustHue" else rng.uniform(0, 2), np.float32)
    return Case(op, [x, amount], {}, frozenset([0, 1]), 1e-5, **several(rng))


FUSED = (
    ("BiasAdd",), ("BiasAdd", "Relu"), ("BiasAdd", "Relu6"), ("BiasAdd", "Elu"), ("BiasAdd", "LeakyRelu"), ("BiasAdd", "Tanh"),
    ("BiasAdd", "Sigmoid"), ("FusedBatchNorm",), ("FusedBatchNorm", "Relu"), ("FusedBatchNorm", "LeakyRelu"), ("BiasAdd", "Add"),
    ("BiasAdd", "Add", "Relu"), ("BiasAdd", "GeluExact"), ("BiasAdd", "GeluApproximate"),
)  # fmt: skip


def fused(op: str, rng: Rng) -> Case:
    """What of these has a kernel in TensorFlow depends on its build; what it refuses, kigraph may compute."""
    product = op == "_FusedMatMul"
    n, h, w, c, out = (int(d) for d in rng.integers(2, 6, 5))
    depth = op.startswith("_FusedDepth")
    x = array(rng, "float32", (n, c) if product else (n, h, w, c), odd=False)
    f = array(rng, "float32", (c, out) if product else (2, 2, c, 1) if depth else (2, 2, c, out), odd=False)
    out = c if depth else out
    steps = pick(rng, [s for s in FUSED if "FusedBatchNorm" not in s or not (product or depth)])
    args = []
    for step in steps:
        if step == "BiasAdd":
            args.append(array(rng, "float32", (out,), odd=False))
        elif step == "FusedBatchNorm":
            args += [rng.uniform(0.1, 2, out).astype(np.float32) for _ in range(4)]
        elif step == "Add":
            args.append(array(rng, "float32", (n, out) if product else (n, h, w, out), odd=False))
    attrs: dict[str, Any] = {"fused_ops": [s.encode() for s in steps], "num_args": len(args), "epsilon": 0.5}
    if "LeakyRelu" in steps:
        attrs["leakyrelu_alpha"] = 0.25
    if not product:
        attrs |= {"strides": [1, 1, 1, 1], "padding": "SAME"}
    return Case(op, [x, f, *args], attrs, frozenset([0]), 1e-4)


GENERATORS: dict[str, Callable[[str, Rng], Case]] = {
    **dict.fromkeys(("SpaceToBatchND", "BatchToSpaceND", "SpaceToBatch", "BatchToSpace"), blocks),
    **dict.fromkeys(("SpaceToDepth", "DepthToSpace"), depth),
    **dict.fromkeys(("ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"), resize),
    **dict.fromkeys(("_FusedConv2D", "_FusedDepthwiseConv2dNative", "_FusedMatMul"), fused),
    **dict.fromkeys(("Conv3D", "Conv3DBackpropInputV2", "MaxPool3D", "AvgPool3D"), volume),
    **dict.fromkeys(("MaxPoolV2", "MaxPoolWithArgmax", "Dilation2D", "ExtractImagePatches"), windows),
    **dict.fromkeys(("Conv2DBackpropInput", "DepthwiseConv2dNativeBackpropInput"), transposed),
    **dict.fromkeys(("NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5", "CombinedNonMaxSuppression"), suppression),
    **dict.fromkeys(("RGBToHSV", "HSVToRGB", "AdjustHue", "AdjustSaturation", "AdjustContrastv2"), colours),
    "ScaleAndTranslate": translate, "CropAndResize": crop,
}  # fmt: skip
