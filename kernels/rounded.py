"""bf16 on backends whose kernels take float32: operands rounded to bfloat16, then multiplied and added by a float32 kernel.

A product of two bfloat16 numbers is exact in float32, so these are the numbers that bf16 instructions give, up to the order
of the sum. Constant weights are rounded when they are packed, other operands in every run. Only direct algorithms are used:
what multiplies less would round the sums of rounded operands again, for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from .bfloat16 import round_to_bfloat16
from .contracts.base import Contract
from .contracts.conv2d import CONV2D
from .contracts.matmul import MATMUL
from .kernel import Constants, Kernel, Prepared, Query, Run
from .numerics import Numerics
from .records import dataclass
from .tensor import Array

__all__ = ["rounding"]

T = TypeVar("T")

_SINGLE = np.dtype(np.float32)
_ALIGNMENT = 64
#: The inputs that are multiplied; a third one is the bias.
_OPERANDS = (0, 1)


@dataclass(frozen=True, slots=True)
class _RoundedConstants:
    """The constants of a query with its operands rounded."""

    plain: Constants

    def value(self, index: int) -> np.ndarray[Any, Any]:
        value = self.plain.value(index)
        return round_to_bfloat16(value) if index in _OPERANDS else value

    def packed(self, index: int, layout: str, pack: Callable[[np.ndarray[Any, Any]], T]) -> T:
        if index not in _OPERANDS:
            return self.plain.packed(index, layout, pack)
        return self.plain.packed(index, f"bf16:{layout}", lambda value: pack(round_to_bfloat16(value)))


def _kept(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return round_to_bfloat16(value)


@dataclass(frozen=True, slots=True)
class _Rounded:
    """Workspace: rounded copies of the operands that change, then that of the kernel. ``constant``: rounded once."""

    query: Query
    inner: Prepared
    constant: dict[int, np.ndarray[Any, Any]]

    @property
    def absorbed(self) -> frozenset[int]:
        return self.inner.absorbed | frozenset(self.constant)

    def _buffer(self, index: int) -> int:
        """Bytes of a rounded copy, up to the next boundary."""
        return -(-self.query.inputs[index].nbytes // _ALIGNMENT) * _ALIGNMENT

    @property
    def _changing(self) -> tuple[int, ...]:
        return tuple(i for i in _OPERANDS if i not in self.absorbed)

    @property
    def workspace_bytes(self) -> int:
        return sum(map(self._buffer, self._changing)) + self.inner.workspace_bytes

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        given, at = list(inputs), 0
        for i, value in self.constant.items():
            given[i] = value
        pairs: list[tuple[Array, Array]] = []
        for i in self._changing:
            t, begin = self.query.inputs[i], at
            at += self._buffer(i)
            if workspace is None or not t.size:
                given[i] = np.empty(t.dims, _SINGLE)
            else:
                given[i] = workspace[begin : begin + t.nbytes].view(_SINGLE).reshape(t.dims)
            pairs.append((inputs[i], given[i]))
        rest = workspace[at:] if workspace is not None and self.inner.workspace_bytes else None
        multiply = self.inner.bind(given, outputs, rest)

        def run() -> None:
            for exact, rounded in pairs:
                round_to_bfloat16(exact, rounded)
            multiply()

        return run


def rounding(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """One bf16 kernel for conv2d and one for matmul, made of a backend's direct float32 kernels."""
    found = []
    for contract in (CONV2D, MATMUL):
        own = [k for k in kernels if k.contract is contract and k.precision in (None, "fp32") and _direct(k)]
        if own:
            found.append(_bf16_kernel(contract, own))
    return tuple(found)


def _direct(kernel: Kernel) -> bool:
    return not kernel.spreads and kernel.tolerance is None


def _bf16_kernel(contract: Contract[Any], own: Sequence[Kernel]) -> Kernel:
    def plain(query: Query) -> Query:
        return replace(query, numerics=Numerics(winograd=False))

    def choose(query: Query) -> Kernel | str:
        reasons = []
        for kernel in sorted(own, key=lambda k: -k.rank_for(query)):
            reason = kernel.refusal(query)
            if reason is None:
                return kernel
            reasons.append(f"{kernel}: {reason}")
        return "; ".join(reasons)

    def supports(query: Query) -> str | None:
        if any(t.dtype != _SINGLE for t in query.inputs):
            return "rounds float32 only"
        found = choose(plain(query))
        return found if isinstance(found, str) else None

    def prepare(query: Query, constants: Constants) -> _Rounded:
        exact = plain(query)
        kernel = choose(exact)
        assert isinstance(kernel, Kernel)
        assert kernel.prepare is not None
        inner = kernel.prepare(exact, _RoundedConstants(constants))
        left = [i for i in _OPERANDS if i in query.constants and i not in inner.absorbed]
        return _Rounded(query, inner, {i: constants.packed(i, "bf16:rounded", _kept) for i in left})

    return Kernel(
        contract, own[0].backend, f"bf16_{contract.name}_in_f32", prepare=prepare, supports=supports, precision="bf16",
        rank=100, strided_outputs=all(k.strided_outputs for k in own), strided_inputs=True,
    )  # fmt: skip
