"""Matrix product, 2-D and batched, with optional bias and activation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import BFLOAT16, Params, TensorType
from .base import (
    NUMBERS,
    Contract,
    Tolerance,
    broadcast_shapes,
    merge_shapes,
    require_dtype,
    require_same_dtype,
    shape_text,
    stored_dtype,
)
from .chains import MOST_OPERANDS, chain_items, check_chain

__all__ = ["MATMUL", "Activation", "MatMulParams"]

#: What a fused epilogue applies after the bias.
Activation = Literal["none", "relu", "relu6"]


@dataclass(frozen=True, slots=True)
class MatMulParams(Params):
    """Whether the last two axes of an input are swapped, and what is applied to the product."""

    transpose_a: bool = False
    transpose_b: bool = False
    activation: Activation = "none"
    #: A chain of elementwise ops (contracts/chains.py) on the result; its operands follow the bias.
    finish: str = ""


def _infer(inputs: Sequence[TensorType], params: MatMulParams) -> tuple[TensorType, ...]:
    a, b = inputs[:2]
    operands, inputs = inputs[3:], inputs[:3]
    dtype = stored_dtype("matmul", inputs) if a.dtype == BFLOAT16 else require_same_dtype("matmul", inputs)
    require_dtype("matmul", "the inputs", dtype, NUMBERS)
    if a.shape is None or b.shape is None:
        return (TensorType(dtype),)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ShapeError(
            f"matmul: both inputs need 2 axes or more, got {shape_text(a.shape)} and {shape_text(b.shape)}; "
            "use expand_dims for vectors"
        )
    m, k = a.shape[-2:][::-1] if params.transpose_a else a.shape[-2:]
    k2, n = b.shape[-2:][::-1] if params.transpose_b else b.shape[-2:]
    if k is not None and k2 is not None and k != k2:
        raise ShapeError(
            f"matmul: inner sizes differ: {shape_text(a.shape)}{' transposed' if params.transpose_a else ''} has {k}, "
            f"{shape_text(b.shape)}{' transposed' if params.transpose_b else ''} has {k2}"
        )
    if len(inputs) == 3:
        (n,) = merge_shapes("matmul bias", inputs[2].shape, (n,)) or (n,)
    batch = broadcast_shapes("matmul", [a.shape[:-2], b.shape[:-2]]) or ()
    output = TensorType(dtype, (*batch, m, n))
    check_chain("matmul", params.finish, output, operands)
    return (output,)


def _flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: MatMulParams) -> int:
    return 2 * outputs[0].size * inputs[0].dims[-2 if params.transpose_a else -1]


def _by_item(inputs: Sequence[TensorType], params: MatMulParams, items: Collection[int]) -> bool:
    """Rows of a, or leading products of a, with one b for all, and the operands of a chain that have a value for each."""
    a, b = (len(t.dims) for t in inputs[:2])
    if b != 2 or (a == 2 and params.transpose_a):
        return False
    return set(items) == {0} | chain_items(inputs[0], inputs[3:], 3)


MATMUL: Contract[MatMulParams] = Contract(
    "matmul",
    """y[..., i, j] = activation(sum over k of a[..., i, k] * b[..., k, j] + bias[j]).

    a (..., M, K), b (..., K, N), or with their last two axes swapped if transpose_a / transpose_b; leading axes broadcast.
    bias (N,) is an optional third input. With ``finish`` a chain of elementwise ops (contracts/chains.py) follows the activation;
    the bias and then the chain's operands are inputs. Row-major, dense. K = 0 gives activation(bias). Floats accumulate in the
    element type or wider; integers wrap. In a session of a lower precision float32 a and b may be rounded first
    (contracts/precisions.py). a may be bfloat16 in memory; b, bias, the sums and y are float32 then.""",
    _infer,
    MatMulParams,
    arity=(2, 3 + MOST_OPERANDS),
    flops=_flops,
    tolerance=Tolerance(1e-6, 2e-6, scale_by_reduction=True),
    by_item=_by_item,
)
