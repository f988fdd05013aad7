"""Ops of ONNX Runtime (com.microsoft) that its optimiser puts into files: fused convolutions, products and normalisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...builder import Tensor
from .activations import clamp, gelu, hard_sigmoid
from .conv import convolve
from .math import batch_product, gemm
from .node import Converter, Node, Outputs
from .norm import layer_norm, rms_norm

__all__ = ["CONTRIB"]


def _activated(n: Node, y: Tensor) -> Tensor:
    """The activation of a fused op, with its parameters."""
    name, numbers = n.text("activation", ""), n.floats("activation_params") or ()
    if name in ("Relu", "Sigmoid", "Tanh", "Softplus"):
        return n.op(name, y)
    if name == "LeakyRelu":
        alpha = numbers[0] if numbers else 0.01
        return n.op("SelectV2", n.op("Less", y, n.like(y, 0)), n.op("Mul", y, n.like(y, alpha)), y)
    if name == "Clip" and len(numbers) == 2:
        return clamp(n, y, n.like(y, numbers[0]), n.like(y, numbers[1]))
    if name == "HardSigmoid" and len(numbers) == 2:
        return hard_sigmoid(n, y, *numbers)
    if name:
        raise n.unsupported(f"the activation {name[:40]!r}")
    return y


def _fused_conv(n: Node) -> Tensor:
    """A fourth input is added before the activation."""
    y = convolve(n, n.input(0), n.input(1), n.optional(2))
    added = n.optional(3)
    return _activated(n, y if added is None else n.op("AddV2", y, added))


def _fused_gemm(n: Node) -> Tensor:
    y = gemm(n, n.input(0), n.input(1), n.optional(2))
    numbers = [n.number(f"activation_{k}", d) for k, d in (("alpha", 0.01), ("beta", 0.0), ("gamma", 0.0))]
    name = n.text("activation", "")
    if name == "LeakyRelu":
        return n.op("SelectV2", n.op("Less", y, n.like(y, 0)), n.op("Mul", y, n.like(y, numbers[0])), y)
    return _activated(n, y)


def _swapped(n: Node, x: Tensor, swap: bool, swap_batch: bool) -> Tensor:
    """The last two axes swapped, and the batch's first axis moved before the last: as FusedMatMul has it."""
    order = list(range(n.rank(x)))
    if swap_batch:
        order = [*order[1:-1], order[0], order[-1]]
    if swap:
        order[-1], order[-2] = order[-2], order[-1]
    return n.transpose(x, order)


def _fused_matmul(n: Node) -> Tensor:
    a = _swapped(n, n.input(0), n.flag("transA"), n.flag("transBatchA"))
    b = _swapped(n, n.input(1), n.flag("transB"), n.flag("transBatchB"))
    y, alpha = batch_product(n, a, b), n.number("alpha", 1.0)
    return y if alpha == 1 else n.op("Mul", y, n.like(y, alpha))


def _gelu(approximate: str, bias: bool) -> Converter:
    def convert(n: Node) -> Tensor:
        x = n.input(0)
        added = n.optional(1) if bias else None
        return gelu(n, x if added is None else n.op("AddV2", x, added), approximate)

    return convert


def _quick_gelu(n: Node) -> Tensor:
    x = n.input(0)
    return n.op("Mul", x, n.op("Sigmoid", n.op("Mul", x, n.like(x, n.number("alpha", 1.702)))))


def _skipped(n: Node, bias: int) -> Tensor:
    """The sum of the input, what skips it, and a bias."""
    x = n.op("AddV2", n.input(0), n.input(1))
    added = n.optional(bias)
    return x if added is None else n.op("AddV2", x, added)


def _skip_layer_norm(n: Node) -> Outputs:
    """Outputs: the result, its mean and 1 / deviation, the sum."""
    total, epsilon = _skipped(n, 4), n.number("epsilon", 1e-12)
    return [*layer_norm(n, total, n.input(2), n.optional(3), -1, epsilon), total]


def _skip_rms_norm(n: Node) -> Outputs:
    total, epsilon = _skipped(n, 3), n.number("epsilon", 1e-12)
    return [rms_norm(n, total, n.input(2), -1, epsilon), None, None, total]


def _rms_norm(n: Node) -> Tensor:
    n.ignore("stash_type")
    return rms_norm(n, n.input(0), n.input(1), n.integer("axis", -1), n.number("epsilon", 1e-5))


def _attention(n: Node) -> Tensor:
    """Self-attention of BERT without past: x times packed weights (hidden, 3 * hidden), heads, softmax, values."""
    x, w, b, mask = n.input(0), n.input(1), n.optional(2), n.optional(3)
    heads, hidden = n.integer("num_heads", 0), n.shape(w)[-1]
    if mask is not None or any(n.optional(i) is not None for i in range(4, 7)):
        raise n.unsupported("a mask, a past or a bias of the attention")
    if n.flag("unidirectional") or n.ints("qkv_hidden_sizes") or n.flag("do_rotary"):
        raise n.unsupported("causal attention, other sizes of q, k and v, or rotary positions")
    if hidden is None or heads < 1 or hidden % (3 * heads):
        raise n.wrong(f"{hidden} columns for {heads} heads", "3 times a multiple of the heads")
    size = hidden // (3 * heads)
    scale = n.number("scale", 0.0) or size**-0.5
    y = batch_product(n, x, w)
    y = y if b is None else n.op("AddV2", y, b)
    parts = n.ops("Split", [n.const(2, "int32"), y], 3, num_split=3)
    q, k, v = (
        n.transpose(n.op("Reshape", p, n.vector([n.size(x, 0), n.size(x, 1), heads, size])), (0, 2, 1, 3))
        for p in parts
    )
    scores = n.op("Mul", n.op("BatchMatMulV2", q, k, adj_y=True), n.like(q, scale))
    y = n.transpose(n.op("BatchMatMulV2", n.op("Softmax", scores), v), (0, 2, 1, 3))
    return n.op("Reshape", y, n.vector([n.size(x, 0), n.size(x, 1), heads * size]))


_GELUS: Sequence[tuple[str, str, bool]] = (
    ("Gelu", "none", False), ("FastGelu", "tanh", True), ("BiasGelu", "none", True),
)  # fmt: skip

#: com.microsoft
CONTRIB: Mapping[str, Converter] = {
    **{name: _gelu(approximate, bias) for name, approximate, bias in _GELUS},
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "TransposeMatMul": _fused_matmul,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms_norm,
    "SimplifiedLayerNormalization": _rms_norm,
    "Attention": _attention,
}
