"""The name of the output of TensorFlow's op types that have one, or one list: what a function's body calls it by."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SINGLE_OUTPUTS"]

#: As TensorFlow 2.21 registers them; an op that is missing calls its output "output".
_TABLE = (
    ("activations", "Elu LeakyRelu Relu Relu6 Selu Softplus Softsign"),
    ("alg", "StatelessRandomGetAlg"),
    ("backprops", "Relu6Grad ReluGrad"),
    ("band", "MatrixBandPart"),
    ("contents", "EncodeJpeg EncodePng"),
    ("crops", "CropAndResize"),
    ("diagonal", "MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3"),
    (
        "flow_out",
        "TensorArrayScatterV2 TensorArrayScatterV3 TensorArraySplitV2 TensorArraySplitV3 TensorArrayWriteV2 "
        "TensorArrayWriteV3",
    ),
    ("handle", "EmptyTensorList TensorArrayV2 TensorListReserve"),
    ("image", "DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeWebP"),
    ("image_shape", "ExtractJpegShape"),
    ("index", "Where"),
    ("item", "TensorListGetItem"),
    ("length", "TensorListLength"),
    ("logsoftmax", "LogSoftmax"),
    ("out", "Cumprod Cumsum CumulativeLogsumexp"),
    (
        "output_handle",
        "TensorListFromTensor TensorListPushBack TensorListResize TensorListScatter TensorListScatterIntoExistingList "
        "TensorListScatterV2 TensorListSetItem TensorListSplit",
    ),
    ("output_ref", "Assign AssignAdd AssignSub"),
    ("outputs", "FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel"),
    ("patches", "ExtractImagePatches"),
    ("product", "MatMul _FusedMatMul"),
    ("ref", "VariableV2"),
    ("resized_images", "ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate"),
    ("result", "BatchNormWithGlobalNormalization"),
    ("selected_indices", "NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3"),
    ("size", "TensorArraySizeV2 TensorArraySizeV3"),
    ("softmax", "Softmax"),
    ("sum", "AddN"),
    ("tensor", "TensorListStack"),
    ("value", "TensorArrayGatherV2 TensorArrayGatherV3 TensorArrayReadV2 TensorArrayReadV3"),
    ("values", "TensorListGather"),
    (
        "y",
        "Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil ComplexAbs Cos Cosh DeepCopy Erf Erfc Exp Expm1 Floor Inv "
        "Invert InvertPermutation IsFinite IsInf IsNan Log Log1p LogicalNot Neg OnesLike Reciprocal Rint Round Rsqrt "
        "Sigmoid Sign Sin Sinh Sqrt Square Tan Tanh Transpose ZerosLike",
    ),
    (
        "z",
        "Add AddV2 ApproximateEqual Atan2 BitwiseAnd BitwiseOr BitwiseXor Div DivNoNan Equal FloorDiv FloorMod "
        "Greater GreaterEqual LeftShift Less LessEqual LogicalAnd LogicalOr Maximum Minimum Mod Mul MulNoNan NotEqual "
        "Pow RealDiv RightShift SquaredDifference Sub TruncateDiv TruncateMod Xdivy Xlog1py Xlogy",
    ),
)  # fmt: skip

#: Op type -> name of its output.
SINGLE_OUTPUTS: Mapping[str, str] = {op: name for name, ops in _TABLE for op in ops.split()}
