"""Kernels made of a backend's other kernels, for contracts that only some backends serve better as a whole.

Sibling convolutions run one after the other, each by the backend's own kernel for conv2d: such a backend loses nothing by
the graph's merge of siblings, and gains nothing.

A convolution or product with a chain of elementwise ops on its result (``finish``) is the kernel that has none, and then the
backend's kernel for chains on what it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from .contracts.base import Contract
from .contracts.chains import CHAIN, ChainParams
from .contracts.conv2d import CONV2D, DEPTHWISE_CONV2D
from .contracts.matmul import MATMUL
from .contracts.siblings import SIBLING_CONV2D, Place, places
from .kernel import Constants, Kernel, Prepared, Query, Run
from .records import dataclass
from .tensor import BFLOAT16, Array

__all__ = ["SiblingConstants", "completed", "finishing", "single_query", "unfinished"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SiblingConstants:
    """The constants of one sibling as its own kernel numbers them."""

    whole: Constants
    inputs: tuple[int, ...]
    kernel: str

    def value(self, index: int) -> np.ndarray[Any, Any]:
        return self.whole.value(self.inputs[index])

    def packed(self, index: int, layout: str, pack: Callable[[np.ndarray[Any, Any]], T]) -> T:
        return self.whole.packed(self.inputs[index], f"{self.kernel}:{layout}", pack)


def single_query(query: Query, number: int, place: Place) -> Query:
    """The query of one sibling alone, for a kernel of conv2d."""
    return replace(
        query,
        contract=CONV2D,
        inputs=tuple(query.inputs[i] for i in place.inputs),
        outputs=(query.outputs[number],),
        params=place.params,
        constants=frozenset(at for at, i in enumerate(place.inputs) if i in query.constants),
    )


@dataclass(frozen=True, slots=True)
class _OneByOne:
    """Workspace: shared, for one runs after the other."""

    members: tuple[tuple[Place, Prepared], ...]

    @property
    def workspace_bytes(self) -> int:
        return max(prepared.workspace_bytes for _, prepared in self.members)

    @property
    def absorbed(self) -> frozenset[int]:
        return frozenset(place.inputs[i] for place, prepared in self.members for i in prepared.absorbed)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        runs = tuple(
            prepared.bind([inputs[i] for i in place.inputs], [y], workspace if prepared.workspace_bytes else None)
            for (place, prepared), y in zip(self.members, outputs, strict=True)
        )

        def run() -> None:
            for one in runs:
                one()

        return run


def completed(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """A backend's kernels, and those that can be made of them where it has none of its own."""
    convolutions = [k for k in kernels if k.contract is CONV2D]
    if not convolutions or any(k.contract is SIBLING_CONV2D for k in kernels):
        return tuple(kernels)
    return (*kernels, _one_by_one(convolutions))


def _one_by_one(known: Sequence[Kernel]) -> Kernel:
    """Sibling convolutions, each by the kernel of highest rank that supports it."""

    def choose(query: Query) -> Kernel | str:
        reasons = []
        for kernel in sorted(known, key=lambda k: -k.rank_for(query)):
            reason = kernel.refusal(query)
            if reason is None:
                return kernel
            reasons.append(f"{kernel}: {reason}")
        return "; ".join(reasons)

    def supports(query: Query) -> str | None:
        for number, place in enumerate(places(query.params)):
            found = choose(single_query(query, number, place))
            if isinstance(found, str):
                return found
        return None

    def prepare(query: Query, constants: Constants) -> _OneByOne:
        members: list[tuple[Place, Prepared]] = []
        for number, place in enumerate(places(query.params)):
            single = single_query(query, number, place)
            kernel = choose(single)
            assert isinstance(kernel, Kernel)
            assert kernel.prepare is not None
            members.append((place, kernel.prepare(single, SiblingConstants(constants, place.inputs, kernel.name))))
        return _OneByOne(tuple(members))

    return Kernel(
        SIBLING_CONV2D,
        known[0].backend,
        "sibling_conv2d_one_by_one",
        prepare=prepare,
        supports=supports,
        strided_outputs=all(k.strided_outputs for k in known),
        strided_inputs=all(k.strided_inputs for k in known),
        bfloat16=any(k.bfloat16 for k in known),
    )


#: Contracts whose parameters may name a chain.
_FINISHED: tuple[Contract[Any], ...] = (CONV2D, DEPTHWISE_CONV2D, MATMUL)


def unfinished(query: Query) -> Query:
    """The query without the chain and its operands."""
    return replace(query, inputs=query.inputs[:3], params=replace(query.params, finish=""))


@dataclass(frozen=True, slots=True)
class _Finished:
    """``count``: inputs of the kernel itself; the others are the chain's operands."""

    plain: Prepared
    chain: Prepared
    count: int

    @property
    def workspace_bytes(self) -> int:
        return self.plain.workspace_bytes

    @property
    def absorbed(self) -> frozenset[int]:
        return self.plain.absorbed

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        (y,) = outputs
        first = self.plain.bind(inputs[: self.count], outputs, workspace)
        then = self.chain.bind([y, *inputs[self.count :]], outputs, None)

        def run() -> None:
            first()
            then()

        return run


def finishing(kernels: Sequence[Kernel], chain: Kernel) -> tuple[Kernel, ...]:
    """The kernels, of which those that run no chain themselves are followed by ``chain``, a kernel of CHAIN without workspace."""
    return tuple(
        _finishing(k, chain) if k.contract in _FINISHED and not k.finishes and k.prepare is not None else k
        for k in kernels
    )


def _finishing(kernel: Kernel, chain: Kernel) -> Kernel:
    rank_of = kernel.rank_of

    def following(query: Query) -> Query:
        (y,) = query.outputs
        params = ChainParams(query.params.finish)
        return replace(query, contract=CHAIN, inputs=(y, *query.inputs[3:]), params=params, constants=frozenset())

    def supports(query: Query) -> str | None:
        if not query.params.finish:
            return kernel.supports(query)
        if query.outputs[0].dtype == BFLOAT16:
            return "runs no chain of elementwise ops on bfloat16"
        reason = kernel.supports(unfinished(query))
        return reason if reason is not None else chain.refusal(following(query))

    def prepare(query: Query, constants: Constants) -> Prepared:
        assert kernel.prepare is not None
        assert chain.prepare is not None
        if not query.params.finish:
            return kernel.prepare(query, constants)
        plain = unfinished(query)
        return _Finished(
            kernel.prepare(plain, constants), chain.prepare(following(query), constants), len(plain.inputs)
        )

    return replace(
        kernel,
        prepare=prepare,
        supports=supports,
        rank_of=None if rank_of is None else lambda query: rank_of(unfinished(query)),
        finishes=True,
    )
