"""Elementwise kernels: one function of one or two numbers per op, in loops that LLVM vectorises.

Arrays are traversed as rows of adjacent elements. Adjacent axes are merged where the strides allow it, so a dense
tensor is one row. An output in the memory of an input takes a loop of its own: with two names for one address the
vectoriser's overlap check would choose the scalar loop.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts import elementwise as ops
from ..contracts.base import Contract
from ..contracts.gradients import RELU6_GRAD, RELU_GRAD
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, DType, Params, TensorType
from .arrays import FLOATS, NUMBERS, check
from .jit import array_type, carray, compiled, inner, int64, pointer, void
from .scalar import elu, erf, erfc, exp, selu, sigmoid, tanh
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_INDEX = array_type(np.dtype(np.int64))
#: Elements below which a second thread costs more than it saves.
_GRAIN = 64 * 1024


@functools.cache
def _unary_kernel(name: str, dtype: DType) -> Any:
    """``run(x, y, shape, steps, first, end)``, as the kernel of two inputs."""
    function = inner(_UNARY[name](dtype))

    @compiled(f"{name}-{dtype}", void(int64, int64, _INDEX, _INDEX, int64, int64))
    def run(x: int, y: int, shape: Any, steps: Any, first: int, end: int) -> None:
        rank = len(shape)
        n = shape[rank - 1]
        for row in range(first, end):
            rest, a, c = row, x, y
            for axis in range(rank - 2, -1, -1):
                at = rest % shape[axis]
                rest //= shape[axis]
                a += at * steps[axis]
                c += at * steps[rank + axis]
            to = carray(pointer(c), n, dtype)
            if a == c:
                for i in range(n):
                    to[i] = function(to[i])
            else:
                of = carray(pointer(a), n, dtype)
                for i in range(n):
                    to[i] = function(of[i])

    return run


@functools.cache
def _binary_kernel(name: str, dtype: DType) -> Any:
    """``run(x0, x1, y, shape, steps, first, end)``.

    ``shape``: sizes of the axes, the last one the row; ``steps``: bytes per axis for x0, x1, y. Rows [first, end).
    """
    function = inner(_BINARY[name](dtype))
    size = dtype.itemsize

    @compiled(f"{name}-{dtype}", void(int64, int64, int64, _INDEX, _INDEX, int64, int64))
    def run(x0: int, x1: int, y: int, shape: Any, steps: Any, first: int, end: int) -> None:
        rank = len(shape)
        n = shape[rank - 1]
        step0, step1 = steps[rank - 1], steps[2 * rank - 1]
        for row in range(first, end):
            rest, a, b, c = row, x0, x1, y
            for axis in range(rank - 2, -1, -1):
                at = rest % shape[axis]
                rest //= shape[axis]
                a += at * steps[axis]
                b += at * steps[rank + axis]
                c += at * steps[2 * rank + axis]
            left, right = carray(pointer(a), n, dtype), carray(pointer(b), n, dtype)
            to = carray(pointer(c), n, dtype)
            if step0 == size and step1 == size:
                if a == c:
                    for i in range(n):
                        to[i] = function(to[i], right[i])
                elif b == c:
                    for i in range(n):
                        to[i] = function(left[i], to[i])
                else:
                    for i in range(n):
                        to[i] = function(left[i], right[i])
            elif step1 == 0:
                value = right[0]
                if a == c:
                    for i in range(n):
                        to[i] = function(to[i], value)
                elif step0 == 0:
                    for i in range(n):
                        to[i] = function(left[0], value)
                else:
                    for i in range(n):
                        to[i] = function(left[i], value)
            else:
                value = left[0]
                if b == c:
                    for i in range(n):
                        to[i] = function(value, to[i])
                else:
                    for i in range(n):
                        to[i] = function(value, right[i])

    return run


Scalar = Callable[..., Any]


def _plain(function: Scalar) -> Callable[[DType], Scalar]:
    """The same function for all element types."""
    return lambda dtype: function


def _relu(dtype: DType) -> Scalar:
    zero = dtype.type(0)
    return lambda x: zero if x < zero else x


def _relu6(dtype: DType) -> Scalar:
    zero, six = dtype.type(0), dtype.type(6)
    return lambda x: zero if x < zero else (six if x > six else x)


def _relu_grad(dtype: DType) -> Scalar:
    zero = dtype.type(0)
    return lambda dy, x: dy if x > zero else zero


def _relu6_grad(dtype: DType) -> Scalar:
    zero, six = dtype.type(0), dtype.type(6)
    return lambda dy, x: dy if x > zero and x < six else zero


def _softsign(dtype: DType) -> Scalar:
    one = dtype.type(1)
    return lambda x: x / (one + abs(x))


def _leaky_relu(dtype: DType) -> Scalar:
    zero = dtype.type(0)
    return lambda x, alpha: x * alpha if x < zero else x


def _squared_difference(dtype: DType) -> Scalar:
    if dtype.kind == "c":
        return lambda a, b: complex((a - b).real ** 2 + (a - b).imag ** 2, 0)
    return lambda a, b: (a - b) * (a - b)


def _one_over(function: Scalar) -> Callable[[DType], Scalar]:
    def make(dtype: DType) -> Scalar:
        one = dtype.type(1)
        if function is math.sqrt:
            return lambda x: one / math.sqrt(x)
        return lambda x: one / x

    return make


#: Op -> what makes its scalar function for an element type. A comparison with NaN is false, so NaN stays.
_UNARY: dict[str, Callable[[DType], Scalar]] = {
    "neg": _plain(lambda x: -x),
    "abs": _plain(lambda x: abs(x)),
    "square": _plain(lambda x: x * x),
    "sqrt": _plain(lambda x: math.sqrt(x)),
    "rsqrt": _one_over(math.sqrt),
    "reciprocal": _one_over(abs),
    "log": _plain(lambda x: math.log(x)),
    "exp": exp,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "elu": elu,
    "selu": selu,
    "softsign": _softsign,
    "erf": erf,
    "erfc": erfc,
    "relu": _relu,
    "relu6": _relu6,
}
_BINARY: dict[str, Callable[[DType], Scalar]] = {
    "add": _plain(lambda a, b: a + b),
    "sub": _plain(lambda a, b: a - b),
    "mul": _plain(lambda a, b: a * b),
    "div": _plain(lambda a, b: a / b),
    "maximum": _plain(lambda a, b: a if a > b or a != a else b),
    "minimum": _plain(lambda a, b: a if a < b or a != a else b),
    "squared_difference": _squared_difference,
    "leaky_relu": _leaky_relu,
    "relu_grad": _relu_grad,
    "relu6_grad": _relu6_grad,
}


def joined(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Sizes and strides of the same traversal with as few axes as possible, at least one."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        here = [s[axis] for s in strides]
        if sizes and all(step[-1] == stride * n for step, stride in zip(steps, here, strict=True)):
            sizes[-1] *= n
            for step, stride in zip(steps, here, strict=True):
                step[-1] = stride
        else:
            sizes.append(n)
            for step, stride in zip(steps, here, strict=True):
                step.append(stride)
    return (sizes, steps) if sizes else ([1], [[0] for _ in strides])


@dataclass(frozen=True, slots=True)
class _Elementwise:
    query: Query
    kernel: Any
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
        views = [np.broadcast_to(x, y.shape) for x in arrays]
        sizes, steps = joined(y.shape, [v.strides for v in (*views, y)])
        size, addresses = out.dtype.itemsize, [x.ctypes.data for x in (*arrays, y)]
        if any(step[-1] not in (0, size) for step in steps[:-1]) or (steps[-1][-1] != size and sizes[-1] > 1):
            # The last axis is not dense (or is broadcast away): rows of one element.
            sizes, steps = [*sizes, 1], [[*step, size] for step in steps]
        threads = max(1, min(query.threads, out.size // _GRAIN))
        runs: list[Run] = []
        if len(sizes) == 1:
            for first, end in shares(sizes[0], threads):
                start = [a + first * step[0] for a, step in zip(addresses, steps, strict=True)]
                runs.append(self._task(start, [end - first], steps, 0, 1))
        else:
            for first, end in shares(prod(sizes[:-1]), threads):
                runs.append(self._task(addresses, sizes, steps, first, end))
        return sequence([parallel(runs)], (inputs, outputs))

    def _task(self, addresses: list[int], sizes: list[int], steps: list[list[int]], first: int, end: int) -> Run:
        shape, flat = np.array(sizes, np.int64), np.array(steps, np.int64).ravel()
        return functools.partial(self.kernel, *addresses, shape, flat, first, end)


@dataclass(frozen=True, slots=True)
class _Leaky:
    """The slope is the second input of the kernel: one value for all."""

    prepared: _Elementwise
    slope: Array
    workspace_bytes: int = 0
    absorbed: frozenset[int] = frozenset()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return self.prepared.bind((inputs[0], self.slope), outputs, workspace)


def _prepare_leaky(query: Query, constants: Constants) -> _Leaky:
    slope = np.array(query.params.alpha, query.inputs[0].dtype)
    pair = replace(query, inputs=(*query.inputs, TensorType(slope.dtype, ())))
    return _Leaky(_Elementwise(pair, _binary_kernel("leaky_relu", slope.dtype)), slope)


def _kernel(contract: Contract[Params], make: Callable[[str, DType], Any]) -> Kernel:
    allowed = [d for d in NUMBERS if d in FLOATS or contract.name not in _FLOATS_ONLY]

    def prepare(query: Query, constants: Constants) -> _Elementwise:
        return _Elementwise(query, make(contract.name, query.inputs[0].dtype))

    return Kernel(
        contract,
        "numba",
        contract.name,
        prepare=prepare,
        supports=lambda query: refuse_dtypes(query, allowed),
        strided_inputs=True,
        strided_outputs=True,
    )


_FLOATS_ONLY = frozenset(
    [
        "sqrt",
        "rsqrt",
        "reciprocal",
        "log",
        "exp",
        "sigmoid",
        "tanh",
        "elu",
        "selu",
        "softsign",
        "erf",
        "erfc",
        "div",
        "leaky_relu",
        "relu_grad",
        "relu6_grad",
    ]
)

KERNELS = (
    Kernel(
        ops.LEAKY_RELU,
        "numba",
        "leaky_relu",
        prepare=_prepare_leaky,
        supports=lambda query: refuse_dtypes(query, list(FLOATS)),
        strided_inputs=True,
        strided_outputs=True,
    ),
    *(
        _kernel(contract, _unary_kernel)
        for contract in (
            ops.NEG, ops.ABS, ops.SQUARE, ops.SQRT, ops.RSQRT, ops.RECIPROCAL, ops.LOG, ops.EXP, ops.SIGMOID,
            ops.TANH, ops.RELU, ops.RELU6, ops.ELU, ops.SELU, ops.SOFTSIGN, ops.ERF, ops.ERFC,
        )
    ),
    *(
        _kernel(contract, _binary_kernel)
        for contract in (
            ops.ADD, ops.SUB, ops.MUL, ops.DIV, ops.MAXIMUM, ops.MINIMUM, ops.SQUARED_DIFFERENCE, RELU_GRAD, RELU6_GRAD,
        )
    ),
)  # fmt: skip
