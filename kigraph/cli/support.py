"""Which backends can run what, according to the registry, for tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import KigraphError
from ..graph.builder import Graph, site_of_operation
from ..graph.opdefs import OPDEFS, STRUCTURAL, NeedsValue, resolve
from ..kernels.backends import HOST_FAMILY, available_backends
from ..kernels.contracts.base import Contract
from ..kernels.registry import kernels_of

__all__ = ["OpUse", "backends_here", "op_uses", "support_of"]


@dataclass(frozen=True, slots=True)
class OpUse:
    """How often a graph uses an op type, and where its kernels are: backend -> own, shared, plan, run time or none."""

    op: str
    count: int
    support: Mapping[str, str]


def backends_here() -> tuple[str, ...]:
    """Backends that can be used on this machine."""
    return available_backends()


def support_of(contract: Contract[Any], backend: str) -> str:
    """'own', 'shared' (the shared CPU family serves it) or '-'."""
    if kernels_of(backend, contract):
        return "own"
    return "shared" if not contract.hot and kernels_of(HOST_FAMILY, contract) else "-"


def op_uses(graph: Graph) -> list[OpUse]:
    """One entry per op type of the graph, most used first.

    "plan": nothing to compute (constants, placeholders); "run time": depends on a value that is not known before.
    """
    counts = Counter(op.type for op in graph.operations)
    seen: dict[str, set[Contract[Any] | str]] = {}
    for op in graph.operations:
        found = seen.setdefault(op.type, set())
        if op.type in STRUCTURAL:
            found.add("plan")
            continue
        if op.type not in OPDEFS:
            found.add("-")
            continue
        try:
            found.add(resolve(site_of_operation(op)).contract)
        except NeedsValue:
            found.add("run time")
        except KigraphError:
            found.add("-")
    names = backends_here()
    return [OpUse(op, n, {b: _worst(seen[op], b) for b in names}) for op, n in counts.most_common()]


def _worst(uses: set[Contract[Any] | str], backend: str) -> str:
    order = ("-", "run time", "shared", "own", "plan")
    found = {use if isinstance(use, str) else support_of(use, backend) for use in uses}
    return min(found, key=order.index)
