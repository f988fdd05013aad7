"""Which attributes every op type has, and what TensorFlow takes for one that is missing.

ATTRIBUTES has a row for every op of OPDEFS. What an op does not list is refused by name, unless it begins with ``_``:
those are hints of tools, which no op reads. Types and counts that repeat what the inputs say must agree with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Protocol

import numpy as np

from ...kernels.tensor import DType, TensorType, dtype_name
from ..errors import GraphError, UnsupportedOpError
from ..ir import UNKNOWN

__all__ = ["ATTRIBUTES", "OWN", "REQUIRED", "Attr", "Foreign", "check_attributes"]


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


#: The default of an attribute that has none.
REQUIRED = _Required()

Kind = Literal["bool", "int", "float", "string", "type", "shape", "tensor", "ints", "list"]


@dataclass(frozen=True, slots=True)
class Attr:
    """One attribute of an op type. ``kind`` and ``default`` are TensorFlow's.

    ``of``: a type that must be that of this input. ``count``: a number that must be that of the inputs less ``count``.
    ``allowed``: the values that TensorFlow takes, or those of them that are served.
    ``own``: kigraph's, on an op type of TensorFlow; a file that uses TensorFlow's op type may not have it.
    """

    kind: Kind
    default: Any = REQUIRED
    of: int | None = None
    count: int | None = None
    allowed: tuple[Any, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """The value of an attribute that kigraph knows and TensorFlow does not, on a node of TensorFlow's from a file."""

    value: Any


class _Site(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...
    @property
    def inputs(self) -> tuple[TensorType, ...]: ...


_KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("True or False", (bool, np.bool_, int, np.integer)),
    "int": ("an integer", (int, np.integer)),
    "float": ("a number", (float, int, np.floating, np.integer)),
    "string": ("a text", (str, bytes)),
    "type": ("an element type", (np.dtype,)),
}


def check_attributes(site: _Site, known: Mapping[str, Attr]) -> None:
    """UnsupportedOpError for an attribute that is unknown or has a value that is not served; GraphError for one that is
    of the wrong kind or contradicts the inputs."""
    for name, value in site.attrs.items():
        rule = known.get(name)
        if rule is None:
            if name[:1] != "_":
                _refuse_unknown(site, known, name, value)
        elif type(value) is Foreign:
            _refuse_unknown(site, {k: v for k, v in known.items() if not v.own}, name, value.value)
        elif rule.of is not None:
            if rule.of < len(site.inputs) and value is not site.inputs[rule.of].dtype:
                _check_type(site, name, value, rule.of)
        else:
            _check_value(site, name, value, rule)


def _text(value: Any) -> str:
    if isinstance(value, np.dtype):
        return "an element type that NumPy lacks" if value == UNKNOWN else dtype_name(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse_unknown(site: _Site, known: Mapping[str, Attr], name: str, value: Any) -> NoReturn:
    names = ", ".join(sorted(known)) or "none"
    raise UnsupportedOpError(
        f"{site.op} '{site.name}': attribute {name} = {_text(value)} is not known, so its effect is not either; "
        f"{site.op} has: {names}. Remove it from the node, or feed a tensor behind it"
    )


def _check_type(site: _Site, name: str, value: Any, index: int) -> None:
    dtype = site.inputs[index].dtype
    if not isinstance(value, np.dtype):
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be an element type, got {_text(value)}")
    if value != dtype and UNKNOWN not in (value, dtype):
        raise GraphError(
            f"{site.op} '{site.name}': attribute {name} is {dtype_name(value)}, but input {index} is {dtype_name(dtype)}; "
            "they must agree (use cast)"
        )


def _check_value(site: _Site, name: str, value: Any, rule: Attr) -> None:
    wanted = _KINDS.get(rule.kind)
    if wanted is not None and (
        not isinstance(value, wanted[1]) or (rule.kind == "int" and isinstance(value, bool))
        or (rule.kind == "bool" and value not in (0, 1))
    ):  # fmt: skip
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be {wanted[0]}, got {_text(value)}")
    if (shape := rule.kind == "shape" and value is not None) or rule.kind == "ints":
        entries = (int, np.integer, type(None)) if shape else (int, np.integer)
        if not isinstance(value, (tuple, list)) or not all(isinstance(v, entries) for v in value):
            kind = "a tuple of sizes, None for unknown ones" if shape else "a list of integers"
            raise GraphError(f"{site.op} '{site.name}': attribute {name} must be {kind}, got {_text(value)}")
    if rule.count is not None and value != len(site.inputs) - rule.count:
        given = len(site.inputs) - rule.count
        raise GraphError(f"{site.op} '{site.name}': attribute {name} is {value}, but it has {given} such inputs")
    if rule.allowed:
        plain = value.decode("latin-1") if isinstance(value, bytes) else value
        if plain not in rule.allowed and value is not UNKNOWN:
            possible = ", ".join(map(_text, rule.allowed))
            raise UnsupportedOpError(
                f"{site.op} '{site.name}': attribute {name} = {_text(value)} is not supported; possible: {possible}"
            )


# --- the table ---------------------------------------------------------------------------------------------------------

Row = Mapping[str, Attr]


def _of(index: int, default: Any = REQUIRED) -> Attr:
    return Attr("type", default, of=index)


def _types(*names: str) -> tuple[DType, ...]:
    return tuple(map(np.dtype, names))


I32, I64, F32, U8, C64 = _types("int32", "int64", "float32", "uint8", "complex64")
_T: Row = {"T": _of(0)}
_FALSE, _TRUE = Attr("bool", False), Attr("bool", True)
#: Says for whom a product was made; the CPU kernels of TensorFlow do not look at it.
_GRAD_XY: Row = {"grad_x": _FALSE, "grad_y": _FALSE}
_FORMAT = Attr("string", "NHWC", allowed=("NHWC", "NCHW"))
_DECODE_CHANNELS = Attr("int", 0)
_WINDOW: Row = {"strides": Attr("ints"), "padding": Attr("string"), "data_format": _FORMAT, "T": _of(0)}
_PLAIN_POOL: Row = {**_WINDOW, "ksize": Attr("ints")}
_POOL: Row = {**_PLAIN_POOL, "explicit_paddings": Attr("ints", ()), "T": _of(0, F32)}
_DEPTHWISE: Row = {**_WINDOW, "explicit_paddings": Attr("ints", ()), "dilations": Attr("ints", (1, 1, 1, 1))}
_CONV: Row = {**_DEPTHWISE, "use_cudnn_on_gpu": _TRUE}
_COUNTED = replace(_FALSE, own=True)
_ACTIVATION: Row = {"activation": Attr("string", "none", allowed=("none", "relu", "relu6"))}
_MATMUL: Row = {"transpose_a": _FALSE, "transpose_b": _FALSE, "grad_a": _FALSE, "grad_b": _FALSE, **_T}
_BATCH_MATMUL: Row = {"adj_x": _FALSE, "adj_y": _FALSE, **_GRAD_XY, **_T}
_REDUCTION: Row = {"keep_dims": _FALSE, "Tidx": _of(1, I32)}
_ARGUMENT: Row = {**_T, "Tidx": _of(1, I32)}
_TENSORFLOW_SOFTMAX: Row = {**_T, "axis": Attr("int", -1, own=True)}
_NORM: Row = {
    "epsilon": Attr("float", 1e-4), "exponential_avg_factor": Attr("float", 1.0), "is_training": _TRUE, **_T,
    "data_format": _FORMAT,
}  # fmt: skip
_COMPARISON: Row = {**_T, "incompatible_shape_error": _TRUE}
_LOCKING: Row = {**_T, "use_locking": _FALSE}
_PADDINGS: Row = {**_T, "Tpaddings": _of(1, I32)}
#: Where a runtime keeps a variable. A file has no values of variables, so what is in one is never shared.
_NAMED: Row = {"container": Attr("string", ""), "shared_name": Attr("string", "")}


def _rows(ops: str, row: Row) -> dict[str, Row]:
    return dict.fromkeys(ops.split(), row)


#: Element types that BatchMatMulV3 gives.
_PRODUCTS = ("float16", "float32", "float64", "int16", "int32", "int64", "complex64", "complex128")
#: Ops whose only attribute is T, the type of input 0.
_PLAIN = (
    "Abs Add AddV2 BiasAddV1 Ceil Cos Div Erf Exp Floor FloorDiv FloorMod Greater GreaterEqual Identity Inv Less LessEqual Log "
    "Log1p Maximum Minimum Mul Neg Pow Rank RealDiv Reciprocal Relu Relu6 Relu6Grad ReluGrad Rint Round Rsqrt Sigmoid "
    "Sign Sin Snapshot SoftmaxCrossEntropyWithLogits Softplus Sqrt Square SquaredDifference StopGradient Sub Tanh KiSumTo TruncateDiv "
    "TruncateMod Mod"
)

ATTRIBUTES: Mapping[str, Row] = {
    **_rows(_PLAIN, _T),
    **_rows("LogicalAnd LogicalNot LogicalOr NoOp", {}),
    **_rows("All Any", _REDUCTION),
    **_rows("Max Mean Min Prod Sum", {**_REDUCTION, **_T}),
    **_rows("AssignAdd AssignSub", _LOCKING),
    **_rows("BatchMatMul BatchMatMulV2", _BATCH_MATMUL),
    **_rows("BiasAdd BiasAddGrad", {**_T, "data_format": _FORMAT}),
    **_rows("Conv2D Conv2DBackpropFilter", _CONV),
    **_rows("DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter", _DEPTHWISE),
    **_rows("Equal NotEqual", _COMPARISON),
    **_rows("FusedBatchNormV2 FusedBatchNormV3", {**_NORM, "U": _of(1)}),
    **_rows("LogSoftmax Softmax", _TENSORFLOW_SOFTMAX),
    **_rows("Pad PadV2", _PADDINGS),
    **_rows("Select SelectV2", {"T": _of(1)}),
    **_rows("Shape Size", {**_T, "out_type": Attr("type", I32, allowed=(I32, I64))}),
    "ArgMax": {**_ARGUMENT, "output_type": Attr("type", I64, allowed=_types("int16", "uint16", "int32", "int64"))},
    "ArgMin": {**_ARGUMENT, "output_type": Attr("type", I64, allowed=(I32, I64))},
    "AsString": {
        **_T, "precision": Attr("int", -1), "scientific": _FALSE, "shortest": _FALSE, "width": Attr("int", -1),
        "fill": Attr("string", ""), "reads_back": replace(_FALSE, own=True),
    },
    "Assign": {**_T, "validate_shape": _TRUE, "use_locking": _TRUE},
    "AvgPool": {**_PLAIN_POOL, "explicit_paddings": Attr("ints", (), own=True), "count_include_pad": _COUNTED},
    "AvgPoolGrad": {
        **_PLAIN_POOL, "T": _of(1), "explicit_paddings": Attr("ints", (), own=True), "count_include_pad": _COUNTED,
    },
    "BatchMatMulV3": {
        "adj_x": _FALSE, "adj_y": _FALSE, **_GRAD_XY, "Ta": _of(0), "Tb": _of(1),
        "Tout": Attr("type", allowed=_types(*_PRODUCTS)),
    },
    "BatchNormWithGlobalNormalization": {
        **_T, "variance_epsilon": Attr("float"), "scale_after_normalization": Attr("bool"),
    },
    "BroadcastTo": {**_T, "Tidx": _of(1, I32)},
    "Cast": {"SrcT": _of(0), "DstT": Attr("type"), "Truncate": _FALSE},
    "CheckNumerics": {**_T, "message": Attr("string")},
    "ComplexAbs": {"T": _of(0, C64), "Tout": Attr("type", F32)},
    "Concat": {"T": _of(1), "N": Attr("int", count=1)},
    "ConcatV2": {**_T, "N": Attr("int", count=1), "Tidx": _of(-1, I32)},
    "Const": {"value": Attr("tensor"), "dtype": Attr("type")},
    "Conv2DBackpropInput": {**_CONV, "T": _of(1)},
    "DecodeBmp": {"channels": _DECODE_CHANNELS},
    "DecodeGif": {},
    "DecodeImage": {"channels": _DECODE_CHANNELS, "dtype": Attr("type", U8), "expand_animations": _TRUE},
    "DecodeJpeg": {
        "channels": _DECODE_CHANNELS, "ratio": Attr("int", 1), "fancy_upscaling": _TRUE, "try_recover_truncated": _FALSE,
        "acceptable_fraction": Attr("float", 1.0), "dct_method": Attr("string", ""),
    },
    "DecodePng": {"channels": _DECODE_CHANNELS, "dtype": Attr("type", U8)},
    "DecodeWebP": {"channels": _DECODE_CHANNELS, "dtype": Attr("type", U8)},
    "DepthwiseConv2dNativeBackpropInput": {**_DEPTHWISE, "T": _of(1)},
    "EncodeJpeg": {
        "format": Attr("string", "", allowed=("", "rgb", "grayscale")), "quality": Attr("int", 95), "progressive": _FALSE,
        "optimize_size": _FALSE, "chroma_downsampling": _TRUE, "density_unit": Attr("string", "in", allowed=("in",)),
        "x_density": Attr("int", 300), "y_density": Attr("int", 300), "xmp_metadata": Attr("string", "", allowed=("",)),
    },
    "EncodePng": {"compression": Attr("int", -1, allowed=tuple(range(-1, 10))), "T": _of(0, U8)},
    "ExpandDims": {**_T, "Tdim": _of(1, I32)},
    "Fill": {"T": _of(1), "index_type": _of(0, I32)},
    "FusedBatchNorm": _NORM,
    "Gather": {"validate_indices": _TRUE, "Tparams": _of(0), "Tindices": _of(1)},
    "GatherV2": {"batch_dims": Attr("int", 0), "Tparams": _of(0), "Tindices": _of(1), "Taxis": _of(2)},
    "MatMul": _MATMUL,
    "MaxPool": _POOL,
    "MaxPoolGrad": _POOL,
    "MirrorPad": {**_PADDINGS, "mode": Attr("string", allowed=("REFLECT", "SYMMETRIC"))},
    "Pack": {**_T, "N": Attr("int", count=0), "axis": Attr("int", 0)},
    "Placeholder": {"dtype": Attr("type"), "shape": Attr("shape", None)},
    "PlaceholderWithDefault": {"dtype": _of(0), "shape": Attr("shape")},
    "PreventGradient": {**_T, "message": Attr("string", "")},
    "Range": {"Tidx": _of(0, I32)},
    "Reshape": {**_T, "Tshape": _of(1, I32)},
    "ResizeBilinear": {**_T, "align_corners": _FALSE, "half_pixel_centers": _FALSE},
    "Slice": {**_T, "Index": _of(1)},
    "SparseSoftmaxCrossEntropyWithLogits": {**_T, "Tlabels": _of(1, I64)},
    "Split": {"num_split": Attr("int"), "T": _of(1)},
    "SplitV": {"num_split": Attr("int"), **_T, "Tlen": _of(1, I64)},
    "Squeeze": {**_T, "squeeze_dims": Attr("ints", ())},
    "StridedSlice": {
        **_T, "Index": _of(1),
        **{f"{k}_mask": Attr("int", 0) for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")},
    },
    "StringJoin": {"N": Attr("int", count=0), "separator": Attr("string", "")},
    "Tile": {**_T, "Tmultiples": _of(1, I32)},
    "TopK": {**_T, "k": Attr("int"), "sorted": _TRUE},
    "TopKV2": {
        **_T, "sorted": _TRUE, "Tk": _of(1, I32),
        "index_type": Attr("type", I32, allowed=_types("int16", "int32", "int64")),
    },
    "Transpose": {**_T, "Tperm": _of(1, I32)},
    "Unpack": {"num": Attr("int"), **_T, "axis": Attr("int", 0)},
    "VariableV2": {
        "shape": Attr("shape"), "dtype": Attr("type"), **_NAMED, "initial_value": Attr("tensor", None, own=True),
    },
    # Kigraph's own: made by passes and gradients.
    "KiFusedAvgPool": {**_POOL, **_ACTIVATION, "count_include_pad": _FALSE},
    "KiFusedConv2D": {**_CONV, **_ACTIVATION},
    "KiFusedDepthwiseConv2D": {**_DEPTHWISE, **_ACTIVATION},
    "KiFusedMatMul": {**_MATMUL, **_ACTIVATION},
    "KiSiblingConv2D": {"biases": Attr("list"), "activations": Attr("list")},
}  # fmt: skip

#: Op types of TensorFlow on which kigraph has attributes of its own, with their defaults, which mean what TensorFlow's op
#: does. In a file a node with another value has "Ki" before its type.
OWN: Mapping[str, Mapping[str, Any]] = {
    op: own for op, row in ATTRIBUTES.items() if (own := {k: a.default for k, a in row.items() if a.own})
}
