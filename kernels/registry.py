"""Which kernels are legal for a query, and which of them is preferred.

Legal and preferred are separate questions: every kernel says for itself whether it supports a query; the order of
backends comes from the caller's choice, the order inside one backend from the kernels' ranks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .backends import HOST_FAMILY, get_backend
from .contracts.base import Contract
from .errors import KernelError
from .kernel import Kernel, Query
from .records import dataclass
from .tensor import STRING

__all__ = ["Prefer", "Rejection", "Selection", "kernels_of", "legal_kernels", "select"]

#: (query, legal kernels of one backend by rank) -> which of them to take and why; None: the first.
Prefer = Callable[[Query, Sequence[Kernel]], tuple[Kernel, str] | None]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A kernel (or a whole backend) that was passed over, and why."""

    kernel: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kernel}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The preferred legal kernel; the kernels that were rejected; why it was taken, if not by rank."""

    kernel: Kernel
    rejected: tuple[Rejection, ...] = ()
    reason: str = ""


@functools.cache
def _table(backend: str) -> dict[Contract[Any], tuple[Kernel, ...]]:
    table: dict[Contract[Any], list[Kernel]] = {}
    names: set[str] = set()
    for kernel in get_backend(backend).kernels():
        if kernel.name in names:
            raise KernelError(f"backend {backend} registers two kernels called {kernel.name}")
        names.add(kernel.name)
        table.setdefault(kernel.contract, []).append(kernel)
    return {c: tuple(sorted(ks, key=lambda k: -k.rank)) for c, ks in table.items()}


def kernels_of(backend: str, contract: Contract[Any]) -> tuple[Kernel, ...]:
    """All kernels of a backend (or of the host family) for a contract, preferred first."""
    return _table(backend).get(contract, ())


def legal_kernels(query: Query, backend: str) -> tuple[Kernel, ...]:
    """The kernels of a backend that support a query, preferred first."""
    return tuple(_ranked(query, [k for k in kernels_of(backend, query.contract) if k.refusal(query) is None]))


def _ranked(query: Query, legal: list[Kernel]) -> list[Kernel]:
    return sorted(legal, key=lambda k: -k.rank_for(query))


def select(query: Query, order: Sequence[str], prefer: Prefer | None = None) -> Selection:
    """The first legal kernel in the order of backends, then, outside the hot set and for strings, of the host family.

    prefer: chooses among the legal kernels of the first backend that has any; it can never make an illegal one run.
    Raises KernelError that lists every reason if there is none.
    """
    rejected: list[Rejection] = []
    strings = any(t.dtype == STRING for t in (*query.inputs, *query.outputs))  # Python objects: always the host family
    families = (*order, HOST_FAMILY) if strings or not query.contract.hot else tuple(order)
    for family in families:
        backend = get_backend(family)
        if not backend.may_serve(query.contract, strings):  # importing Numba to find that out takes 0.17 s
            rejected.append(Rejection(family, f"has no kernel for {query.contract.name}{' of strings' * strings}"))
            continue
        if family != HOST_FAMILY and not (status := backend.status()).available:
            rejected.append(Rejection(family, f"cannot be used here: {status.detail}"))
            continue
        kernels = kernels_of(family, query.contract)
        if not kernels:
            rejected.append(Rejection(family, f"has no kernel for {query.contract.name}"))
        legal: list[Kernel] = []
        for kernel in kernels:
            reason = kernel.refusal(query)
            if reason is not None:
                rejected.append(Rejection(str(kernel), reason))
                continue
            legal.append(kernel)
        if legal:
            return _preferred(query, _ranked(query, legal), rejected, prefer)
    reasons = "; ".join(map(str, rejected))
    raise KernelError(
        f"no kernel for {query} in backend {','.join(order)}: {reasons}. "
        "Remedy: give a list such as KIGRAPH_BACKEND='"
        + ",".join(dict.fromkeys((*order, "numpy")))
        + "' to allow others"
    )


def _preferred(query: Query, legal: list[Kernel], rejected: list[Rejection], prefer: Prefer | None) -> Selection:
    choice = prefer(query, legal) if prefer is not None and len(legal) > 1 else None
    kernel, reason = (legal[0], "") if choice is None else choice
    if kernel not in legal:
        raise KernelError(f"{kernel} was preferred for {query}, but it is none of {', '.join(map(str, legal))}")
    before = legal[: legal.index(kernel)]
    return Selection(kernel, (*rejected, *(Rejection(str(k), f"{kernel.name} was {reason}") for k in before)), reason)
