"""The shape and dtype rules: known and partly known shapes, and the text of what can never fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import (
    CONTRACTS,
    concat,
    elementwise,
    layout,
    matmul,
    normalization,
    reduce,
    resize,
    softmax,
    strings,
)
from kigraph.kernels.contracts.base import Contract, broadcast_shapes, merge_shapes, normalize_axis, shape_text
from kigraph.kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams, explicit_padding
from kigraph.kernels.contracts.gradients import LRN_GRAD
from kigraph.kernels.contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from kigraph.kernels.errors import DTypeError, ShapeError
from kigraph.kernels.tensor import STRING, Params, TensorType

F32 = np.dtype(np.float32)
UNKNOWN = TensorType(F32)


def t(*shape: int | None, dtype: Any = F32) -> TensorType:
    return TensorType(np.dtype(dtype), shape)


def shapes(contract: Contract[Any], *inputs: TensorType, params: Any = None) -> Any:
    return [o.shape for o in contract.check(inputs, contract.params() if params is None else params)]


def test_every_contract_is_documented_and_named_once() -> None:
    names = [c.name for c in CONTRACTS]
    assert len(set(names)) == len(names)
    for contract in CONTRACTS:
        assert contract.doc.strip(), contract
        low, high = contract.arity
        assert high is None or low <= high
        assert not (contract.inplace and contract.dynamic)


@pytest.mark.parametrize(
    ("contract", "inputs", "params", "want"),
    [
        (CONV2D, [t(None, 9, None, 3), t(3, 3, 3, 8)], Conv2DParams(padding="SAME"), (None, 9, None, 8)),
        (CONV2D, [t(2, 9, 9, None), t(3, 3, 3, None), t(8)], Conv2DParams((2, 2)), (2, 4, 4, 8)),
        (CONV2D, [UNKNOWN, t(3, 3, 3, 8)], Conv2DParams(), (None, None, None, 8)),
        (CONV2D, [t(1, 9, 9, 3), UNKNOWN], Conv2DParams(padding="SAME"), (1, 9, 9, None)),
        (CONV2D, [t(1, 9, 9, 3), UNKNOWN], Conv2DParams(), (1, None, None, None)),
        (DEPTHWISE_CONV2D, [t(1, 9, 9, None), t(3, 3, 5, 2)], Conv2DParams(), (1, 7, 7, 10)),
        (MAX_POOL2D, [t(None, 147, 147, 64)], Pool2DParams((3, 3), (2, 2)), (None, 73, 73, 64)),
        (AVG_POOL2D, [UNKNOWN], Pool2DParams((3, 3)), (None,) * 4),
        (matmul.MATMUL, [t(None, 4), t(4, 5)], matmul.MatMulParams(), (None, 5)),
        (matmul.MATMUL, [t(3, 2, 4), t(1, 5, 4)], matmul.MatMulParams(transpose_b=True), (3, 2, 5)),
        (matmul.MATMUL, [t(2, 4), t(4, None), t(7)], matmul.MatMulParams(), (2, 7)),
        (matmul.MATMUL, [UNKNOWN, t(4, 5)], matmul.MatMulParams(), None),
        (elementwise.ADD, [t(None, 3), t(1)], Params(), (None, 3)),
        (elementwise.ADD, [t(None, 3), t(5, 1)], Params(), (5, 3)),
        (elementwise.ADD, [UNKNOWN, t(5)], Params(), None),
        (normalization.BIAS_ADD, [t(None, None), t(6)], Params(), (None, 6)),
        (normalization.LRN, [UNKNOWN], normalization.LRNParams(), (None,) * 4),
        (LRN_GRAD, [t(2, None, None, None), UNKNOWN, t(None, 3, None, 4)], normalization.LRNParams(), (2, 3, None, 4)),
        (softmax.SOFTMAX, [t(None, 5)], softmax.SoftmaxParams(), (None, 5)),
        (concat.CONCAT, [t(1, None, 3), t(None, 2, 4)], concat.ConcatParams(2), (1, 2, 7)),
        (concat.CONCAT, [t(1, 2), UNKNOWN], concat.ConcatParams(1), (1, None)),
        (concat.CONCAT, [UNKNOWN, UNKNOWN], concat.ConcatParams(0), None),
        (reduce.REDUCE_SUM, [t(2, None, 4)], reduce.ReduceParams((-1,)), (2, None)),
        (reduce.REDUCE_SUM, [UNKNOWN], reduce.ReduceParams(), ()),
        (reduce.REDUCE_SUM, [UNKNOWN], reduce.ReduceParams((0,)), None),
        (reduce.ARGMAX, [t(None, 5)], reduce.ArgParams(1), (None,)),
        (resize.RESIZE_BILINEAR, [t(None, None, None, 3)], resize.ResizeParams((7, 9)), (None, 7, 9, 3)),
        (layout.RESHAPE, [t(None, 4)], layout.ReshapeParams((-1, 2)), (None, 2)),
        (layout.RESHAPE, [t(6, 4)], layout.ReshapeParams((-1, 2)), (12, 2)),
        (layout.TRANSPOSE, [t(1, None, 3)], layout.TransposeParams((2, 0, 1)), (3, 1, None)),
        (layout.PAD, [t(None, 3)], layout.PadParams(((1, 1), (0, 2))), (None, 5)),
        (layout.SLICE, [t(None, 9)], layout.SliceParams((0, 8), (-1, -1), (1, -3)), (None, 3)),
        (layout.GATHER, [t(5, 3), t(None, 2, dtype="int32")], layout.GatherParams(), (None, 2, 3)),
        (layout.PACK, [t(None, 3), t(2, None)], layout.PackParams(1), (2, 2, 3)),
        (strings.DECODE_IMAGE, [t(dtype=object)], strings.DecodeImageParams(channels=3), None),
        (strings.DECODE_IMAGE, [t(dtype=object)], strings.DecodeImageParams(channels=1), (None, None, 1)),
        (strings.DECODE_IMAGE, [t(dtype=object)], strings.DecodeImageParams("jpeg", 3), (None, None, 3)),
        (strings.DECODE_IMAGE, [t(dtype=object)], strings.DecodeImageParams("gif"), (None, None, None, 3)),
        (strings.DECODE_IMAGE, [t(dtype=object)], strings.DecodeImageParams(expand_animations=False), (None, None, None)),
    ],
    ids=lambda v: getattr(v, "name", ""),
)  # fmt: skip
def test_partly_known_shapes(contract: Contract[Any], inputs: Any, params: Any, want: Any) -> None:
    assert shapes(contract, *inputs, params=params)[0] == want


@pytest.mark.parametrize(
    ("contract", "inputs", "params", "message"),
    [
        (CONV2D, [t(1, 9, 9, 3), t(3, 3, 4, 8)], Conv2DParams(),
         r"conv2d: the input has 3 channels \(1, 9, 9, 3\) but the filter takes 4 \(3, 3, 4, 8\)"),
        (CONV2D, [t(1, 2, 9, 3), t(3, 3, 3, 8)], Conv2DParams(), "a window of 3 does not fit into height 2"),
        (CONV2D, [t(9, 9, 3), t(3, 3, 3, 8)], Conv2DParams(), r"the input \(NHWC\) must have 4 axes, got shape \(9, 9, 3\)"),
        (CONV2D, [t(1, 9, 9, 3), t(3, 3, 3, 8), t(7)], Conv2DParams(), r"conv2d bias: shapes \(7,\) and \(8,\) contradict"),
        (CONV2D, [t(1, 9, 9, 3)], Conv2DParams(), "conv2d takes 2 to 11 inputs, got 1"),
        (DEPTHWISE_CONV2D, [t(1, 9, 9, 3), t(3, 3, 4, 1)], Conv2DParams(), "depthwise_conv2d channels"),
        (MAX_POOL2D, [t(1, 2, 2, 3)], Pool2DParams((3, 3)), "a window of 3 does not fit into height 2"),
        (matmul.MATMUL, [t(2, 3), t(4, 5)], matmul.MatMulParams(), r"inner sizes differ: \(2, 3\) has 3, \(4, 5\) has 4"),
        (matmul.MATMUL, [t(3), t(3, 5)], matmul.MatMulParams(), "use expand_dims for vectors"),
        (elementwise.ADD, [t(2, 3), t(4)], Params(), r"add: shapes \(2, 3\) and \(4,\) do not broadcast: 3 against 4"),
        (normalization.BATCH_NORM, [t(2, 3), t(3), t(4), t(3)], normalization.BatchNormParams(),
         r"batch_norm: input 2 must have shape \(3,\) for an input of shape \(2, 3\), got \(4,\)"),
        (LRN_GRAD, [t(2, 3, 4, 5), t(2, 3, 4, 5), t(2, 3, 4, 6)], normalization.LRNParams(),
         r"lrn_grad: shapes \(2, 3, 4, 5\) and \(2, 3, 4, 6\) contradict"),
        (softmax.SOFTMAX, [t(2, 3)], softmax.SoftmaxParams(2), "softmax: axis 2 is out of range for 2 axes; expected -2 to 1"),
        (concat.CONCAT, [t(2, 3), t(2, 3, 4)], concat.ConcatParams(0), r"concat: ranks differ: \(2, 3\) and \(2, 3, 4\)"),
        (concat.CONCAT, [t(2, 3), t(3, 3)], concat.ConcatParams(1), "concat along axis 1"),
        (reduce.REDUCE_SUM, [t(2, 3)], reduce.ReduceParams((0, -2)), "name an axis twice"),
        (reduce.ARGMAX, [t(2, 0)], reduce.ArgParams(1), r"axis 1 of \(2, 0\) is empty"),
        (reduce.TOP_K, [t(2, 3)], reduce.TopKParams(4), "must have at least k = 4 elements"),
        (resize.RESIZE_BILINEAR, [t(1, 0, 3, 3)], resize.ResizeParams((2, 2)), "must have at least one pixel"),
        (layout.RESHAPE, [t(2, 3)], layout.ReshapeParams((4,)), r"\(2, 3\) has 6 elements, the new shape \(4,\) has 4"),
        (layout.RESHAPE, [t(2, 3)], layout.ReshapeParams((-1, -1)), "one -1 at most"),
        (layout.TRANSPOSE, [t(2, 3)], layout.TransposeParams((0, 0)), "is not a permutation"),
        (layout.PAD, [t(2, 3)], layout.PadParams(((0, 2), (0, 0)), "reflect"), "can add at most 1 cells to an axis of 2"),
        (layout.SLICE, [t(4)], layout.SliceParams((2,), (3,)), "is outside axis 0"),
        (layout.SPLIT, [t(4)], layout.SplitParams(0, (1, 2)), "do not add up to axis 0"),
        (layout.FILL, [t(1)], layout.FillParams((2,)), "the value must be a scalar"),
        (strings.DECODE_IMAGE, [t(2, dtype=object)], strings.DecodeImageParams(), "must have 0 axes"),
    ],
    ids=lambda v: getattr(v, "name", "") if not isinstance(v, str) else "",
)  # fmt: skip
def test_what_can_never_fit(contract: Contract[Any], inputs: Any, params: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        contract.check(inputs, params)


@pytest.mark.parametrize(
    ("contract", "inputs", "message"),
    [
        (elementwise.ADD, [t(2), t(2, dtype="int32")], r"add: input 0 is float32 but input 1 is int32; .*\(use cast\)"),
        (elementwise.SQRT, [t(2, dtype="int32")], "sqrt: the input has dtype int32; it takes .*float32"),
        (elementwise.LOGICAL_AND, [t(2), t(2)], "it takes bool"),
        (elementwise.SELECT, [t(2), t(2), t(2)], "the condition must be bool"),
        (CONV2D, [t(1, 3, 3, 1, dtype="int8"), t(1, 1, 1, 1, dtype="int8")], "conv2d: the input has dtype int8"),
        (normalization.LRN, [t(1, 1, 1, 3, dtype="int32")], "lrn: the input has dtype int32"),
        (layout.GATHER, [t(2), t(2)], "gather: the indices has dtype float32"),
        (strings.DECODE_IMAGE, [t()], "decode_image: takes strings"),
        (matmul.MATMUL, [t(2, 2, dtype=bool)] * 2, "matmul: the inputs has dtype bool"),
    ],
    ids=lambda v: getattr(v, "name", "") if not isinstance(v, str) else "",
)
def test_wrong_dtypes(contract: Contract[Any], inputs: Any, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        contract.check(inputs, contract.params())


def test_wrong_parameter_class() -> None:
    with pytest.raises(TypeError, match="matmul takes parameters of class MatMulParams, got Params"):
        matmul.MATMUL.check([t(2, 2), t(2, 2)], Params())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv2DParams(strides=(0, 1)),
        lambda: Conv2DParams(padding=(0, -1, 0, 0)),
        lambda: Pool2DParams((0, 1)),
        lambda: Pool2DParams((2, 2), padding=(2, 0, 0, 0)),
        lambda: resize.ResizeParams((0, 3)),
        lambda: resize.ResizeParams((3, 3), True, True),
        lambda: layout.PadParams(((0, 0),), "edge"),
        lambda: strings.DecodeImageParams(ratio=3),
    ],
)
def test_wrong_parameters_are_refused_when_made(make: Any) -> None:
    with pytest.raises(ShapeError):
        make()


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "want"),
    [
        (5, 3, 1, 1, (1, 1)),
        (5, 3, 2, 1, (1, 1)),
        (6, 3, 2, 1, (0, 1)),
        (5, 2, 1, 1, (0, 1)),
        (5, 3, 1, 2, (2, 2)),
        (7, 1, 3, 1, (0, 0)),
    ],
)
def test_same_puts_the_odd_pixel_at_the_end(n: int, k: int, s: int, d: int, want: tuple[int, int]) -> None:
    """Against TensorFlow's rule: total = max((ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0), half of it first."""
    assert explicit_padding("SAME", (n, n), (k, k), (s, s), (d, d)) == (*want, *want)


def test_flops_of_the_convolutions_of_inception_v3() -> None:
    """5.711 G multiply-adds in 94 convolutions: the literature's figure for 299 x 299 pixels."""
    from kigraph.kernels.inception_v3 import CONVOLUTIONS, distinct_convolutions

    total = 0
    for layer in CONVOLUTIONS:
        x = t(1, layer.size, layer.size, layer.cin)
        w = t(*layer.kernel, layer.cin, layer.cout)
        p = Conv2DParams((layer.stride,) * 2, layer.padding)
        (y,) = CONV2D.check([x, w], p)
        assert y.dims[1:3] == (layer.out, layer.out)
        flops = CONV2D.flops([x, w], [y], p)
        assert flops == 2 * layer.macs
        total += flops
    assert len(CONVOLUTIONS) == 94
    assert total / 2e9 == pytest.approx(5.711, abs=5e-4)
    assert sum(count for _, count in distinct_convolutions()) == 94


def test_shape_helpers() -> None:
    assert shape_text((1, None)) == "(1, ?)"
    assert shape_text((3,)) == "(3,)"
    assert shape_text(None) == "(unknown rank)"
    assert broadcast_shapes("op", [(3, 1), (None,), ()]) == (3, None)
    assert broadcast_shapes("op", [(3, 1), None]) is None
    assert merge_shapes("op", (None, 3), (2, None)) == (2, 3)
    assert normalize_axis("op", -1, 3) == 2


def test_tensor_types() -> None:
    assert str(t(1, None, dtype="int8")) == "int8[1, ?]"
    assert str(TensorType(STRING)) == "string[...]"
    assert (t(2, 3).size, t(2, 3).nbytes, t(2, 3).known, t(None).known) == (6, 24, True, False)
    with pytest.raises(ValueError, match="is not fully known"):
        _ = t(None).dims
