"""The table of ops, backends and element types, made from what the kernels claim about the cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..backends import HOST_FAMILY, backend_names, get_backend
from ..contracts import CONTRACTS
from ..contracts.base import Contract
from ..kernel import Kernel
from ..numerics import Numerics
from ..registry import kernels_of
from ..tensor import dtype_name
from .case import Case
from .cases import cases_of
from .check import unsupported

__all__ = ["gaps", "support_table", "supported_cases"]

_SHORT = {
    "bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64", "complex64": "c64", "complex128": "c128", "int8": "i8",
    "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
}  # fmt: skip
_ORDER = (*_SHORT, "bool", "string")


def supported_cases(kernel: Kernel, numerics: Numerics | None = None) -> tuple[Case, ...]:
    """The cases that the kernel claims to serve; ``numerics``: of a session that has others than the default.

    A kernel of another precision than fp32 serves none without ``Numerics(precision=kernel.precision)``. ``check_kernel`` judges
    bf16 by operands that are rounded; one of tf32, or that adds up less exactly than float32 does, needs a tolerance of its own
    for each case (``Case.tolerance``, contracts/precisions.py).
    """
    cases = cases_of(kernel.contract)
    if numerics is not None:
        cases = tuple(replace(case, numerics=numerics) for case in cases)
    return tuple(case for case in cases if unsupported(kernel, case) is None)


def _dtypes(kernels: Iterable[Kernel]) -> list[str]:
    """Names of the element types for which one of the kernels serves a case."""
    found: set[str] = set()
    for kernel in kernels:
        for case in cases_of(kernel.contract):
            name = dtype_name(case.dtype)
            if name not in found and unsupported(kernel, case) is None:
                found.add(name)
    return sorted(found, key=_ORDER.index)


def _loadable(names: Sequence[str]) -> list[str]:
    """The backends whose module can be imported; kernels say what they support without a device."""
    found = []
    for name in names:
        try:
            get_backend(name).kernels()
        except ImportError:
            continue
        found.append(name)
    return found


def _cell(backend: str, contract: Contract[Any], kernels: Sequence[Kernel]) -> str:
    if not kernels:
        return "**gap**" if contract.hot and backend != HOST_FAMILY else ""
    if not cases_of(contract):
        return "yes"
    names = _dtypes(kernels)
    return " ".join(_SHORT.get(name, name) for name in names) if names else "**gap**"


def gaps(backend: str) -> tuple[Contract[Any], ...]:
    """Contracts of the hot set for which the backend serves not a single case."""
    return tuple(c for c in CONTRACTS if c.hot and not any(supported_cases(k) for k in kernels_of(backend, c)))


def support_table(backends: Sequence[str] | None = None) -> str:
    """A Markdown table: for every op and backend the element types that it serves.

    ``backends``: by default all that can be imported here, and the host family, which serves what is not hot when the
    backend has no kernel of its own. A gap: an op of the hot set that a backend does not serve.
    """
    columns = _loadable(backend_names()) if backends is None else list(backends)
    columns.append(HOST_FAMILY)
    lines = [f"| op | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for contract in CONTRACTS:
        cells = (_cell(name, contract, kernels_of(name, contract)) for name in columns)
        lines.append(f"| {contract.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
