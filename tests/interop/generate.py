"""Random cases of every op type: shapes, element types and attributes, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .oracle import Case, Value

__all__ = ["GENERATORS", "INTS", "Rng", "array", "pick", "several", "shape"]

Rng = np.random.Generator
FLOATS = ("float16", "float32", "float64")
SIGNED = ("int8", "int16", "int32", "int64")
INTS = (*SIGNED, "uint8", "uint16", "uint32", "uint64")
COMPLEX = ("complex64", "complex128")
ODD = (0.0, -0.0, np.nan, np.inf, -np.inf, 0.5, 1.5, -2.5, 1e-30, 3e38)


def shape(rng: Rng, low: int = 0, high: int = 4, most: int = 5, empty: float = 0.1) -> tuple[int, ...]:
    sizes = rng.integers(1, most + 1, rng.integers(low, high + 1))
    return tuple(0 if rng.random() < empty / max(len(sizes), 1) else int(d) for d in sizes)


def pick(rng: Rng, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def array(rng: Rng, dtype: str, of: Sequence[int], odd: bool = True) -> Value:
    """Numbers of the type; floats with NaN, infinities and halves among them."""
    kind = np.dtype(dtype).kind if dtype != "string" else "S"
    if kind == "S":
        flat = np.empty(int(np.prod(of, dtype=int)), object)
        flat[:] = [pick(rng, (b"", b"a", b"bc", b"\xff")) for _ in flat]
        return flat.reshape(of)
    if kind == "b":
        return rng.integers(0, 2, of).astype(bool)
    if kind in "iu":
        info = np.iinfo(dtype)
        small = rng.integers(max(info.min, -4), 5, of).astype(dtype)
        return np.where(rng.random(of) < 0.1, pick(rng, (info.min, info.max)), small).astype(dtype) if odd else small
    values = rng.normal(size=of)
    if kind == "c":  # no rule says what products of infinities are
        return (values + 1j * rng.normal(size=of)).astype(dtype)
    if odd:
        values = np.where(rng.random(of) < 0.25, rng.choice(ODD, of), values)
    with np.errstate(all="ignore"):
        result = values.astype(np.float32).astype(dtype)
        return result


def several(rng: Rng) -> dict[str, Any]:
    return {"unknown": bool(rng.random() < 0.3)}


def unary(*dtypes: str, loose: float = 0.0, odd: bool = True) -> Callable[[str, Rng], Case]:
    def make(op: str, rng: Rng) -> Case:
        return Case(op, [array(rng, pick(rng, dtypes), shape(rng), odd)], loose=loose, **several(rng))

    return make


def pair_of_shapes(rng: Rng) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Equal, broadcasting, or (rarely) neither."""
    x = shape(rng)
    kind = rng.random()
    if kind < 0.4:
        return x, x
    if kind < 0.5:
        return x, shape(rng)
    y = tuple(1 if rng.random() < 0.3 else d for d in x)[int(rng.integers(len(x) + 1)) :]
    return (x, y) if rng.random() < 0.5 else (y, x)


def binary(*dtypes: str, loose: float = 0.0, odd: bool = True) -> Callable[[str, Rng], Case]:
    def make(op: str, rng: Rng) -> Case:
        dtype = pick(rng, dtypes)
        x, y = (array(rng, dtype, s, odd) for s in pair_of_shapes(rng))
        return Case(op, [x, y], fed=frozenset(pick(rng, ([0], [1], [0, 1]))), loose=loose, **several(rng))

    return make


def comparison(op: str, rng: Rng) -> Case:
    dtype = pick(rng, (*FLOATS, *INTS, *(("bool", "string", *COMPLEX) if "qual" in op and "Less" not in op and "Gr" not in op else ())))  # fmt: skip
    x, y = (array(rng, dtype, s) for s in pair_of_shapes(rng))
    if x.shape == y.shape and rng.random() < 0.5:
        y = np.where(rng.random(x.shape) < 0.5, x, y)
    attrs = {"incompatible_shape_error": bool(rng.random() < 0.5)} if op in ("Equal", "NotEqual") else {}
    return Case(op, [x, y], attrs, frozenset([0, 1]), **several(rng))


def select(op: str, rng: Rng) -> Case:
    dtype = pick(rng, ("float32", "int32", "string", "bool", "complex64"))
    x = shape(rng)
    kind = rng.random()
    y = x if kind < 0.7 else pair_of_shapes(rng)[0]
    c = pick(rng, (x, (), x[:1], x[:2], (1,), x[-1:], tuple(1 for _ in x)))
    inputs = [array(rng, "bool", c), array(rng, dtype, x), array(rng, dtype, y)]
    return Case(op, inputs, fed=frozenset([0, 1, 2]), **several(rng))


def reduction(*dtypes: str, loose: float = 0.0) -> Callable[[str, Rng], Case]:
    def make(op: str, rng: Rng) -> Case:
        x = array(rng, pick(rng, dtypes), shape(rng), odd=op in ("Max", "Min", "All", "Any"))
        axes = rng.integers(-x.ndim - (rng.random() < 0.05), max(x.ndim, 1), int(rng.integers(0, x.ndim + 1)))
        index = axes.astype(pick(rng, ("int32", "int64")))
        if rng.random() < 0.2 and len(index):
            index = index[0]
        return Case(op, [x, np.asarray(index)], {"keep_dims": bool(rng.random() < 0.5)}, loose=loose, **several(rng))

    return make


def argument(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, (*FLOATS, *INTS, "bool")), shape(rng, 1), odd=False)
    axis = np.array(rng.integers(-x.ndim - (rng.random() < 0.05), x.ndim), pick(rng, ("int32", "int64")))
    output = pick(rng, ("int32", "int64", "int16", "uint16") if op == "ArgMax" else ("int32", "int64"))
    return Case(op, [x, axis], {"output_type": output}, **several(rng))


def top_k(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, (*FLOATS, *INTS)), shape(rng, 1), odd=False)
    k = int(rng.integers(0, x.shape[-1] + 1 + (rng.random() < 0.1)))
    attrs = {"index_type": pick(rng, ("int16", "int32", "int64")), "sorted": True}
    return Case(op, [x, np.array(k, pick(rng, ("int16", "int32", "int64")))], attrs, outputs=2, **several(rng))


def matmul(op: str, rng: Rng) -> Case:
    dtype = pick(rng, ("float32", "float64", "int32", "int64", *COMPLEX, *(("int8",) if op == "BatchMatMulV3" else ())))
    m, k, n = (int(v) for v in rng.integers(0, 5, 3))
    a, b = (m, k), (k, n)
    names = ("transpose_a", "transpose_b") if op == "MatMul" else ("adj_x", "adj_y")
    attrs: dict[str, Any] = {name: bool(rng.random() < 0.4) for name in names}
    a, b = (a[::-1] if attrs[names[0]] else a), (b[::-1] if attrs[names[1]] else b)
    if op != "MatMul":
        one, two = pair_of_shapes(rng)
        a, b = (*one, *a), (*two, *b)
    if op == "BatchMatMulV3":
        attrs["Tout"] = dtype if rng.random() < 0.7 else pick(rng, ("int32", "float32"))
    if rng.random() < 0.3:
        attrs[{"MatMul": "grad_a"}.get(op, "grad_x")] = True
    return Case(
        op, [array(rng, dtype, a, False), array(rng, dtype, b, False)], attrs, frozenset([0, 1]), 1e-5, **several(rng)
    )


def cast(op: str, rng: Rng) -> Case:
    source, target = (pick(rng, (*FLOATS, *INTS, "bool", *COMPLEX)) for _ in range(2))
    x = array(rng, source, shape(rng))
    if x.dtype.kind == "f" and rng.random() < 0.5:
        with np.errstate(all="ignore"):
            x = (x * pick(rng, (1, 100, 1e5, 1e10, 1e20))).astype(source)
    if x.dtype.kind == "c" and target in INTS:
        x = np.abs(x.real) + 1j * x.imag
    if x.dtype.kind == "f" and target not in ("int32", "int64", "uint64") and target in INTS:
        bounds = np.iinfo(target)  # TensorFlow's own answer beyond them depends on the size of the array
        x = np.clip(np.nan_to_num(x), bounds.min, min(bounds.max, 60000 if source == "float16" else 2**31 - 129))
    return Case(op, [x], {"DstT": target, "Truncate": bool(rng.random() < 0.4)}, **several(rng))


def as_string(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, (*FLOATS, *INTS, "bool", *COMPLEX, "string")), shape(rng, 0, 2))
    attrs: dict[str, Any] = {}
    if rng.random() < 0.6:
        attrs["precision"] = int(rng.integers(1 if x.dtype == object else -2, 9))
    if rng.random() < 0.3:
        attrs[pick(rng, ("scientific", "shortest"))] = True
    if rng.random() < 0.5:
        attrs["width"] = int(rng.integers(-2, 12))
    if rng.random() < 0.4:
        attrs["fill"] = pick(rng, ("0", " ", "-", "+", "x", "00", ""))
    return Case(op, [x], attrs, **several(rng))


def softmax(op: str, rng: Rng) -> Case:
    return Case(op, [array(rng, pick(rng, FLOATS), shape(rng), odd=False)], loose=1e-2, **several(rng))


def image(rng: Rng, dtype: str = "float32") -> Value:
    n, h, w, c = (int(v) for v in (rng.integers(1, 3), rng.integers(1, 9), rng.integers(1, 9), rng.integers(1, 7)))
    return rng.normal(size=(n, h, w, c)).astype(dtype)


def window(rng: Rng, kinds: Sequence[str], conv: bool) -> dict[str, Any]:
    attrs: dict[str, Any] = {"padding": pick(rng, kinds)}
    attrs["strides"] = [1, *rng.integers(1, 4, 2).tolist(), 1]
    if attrs["padding"] == "EXPLICIT" or (rng.random() < 0.05 and len(kinds) > 2):
        attrs["explicit_paddings"] = [0, 0, *rng.integers(0, 2, 4).tolist(), 0, 0]
    if conv and rng.random() < 0.4:
        attrs["dilations"] = [1, *rng.integers(1, 3, 2).tolist(), 1]
    return attrs


def conv(op: str, rng: Rng) -> Case:
    x = image(rng)
    c = x.shape[3]
    cin = c if rng.random() < 0.6 else pick(rng, [d for d in range(1, 7) if c % d == 0 or rng.random() < 0.1])
    groups = max(c // cin, 1)
    out = int(rng.integers(1, 4)) * (groups if rng.random() < 0.9 else 1)
    if op != "Conv2D":
        cin, out = c, int(rng.integers(1, 4))
    w = rng.normal(size=(*rng.integers(1, 4, 2), cin, out)).astype(x.dtype)
    attrs = window(rng, ("SAME", "VALID", "EXPLICIT"), True)
    if op == "Conv2D" and rng.random() < 0.3:
        attrs["use_cudnn_on_gpu"] = False
    if op != "Conv2D":
        attrs["strides"] = [1, attrs["strides"][1], attrs["strides"][1], 1]
    return Case(op, [x, w], attrs, frozenset(pick(rng, ([0], [0, 1]))), 1e-4)


def pool(op: str, rng: Rng) -> Case:
    x = image(rng, pick(rng, ("float32", "float64")))
    kinds = ("SAME", "VALID", "EXPLICIT") if op == "MaxPool" else ("SAME", "VALID")
    attrs = {**window(rng, kinds, False), "ksize": [1, *rng.integers(1, 4, 2).tolist(), 1]}
    return Case(op, [x], attrs, loose=1e-5, **several(rng))


def norm(op: str, rng: Rng) -> Case:
    x = image(rng)
    c = x.shape[3]
    mean, offset, scale = (rng.normal(size=c).astype(np.float32) for _ in range(3))
    variance = rng.uniform(0.1, 2, c).astype(np.float32)
    if op == "BatchNormWithGlobalNormalization":
        attrs: dict[str, Any] = {"variance_epsilon": 0.01, "scale_after_normalization": bool(rng.random() < 0.5)}
        return Case(op, [x, mean, variance, offset, scale], attrs, loose=1e-4, **several(rng))
    attrs = {"is_training": bool(rng.random() < 0.4), "epsilon": float(np.float32(pick(rng, (0.0, 1e-3, 0.5))))}
    if rng.random() < 0.3:
        attrs["exponential_avg_factor"] = 0.5
    if rng.random() < 0.1:
        attrs["data_format"] = "NCHW"
    if op != "FusedBatchNorm" and rng.random() < 0.2:
        x = x.astype(np.float16)
    loose = 1e-4 if x.dtype == np.float32 else 1e-2
    return Case(op, [x, scale, offset, mean, variance], attrs, loose=loose, outputs=pick(rng, (1, 3)), **several(rng))


def response(op: str, rng: Rng) -> Case:
    """LRN and LRNGrad. Radii below 0 and of 2 ** 31 - 1 are refused."""
    x = image(rng, pick(rng, ("float32", "float16")))
    if rng.random() < 0.2:
        x = x[:0] if rng.random() < 0.5 else x[0] if rng.random() < 0.2 else x[..., :0]
    attrs: dict[str, Any] = {
        "depth_radius": pick(rng, (0, 1, 2, 3, 9, 2**30, *((-1, 2**31 - 1) if rng.random() < 0.2 else ())))
    }
    attrs |= {
        k: float(np.float32(rng.uniform(a, b)))
        for k, a, b in (("bias", 0.5, 2), ("alpha", 0, 1.5))
        if rng.random() < 0.7
    }
    if rng.random() < 0.7:
        attrs["beta"] = float(np.float32(pick(rng, (-0.5, 0.0, 0.3, 0.5, 0.75, 1.0, 2.0))))
    dy, y = (rng.normal(size=x.shape).astype(x.dtype) for _ in range(2))
    inputs = [x] if op == "LRN" else [dy, x, y]
    return Case(
        op, inputs, attrs, frozenset(range(len(inputs))), 1e-5 if x.dtype == np.float32 else 2e-2, **several(rng)
    )


def bias(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ("float32", "int32", "float64")), shape(rng, 1))
    b = array(rng, str(x.dtype), x.shape[-1:] if rng.random() < 0.9 else shape(rng, 0, 2))
    attrs = {"data_format": "NCHW"} if op == "BiasAdd" and rng.random() < 0.1 else {}
    return Case(op, [x, b], attrs, frozenset([0, 1]), **several(rng))


def resize(op: str, rng: Rng) -> Case:
    x = image(rng, pick(rng, ("float32", "uint8", "int32", "float64")))
    flags = pick(rng, ({}, {"align_corners": True}, {"half_pixel_centers": True}, {"align_corners": True, "half_pixel_centers": True}))  # fmt: skip
    size = rng.integers(0 if rng.random() < 0.05 else 1, 9, 2).astype(np.int32)
    return Case(op, [x, size], flags, frozenset(pick(rng, ([0], [0, 1]))), 1e-5, **several(rng))


def cross_entropy(op: str, rng: Rng) -> Case:
    n, c = (int(v) for v in rng.integers(1, 6, 2))
    x = rng.normal(size=(n, c)).astype(pick(rng, ("float32", "float64")))
    if op.startswith("Sparse"):
        labels: Value = rng.integers(0, c, n).astype(pick(rng, ("int32", "int64")))
    else:
        labels = rng.random((n, c)).astype(x.dtype)
        labels /= labels.sum(1, keepdims=True)
    return Case(op, [x, labels], {}, frozenset([0, 1]), 1e-4, outputs=2, **several(rng))


SMALL = ("float32", "float64")
GENERATORS: dict[str, Callable[[str, Rng], Case]] = {
    **dict.fromkeys(("Neg", "Abs", "Sign"), unary(*FLOATS, *SIGNED)),
    "ComplexAbs": lambda op, rng: Case(op, [array(rng, (t := pick(rng, COMPLEX)), shape(rng))], {"Tout": pick(rng, ("float32", "float64")) if rng.random() < 0.3 else f"float{np.dtype(t).itemsize * 4}"}, loose=1e-6),
    "Square": unary(*FLOATS, *INTS, *COMPLEX, loose=1e-3),
    **dict.fromkeys(("Reciprocal", "Inv"), unary(*SMALL, *SIGNED, *COMPLEX, loose=1e-5)),
    **dict.fromkeys(("Sqrt", "Rsqrt", "Exp", "Log", "Log1p", "Sin", "Cos", "Tanh", "Sigmoid"), unary(*SMALL, "complex64", "complex128", loose=1e-5, odd=False)),
    "Erf": unary(*SMALL, loose=1e-5, odd=False), "Softplus": unary(*SMALL, loose=1e-5),
    **dict.fromkeys(("Floor", "Ceil"), unary(*FLOATS)), "Rint": unary(*SMALL),
    **dict.fromkeys(("TruncateDiv", "TruncateMod", "Mod"), binary("int32", "int64", odd=False)),
    "Round": unary("float32", "float64"),  # integers become 0 in TensorFlow 2.21
    **dict.fromkeys(("Relu", "Relu6"), unary(*FLOATS, *INTS)),
    "LogicalNot": unary("bool"), "LogicalAnd": binary("bool"), "LogicalOr": binary("bool"),
    "Add": binary(*FLOATS, *SIGNED, "uint8", *COMPLEX, "string", loose=1e-3),
    "AddV2": binary(*FLOATS, *INTS, *COMPLEX, loose=1e-3),
    **dict.fromkeys(("Sub", "Mul"), binary(*FLOATS, *INTS, *COMPLEX, loose=1e-3)),
    **dict.fromkeys(("Div", "RealDiv"), binary(*SMALL, *INTS, *COMPLEX, loose=1e-4)),
    "FloorDiv": binary(*SMALL, *INTS), "FloorMod": binary(*SMALL, *INTS, loose=1e-6),
    "Pow": binary(*SMALL, *SIGNED, *COMPLEX, loose=1e-3), "SquaredDifference": binary(*SMALL, "int32", "int64", *COMPLEX, loose=1e-3),
    **dict.fromkeys(("Maximum", "Minimum"), binary(*FLOATS, *INTS)),
    **dict.fromkeys(("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"), comparison),
    **dict.fromkeys(("Select", "SelectV2"), select),
    **dict.fromkeys(("Sum", "Mean", "Prod"), reduction(*SMALL, "int8", "int32", "int64", "uint8", "complex64", loose=1e-4)),
    **dict.fromkeys(("Max", "Min"), reduction(*FLOATS, *INTS)), **dict.fromkeys(("All", "Any"), reduction("bool")),
    **dict.fromkeys(("ArgMax", "ArgMin"), argument), "TopKV2": top_k,
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), matmul),
    "Cast": cast, "AsString": as_string, **dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative"), conv), **dict.fromkeys(("MaxPool", "AvgPool"), pool),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "BatchNormWithGlobalNormalization"), norm),
    **dict.fromkeys(("LRN", "LRNGrad"), response), **dict.fromkeys(("BiasAdd", "BiasAddV1"), bias), "ResizeBilinear": resize,
    "SoftmaxCrossEntropyWithLogits": cross_entropy, "SparseSoftmaxCrossEntropyWithLogits": cross_entropy,
    **dict.fromkeys(("ReluGrad", "Relu6Grad"), binary(*FLOATS, "int32", odd=False)),
}  # fmt: skip
