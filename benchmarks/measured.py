"""Which case stands for a contract in the benchmarks: so an op is measured as soon as it has conformance cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from kigraph.kernels.backends import HOST_FAMILY
from kigraph.kernels.conformance import Case, cases_of, measured_of
from kigraph.kernels.conformance.case import F32
from kigraph.kernels.contracts import CONTRACTS
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.errors import KigraphError
from kigraph.kernels.registry import kernels_of
from kigraph.kernels.tensor import TensorType

__all__ = ["grown", "measured_cases", "measured_pairs"]

#: Bytes that a grown case moves at most, and its float operations: some ms on one core.
_BYTES, _FLOPS = 4 << 20, 200_000_000
#: Cases of these tags are about something else than speed.
_UNUSUAL = frozenset(["broadcast", "empty", "far", "inplace", "large", "nan", "threads"])


def measured_cases(contract: Contract[Any]) -> Sequence[Case]:
    """The contract's cases with ``measure=True``; else its largest usual one, grown; () if it has no case."""
    stated = measured_of(contract)
    if stated:
        return stated
    cases = cases_of(contract)
    usual = [case for case in cases if not case.tags & _UNUSUAL] or cases
    return (grown(max(usual, key=_size)),) if cases else ()


def measured_pairs(backends: Sequence[str]) -> list[tuple[Case, str]]:
    """Every measured case with those of the backends that have kernels for it; the host family stands for all that have
    none of their own."""
    return [
        (case, name)
        for contract in CONTRACTS
        for case in measured_cases(contract)
        for name in (*backends, *(() if contract.hot else (HOST_FAMILY,)))
        if kernels_of(name, contract)
    ]


def _size(case: Case) -> tuple[bool, int]:
    """float32 first, then by the bytes of the inputs."""
    return case.dtype == F32, case.contract.bytes_moved([i.type for i in case.inputs], ())


def grown(case: Case) -> Case:
    """The case with so many items along axis 0 that timing says something; itself where it is large enough or the
    contract does not say that items never mix (``Contract.by_item``)."""
    query = case.query()
    if case.contract.by_item is None or not all(t.known for t in query.outputs):
        return case
    moved = case.contract.bytes_moved(query.inputs, query.outputs)
    flops = case.contract.flops(query.inputs, query.outputs, query.params)
    times = min(_BYTES // max(moved, 1), _FLOPS // max(flops, 1))
    if times < 2 or not moved:
        return case
    for items in _batched(case):
        larger = _times(case, items, times)
        if larger is not None:
            return larger
    return case


def _batched(case: Case) -> Iterator[frozenset[int]]:
    """Sets of inputs that the contract may read item by item: all, the fed ones, the first."""
    yield frozenset(n for n, i in enumerate(case.inputs) if i.type.dims)
    yield frozenset(n for n, i in enumerate(case.inputs) if i.type.dims and not i.constant)
    yield frozenset([0])


def _times(case: Case, items: frozenset[int], times: int) -> Case | None:
    """The case with ``times`` as many items of these inputs; None if its contract does not allow that."""
    by_item, types = case.contract.by_item, tuple(i.type for i in case.inputs)
    assert by_item is not None
    if not items or not all(types[n].dims for n in items) or not by_item(types, case.params, items):
        return None
    inputs = tuple(replace(i, type=_longer(i.type, times)) if n in items else i for n, i in enumerate(case.inputs))
    larger = replace(case, id=f"{case.id}-x{times}", inputs=inputs)
    try:
        made = larger.query().outputs
    except KigraphError:  # the parameters state a shape
        return None
    return larger if made == tuple(_longer(t, times) for t in case.query().outputs) else None


def _longer(t: TensorType, times: int) -> TensorType:
    return TensorType(t.dtype, (t.dims[0] * times, *t.dims[1:]))
