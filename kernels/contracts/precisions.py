"""What a precision promises of a convolution or matrix product, on every backend: rounded operands, and an error bound.

With operands rounded to a unit u (fp32: not rounded) and K terms added up in float32,

    |y - exact| <= (2 u + u^2 + K s) * sum over k of |a_k| |b_k|

where s bounds one addition: 2^-24 where each is rounded to the nearest (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, chapter 3), 2^-22 on tensor cores, which align the addends of an instruction and truncate them. The bound
below has 2^-22 for both: of the terms that Inception v3 sums, at most 4,032, that is an eighth of bf16's first term.

A session in a lower precision may also use kernels of fp32, whose errors are smaller: direct ones, and those that multiply
less within FAST_TOLERANCES. Denormal operands and results may count as zero in bf16, as in the instructions of processors.
The bias is added, the activation applied and a chain run in float32 in every precision. What has no long sums of products (depthwise
convolution, pooling, normalisation, elementwise ops) is computed in float32. Where a backend stores activations as bfloat16 (cython on
AMX), what such an op gives to a convolution is rounded when it is stored, by a unit at most.
"""

from __future__ import annotations

from .base import Tolerance

__all__ = ["PRODUCT_TOLERANCES", "UNITS", "error_bound"]

#: The largest relative error of rounding an operand; of the result for fp32, whose operands are exact.
UNITS = {"fp32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}

#: The bound as a tolerance for operands near 1: 6 standard deviations of the errors of independent products, whose operands are
#: each off by 0.3 to 0.58 units. The sharp statement is ``error_bound``.
PRODUCT_TOLERANCES = {
    "tf32": Tolerance(2.0**-10, 2.0**-9, scale_by_reduction=True),
    "bf16": Tolerance(2.0**-7, 2.0**-6, scale_by_reduction=True),
    # Operands as the sums of two bfloat16: the product of the lower parts is left out, 2^-16, and these are rounded, 2^-17 each.
    "bf16x3": Tolerance(2.0**-14, 2.0**-13, scale_by_reduction=True),
}


def error_bound(precision: str, k: int, splits: int = 1) -> float:
    """Largest error of an element as a share of sum |a| |b|, for ``k`` terms summed in ``splits`` parts, with bias."""
    additions = k + splits + 1
    if precision == "fp32":
        return additions * UNITS["fp32"]
    unit = UNITS[precision]
    return 2 * unit + unit * unit + additions * 2.0**-22
