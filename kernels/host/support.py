"""What the kernels written in plain NumPy share: quiet arithmetic, the accumulation type, activations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import field
from typing import Any

import numpy as np

from ..bfloat16 import narrowed, widened
from ..contracts.base import Contract
from ..kernel import Kernel, Query, Run
from ..records import dataclass
from ..tensor import BFLOAT16, Array, DType, Params, is_float

__all__ = [
    "Function",
    "activate",
    "activated",
    "choose",
    "fill",
    "gives_second",
    "highest",
    "in_blocks",
    "in_float32",
    "lowest",
    "numpy_kernel",
    "quietly",
    "wider",
]

#: (inputs, outputs, params) -> None; writes into the outputs.
Function = Callable[[Sequence[Array], Sequence[Array], Any], None]

_WIDER = {np.dtype(np.float16): np.dtype(np.float32)}


def wider(dtype: DType) -> DType:
    """The type to compute in: float32 for float16, every other type as it is."""
    return _WIDER.get(dtype, dtype)


def highest(dtype: DType) -> Any:
    """The value that never wins a minimum: inf, or the greatest integer."""
    return dtype.type(np.inf) if is_float(dtype) else dtype.type(np.iinfo(dtype).max)


def lowest(dtype: DType) -> Any:
    """The value that never wins a maximum: -inf, or the least integer."""
    return dtype.type(-np.inf) if is_float(dtype) else np.iinfo(dtype).min


def fill(y: Array, value: Array) -> None:
    """y[...] = one value of its type; by the C library's memset where its bytes are the same: 4 MB in 0.131, not 0.138 ms."""
    one = value.tobytes()
    if y.ndim and y.flags.c_contiguous and one.count(one[:1]) == y.itemsize and not y.dtype.hasobject:
        y.view(np.uint8).fill(one[0])
    else:
        y[...] = value


#: Elements that a chain of NumPy calls works on at a time: what lies between the calls stays in the L2 cache.
_BLOCK = 1 << 15


def in_blocks(function: Callable[..., None], inputs: Sequence[Array], out: Array) -> None:
    """``function(*inputs, out)`` of elementwise calls, block by block where all arrays are dense and of one shape, or one number."""
    dense = all(x.size == 1 or (x.shape == out.shape and x.flags.c_contiguous) for x in inputs)
    if not out.ndim:  # a ufunc of arrays without axes gives a number, which no later call can write to
        function(*(x.reshape(1) for x in inputs), out.reshape(1))
        return
    if out.size <= 2 * _BLOCK or not dense or not out.flags.c_contiguous:
        function(*inputs, out)
        return
    flat, parts = out.reshape(-1), [x.reshape(-1) for x in inputs]
    for at in range(0, out.size, _BLOCK):
        function(*(p if p.size == 1 else p[at : at + _BLOCK] for p in parts), flat[at : at + _BLOCK])


def in_lines(function: Callable[[Array, Array], None], x: Array, y: Array) -> None:
    """``function(x, y)`` for some lines of the last axis after the other, where both are dense and of one shape; else at once."""
    if not x.size or x.shape != y.shape or not (x.flags.c_contiguous and y.flags.c_contiguous):
        function(x, y)
        return
    lines, made = x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1])
    step = max(1, _BLOCK // x.shape[-1])
    for at in range(0, len(lines), step):
        function(lines[at : at + step], made[at : at + step])


def choose(condition: Array, x: Array, y: Array, out: Array) -> None:
    """``out`` = x where the condition holds, else y, all of one dtype. np.where branches: 2.0 ms for 2 MB, these bits 0.8."""
    if out.dtype.kind not in "biuf" or out.itemsize > 8:
        out[...] = np.where(condition, x, y)
        return
    bits = np.dtype(f"i{out.itemsize}")
    differ = np.bitwise_xor(x.view(bits), y.view(bits))
    differ = np.bitwise_and(differ, np.negative(condition.astype(bits)))  # all bits of -1 are set
    np.bitwise_xor(differ, y.view(bits), out=out.view(bits))


#: Lengths and strides with which the loops of this NumPy are tried: whole vectors, tails, one element, gaps.
_TRIED = [(n, step) for n in (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 130) for step in (1, 2, 3)]


@functools.cache
def gives_second(ufunc: Any, dtype: DType) -> bool:
    """Whether np.maximum or np.minimum gives the second of -0 and 0, in all its loops: NumPy promises neither."""
    for n, step in _TRIED:
        zeros = np.zeros(n * step, dtype)[::step]
        for a, b in ((zeros, -zeros), (-zeros, zeros)):
            if any((np.signbit(ufunc(c, d)) != np.signbit(b[0])).any() for c, d in ((a, b), (a, b[:1]), (a[:1], b))):
                return False
    return True


@functools.cache
def _clip_keeps_minus(dtype: DType) -> bool:
    """Whether np.clip from 0 on leaves -0 as it is, in all its loops."""
    minus = (-np.zeros(n * step, dtype)[::step] for n, step in _TRIED)
    return all(np.signbit(np.clip(x, dtype.type(0), dtype.type(6))).all() for x in minus)


def activate(y: Array, activation: str) -> None:
    """Applies an activation in place. NaN and -0 stay: neither is below 0 or above 6."""
    if activation != "none":
        activated(y, y, activation)


def activated(x: Array, y: Array, activation: str) -> None:
    """y = relu(x) or relu6(x); y may be x."""
    kind = x.dtype.type
    most = kind(6) if activation == "relu6" else highest(x.dtype)
    if not is_float(x.dtype) or _clip_keeps_minus(x.dtype):
        np.clip(x, kind(0), most, out=y)
        return
    minus = np.signbit(x) & (x == 0)
    np.clip(x, kind(0), most, out=y)
    np.copyto(y, kind(-0.0), where=minus)


def quietly(function: Callable[..., None], *arguments: Any) -> Run:
    """``function(*arguments)`` as a run for one thread at a time: IEEE results (inf, NaN, wrap-around) without warnings.

    NumPy keeps its error state in a context variable. A context of the run's own is entered by one call of C; np.errstate
    in every run took 13 us after a run that had filled the caches with its arrays.
    """
    context = Context()
    context.run(np.seterr, all="ignore")
    return functools.partial(context.run, function, *arguments)


def in_float32(function: Function) -> Function:
    """The function where tensors may be bfloat16 in memory: it gets float32 copies of them, and results are rounded once."""

    def run(inputs: Sequence[Array], outputs: Sequence[Array], params: Any) -> None:
        if all(a.dtype != BFLOAT16 for a in (*inputs, *outputs)):
            function(inputs, outputs, params)
            return
        wide = [np.empty(y.shape, np.float32) if y.dtype == BFLOAT16 else y for y in outputs]
        function([widened(x) if x.dtype == BFLOAT16 else x for x in inputs], wide, params)
        for y, made in zip(outputs, wide, strict=True):
            if y is not made:
                y[...] = narrowed(made)

    return run


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Prepared: plain NumPy calls, without packing or workspace."""

    function: Function
    params: Params
    workspace_bytes: int = 0
    absorbed: frozenset[int] = field(default_factory=frozenset)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return quietly(self.function, tuple(inputs), tuple(outputs), self.params)


def _supports_all(query: Query) -> str | None:
    return None


def numpy_kernel(
    contract: Contract[Any],
    backend: str,
    function: Function,
    *,
    supports: Callable[[Query], str | None] | None = None,
    bfloat16: bool = False,
) -> Kernel:
    """A kernel of plain NumPy calls: any strides, and IEEE results without warnings. ``bfloat16``: as in Kernel."""
    return Kernel(
        contract,
        backend,
        contract.name,
        prepare=lambda query, constants: _Quiet(function, query.params),
        supports=supports or _supports_all,
        strided_inputs=True,
        strided_outputs=True,
        bfloat16=bfloat16,
    )
