"""Elementwise ops of quantised tensors. Arrays are traversed as rows of adjacent elements, as in elementwise.py."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..contracts import quantized as q
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from .arrays import check
from .elementwise import joined
from .jit import array_type, carray, compiled, inner, int64, pointer, void
from .quantized_finish import to_byte
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_INDEX = array_type(np.dtype(np.int64))
#: Elements below which a second thread costs more than it saves.
_GRAIN = 64 * 1024
_F32 = np.float32
#: The numbers of one op. ``flip`` makes bytes unsigned, and zero points of inputs are counted so; bounds from the zero point of y.
_NUMBERS = np.dtype(
    [(name, np.int64) for name in ("flip", "a_zero", "b_zero", "y_zero", "low", "high")]
    + [("a_factor", np.float32), ("b_factor", np.float32)]
)


@inner
def _steps(byte: Any, flip: Any, zero: Any) -> Any:
    """A byte as a number of steps from its zero point."""
    return _F32(np.int32(np.int32(byte ^ flip) - zero))


def _add(a: Any, b: Any, n: Any) -> Any:
    flip = np.uint8(n.flip)
    left = _F32(_steps(a, flip, np.int32(n.a_zero)) * n.a_factor)
    right = _F32(_steps(b, flip, np.int32(n.b_zero)) * n.b_factor)
    return to_byte(_F32(left + right), _F32(n.low), _F32(n.high), n.y_zero)


def _mul(a: Any, b: Any, n: Any) -> Any:
    flip = np.uint8(n.flip)
    product = _F32(_steps(a, flip, np.int32(n.a_zero)) * _steps(b, flip, np.int32(n.b_zero)))
    return to_byte(_F32(product * n.a_factor), _F32(n.low), _F32(n.high), n.y_zero)


def _requantize(x: Any, n: Any) -> Any:
    v = _F32(_steps(x, np.uint8(n.flip), np.int32(n.a_zero)) * n.a_factor)
    return to_byte(v, _F32(n.low), _F32(n.high), n.y_zero)


def _divided(x: Any, n: Any) -> Any:
    return to_byte(_F32(x / n.a_factor), _F32(n.low), _F32(n.high), n.y_zero)


def _multiplied(x: Any, n: Any) -> Any:
    return to_byte(_F32(x * n.a_factor), _F32(n.low), _F32(n.high), n.y_zero)


def _dequantize(x: Any, n: Any) -> Any:
    return _F32(_steps(x, np.uint8(n.flip), np.int32(n.a_zero)) * n.a_factor)


#: name -> (function, element type of x, element type of y)
_UNARY = {
    "requantize": (_requantize, np.uint8, np.uint8),
    "quantize_linear-divide": (_divided, np.float32, np.uint8),
    "quantize_linear": (_multiplied, np.float32, np.uint8),
    "dequantize_linear": (_dequantize, np.uint8, np.float32),
}
_BINARY = {"quantized_add": _add, "quantized_mul": _mul}


@functools.cache
def _unary_kernel(name: str) -> Any:
    """``run(x, y, numbers, shape, steps, first, end)``: rows [first, end), the last axis is the row."""
    plain, source, target = _UNARY[name]
    function = inner(plain)

    @compiled(name, void(int64, int64, int64, _INDEX, _INDEX, int64, int64))
    def run(x: int, y: int, numbers: int, shape: Any, steps: Any, first: int, end: int) -> None:
        rank = len(shape)
        n = shape[rank - 1]
        values = carray(pointer(numbers), 1, _NUMBERS)[0]
        for row in range(first, end):
            rest, a, c = row, x, y
            for axis in range(rank - 2, -1, -1):
                at = rest % shape[axis]
                rest //= shape[axis]
                a += at * steps[axis]
                c += at * steps[rank + axis]
            of, to = carray(pointer(a), n, source), carray(pointer(c), n, target)
            for i in range(n):
                to[i] = function(of[i], values)

    return run


@functools.cache
def _binary_kernel(name: str) -> Any:
    """``run(x0, x1, y, numbers, shape, steps, first, end)``: as the kernel of one input; in a row x0 or x1 may be one element."""
    function = inner(_BINARY[name])

    @compiled(name, void(int64, int64, int64, int64, _INDEX, _INDEX, int64, int64))
    def run(x0: int, x1: int, y: int, numbers: int, shape: Any, steps: Any, first: int, end: int) -> None:
        rank = len(shape)
        n = shape[rank - 1]
        step0, step1 = steps[rank - 1], steps[2 * rank - 1]
        values = carray(pointer(numbers), 1, _NUMBERS)[0]
        for row in range(first, end):
            rest, a, b, c = row, x0, x1, y
            for axis in range(rank - 2, -1, -1):
                at = rest % shape[axis]
                rest //= shape[axis]
                a += at * steps[axis]
                b += at * steps[rank + axis]
                c += at * steps[2 * rank + axis]
            left, right = carray(pointer(a), n, np.uint8), carray(pointer(b), n, np.uint8)
            to = carray(pointer(c), n, np.uint8)
            if step0 != 0 and step1 != 0:
                if a == c:  # with two names for one address the vectoriser would choose the scalar loop
                    for i in range(n):
                        to[i] = function(to[i], right[i], values)
                else:
                    for i in range(n):
                        to[i] = function(left[i], right[i], values)
            elif step1 == 0:
                value = right[0]
                for i in range(n):
                    to[i] = function(left[i * step0], value, values)
            else:
                value = left[0]
                for i in range(n):
                    to[i] = function(value, right[i], values)

    return run


@dataclass(frozen=True, slots=True)
class _Elements:
    query: Query[Any]
    kernel: Any
    numbers: Any
    workspace_bytes: int = 0
    absorbed: frozenset[int] = frozenset()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query = self.query
        name, (out,) = query.contract.name, query.outputs
        arrays = [
            check(f"input {i} of {name}", x, t) for i, (x, t) in enumerate(zip(inputs, query.inputs, strict=True))
        ]
        y = check(f"the output of {name}", outputs[0], out)
        if out.size == 0:
            return parallel(())
        every = [*arrays, y]
        sizes, steps = joined(y.shape, [np.broadcast_to(x, y.shape).strides for x in every])
        wanted = [x.itemsize for x in every]
        inside = all(step[-1] in (0, size) for step, size in zip(steps[:-1], wanted, strict=False))
        if not inside or (steps[-1][-1] != y.itemsize and sizes[-1] > 1):
            # The last axis is not dense (or is broadcast away): rows of one element.
            sizes, steps = [*sizes, 1], [[*step, size] for step, size in zip(steps, wanted, strict=True)]
        addresses = [x.ctypes.data for x in every]
        threads = max(1, min(query.threads, out.size // _GRAIN))
        runs: list[Run] = []
        if len(sizes) == 1:
            for first, end in shares(sizes[0], threads):
                start = [a + first * step[0] for a, step in zip(addresses, steps, strict=True)]
                runs.append(self._task(start, [end - first], steps, 0, 1))
        else:
            for first, end in shares(prod(sizes[:-1]), threads):
                runs.append(self._task(addresses, sizes, steps, first, end))
        return sequence([parallel(runs)], (inputs, outputs, self.numbers))

    def _task(self, addresses: list[int], sizes: list[int], steps: list[list[int]], first: int, end: int) -> Run:
        shape, flat = np.array(sizes, np.int64), np.array(steps, np.int64).ravel()
        return functools.partial(self.kernel, *addresses, self.numbers.ctypes.data, shape, flat, first, end)


def _numbers(query: Query[Any], a_zero: int, b_zero: int, zero: int, a_factor: Any, b_factor: Any) -> Any:
    flip, params = 128 if query.inputs[0].dtype == np.int8 else 0, query.params
    low, high = getattr(params, "low", 0) - zero, getattr(params, "high", 0) - zero
    return np.array([(flip, a_zero + flip, b_zero + flip, zero, low, high, a_factor, b_factor)], _NUMBERS)


def _prepare_add(query: Query[q.QAddParams], constants: Constants) -> _Elements:
    p = query.params
    numbers = _numbers(query, p.a_zero, p.b_zero, p.y_zero, p.a_multiplier, p.b_multiplier)
    return _Elements(query, _binary_kernel("quantized_add"), numbers)


def _prepare_mul(query: Query[q.QMulParams], constants: Constants) -> _Elements:
    p = query.params
    return _Elements(
        query, _binary_kernel("quantized_mul"), _numbers(query, p.a_zero, p.b_zero, p.y_zero, p.multiplier, 0)
    )


def _prepare_quantize(query: Query[q.QuantizeLinearParams], constants: Constants) -> _Elements:
    p, scale = query.params, _F32(query.params.scale)
    with np.errstate(over="ignore"):
        factor = scale if p.divide else _F32(1) / scale
    kernel = _unary_kernel("quantize_linear-divide" if p.divide else "quantize_linear")
    return _Elements(query, kernel, _numbers(query, 0, 0, p.zero, factor, 0))


def _prepare_dequantize(query: Query[q.DequantizeLinearParams], constants: Constants) -> _Elements:
    p = query.params
    return _Elements(query, _unary_kernel("dequantize_linear"), _numbers(query, p.zero, 0, 0, p.scale, 0))


def _prepare_requantize(query: Query[q.RequantizeParams], constants: Constants) -> _Elements:
    p = query.params
    return _Elements(query, _unary_kernel("requantize"), _numbers(query, p.x_zero, 0, p.y_zero, p.multiplier, 0))


def _kernel(contract: Any, prepare: Any) -> Kernel:
    return Kernel(contract, "numba", contract.name, prepare=prepare, strided_inputs=True, strided_outputs=True)


KERNELS = (
    _kernel(q.QADD, _prepare_add),
    _kernel(q.QMUL, _prepare_mul),
    _kernel(q.QUANTIZE_LINEAR, _prepare_quantize),
    _kernel(q.DEQUANTIZE_LINEAR, _prepare_dequantize),
    _kernel(q.REQUANTIZE, _prepare_requantize),
)
