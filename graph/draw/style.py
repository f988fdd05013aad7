"""Colours: one per family of ops, so that a convolution is found at a glance."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONSTANT_OPS", "FAMILIES", "Family", "family_of"]


@dataclass(frozen=True, slots=True)
class Family:
    """Name in the legend, fill and stroke."""

    name: str
    fill: str
    stroke: str


CONSTANT_OPS = frozenset({"Const", "Variable", "VariableV2", "VarHandleOp"})

_OTHER = Family("other", "#f2f2f2", "#8a8a8a")
_GROUP = Family("scope", "#ffffff", "#5b6472")
_OUTSIDE = Family("outside", "#ffffff", "#a9b1bd")
_LAYOUT = Family("layout", "#eceff4", "#7b8794")
_REDUCE = Family("reduction", "#f9e0ea", "#b8507e")
_GRADIENT = Family("gradient", "#f3d3c9", "#93402b")

#: The legend's families in its order, with the ops that belong to each.
_OPS: tuple[tuple[Family, str], ...] = (
    (Family("input", "#d7e8fb", "#2f6fb5"), "Placeholder PlaceholderWithDefault"),
    (
        Family("constant", "#f6f1dc", "#a08f3c"),
        "Const Variable VariableV2 VarHandleOp ReadVariableOp Assign AssignAdd AssignSub",
    ),
    (
        Family("convolution", "#fcdcc2", "#c4661b"),
        "Conv2D DepthwiseConv2dNative KiFusedConv2D KiFusedDepthwiseConv2D KiSiblingConv2D "
        "_FusedConv2D _FusedDepthwiseConv2dNative Conv3D KiQuantizedConv2D KiQuantizedDepthwiseConv2D",
    ),
    (
        Family("matrix product", "#fbe6b8", "#b97d10"),
        "MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 KiFusedMatMul _FusedMatMul",
    ),
    (
        Family("matrix product", "#fbe6b8", "#b97d10"),
        "MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 KiFusedMatMul KiQuantizedMatMul Einsum",
    ),
    (
        Family("pooling", "#d9f0d3", "#3f8f3a"),
        "MaxPool AvgPool MaxPoolV2 KiFusedAvgPool MaxPool3D AvgPool3D MaxPoolWithArgmax Dilation2D KiQuantizedAvgPool",
    ),
    (
        Family("normalization", "#e7def7", "#7653b5"),
        "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 BatchNormWithGlobalNormalization BiasAdd BiasAddV1 LRN "
        "_FusedBatchNormEx",
    ),
    (
        Family("activation", "#d3f1ef", "#1f8a83"),
        "Relu Relu6 Elu Selu LeakyRelu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax",
    ),
    (
        Family("arithmetic", "#dfe6fb", "#4a63b8"),
        "Add AddV2 AddN Sub Mul Div RealDiv FloorDiv TruncateDiv TruncateMod Mod FloorMod Pow Neg Abs Exp Log Sqrt Rsqrt Square Reciprocal "
        "Maximum Minimum SquaredDifference Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr "
        "LogicalNot Select SelectV2 Floor Ceil Round Rint Sign ComplexAbs Inv Log1p Erf Sin Cos Expm1 Erfc Tan Asin "
        "Acos Atan Sinh Cosh Asinh Acosh Atanh Atan2 IsNan IsInf IsFinite Invert BitwiseAnd BitwiseOr BitwiseXor LeftShift "
        "RightShift DivNoNan MulNoNan Xlogy Xlog1py Xdivy ClipByValue ApproximateEqual Dequantize QuantizeV2 "
        "KiChain FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantizeV2 "
        "QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 KiQuantize KiDequantize KiRequantize KiQuantizedAdd KiQuantizedMul",
    ),
    (
        _REDUCE,
        "KiSumTo SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits "
        "Sum Mean Max Min Prod All Any ArgMax ArgMin TopK TopKV2 L2Loss Cumsum Cumprod CumulativeLogsumexp "
        "UnsortedSegmentSum UnsortedSegmentProd UnsortedSegmentMax UnsortedSegmentMin SegmentSum SegmentMean SegmentProd "
        "SegmentMax SegmentMin MatrixDeterminant MatrixInverse",
    ),
    (
        Family("image", "#fbd9d7", "#b8423b"),
        "DecodeJpeg DecodeAndCropJpeg ExtractJpegShape DecodePng DecodeImage DecodeBmp DecodeGif DecodeWebP EncodeJpeg EncodePng ResizeBilinear ResizeNearestNeighbor "
        "ResizeBicubic ResizeArea ScaleAndTranslate CropAndResize KiResample "
        "NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 "
        "CombinedNonMaxSuppression KiNonMaxSuppression RGBToHSV HSVToRGB AdjustHue AdjustSaturation AdjustContrastv2",
    ),
    (
        Family("control flow", "#e3efd8", "#6f8f3f"),
        "Switch RefSwitch Merge RefMerge KiWhile KiBranch Print KiPrint KiAssert KiReadFile KiSummary",
    ),
    (
        Family("list", "#e6ecd9", "#7d8a4e"),
        "EmptyTensorList TensorArrayConcatV2 TensorArrayConcatV3 TensorArrayGatherV2 TensorArrayGatherV3 "
        "TensorArrayReadV2 TensorArrayReadV3 TensorArrayScatterV2 TensorArrayScatterV3 TensorArraySizeV2 "
        "TensorArraySizeV3 TensorArraySplitV2 TensorArraySplitV3 TensorArrayV2 TensorArrayV3 TensorArrayWriteV2 "
        "TensorArrayWriteV3 TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListFromTensor "
        "TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve "
        "TensorListResize TensorListScatter TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem "
        "TensorListSplit TensorListStack",
    ),
    (
        Family("random", "#efe6da", "#8a6d3b"),
        "RandomUniform RandomUniformInt RandomStandardNormal TruncatedNormal StatelessRandomUniform StatelessRandomNormal "
        "StatelessTruncatedNormal StatelessRandomUniformInt StatelessRandomUniformV2 StatelessRandomNormalV2 "
        "StatelessTruncatedNormalV2 StatelessRandomUniformIntV2 StatelessRandomGetKeyCounter StatelessRandomGetAlg RGBToHSV HSVToRGB AdjustHue AdjustSaturation AdjustContrastv2",
    ),
    (
        _LAYOUT,
        "Identity Reshape Squeeze ExpandDims Transpose Concat ConcatV2 Split SplitV Slice StridedSlice Pad PadV2 Pack "
        "Unpack Cast Shape Tile BroadcastTo GatherV2 Gather Fill Range MirrorPad "
        "CheckNumerics NoOp StopGradient PreventGradient Snapshot Rank Size AsString StringJoin EncodeBase64 DecodeBase64 "
        "IdentityN EnsureShape Print GuaranteeConst DeepCopy Copy CopyHost ZerosLike OnesLike Bitcast GatherNd ScatterNd "
        "TensorScatterUpdate TensorScatterAdd TensorScatterSub TensorScatterMax TensorScatterMin KiTensorScatterMul OneHot "
        "ReverseSequence ReverseV2 Reverse Roll MatrixBandPart KiTriangle UnravelIndex Bucketize InvertPermutation LinSpace "
        "SpaceToBatchND BatchToSpaceND SpaceToBatch BatchToSpace SpaceToDepth DepthToSpace ExtractImagePatches "
        "Where Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 KiUnique KiLookup DecodeRaw MatrixDiag MatrixDiagPart MatrixSetDiag "
        "MatrixDiagV2 MatrixDiagPartV2 MatrixSetDiagV2 MatrixDiagV3 MatrixDiagPartV3 MatrixSetDiagV3",
    ),
)
_BY_OP = {op: family for family, ops in _OPS for op in ops.split()}

FAMILIES: tuple[Family, ...] = (*(family for family, _ in _OPS), _GRADIENT, _OTHER, _GROUP, _OUTSIDE)
_BY_NAME = {family.name: family for family in FAMILIES}


def family_of(op: str) -> Family:
    """The family of an op type; of 'scope' and 'outside' too."""
    if op.endswith("Grad") or "Backprop" in op:
        return _GRADIENT
    return _BY_OP.get(op) or _BY_NAME.get(op, _OTHER)
