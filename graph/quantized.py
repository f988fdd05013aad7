"""Whether a graph is quantised: whether its own file or program made its products integers."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernels.numerics import Numerics

__all__ = ["QUANTIZED_OPS", "has_quantized", "precision_text"]

#: Op types that compute with quantised tensors, or change to and from them.
QUANTIZED_OPS = frozenset(
    [
        "KiQuantizedConv2D", "KiQuantizedDepthwiseConv2D", "KiQuantizedMatMul", "KiQuantizedAvgPool", "KiQuantizedAdd",
        "KiQuantizedMul", "KiQuantize", "KiDequantize", "KiRequantize",
    ]
)  # fmt: skip


def has_quantized(types: Iterable[str]) -> bool:
    """Whether one of the op types computes with quantised tensors."""
    return not QUANTIZED_OPS.isdisjoint(types)


def precision_text(numerics: Numerics, types: Iterable[str]) -> str:
    """In what ops of these types multiply: 'fp32', 'bf16', 'tf32'; 'int8' for quantised ones, 'int8+bf16' with a rest in bf16."""
    if not has_quantized(types):
        return numerics.multiplies
    return "int8" if numerics.multiplies == "fp32" else f"int8+{numerics.multiplies}"
