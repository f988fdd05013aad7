"""The truth: the reference computed in a wider type; and how far from it a kernel may be."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from ..bfloat16 import narrowed, round_to_bfloat16, widened
from ..contracts import conv2d, einsum, gradients, matmul, siblings
from ..contracts.base import Tolerance
from ..errors import KernelError
from ..kernel import NoConstants, Query
from ..registry import kernels_of
from ..tensor import BFLOAT16, STRING, DType, TensorType
from .case import Case

__all__ = ["MismatchError", "compare", "rounded_operands", "tolerance", "truth"]

NDArray = np.ndarray[Any, Any]

_WIDE = {
    np.dtype(narrow): np.dtype(wide)
    for narrow, wide in (
        ("float16", "float64"),
        ("float32", "float64"),
        ("float64", "longdouble"),
        ("complex64", "complex128"),
        ("complex128", "clongdouble"),
    )
} | {BFLOAT16: np.dtype(np.float64)}
_EXACT = Tolerance(0, 0)
#: Contracts whose FLOPs are a multiplication and an addition per summed term.
_PRODUCTS = (
    matmul.MATMUL, einsum.EINSUM, conv2d.CONV2D, conv2d.DEPTHWISE_CONV2D, siblings.SIBLING_CONV2D, gradients.CONV2D_INPUT_GRAD,
    gradients.CONV2D_FILTER_GRAD, gradients.DEPTHWISE_CONV2D_INPUT_GRAD, gradients.DEPTHWISE_CONV2D_FILTER_GRAD,
)  # fmt: skip


def _widen(dtype: DType) -> DType:
    return _WIDE.get(dtype, dtype)


def rounded_operands(case: Case, values: list[NDArray]) -> list[NDArray]:
    """The inputs with those that are multiplied rounded to bfloat16: what a bf16 kernel is to multiply exactly."""
    biases = set(range(2, len(values)))  # and the operands of a chain
    if case.contract is siblings.SIBLING_CONV2D:
        biases = {i for place in siblings.places(case.params) for i in place.inputs[2:]}  # type: ignore[arg-type]
    return [round_to_bfloat16(v) if v.dtype == np.float32 and i not in biases else v for i, v in enumerate(values)]


def truth(case: Case, values: list[NDArray], precision: str | None = None) -> list[NDArray]:
    """What the outputs should be: by the case's own oracle, else by the reference.

    A contract with a tolerance is computed in a wider type (float64 for float32); an exact one in its own type, where
    the reference rounds as IEEE says. precision: of the kernel; for bf16 the operands are rounded first, so that the
    contract's tolerance is that of the sums.
    """
    if precision == "bf16":
        values = rounded_operands(case, values)
    if case.oracle is not None:
        return list(case.oracle(values, case.params))
    query = case.query()
    known = (k for family in ("numpy", "host") for k in kernels_of(family, case.contract))
    reference = next((k for k in known if k.precision in (None, "fp32")), None)
    if reference is None:
        raise KernelError(f"the reference has no kernel for {case.contract.name}")
    if reference.evaluate is not None:
        return list(reference.evaluate(values, case.params))
    rounds = all(t.dtype.kind in "fc" or t.dtype == BFLOAT16 for t in query.outputs)
    if rounds and (case.tolerance or case.contract.tolerance) != _EXACT:
        values = [(widened(v) if v.dtype == BFLOAT16 else v).astype(_widen(v.dtype)) for v in values]
        query = replace(query, outputs=tuple(TensorType(_widen(t.dtype), t.shape) for t in query.outputs))
    query = replace(query, inputs=tuple(TensorType(v.dtype, v.shape) for v in values), constants=frozenset(), threads=1)
    outputs = [np.zeros(t.dims, t.dtype) for t in query.outputs]
    assert reference.prepare is not None
    reference.prepare(query, NoConstants()).bind(values, outputs, None)()
    return outputs


def _summed_terms(query: Query) -> int:
    """How many terms one output element is the sum of."""
    outputs = max(sum(t.size for t in query.outputs), 1)
    flops = query.contract.flops(query.inputs, query.outputs, query.params)
    return max(flops // (2 * outputs if query.contract in _PRODUCTS else outputs), 1)


def _unit(dtype: DType) -> tuple[float, float]:
    """The distance from 1 to the next number (of bfloat16 half of it, the most that rounding is off by), the least number above 0."""
    if dtype == BFLOAT16:
        return 2.0**-8, 2.0**-133
    return float(np.finfo(dtype).eps), float(np.finfo(dtype).smallest_subnormal)


def tolerance(case: Case, dtype: DType, wider: Tolerance | None = None) -> Tolerance:
    """The contract's tolerance, which speaks of float32, for an output of ``dtype``; integers and text are exact.

    wider: a kernel's own (Kernel.tolerance).

    float64: smaller in proportion to the rounding unit (with a reserve of 4, for the truth has few bits more).
    float16, bfloat16: computed in float32 and rounded once. Complex multiplications have no one order of rounding: a few units.
    """
    base = case.tolerance or wider or case.contract.tolerance
    if dtype == STRING or dtype.kind in "biu":
        return _EXACT
    unit, least = _unit(dtype)
    if base == _EXACT:
        return Tolerance(4 * unit, 0) if dtype.kind == "c" else _EXACT
    rtol, atol = base.rtol, base.atol * case.magnitude
    if base.scale_by_reduction:
        atol *= sqrt(_summed_terms(case.query()))
    if unit < 1e-10:
        factor = 4 * unit / float(np.finfo(np.float32).eps)
        return Tolerance(rtol * factor, atol * factor)
    if unit > 1e-4:
        return Tolerance(rtol + unit, atol + least)
    return Tolerance(rtol, atol)


class MismatchError(Exception):
    """An output differs from the truth."""


def compare(got: NDArray, want: NDArray, allowed: Tolerance) -> float:
    """Worst error as a share of what is allowed (0 where exact); raises MismatchError with the first wrong element."""
    if got.shape != want.shape:
        raise MismatchError(f"shape {got.shape}, expected {want.shape}")
    if got.dtype == STRING or got.dtype.kind in "biu":
        wrong = np.asarray(got != want, bool)
        worst = 0.0
    else:
        with np.errstate(all="ignore"):
            if got.dtype == BFLOAT16:
                rounded, got = widened(narrowed(widened(want) if want.dtype == BFLOAT16 else want)), widened(got)
                want = rounded if want.dtype == BFLOAT16 else want
            else:
                rounded = want.astype(got.dtype)
            same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
            error = np.abs(got.astype(want.dtype) - want)
            bound = allowed.atol + allowed.rtol * np.abs(want)
            finite = np.isfinite(rounded) & np.isfinite(got)
            wrong = ~(same | (finite & (error <= bound)))
            share = np.where(same | ~finite, 0, error / np.where(bound > 0, bound, 1))
        worst = float(share.max()) if share.size else 0.0
    if wrong.any():
        count = int(np.count_nonzero(wrong))
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise MismatchError(
            f"{count} of {wrong.size} elements are wrong, the first at {index}: got {got[index]!r}, "
            f"expected {want[index]!r} within {allowed.atol:.3g} + {allowed.rtol:.3g} * |expected|; "
            f"worst error / allowed = {worst:.3g}"
        )
    return worst
