"""Whether a graph is quantised: whether its own file or program made its products integers."""

from __future__ import annotations

from ..kernels.errors import SettingsError
from .builder import Graph

__all__ = ["QUANTIZED_OPS", "is_quantized", "not_quantized"]

#: Op types that compute with quantised tensors, or change to and from them.
QUANTIZED_OPS = frozenset(
    [
        "KiQuantizedConv2D", "KiQuantizedDepthwiseConv2D", "KiQuantizedMatMul", "KiQuantizedAvgPool", "KiQuantizedAdd",
        "KiQuantizedMul", "KiQuantize", "KiDequantize", "KiRequantize",
    ]
)  # fmt: skip


def is_quantized(graph: Graph) -> bool:
    """Whether the graph has ops on quantised tensors, or whole numbers of steps in float32 (TensorFlow Lite's)."""
    if graph.metadata.get("exact_products"):
        return True
    return any(op.type in QUANTIZED_OPS for op in graph.operations)


def not_quantized(graph: Graph) -> SettingsError:
    """The refusal of precision int8 for a graph of real numbers."""
    return SettingsError(
        f"precision 'int8': the graph of {len(graph)} operations has no op on quantised tensors; expected "
        "a quantised model. Remedy: kigraph quantize MODEL --images FOLDER -o FILE, and run that file; or precision fp32 or bf16"
    )
