"""Random cases of rarer functions, of picking and placing by indices, and of quantised numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .generate import FLOATS, INTS, Rng, array, binary, pick, several, shape, unary
from .generate_layout import ANY, fed, index
from .oracle import Case, Value

__all__ = ["GENERATORS"]

SMALL = ("float32", "float64")


def bounded(*dtypes: str, low: float = -1, high: float = 1, loose: float = 1e-5) -> Callable[[str, Rng], Case]:
    def make(op: str, rng: Rng) -> Case:
        x = np.asarray(rng.uniform(low, high, shape(rng))).astype(pick(rng, dtypes))
        return Case(op, [x], loose=loose, **several(rng))

    return make


def leaky(op: str, rng: Rng) -> Case:
    attrs = {} if rng.random() < 0.3 else {"alpha": float(np.float32(pick(rng, (0.0, 0.01, 0.5, 1.0, -0.5, 1.5))))}
    return Case(op, [array(rng, pick(rng, FLOATS), shape(rng), odd=False)], attrs, loose=1e-3, **several(rng))


def add_n(op: str, rng: Rng) -> Case:
    dtype, of = pick(rng, (*FLOATS, *INTS, "complex64")), shape(rng)
    count = int(rng.integers(1, 6))
    inputs = [array(rng, dtype, of if rng.random() < 0.97 else shape(rng), odd=False) for _ in range(count)]
    return Case(op, inputs, {}, frozenset(range(count)), 3e-3 if dtype == "float16" else 1e-5, **several(rng))


def clip(op: str, rng: Rng) -> Case:
    dtype, of = pick(rng, (*SMALL, "int32", "int64")), shape(rng)
    low, high = (of if rng.random() < 0.2 else () for _ in range(2))
    if rng.random() < 0.1:
        low = shape(rng)
    a, b = array(rng, dtype, low, odd=False), array(rng, dtype, high, odd=False)
    if low == high:
        a, b = np.minimum(a, b), np.maximum(a, b)
    elif low == () or high == ():
        a, b = (
            np.minimum(a, b.min(initial=a.min(initial=9))).astype(dtype),
            np.maximum(b, a.max(initial=b.max(initial=-9))).astype(dtype),
        )
        a, b = a.reshape(low) if a.size == 1 else a, b.reshape(high) if b.size == 1 else b
    return Case(op, [array(rng, dtype, of, odd=False), np.asarray(a), np.asarray(b)], **several(rng))


def einsum(op: str, rng: Rng) -> Case:
    sizes = {c: int(rng.integers(1, 5)) for c in "abcde"}
    terms = [
        "".join(rng.choice(list("abcde"), int(rng.integers(0, 4)), replace=False))
        for _ in range(pick(rng, (1, 2, 2, 2)))
    ]
    found = sorted(set("".join(terms)))
    result = "".join(rng.permutation(found)[: int(rng.integers(0, len(found) + 1))])
    dtype = pick(rng, (*SMALL, "int32", "complex64"))
    shapes = [tuple(sizes[c] for c in t) for t in terms]
    if rng.random() < 0.3:
        front = tuple(rng.integers(1, 4, int(rng.integers(0, 3))).tolist())
        terms, result = [f"...{t}" for t in terms], f"...{result}"
        shapes = [(*(1 if rng.random() < 0.3 else d for d in front), *s) for s in shapes]
    if rng.random() < 0.05:
        shapes[0] = (*shapes[0], 2)
    inputs = [array(rng, dtype, s, odd=False) for s in shapes]
    equation = f"{','.join(terms)}->{result}"
    return Case(op, inputs, {"equation": equation}, frozenset(range(len(inputs))), 1e-4, **several(rng))


def identity_n(op: str, rng: Rng) -> Case:
    inputs = [array(rng, pick(rng, ANY), shape(rng)) for _ in range(int(rng.integers(1, 4)))]
    return Case(op, inputs, {}, frozenset(range(len(inputs))), outputs=len(inputs), **several(rng))


def plain(op: str, rng: Rng) -> Case:
    return Case(op, [array(rng, pick(rng, ANY), shape(rng))], **several(rng))


def like(op: str, rng: Rng) -> Case:
    return Case(
        op,
        [array(rng, pick(rng, ("float32", "int32", "uint8", "bool", "complex64", "int64")), shape(rng))],
        **several(rng),
    )


def ensure(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng))
    wanted = [None if rng.random() < 0.4 else d for d in x.shape]
    if wanted and rng.random() < 0.2:
        wanted[0] = 7
    return Case(op, [x], {"shape": wanted}, **several(rng))


def bitcast(op: str, rng: Rng) -> Case:
    types = ("float32", "int32", "uint8", "int8", "float64", "int64", "uint16", "float16", "complex64")
    old, new = pick(rng, types), pick(rng, types)
    of = shape(rng)
    ratio = np.dtype(new).itemsize // np.dtype(old).itemsize
    if ratio > 1 and rng.random() < 0.8:
        of = (*of, ratio)
    return Case(op, [array(rng, old, of, odd=False)], {"type": new}, **several(rng))


def rows(rng: Rng, limits: tuple[int, ...], of: tuple[int, ...]) -> Value:
    columns = [rng.integers(0, max(n, 1) + (rng.random() < 0.03), of) for n in limits]
    made = np.stack(columns, axis=-1) if columns else np.zeros((*of, 0))
    return np.asarray(made).astype(pick(rng, ("int32", "int64")))


def gather_nd(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng, 1, empty=0))
    depth = int(rng.integers(0, x.ndim + 1))
    return Case(op, [x, rows(rng, x.shape[:depth], shape(rng, 0, 2))], {}, frozenset([0, 1]), **several(rng))


def scatter_nd(op: str, rng: Rng) -> Case:
    of = shape(rng, 1, empty=0)
    depth, front = int(rng.integers(1, len(of) + 1)), shape(rng, 1, 2)
    where = rows(rng, of[:depth], front)
    updates = array(rng, pick(rng, ("float32", "int32", "float64", "complex64")), (*front, *of[depth:]), odd=False)
    sizes = np.array(of, where.dtype)
    return Case(op, [where, updates, sizes], {}, frozenset(pick(rng, ([0, 1], [1]))), 1e-5, **several(rng))


def tensor_scatter(op: str, rng: Rng) -> Case:
    """Updates at one place are no case: their order is open."""
    of = shape(rng, 1, empty=0)
    dtype = pick(rng, ("float32", "int32", "float64"))
    count = int(rng.integers(0, of[0] + 1))
    where = rng.permutation(of[0])[:count].astype(pick(rng, ("int32", "int64")))[:, None]
    updates = array(rng, dtype, (count, *of[1:]), odd=False)
    return Case(op, [array(rng, dtype, of, odd=False), where, updates], {}, frozenset([0, 1, 2]), 1e-5, **several(rng))


def one_hot(op: str, rng: Rng) -> Case:
    where = rng.integers(-2, 6, shape(rng, 0, 3)).astype(pick(rng, ("int32", "int64", "int8")))
    dtype, depth = pick(rng, ("float32", "int32", "bool", "complex64")), np.array(rng.integers(0, 6), np.int32)
    values = [array(rng, dtype, (), odd=False) for _ in range(2)]
    attrs = {} if rng.random() < 0.5 else {"axis": int(rng.integers(-1, where.ndim + 1 + (rng.random() < 0.05)))}
    return Case(op, [where, depth, *values], attrs, frozenset(pick(rng, ([0], [0, 1], [2, 3]))), **several(rng))


def segments(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ("float32", "int32", "float64")), shape(rng, 1), odd=False)
    rank, count = int(rng.integers(1, x.ndim + 1)), int(rng.integers(1, 5))
    ids = rng.integers(-1, count, x.shape[:rank]).astype(pick(rng, ("int32", "int64")))
    return Case(op, [x, ids, np.array(count, np.int32)], {}, fed(rng, 1, 2), 1e-4, **several(rng))


def reverse(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng))
    if op == "Reverse":
        return Case(op, [x, rng.integers(0, 2, x.ndim).astype(bool)], {}, fed(rng, 1), **several(rng))
    axes = rng.permutation(x.ndim)[: int(rng.integers(0, x.ndim + 1))] - (x.ndim if rng.random() < 0.3 else 0)
    if axes.size and rng.random() < 0.1:
        axes = np.append(axes, axes[0])
    return Case(op, [x, index(rng, axes)], {}, fed(rng, 1), **several(rng))


def reverse_sequence(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ("float32", "int32", "uint8")), shape(rng, 2, 4, empty=0))
    sequence, batch = (int(a) for a in rng.permutation(x.ndim)[:2])
    lengths = rng.integers(0, x.shape[sequence] + 1 + (rng.random() < 0.1), x.shape[batch])
    return Case(
        op, [x, index(rng, lengths)], {"seq_dim": sequence, "batch_dim": batch}, frozenset([0, 1]), **several(rng)
    )


def roll(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng, 1))
    axes = rng.integers(-x.ndim, x.ndim + (rng.random() < 0.1), pick(rng, ((), (1,), (3,))))
    shifts = rng.integers(-9, 9, axes.shape if rng.random() < 0.95 else (2,))
    return Case(op, [x, index(rng, shifts), index(rng, axes)], {}, fed(rng, 1, 2), **several(rng))


def cumulative(op: str, rng: Rng) -> Case:
    kinds = SMALL if "Log" in op else (*SMALL, "int32", "int64", "complex64")
    x = array(rng, pick(rng, kinds), shape(rng, 1), odd=False)
    axis = index(rng, rng.integers(-x.ndim - (rng.random() < 0.1), x.ndim))
    attrs = {k: bool(rng.random() < 0.5) for k in ("exclusive", "reverse")}
    return Case(op, [x, axis], attrs, fed(rng, 1), 1e-4, **several(rng))


def band(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ("float32", "int32", "bool", "complex64")), shape(rng, 2 if rng.random() < 0.95 else 1))
    kind = pick(rng, ("int32", "int64"))
    low, high = (np.array(rng.integers(-1, 4), kind) for _ in range(2))
    return Case(op, [x, low, high], {}, fed(rng, 1, 2), **several(rng))


def unravel(op: str, rng: Rng) -> Case:
    dims = rng.integers(1, 5, int(rng.integers(1, 4)))
    kind = pick(rng, ("int32", "int64"))
    where = rng.integers(0, int(dims.prod()), shape(rng, 0, 1)).astype(kind)
    return Case(op, [where, dims.astype(kind)], {}, frozenset(pick(rng, ([0], [0, 1]))), **several(rng))


def bucketize(op: str, rng: Rng) -> Case:
    bounds = [float(np.float32(b)) for b in sorted(rng.normal(size=int(rng.integers(0, 5))))]
    x = array(rng, pick(rng, (*SMALL, "int32", "int64")), shape(rng), odd=False)
    return Case(op, [x], {"boundaries": bounds}, **several(rng))


def permutation(op: str, rng: Rng) -> Case:
    x = index(rng, rng.permutation(int(rng.integers(0, 6))))
    if x.size and rng.random() < 0.2:
        x[0] = rng.integers(-1, 7)
    return Case(op, [x], **several(rng))


def linspace(op: str, rng: Rng) -> Case:
    dtype = pick(rng, SMALL)
    ends = [array(rng, dtype, (), odd=False) for _ in range(2)]
    return Case(
        op, [*ends, index(rng, rng.integers(0, 7))], {}, frozenset(pick(rng, ([0], [0, 1, 2]))), 1e-5, **several(rng)
    )


def approximate(op: str, rng: Rng) -> Case:
    of, dtype = shape(rng), pick(rng, SMALL)
    attrs = {"tolerance": float(np.float32(pick(rng, (0.1, 1.5))))} if rng.random() < 0.7 else {}
    inputs = [array(rng, dtype, s, odd=False) for s in (of, of if rng.random() < 0.95 else shape(rng))]
    return Case(op, inputs, attrs, frozenset([0, 1]), **several(rng))


MODES = ("MIN_COMBINED", "MIN_FIRST", "SCALED")


def ranges(rng: Rng, of: tuple[int, ...], dtype: str = "float32") -> list[Value]:
    """From below 0 to above it: of other ranges TensorFlow's versions of these ops make different things."""
    return [np.asarray(rng.uniform(a, b, of)).astype(dtype) for a, b in ((-3, -0.1), (0.1, 3))]


def dequantize(op: str, rng: Rng) -> Case:
    dtype = pick(rng, ("uint8", "int8", "uint16", "int16", "int32"))
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, shape(rng, 1), dtype, endpoint=True)
    attrs: dict[str, Any] = {"mode": pick(rng, MODES)}
    if rng.random() < 0.3:
        attrs["narrow_range"] = True
    of: tuple[int, ...] = ()
    if rng.random() < 0.3:
        attrs["axis"] = int(rng.integers(x.ndim))
        of = (x.shape[attrs["axis"]],)
    return Case(op, [x, *ranges(rng, of)], attrs, frozenset([1, 2]), 1e-5, quantised={0: f"q{dtype}"}, **several(rng))


def quantize(op: str, rng: Rng) -> Case:
    x = (rng.normal(size=shape(rng, 1)) * 2).astype(np.float32)
    attrs: dict[str, Any] = {"T": pick(rng, ("quint8", "qint8", "quint16", "qint16")), "mode": pick(rng, MODES)}
    if attrs["mode"] == "SCALED":
        attrs["round_mode"] = pick(rng, ("HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN"))
        attrs["narrow_range"] = bool(rng.random() < 0.4)
    of: tuple[int, ...] = ()
    if rng.random() < 0.3:
        attrs["axis"] = int(rng.integers(x.ndim))
        of = (x.shape[attrs["axis"]],)
    return Case(op, [x, *ranges(rng, of)], attrs, frozenset([0, 1, 2]), 1e-6, outputs=3, **several(rng))


def fake_quant(op: str, rng: Rng) -> Case:
    x = (rng.normal(size=shape(rng, 1, 4 if "Per" not in op else 3)) * 3).astype(np.float32)
    attrs: dict[str, Any] = {"num_bits": int(rng.integers(2, 17)), "narrow_range": bool(rng.random() < 0.4)}
    low, high = ranges(rng, x.shape[-1:] if "Per" in op else ())
    if "Args" in op:
        attrs |= {"min": float(low), "max": float(high)}
        return Case(op, [x], attrs, loose=1e-6, **several(rng))
    return Case(op, [x, low, high], attrs, frozenset([0, 1, 2]), 1e-6, **several(rng))


def round_trip(op: str, rng: Rng) -> Case:
    x = np.asarray(rng.normal(size=shape(rng, 1, empty=0)) * 2).astype(pick(rng, SMALL))
    attrs: dict[str, Any] = {k: bool(rng.random() < 0.5) for k in ("signed_input", "range_given", "narrow_range")}
    bits = int(rng.integers(2, 17))
    of: tuple[int, ...] = ()
    if rng.random() < 0.3:
        attrs["axis"] = int(rng.integers(x.ndim))
        of = (x.shape[attrs["axis"]],)
    inputs: list[Value] = [x, *ranges(rng, of, str(x.dtype))]
    if op.endswith("3"):
        inputs.append(np.array(bits, np.int32))
    else:
        attrs |= {"num_bits": bits, "round_mode": pick(rng, ("HALF_TO_EVEN", "HALF_UP"))}
    return Case(op, inputs, attrs, frozenset([0, 1, 2]), 1e-5, **several(rng))


def where(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ("bool", "float32", "int32", "complex64")), shape(rng, 1))
    return Case(op, [np.where(rng.random(x.shape) < 0.3, x.dtype.type(0), x)], **several(rng))


def unique(op: str, rng: Rng) -> Case:
    dtype = pick(rng, ("float32", "int32", "int64", "string", "uint8"))
    of = shape(rng, 1, 3 if op.endswith("V2") and dtype != "string" else 1)
    attrs = {} if rng.random() < 0.5 else {"out_idx": pick(rng, ("int32", "int64"))}
    inputs = [array(rng, dtype, of, odd=False)]
    if dtype == "float32":
        inputs[0] = np.round(inputs[0])
    if op.endswith("V2"):
        inputs.append(index(rng, [int(rng.integers(-len(of), len(of)))] if len(of) > 1 or rng.random() < 0.7 else []))
    return Case(op, inputs, attrs, outputs=3 if "Counts" in op else 2, **several(rng))


def sorted_segments(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ("float32", "int32", "float64")), shape(rng, 1, empty=0), odd=False)
    ids = np.sort(rng.integers(0, 5, x.shape[0] - (rng.random() < 0.05)))
    if rng.random() < 0.05:
        ids = ids[::-1]
    return Case(op, [x, index(rng, ids)], {}, frozenset([0, 1]), 1e-4, **several(rng))


def decode_raw(op: str, rng: Rng) -> Case:
    of, length = shape(rng, 0, 2, empty=0), int(rng.integers(0, 4)) * 4
    words = np.empty(int(np.prod(of, dtype=int)), object)
    words[:] = [rng.integers(0, 256, length + (rng.random() < 0.02)).astype(np.uint8).tobytes() for _ in words]
    attrs: dict[str, Any] = {"out_type": pick(rng, ("uint8", "int16", "int32", "uint16", "bool"))}
    if rng.random() < 0.4:
        attrs["little_endian"] = bool(rng.random() < 0.5)
    return Case(op, [words.reshape(of)], attrs, **several(rng))


def diagonals(op: str, rng: Rng) -> Case:
    front, rows, columns = shape(rng, 0, 1, empty=0), int(rng.integers(1, 5)), int(rng.integers(1, 5))
    dtype = pick(rng, ("float32", "int32", "bool"))
    x = array(rng, dtype, (*front, rows, columns), odd=False)
    low, high = sorted(int(v) for v in rng.integers(1 - rows, columns, 2))
    if op[-2:] not in ("V2", "V3"):
        diagonal = array(rng, dtype, (*front, min(rows, columns)), odd=False)
        inputs = {"MatrixDiag": [diagonal], "MatrixDiagPart": [x], "MatrixSetDiag": [x, diagonal]}[op]
        return Case(op, inputs, {}, frozenset(range(len(inputs))), **several(rng))
    if rng.random() < 0.3:
        low = high
    k = np.array([low, high] if low < high or rng.random() < 0.5 else high, np.int32)
    longest = min(rows + min(high, 0), columns - max(low, 0))
    diagonal = array(rng, dtype, (*front, *((high - low + 1,) if low < high else ()), longest), odd=False)
    padding = array(rng, dtype, (), odd=False)
    attrs = {"align": pick(rng, ("LEFT_LEFT", "LEFT_RIGHT", "RIGHT_LEFT", "RIGHT_RIGHT"))} if op.endswith("3") else {}
    if "Part" in op:
        return Case(op, [x, k, padding], attrs, fed(rng, 1, 2), **several(rng))
    if "Set" in op:
        return Case(op, [x, diagonal, k], attrs, frozenset(pick(rng, ([0, 1], [0, 1, 2]))), **several(rng))
    sizes = [np.array(n if rng.random() < 0.7 else -1, np.int32) for n in (rows, columns)]
    return Case(op, [diagonal, k, *sizes, padding], attrs, fed(rng, 1), **several(rng))


def square(op: str, rng: Rng) -> Case:
    n = int(rng.integers(1, 4))
    x = (rng.normal(size=(*shape(rng, 0, 1, empty=0), n, n)) * 0.3 + 2 * np.eye(n)).astype(
        pick(rng, (*SMALL, "complex64"))
    )
    attrs = {"adjoint": bool(rng.random() < 0.5)} if op == "MatrixInverse" else {}
    return Case(op, [x], attrs, loose=1e-4, **several(rng))


GENERATORS: dict[str, Callable[[str, Rng], Case]] = {
    **dict.fromkeys(("Elu", "Selu", "Softsign", "Erfc"), unary(*SMALL, loose=1e-5, odd=False)), "LeakyRelu": leaky,
    **dict.fromkeys(("Expm1", "Tan", "Sinh", "Cosh", "Asinh", "Atan"), bounded(*SMALL, "complex64", low=-1.4, high=1.4)),
    **dict.fromkeys(("Asin", "Acos", "Atanh"), bounded(*SMALL, low=-1.2, high=1.2)), "Acosh": bounded(*SMALL, low=0.9, high=5),
    **dict.fromkeys(("IsNan", "IsInf", "IsFinite"), unary(*FLOATS)), "Invert": unary(*INTS), "Atan2": binary(*SMALL, loose=1e-5),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), binary(*INTS)),
    **dict.fromkeys(("LeftShift", "RightShift"), binary(*INTS, odd=False)),
    **dict.fromkeys(("DivNoNan", "MulNoNan"), binary(*SMALL, loose=1e-5)),
    **dict.fromkeys(("Xlogy", "Xlog1py", "Xdivy"), binary(*SMALL, loose=1e-5, odd=False)),
    "AddN": add_n, "ClipByValue": clip, "Einsum": einsum, "IdentityN": identity_n, "L2Loss": bounded(*SMALL, loose=1e-4),
    "ApproximateEqual": approximate, **dict.fromkeys(("GuaranteeConst", "DeepCopy"), plain),
    **dict.fromkeys(("ZerosLike", "OnesLike"), like), "EnsureShape": ensure, "Bitcast": bitcast, "GatherNd": gather_nd,
    "ScatterNd": scatter_nd, "OneHot": one_hot, **dict.fromkeys(("ReverseV2", "Reverse"), reverse),
    **dict.fromkeys(("TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub", "TensorScatterMax", "TensorScatterMin"), tensor_scatter),
    **dict.fromkeys(("UnsortedSegmentSum", "UnsortedSegmentProd", "UnsortedSegmentMax", "UnsortedSegmentMin"), segments),
    "ReverseSequence": reverse_sequence, "Roll": roll, **dict.fromkeys(("Cumsum", "Cumprod", "CumulativeLogsumexp"), cumulative),
    "MatrixBandPart": band, "UnravelIndex": unravel, "Bucketize": bucketize, "InvertPermutation": permutation, "LinSpace": linspace,
    "Where": where, **dict.fromkeys(("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2"), unique), "DecodeRaw": decode_raw,
    **dict.fromkeys(("SegmentSum", "SegmentMean", "SegmentProd", "SegmentMax", "SegmentMin"), sorted_segments),
    **dict.fromkeys(("MatrixDiag", "MatrixDiagPart", "MatrixSetDiag", "MatrixDiagV2", "MatrixDiagPartV2", "MatrixSetDiagV2"), diagonals),
    **dict.fromkeys(("MatrixDiagV3", "MatrixDiagPartV3", "MatrixSetDiagV3"), diagonals),
    **dict.fromkeys(("MatrixDeterminant", "MatrixInverse"), square),
    "Dequantize": dequantize, "QuantizeV2": quantize,
    **dict.fromkeys(("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"), fake_quant),
    **dict.fromkeys(("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4"), round_trip),
}  # fmt: skip
