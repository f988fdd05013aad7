"""Op types that work on axes in any order."""
# ruff: noqa: SIM905 - words are easier to read than 80 strings

from __future__ import annotations

__all__ = ["ELEMENTWISE", "INDIFFERENT", "SAME_AXES"]

#: Element by element with broadcasting, so that any order of the axes is the same; attributes say nothing of axes.
ELEMENTWISE = frozenset(
    """
    Abs Acos Acosh Add AddN AddV2 Asin Asinh Atan Atan2 Atanh BitwiseAnd BitwiseOr BitwiseXor Cast Ceil CheckNumerics
    ClipByValue ComplexAbs Cos Cosh Digamma Div DivNoNan Elu Equal Erf Erfc Erfinv Exp Expm1 FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars Floor FloorDiv FloorMod Greater GreaterEqual Identity Inv Invert IsFinite IsInf IsNan
    KiDequantize KiQuantize KiQuantizedAdd KiQuantizedMul KiRequantize LeakyRelu LeftShift Less LessEqual Lgamma Log Log1p
    LogicalAnd LogicalNot LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg NotEqual OnesLike Pow PreventGradient RealDiv Reciprocal Relu Relu6 Relu6Grad ReluGrad RightShift Rint Round Rsqrt
    Select SelectV2 Selu Sigmoid Sign Sin Sinh Snapshot Softplus Softsign Sqrt Square SquaredDifference StopGradient Sub
    Tan Tanh TruncateDiv TruncateMod Xdivy Xlogy ZerosLike
    """.split()
)
#: Others whose outputs have the axes of their inputs, renumbered in attributes or small inputs (axis_rules.py).
SAME_AXES = frozenset(
    """
    Concat ConcatV2 Cumprod Cumsum LogSoftmax MirrorPad Pad PadV2 ReverseV2 Roll Slice Softmax Split SplitV Tile
    """.split()
)
#: Those whose outputs have other axes, and that cost the same in any order.
INDIFFERENT = frozenset(
    """
    All Any ArgMax ArgMin BroadcastTo ExpandDims Fill GatherV2 Max Mean Min Pack Prod Rank Reshape Shape Size Squeeze StridedSlice Sum Unpack
    """.split()
)
