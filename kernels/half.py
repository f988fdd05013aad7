"""float16 on backends whose kernels take float32: converted at the edges of a kernel, float32 inside, rounded once.

A backend that wants it says WIDENS_HALF. Kernels through which a NaN spreads to outputs nearby are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeVar

import numpy as np

from .contracts.base import Contract
from .kernel import Constants, Kernel, Prepared, Query, Run
from .records import dataclass
from .tensor import Array, TensorType

__all__ = ["widening"]

T = TypeVar("T")

_HALF, _SINGLE = np.dtype(np.float16), np.dtype(np.float32)
#: Every buffer begins at a multiple of this.
_ALIGNMENT = 64


def _wide(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    return tuple(TensorType(_SINGLE, t.shape) if t.dtype == _HALF else t for t in types)


def _widened(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values.astype(_SINGLE) if values.dtype == _HALF else values


@dataclass(frozen=True, slots=True)
class _WideConstants:
    """The constants of a query as the float32 kernel sees them."""

    half: Constants
    kernel: str

    def value(self, index: int) -> np.ndarray[Any, Any]:
        return _widened(self.half.value(index))

    def packed(self, index: int, layout: str, pack: Callable[[np.ndarray[Any, Any]], T]) -> T:
        return self.half.packed(index, f"half:{self.kernel}:{layout}", lambda value: pack(_widened(value)))


def _buffer(t: TensorType) -> int:
    """Bytes of a float32 copy, up to the next boundary."""
    return -(-prod(t.dims) * _SINGLE.itemsize // _ALIGNMENT) * _ALIGNMENT if t.dtype == _HALF else 0


@dataclass(frozen=True, slots=True)
class _Converted:
    """Workspace: float32 copies of inputs and outputs, then that of the kernel."""

    query: Query
    inner: Prepared

    @property
    def absorbed(self) -> frozenset[int]:
        return self.inner.absorbed

    @property
    def workspace_bytes(self) -> int:
        inputs = (t for i, t in enumerate(self.query.inputs) if i not in self.absorbed)
        return sum(map(_buffer, (*inputs, *self.query.outputs))) + self.inner.workspace_bytes

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        at = 0

        def copy_of(array: Array, t: TensorType) -> Array:
            nonlocal at
            if array is None or t.dtype != _HALF:
                return array
            begin, at = at, at + _buffer(t)
            if workspace is None or not t.size:
                return np.empty(t.dims, _SINGLE)
            return workspace[begin : begin + 4 * t.size].view(_SINGLE).reshape(t.dims)

        given = [copy_of(a, t) for a, t in zip(inputs, self.query.inputs, strict=True)]
        made = [copy_of(a, t) for a, t in zip(outputs, self.query.outputs, strict=True)]
        rest = workspace[at:] if workspace is not None and self.inner.workspace_bytes else None
        compute = self.inner.bind(given, made, rest)
        before = [(w, h) for w, h in zip(given, inputs, strict=True) if w is not h]
        after = [(h, w) for w, h in zip(made, outputs, strict=True) if w is not h]

        def run() -> None:
            for wide, half in before:
                np.copyto(wide, half)
            compute()
            with np.errstate(over="ignore"):  # beyond 65,504 is infinite
                for half, wide in after:
                    np.copyto(half, wide, casting="same_kind")

        return run


def widening(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """One kernel for every contract of which a backend has static kernels, for float16 that these do not take."""
    known: dict[Contract[Any], list[Kernel]] = {}
    for kernel in kernels:
        if kernel.prepare is not None and kernel.contract.hot:
            known.setdefault(kernel.contract, []).append(kernel)
    return tuple(_half_kernel(contract, own) for contract, own in known.items() if contract.name != "concat")


def _half_kernel(contract: Contract[Any], own: Sequence[Kernel]) -> Kernel:
    def choose(query: Query) -> Kernel | str:
        wide = replace(query, inputs=_wide(query.inputs), outputs=_wide(query.outputs))
        reasons = []
        for kernel in sorted(own, key=lambda k: -k.rank_for(wide)):
            # float16 has more bits than bfloat16: in a session of bf16 it is multiplied as in fp32.
            lower = "rounds float16" if kernel.precision not in (None, "fp32") else None
            reason = "spreads NaN" if kernel.spreads else lower or kernel.refusal(wide)
            if reason is None:
                return kernel
            reasons.append(f"{kernel}: {reason}")
        return "; ".join(reasons)

    def supports(query: Query) -> str | None:
        if not any(t.dtype == _HALF for t in (*query.inputs, *query.outputs)):
            return "is for float16"
        if any(kernel.refusal(query) is None for kernel in own):
            return "another kernel takes float16 as it is"
        found = choose(query)
        return found if isinstance(found, str) else None

    def prepare(query: Query, constants: Constants) -> _Converted:
        kernel = choose(query)
        assert isinstance(kernel, Kernel)
        assert kernel.prepare is not None
        wide = replace(query, inputs=_wide(query.inputs), outputs=_wide(query.outputs))
        return _Converted(query, kernel.prepare(wide, _WideConstants(constants, kernel.name)))

    return Kernel(
        contract, own[0].backend, f"f16_{contract.name}_in_f32", prepare=prepare, supports=supports, rank=-1,
        strided_outputs=True, strided_inputs=True,
    )  # fmt: skip
