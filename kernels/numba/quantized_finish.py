"""What becomes of the sums of quantised layers: requantised bytes, the sums themselves, or reals. Loops that LLVM vectorises."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contracts.quantized import QConv2DParams, QMatMulParams
from .jit import bits, carray, inner, pointer

__all__ = ["BYTES", "REALS", "SUMS", "finish", "finish_fields", "to_byte"]

#: What a job's ``result`` says.
BYTES, SUMS, REALS = 0, 1, 2
#: Added to a float32 of less than 2^22 it leaves the nearest integer, halves to even, in the lowest bits.
_MAGIC = np.float32(1.5 * 2**23)
_MAGIC_BITS = int(_MAGIC.view(np.int32))


def finish_fields(params: QConv2DParams | QMatMulParams) -> dict[str, int]:
    """The numbers of a result as a job has them; ``low`` and ``high`` are counted from the zero point."""
    result = {"int32": SUMS, "float32": REALS}.get(params.dtype.name, BYTES)
    low, high = (params.low - params.y_zero, params.high - params.y_zero) if result == BYTES else (0, 0)
    return {"result": result, "low": low, "high": high, "y_zero": params.y_zero, "item": params.dtype.itemsize}


@inner
def to_byte(v: Any, low: Any, high: Any, zero: int) -> Any:
    """The low byte of clamp(rint(v)) + zero; NaN becomes low."""
    v = v if v > low else low
    v = v if v < high else high
    return np.uint8(bits(np.float32(v + _MAGIC)) - _MAGIC_BITS + zero)


@inner
def finish(sums: int, bias: int, multiplier: int, y: int, count: int, job: Any) -> None:
    """``count`` neighbouring sums and their biases to y; all but ``count`` and the job are addresses."""
    acc = carray(pointer(sums), count, np.int32)
    start = carray(pointer(bias), count, np.int32)
    if job.result == SUMS:
        whole = carray(pointer(y), count, np.int32)
        for j in range(count):
            whole[j] = np.int32(acc[j] + start[j])
        return
    factor = carray(pointer(multiplier), count, np.float32)
    if job.result == REALS:
        real = carray(pointer(y), count, np.float32)
        for j in range(count):
            real[j] = np.float32(np.int32(acc[j] + start[j])) * factor[j]
        return
    to = carray(pointer(y), count, np.uint8)
    low, high, zero = np.float32(job.low), np.float32(job.high), job.y_zero
    for j in range(count):
        to[j] = to_byte(np.float32(np.int32(acc[j] + start[j])) * factor[j], low, high, zero)
