"""Error bounds of a matrix product, per precision, for the tests and the checks on a device.

With operands rounded to a unit u (fp32: not rounded) and K terms added up in float32,

    |y - exact| <= (2 u + u^2 + K s) * sum over k of |a_k| |b_k|

where s bounds one addition: 2^-24 where each is rounded to the nearest (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, chapter 3), 2^-22 on tensor cores, which align the addends of an instruction and truncate them.
"""

from __future__ import annotations

__all__ = ["UNITS", "error_bound"]

#: The largest relative error of rounding an operand; of the result for fp32, whose operands are exact.
UNITS = {"fp32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}


def error_bound(precision: str, k: int, splits: int = 1) -> float:
    """Largest error of an element as a share of sum |a| |b|, for ``k`` terms summed in ``splits`` parts, with bias."""
    additions = k + splits + 1
    if precision == "fp32":
        return additions * UNITS["fp32"]
    unit = UNITS[precision]
    return 2 * unit + unit * unit + additions * 2.0**-22
