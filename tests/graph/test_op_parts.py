"""What an op has beside its definition. Each test names the file where a new op's part goes, or the list of those without."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from kigraph.graph.draw.style import family_of
from kigraph.graph.gradients import GRADIENTS
from kigraph.graph.opdefs import CONTROL, OPDEFS, table
from kigraph.graph.writers.onnx_ops import WRITTEN
from kigraph.kernels.contracts import CONTRACTS

INTEROP = Path(__file__).parents[1] / "interop"

#: Contracts without a gradient: integers and strings, what a pass makes after the gradients, second derivatives.
NO_GRADIENT = """
    argmax argmin as_string decode_image encode_jpeg encode_png equal floordiv floormod greater greater_equal less
    less_equal logical_and logical_not logical_or not_equal range reduce_all reduce_any string_join truncdiv truncmod
    sibling_conv2d resize_bilinear avg_pool2d_grad depthwise_conv2d_filter_grad depthwise_conv2d_input_grad max_pool2d_grad
    lrn_grad approximate_equal bitcast bitwise_and bitwise_or bitwise_xor bucketize dequantize fake_quant filled
    invert invert_permutation is_finite is_inf is_nan left_shift linspace quantize quantize_dequantize right_shift
    unravel_index
    resample crop_and_resize batch_norm_statistics_grad conv3d conv3d_input_grad max_pool3d avg_pool3d max_pool_argmax
    dilation2d extract_patches suppression class_suppression combined_suppression nonzero unique lookup sorted_segments decode_raw diagonals from_diagonals set_diagonals determinant inverse
    rgb_to_hsv hsv_to_rgb adjust_hue adjust_saturation adjust_contrast
    base64_encode base64_decode jpeg_shape rgb_to_hsv hsv_to_rgb adjust_hue adjust_saturation adjust_contrast
    quantized_conv2d quantized_depthwise_conv2d quantized_matmul quantized_average_pool quantized_add quantized_mul quantize_linear
    dequantize_linear requantize chain
"""
#: Op types that are not written to ONNX: structure, effects, what passes and gradients make, and what nobody needed yet.
NOT_WRITTEN = """
    Const NoOp Placeholder VariableV2 Assign AssignAdd AssignSub KiFusedAvgPool KiFusedConv2D KiFusedDepthwiseConv2D
    KiChain KiFusedMatMul KiSiblingConv2D AvgPoolGrad BiasAddGrad Conv2DBackpropFilter DepthwiseConv2dNativeBackpropFilter
    KiBatchNormGrad KiSumTo LRNGrad MaxPoolGrad Relu6Grad ReluGrad SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits
    AsString DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeWebP EncodeJpeg EncodePng StringJoin
    ComplexAbs Cumprod CumulativeLogsumexp
    NonMaxSuppressionV4 NonMaxSuppressionV5 DecodeAndCropJpeg ExtractJpegShape EncodeBase64
    DecodeBase64 CombinedNonMaxSuppression KiNonMaxSuppression RGBToHSV HSVToRGB AdjustHue AdjustSaturation AdjustContrastv2
    Conv3DBackpropInputV2 Dilation2D CropAndResize DecodeRaw KiUnique KiLookup MatrixDiag MatrixDiagPart MatrixDiagPartV2
    MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 SegmentMax
    SegmentMean SegmentMin SegmentProd SegmentSum
"""
#: Op types without random cases next to TensorFlow: structure, variables, backward ops of windows, images, and TopK,
#: which TensorFlow 2 lost.
NOT_GENERATED = """
    Const Placeholder VariableV2 NoOp Assign AssignAdd AssignSub DecodeJpeg DecodePng DecodeBmp DecodeGif DecodeImage DecodeWebP
    EncodeJpeg EncodePng Conv2DBackpropFilter MaxPoolGrad AvgPoolGrad BiasAddGrad
    DepthwiseConv2dNativeBackpropFilter TopK Print Copy CopyHost _FusedBatchNormEx
    DecodeAndCropJpeg ExtractJpegShape EncodeBase64 DecodeBase64
"""
TENSORFLOWS = {op for op in OPDEFS if not op.startswith("Ki")}
#: Control flow: no op of ONNX, and compared with TensorFlow as whole graphs.
CONTROL_FLOW = " ".join(CONTROL - set(WRITTEN))


def _without(all_of: set[str], having: set[str], without: str, what: str) -> None:
    """Every name has the part or is listed as one without, and none is listed that has it."""
    listed = set(without.split())
    assert all_of - having - listed == set(), f"{what}, or add the name to the list in {Path(__file__).name}"
    assert listed <= all_of - having, "listed as an op without this part, but it has one, or there is no such name"


def test_no_op_type_is_defined_twice() -> None:
    names = [d.name for module in table._FAMILIES for d in module.DEFS]
    assert len(names) == len(set(names)) == len(OPDEFS)


def test_gradient() -> None:
    _without(
        {c.name for c in CONTRACTS}, {c.name for c in GRADIENTS}, NO_GRADIENT,
        "write a gradient function in graph/gradients/<family>.py and a case in tests/graph/test_gradients.py",
    )  # fmt: skip


def test_onnx() -> None:
    _without(
        set(OPDEFS),
        set(WRITTEN),
        f"{NOT_WRITTEN} {CONTROL_FLOW}",
        "say in graph/writers/onnx_ops.py how the op is written",
    )


def test_colour() -> None:
    without = [op for op in OPDEFS if family_of(op).name == "other"]
    assert without == [], "give the op a family in graph/draw/style.py"


def test_facts_of_tensorflow() -> None:
    facts = json.loads((INTEROP / "tensorflow_ops.json").read_text())
    assert TENSORFLOWS - set(facts) == set(), "run `make interop-facts`, which writes tests/interop/tensorflow_ops.json"


def test_random_cases_next_to_tensorflow() -> None:
    """Read from the sources, since the generators need TensorFlow."""
    names: set[str] = set()
    for file in ("generate.py", "generate_layout.py", "generate_more.py", "generate_spatial.py"):
        tree = ast.parse((INTEROP / file).read_text())
        table = next(n for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "GENERATORS")
        names |= {c.value for c in ast.walk(table) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
    _without(
        TENSORFLOWS,
        names & TENSORFLOWS,
        f"{NOT_GENERATED} {' '.join(CONTROL & TENSORFLOWS)}",
        "add a generator to tests/interop/generate.py",
    )
