"""Shape inference: what is known statically must hold at run time, however inputs are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.opdefs import CONTROL, OPDEFS
from kigraph.graph.session import Session
from kigraph.kernels.errors import ShapeError
from kigraph.kernels.tensor import STRING, Shape
from tests.graph.quantized_uses import QUANTIZED_USES

NDArray = np.ndarray[Any, Any]
F32 = np.dtype(np.float32)
#: Input arrays and attributes for an op, from four sizes of at least 1 and a random generator.
Case = Callable[[Sequence[int], np.random.Generator], tuple[list[Any], Mapping[str, Any]]]


def values(rng: np.random.Generator, *shape: int, dtype: Any = F32) -> NDArray:
    return (rng.integers(1, 9, shape) * (0.5 if np.dtype(dtype).kind == "f" else 1)).astype(dtype)


def same(dtype: Any = F32, count: int = 1, **attrs: Any) -> Case:
    """Inputs of one shape; the later ones broadcast."""

    def case(d: Sequence[int], rng: np.random.Generator) -> tuple[list[Any], Mapping[str, Any]]:
        shapes = [(d[0], d[1], d[2]), (d[1], 1), (d[0], 1, d[2])]
        return [values(rng, *s, dtype=dtype) for s in shapes[:count]], attrs

    return case


def i32(*v: int) -> NDArray:
    return np.array(v, np.int32)


def scalar(v: Any, dtype: Any = np.int32) -> NDArray:
    return np.array(v, dtype)


def x3(d: Sequence[int], rng: np.random.Generator, dtype: Any = F32) -> NDArray:
    return values(rng, d[0], d[1], d[2], dtype=dtype)


def window(d: Sequence[int], rng: np.random.Generator) -> NDArray:
    return values(rng, d[0], d[1] + 2, d[2] + 2, d[3])


def volume(d: Sequence[int], rng: np.random.Generator) -> NDArray:
    return values(rng, d[0], d[1] + 2, d[2] + 1, d[1] + 1, d[3])


def boxes(d: Sequence[int], rng: np.random.Generator, thresholds: int) -> list[NDArray]:
    found = [values(rng, 3 * d[0], 4), values(rng, 3 * d[0]), scalar(d[1])]
    return found + [np.array(t, F32) for t in (0.5, 0.1, 0.3)[:thresholds]]


def channels(d: Sequence[int], rng: np.random.Generator, count: int) -> list[NDArray]:
    return [values(rng, d[3]) for _ in range(count)]


CONV = {"strides": (1, 2, 1, 1), "padding": "SAME", "data_format": "NHWC"}
POOL = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 1, 1), "padding": "VALID"}
STEPS = {"strides": (1, 2, 1, 1), "padding": "SAME"}
BITS = {"begin_mask": 1, "end_mask": 4, "shrink_axis_mask": 2, "new_axis_mask": 8}

#: Ops that take other inputs than one or two arrays of numbers that broadcast.
OTHER: dict[str, Case] = {
    "ComplexAbs": same(np.complex64),
    "LogicalNot": same(bool),
    **dict.fromkeys(["LogicalAnd", "LogicalOr"], same(bool, 2)),
    "SelectV2": lambda d, r: ([x3(d, r) > 2, values(r, d[1], 1), x3(d, r)], {}),
    "Select": lambda d, r: ([(x3(d, r) > 2) if d[3] > 2 else values(r, d[0]) > 2, x3(d, r), x3(d, r)], {}),
    "MatMul": lambda d, r: ([values(r, d[1], d[0]), values(r, d[2], d[1])], {"transpose_a": True, "transpose_b": True}),
    "KiFusedMatMul": lambda d, r: (
        [values(r, d[0], d[1]), values(r, d[1], d[2]), values(r, d[2])], {"activation": "relu"},
    ),
    "BatchMatMul": lambda d, r: ([values(r, d[3], 2, d[0], d[1]), values(r, d[3], 2, d[2], d[1])], {"adj_y": True}),
    **dict.fromkeys(
        ["BatchMatMulV2", "BatchMatMulV3"],
        lambda d, r: ([values(r, d[3], 1, d[0], d[1]), values(r, 2, d[2], d[1])], {"adj_y": True}),
    ),
    **dict.fromkeys(["Sum", "Mean", "Max", "Min", "Prod"], lambda d, r: ([x3(d, r), i32(0, -1)], {"keep_dims": d[3] > 2})),
    **dict.fromkeys(["All", "Any"], lambda d, r: ([x3(d, r, bool), scalar(1)], {})),
    **dict.fromkeys(["ArgMax", "ArgMin"], lambda d, r: ([x3(d, r), scalar(1)], {"output_type": np.dtype(np.int32)})),
    "TopK": lambda d, r: ([x3(d, r)], {"k": 1}),
    "TopKV2": lambda d, r: ([x3(d, r), scalar(1)], {}),
    "Cast": same(DstT=np.dtype(np.int64)),
    "PlaceholderWithDefault": lambda d, r: ([x3(d, r)], {"shape": (None, d[1], None)}),
    "Reshape": lambda d, r: ([x3(d, r), i32(d[2], -1, d[0])], {}),
    "BroadcastTo": lambda d, r: ([x3(d, r), i32(2, d[0], d[1], d[2])], {}),
    "ExpandDims": lambda d, r: ([x3(d, r), scalar(-2)], {}),
    "Squeeze": lambda d, r: ([values(r, d[0], 1, d[1], 1)], {"squeeze_dims": (1,) if d[2] > 2 else ()}),
    "Transpose": lambda d, r: ([x3(d, r), i32(2, 0, 1)], {}),
    "Concat": lambda d, r: ([scalar(1), x3(d, r), values(r, d[0], d[3], d[2])], {}),
    "ConcatV2": lambda d, r: ([x3(d, r), values(r, d[0], d[1], d[3]), scalar(-1)], {}),
    "Pad": lambda d, r: ([x3(d, r), np.array([[1, 0], [0, d[3]], [0, 0]])], {}),
    "PadV2": lambda d, r: ([x3(d, r), np.array([[1, 0], [0, 2], [0, 0]], np.int32), scalar(3, F32)], {}),
    "MirrorPad": lambda d, r: ([x3(d, r), np.array([[1, 0], [0, 1], [0, 0]], np.int32)], {"mode": "SYMMETRIC"}),
    "Slice": lambda d, r: ([x3(d, r), i32(0, d[1] - 1, 0), i32(-1, 1, d[2])], {}),
    "StridedSlice": lambda d, r: ([x3(d, r), i32(9, -1, 0, 0), i32(d[0], 0, d[1], 0), i32(1, 1, 2, 1)], BITS),
    "Split": lambda d, r: ([scalar(1), values(r, d[0], 2 * d[1])], {"num_split": 2}),
    "SplitV": lambda d, r: ([values(r, d[0], d[1] + d[2]), i32(d[1], -1), scalar(-1)], {"num_split": 2}),
    "Unpack": lambda d, r: ([values(r, d[0], 3)], {"axis": 1, "num": 3}),
    "Gather": lambda d, r: ([x3(d, r), r.integers(0, d[0], (2, d[3])).astype(np.int64)], {}),
    "GatherV2": lambda d, r: ([x3(d, r), i32(0, d[1] - 1), scalar(1)], {}),
    "Tile": lambda d, r: ([x3(d, r), i32(2, 1, d[3])], {}),
    "Pack": lambda d, r: ([x3(d, r), x3(d, r)], {"axis": -2}),
    "Fill": lambda d, r: ([i32(*d), scalar(2, np.float64)], {}),
    "Range": lambda d, r: ([scalar(1), scalar(3 * d[0]), scalar(2)], {}),
    "Conv2D": lambda d, r: ([window(d, r), values(r, 2, 3, d[3], 2)], CONV),
    "KiFusedConv2D": lambda d, r: ([window(d, r), values(r, 1, 1, d[3], 3), values(r, 3)], {**CONV, "padding": "VALID"}),
    "DepthwiseConv2dNative": lambda d, r: ([window(d, r), values(r, 2, 3, d[3], 2)], CONV),
    "KiFusedDepthwiseConv2D": lambda d, r: ([window(d, r), values(r, 2, 2, d[3], 1), values(r, d[3])], CONV),
    "KiSiblingConv2D": lambda d, r: (
        [window(d, r), values(r, 1, 1, d[3], 3), values(r, 3), values(r, 1, 1, d[3], d[0])],
        {"biases": (True, False), "activations": ("relu", "none")},
    ),
    "KiFusedAvgPool": lambda d, r: ([window(d, r), values(r, d[3])], {**POOL, "activation": "relu"}),
    **dict.fromkeys(["MaxPool", "AvgPool"], lambda d, r: ([window(d, r)], POOL)),
    **dict.fromkeys(["BiasAdd", "BiasAddV1"], lambda d, r: ([window(d, r), values(r, d[3])], {})),
    "BatchNormWithGlobalNormalization": lambda d, r: (
        [window(d, r), *channels(d, r, 4)], {"variance_epsilon": 0.1, "scale_after_normalization": d[0] > 1},
    ),
    **dict.fromkeys(
        ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"],
        lambda d, r: ([window(d, r), *channels(d, r, 4)], {"is_training": False, "epsilon": 0.1}),
    ),
    "Conv3D": lambda d, r: ([volume(d, r), values(r, 2, 1, 2, d[3], 3)], {**CONV, "strides": (1, 1, 2, 1, 1), "data_format": "NDHWC"}),
    "Conv3DBackpropInputV2": lambda d, r: (
        [i32(d[0], 2 * d[1], d[2], 3, 2), values(r, 2, 1, 2, 2, d[3]), values(r, d[0], d[1], d[2], 3, d[3])],
        {"strides": (1, 2, 1, 1, 1), "padding": "SAME"},
    ),
    **dict.fromkeys(
        ["MaxPool3D", "AvgPool3D"],
        lambda d, r: ([volume(d, r)], {"ksize": (1, 2, 1, 2, 1), "strides": (1, 1, 2, 1, 1), "padding": "VALID"}),
    ),
    "MaxPoolV2": lambda d, r: ([window(d, r), i32(1, 2, 3, 1), i32(1, 2, 1, 1)], {"padding": "SAME"}),
    "MaxPoolWithArgmax": lambda d, r: ([window(d, r)], {**POOL, "Targmax": np.dtype(np.int32)}),
    "Dilation2D": lambda d, r: ([window(d, r), values(r, 2, 3, d[3])], {**STEPS, "rates": (1, 1, 2, 1)}),
    "ExtractImagePatches": lambda d, r: ([window(d, r)], {**STEPS, "rates": (1, 1, 2, 1), "ksizes": (1, 2, 2, 1)}),
    "NonMaxSuppressionV4": lambda d, r: (boxes(d, r, 2), {"pad_to_max_output_size": True}),
    "CombinedNonMaxSuppression": lambda d, r: (
        [values(r, d[0], d[1], 1, 4), values(r, d[0], d[1], d[2]), scalar(2), scalar(5), scalar(0.5, F32), scalar(0.1, F32)],
        {"pad_per_class": d[3] > 2},
    ),
    **dict.fromkeys(["RGBToHSV", "HSVToRGB"], lambda d, r: ([values(r, d[0], d[1], 3)], {})),
    **dict.fromkeys(
        ["AdjustHue", "AdjustSaturation", "AdjustContrastv2"],
        lambda d, r: ([values(r, d[0], d[1], d[2], 3), np.array(0.5, F32)], {}),
    ),
    "_FusedConv2D": lambda d, r: (
        [window(d, r), values(r, 2, 3, d[3], 2), values(r, 2)],
        {**CONV, "fused_ops": ("BiasAdd", "Relu"), "num_args": 1, "TArgs": (F32,)},
    ),
    "_FusedDepthwiseConv2dNative": lambda d, r: (
        [window(d, r), values(r, 2, 3, d[3], 2), values(r, 2 * d[3])], {**CONV, "fused_ops": ("BiasAdd",), "num_args": 1},
    ),
    "_FusedMatMul": lambda d, r: (
        [values(r, d[1], d[0]), values(r, d[1], d[2]), values(r, d[2])],
        {"transpose_a": True, "fused_ops": ("BiasAdd", "Tanh"), "num_args": 1},
    ),
    "_FusedBatchNormEx": lambda d, r: (
        [window(d, r), *channels(d, r, 4)], {"is_training": d[0] > 1, "activation_mode": "Relu", "U": F32},
    ),
    "ResizeBilinear": lambda d, r: ([window(d, r), i32(d[2], 3)], {}),
    "SpaceToBatchND": lambda d, r: (
        [values(r, d[0], 2 * d[1], 3 * d[2], d[3]), i32(2, 3), np.array([[1, 1], [0, 3]], np.int32)], {},
    ),
    "BatchToSpaceND": lambda d, r: ([values(r, 6 * d[0], d[1], d[2], d[3]), i32(2, 3), np.array([[1, 0], [0, 2]])], {}),
    "SpaceToBatch": lambda d, r: (
        [values(r, d[0], 2 * d[1], 2 * d[2], d[3]), np.array([[1, 1], [0, 2]])], {"block_size": 2},
    ),
    "BatchToSpace": lambda d, r: (
        [values(r, 4 * d[0], d[1], d[2], d[3]), np.array([[1, 0], [0, 1]], np.int32)], {"block_size": 2},
    ),
    "SpaceToDepth": lambda d, r: ([values(r, d[0], 2 * d[1], 2 * d[2], d[3])], {"block_size": 2}),
    "DepthToSpace": lambda d, r: (
        [values(r, d[0], 4 * d[1], d[2], d[3])], {"block_size": 2, "data_format": "NCHW"},
    ),
    **dict.fromkeys(
        ["ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"], lambda d, r: ([window(d, r), i32(d[2], 3)], {}),
    ),
    "ScaleAndTranslate": lambda d, r: (
        [window(d, r), i32(d[2], 3), np.array([0.5, 2], F32), np.array([0, -1], F32)], {"kernel_type": "triangle"},
    ),
    "CropAndResize": lambda d, r: (
        [window(d, r), values(r, d[2], 4), (np.arange(d[2]) % d[0]).astype(np.int32), i32(3, d[1])], {},
    ),
    "KiResample": lambda d, r: ([x3(d, r), i32(d[3], 2)], {"axes": (-1, 0), "kind": "cubic"}),
    "EncodePng": lambda d, r: ([values(r, d[0], d[1], 3, dtype=np.uint8)], {}),
    "EncodeJpeg": lambda d, r: ([values(r, d[0], d[1], 1, dtype=np.uint8)], {}),
    "StringJoin": lambda d, r: ([np.full((d[0], 1), b"a", object), np.full((d[1],), b"b\0", object)], {"separator": b"-"}),
}  # fmt: skip
#: The same for picking and placing, quantised numbers, and what hands values on.
OTHER |= {
    "Invert": same(np.int32),
    **dict.fromkeys(["BitwiseAnd", "BitwiseOr", "BitwiseXor", "LeftShift", "RightShift"], same(np.int32, 2)),
    "ApproximateEqual": lambda d, r: ([x3(d, r), x3(d, r)], {"tolerance": 1.0}),
    "AddN": lambda d, r: ([x3(d, r)] * d[3], {}),
    "ClipByValue": lambda d, r: ([x3(d, r), scalar(1, F32), scalar(2, F32)], {}),
    "Einsum": lambda d, r: ([values(r, d[0], d[1]), values(r, d[1], d[2])], {"equation": "ab,bc->ac"}),
    "IdentityN": lambda d, r: ([x3(d, r), i32(*d)], {"T": (F32, np.dtype(np.int32))}),
    "EnsureShape": lambda d, r: ([x3(d, r)], {"shape": (None, d[1], None)}),
    "Bitcast": lambda d, r: ([x3(d, r)], {"type": np.dtype(np.uint8)}),
    "GatherNd": lambda d, r: ([x3(d, r), r.integers(0, d[0], (2, d[3], 1)).astype(np.int64)], {}),
    "ScatterNd": lambda d, r: ([r.integers(0, d[0], (d[3], 1)).astype(np.int32), values(r, d[3], d[1]), i32(d[0], d[1])], {}),
    **dict.fromkeys(
        ["TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub", "TensorScatterMax", "TensorScatterMin", "KiTensorScatterMul"],
        lambda d, r: ([x3(d, r), r.integers(0, d[0], (d[3], 1)).astype(np.int32), values(r, d[3], d[1], d[2])], {}),
    ),
    "OneHot": lambda d, r: ([i32(*d), scalar(d[0]), scalar(1, F32), scalar(0, F32)], {"axis": 0 if d[1] > 2 else -1}),
    **dict.fromkeys(
        ["UnsortedSegmentSum", "UnsortedSegmentProd", "UnsortedSegmentMax", "UnsortedSegmentMin"],
        lambda d, r: ([x3(d, r), r.integers(-1, d[3], (d[0], d[1])).astype(np.int32), scalar(d[3])], {}),
    ),
    "ReverseSequence": lambda d, r: ([x3(d, r), r.integers(0, d[1] + 1, d[0])], {"seq_dim": 1}),
    "ReverseV2": lambda d, r: ([x3(d, r), i32(0, -1)], {}),
    "Reverse": lambda d, r: ([x3(d, r), np.array([True, False, True])], {}),
    "Roll": lambda d, r: ([x3(d, r), i32(1, -2), i32(0, 2)], {}),
    **dict.fromkeys(
        ["Cumsum", "Cumprod", "CumulativeLogsumexp"], lambda d, r: ([x3(d, r), scalar(-1)], {"exclusive": d[0] > 2}),
    ),
    "MatrixBandPart": lambda d, r: ([x3(d, r), scalar(0), scalar(-1)], {}),
    "KiTriangle": lambda d, r: ([x3(d, r), scalar(1)], {"upper": d[0] > 2}),
    "UnravelIndex": lambda d, r: ([r.integers(0, d[0] * d[1], d[3]).astype(np.int32), i32(d[0], d[1])], {}),
    "Bucketize": lambda d, r: ([x3(d, r)], {"boundaries": (1.0, 2.0)}),
    "InvertPermutation": lambda d, r: ([r.permutation(d[0]).astype(np.int32)], {}),
    "LinSpace": lambda d, r: ([scalar(1, F32), scalar(2, F32), scalar(d[0])], {}),
    "Dequantize": lambda d, r: ([x3(d, r, np.uint8), scalar(0, F32), scalar(4, F32)], {}),
    "QuantizeV2": lambda d, r: ([x3(d, r), scalar(0, F32), scalar(4, F32)], {"T": np.dtype(np.uint8)}),
    "FakeQuantWithMinMaxVars": lambda d, r: ([x3(d, r), scalar(-1, F32), scalar(4, F32)], {}),
    "FakeQuantWithMinMaxVarsPerChannel": lambda d, r: ([x3(d, r), -values(r, d[2]), values(r, d[2])], {}),
    **dict.fromkeys(
        ["QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4"],
        lambda d, r: ([x3(d, r), scalar(-1, F32), scalar(4, F32)], {"range_given": d[0] > 2}),
    ),
    "QuantizeAndDequantizeV3": lambda d, r: ([x3(d, r), scalar(-1, F32), scalar(4, F32), scalar(6)], {}),
}  # fmt: skip
K = i32(-1, 1)
OTHER |= QUANTIZED_USES
OTHER |= {
    "MatrixDiag": lambda d, r: ([x3(d, r)], {}),
    "MatrixDiagPart": lambda d, r: ([x3(d, r)], {}),
    "MatrixSetDiag": lambda d, r: ([x3(d, r), values(r, d[0], min(d[1], d[2]))], {}),
    **dict.fromkeys(
        ["MatrixDiagV2", "MatrixDiagV3"],
        lambda d, r: ([values(r, d[0], 3, d[1] + 1), K, scalar(-1), scalar(-1), scalar(7, F32)], {}),
    ),
    **dict.fromkeys(
        ["MatrixDiagPartV2", "MatrixDiagPartV3"], lambda d, r: ([values(r, d[0], d[1] + 1, d[2] + 1), K, scalar(7, F32)], {}),
    ),
    **dict.fromkeys(
        ["MatrixSetDiagV2", "MatrixSetDiagV3"],
        lambda d, r: ([values(r, d[0], d[1] + 1, d[2] + 1), values(r, d[0], 3, min(d[1], d[2]) + 1), K], {}),
    ),
    **dict.fromkeys(["MatrixDeterminant", "MatrixInverse"], lambda d, r: ([np.eye(3, dtype=np.float32) * d[0]], {})),
}  # fmt: skip
#: Structural ops, ops with effects, decoders and suppression (dynamic: tests of sessions), and backward ops (tests of gradients).
ELSEWHERE = {
    "Const", "Placeholder", "VariableV2", "NoOp", "Assign", "AssignAdd", "AssignSub", "DecodeJpeg", "DecodePng", "DecodeBmp",
    "DecodeImage", "DecodeGif", "DecodeWebP", "ReluGrad", "Relu6Grad", "SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits",
    "Conv2DBackpropInput", "Conv2DBackpropFilter", "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter",
    "MaxPoolGrad", "AvgPoolGrad", "BiasAddGrad", "LRNGrad", "KiBatchNormGrad", "KiSumTo", "KiChain", *CONTROL, "NonMaxSuppression", "NonMaxSuppressionV2",
    "NonMaxSuppressionV3", "NonMaxSuppressionV5", "KiNonMaxSuppression", "Where", "Unique", "UniqueV2", "UniqueWithCounts",
    "UniqueWithCountsV2", "KiUnique", "KiLookup", "SegmentSum", "SegmentMean", "SegmentProd", "SegmentMax", "SegmentMin", "DecodeRaw", "DecodeAndCropJpeg", "ExtractJpegShape", "EncodeBase64", "DecodeBase64",
}  # fmt: skip


def _usual(op: str) -> Case:
    """Arrays of numbers: of three axes, or of four for the ops of images."""
    least = OPDEFS[op].arity[0]

    def case(d: Sequence[int], rng: np.random.Generator) -> tuple[list[Any], Mapping[str, Any]]:
        arrays, attrs = same(count=least)(d, rng)
        with Graph().as_default() as graph:
            try:
                graph.create_op(op, [ops.constant(a) for a in arrays], attrs)
            except ShapeError:
                arrays = [window(d, rng) for _ in arrays]
        return arrays, attrs

    return case


CASES = {op: OTHER[op] if op in OTHER else _usual(op) for op in OPDEFS if op not in ELSEWHERE}


def test_cases_are_of_ops() -> None:
    assert set(OTHER) | ELSEWHERE <= set(OPDEFS)
    assert {op for op in CASES if op not in OTHER and OPDEFS[op].arity[0] not in (1, 2)} == set(), "add a case to OTHER"


#: How an input is given: a constant, or a placeholder of which all, some, or no sizes are known.
WAYS = st.tuples(st.sampled_from(["constant", "known", "partly", "rank", "nothing"]), st.integers(0, 15))


def give(array: NDArray, way: tuple[str, int], feeds: dict[Tensor, NDArray]) -> Tensor:
    kind, bits = way
    dtype = STRING if array.dtype == object else array.dtype
    if kind == "constant":
        return ops.constant(array, dtype)
    hidden = {"known": 0, "partly": bits, "rank": -1, "nothing": 0}[kind]
    shape = None if kind == "nothing" else [None if hidden >> i & 1 else d for i, d in enumerate(array.shape)]
    tensor = ops.placeholder(dtype, shape)
    feeds[tensor] = array
    return tensor


def fits(static: Shape, actual: tuple[int, ...]) -> bool:
    return static is None or (
        len(static) == len(actual) and all(s is None or s == a for s, a in zip(static, actual, strict=True))
    )


@pytest.mark.parametrize("op", CASES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sizes=st.tuples(*[st.integers(1, 4)] * 4), ways=st.lists(WAYS, min_size=6, max_size=6))
def test_static_types_hold_at_run_time(op: str, sizes: tuple[int, ...], ways: list[tuple[str, int]]) -> None:
    arrays, attrs = CASES[op](sizes, np.random.default_rng(sum(sizes)))
    count = 6 if op in ("FusedBatchNormV3", "_FusedBatchNormEx") else None
    with Graph().as_default() as graph:
        plain = graph.create_op(op, [ops.constant(a, a.dtype) for a in arrays], attrs, num_outputs=count)
        fetched = [t for t in plain.outputs if t.shape is not None]
        expected = Session(graph, backend="numpy").run(fetched)
        feeds: dict[Tensor, NDArray] = {}
        given_as = [give(a, w, feeds) for a, w in zip(arrays, ways, strict=False)]
        operation = graph.create_op(op, given_as, attrs, num_outputs=count)
        outputs = [operation.outputs[t.index] for t in fetched]
        results = Session(graph, backend="numpy").run(outputs, feeds)
        for tensor, result, wanted, before in zip(outputs, results, expected, fetched, strict=True):
            found = np.asarray(result)
            assert (STRING if found.dtype == object or isinstance(result, bytes) else found.dtype) == tensor.dtype
            shape = () if isinstance(result, bytes) else found.shape
            assert fits(tensor.shape, shape), f"{tensor!r} was {shape}"
            assert before.shape == shape or op == "PlaceholderWithDefault", "all inputs constant: all is known"
            np.testing.assert_array_equal(found, np.asarray(wanted))


A = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


def test_sizes_that_are_computed_stay_known_beside_an_unknown_batch(graph: Graph) -> None:
    x = ops.placeholder("float32", [None, 7, 5, 8])
    batch, height, width, depth = ops.unstack(ops.shape(x))
    shape = ops.shape(x)
    made = {
        "pack": ops.reshape(x, [shape[0], 280]),
        "concat": ops.reshape(x, ops.concat([shape[:1], [280]], 0)),
        "product": ops.reshape(x, [shape[0], shape[1] * shape[2] * shape[3]]),
        "prod": ops.reshape(x, ops.stack([shape[0], ops.reduce_prod(shape[1:])])),
        "minus one": ops.reshape(x, [shape[0], -1, 8]),
        "arithmetic": ops.reshape(x, [shape[0], 7 * (shape[2] + 3 - 3), shape[-1]]),
    }
    assert {k: t.shape for k, t in made.items()} == {
        "pack": (None, 280),
        "concat": (None, 280),
        "product": (None, 280),
        "prod": (None, 280),
        "minus one": (None, None, 8),
        "arithmetic": (None, 35, 8),
    }
    assert ops.fill([shape[0], 3], 0.0).shape == (None, 3)
    assert ops.tile(x, [1, 1, 2, shape[1]]).shape == (None, 7, 10, 56)
    assert ops.slice(x, [0, 0, 0, 0], [shape[0], 1, shape[2], -1]).shape[:3] == (None, 1, 5)
    assert ops.resize_bilinear(x, [shape[1] * 2, shape[2]]).shape == (None, 14, 5, 8)
    assert ops.broadcast_to(x[:, :1], shape).shape == (None, 7, 5, 8)
    assert ops.range(shape[0]).shape == (None,)
    assert [t.shape for t in ops.split(x, 2, 0)] == [(None, 7, 5, 8)] * 2
    assert ops.reshape(x, [batch, height * width * depth]).type.rank == 2
    value = np.arange(2 * 280, dtype=np.float32).reshape(2, 7, 5, 8)
    found = Session(graph, backend="numpy").run(made, {x: value})
    assert {k: v.shape for k, v in found.items()} == {
        "pack": (2, 280), "concat": (2, 280), "product": (2, 280), "prod": (2, 280), "minus one": (2, 35, 8), "arithmetic": (2, 35, 8),
    }  # fmt: skip
    assert all(np.array_equal(v.reshape(-1), value.reshape(-1)) for v in found.values())


def test_unknown_types_of_ops_whose_operand_is_unknown(graph: Graph) -> None:
    x = ops.placeholder("float32", [None, 3, 4])
    axis = ops.placeholder("int32", [])
    assert ops.argmax(x, axis).dtype == np.int64
    assert ops.argmax(x, axis).shape == (None, None)
    assert ops.reduce_sum(x, axis, keepdims=True).shape == (None, None, None)
    assert [t.shape for t in ops.top_k(x, axis)] == [(None, 3, None)] * 2
    assert ops.expand_dims(x, axis).shape == (None,) * 4
    assert ops.gather(x, [0], axis).shape == (None,) * 3
    assert ops.split(x, 2, axis)[1].shape == (None,) * 3
    found = Session(graph, backend="numpy").run(ops.argmax(x, axis), {x: A, axis: 2})
    np.testing.assert_array_equal(found, A.argmax(2))
