"""Verbs: Query (what is wanted), Kernel (what can do it), Prepared and Run.

A kernel is used in four steps, and memory is allocated only by the caller::

    prepared = kernel.prepare(query, constants)      # check, pack constant weights
    workspace = empty(prepared.workspace_bytes)      # the caller owns it
    run = prepared.bind(inputs, outputs, workspace)  # addresses are fixed
    run()                                            # as often as wanted; nothing is allocated

A contract whose output shapes depend on values (``contract.dynamic``: decoding an image, say) has
kernels with ``evaluate`` in place of ``prepare``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Generic, Protocol

import numpy as np

from .contracts.base import Contract, Tolerance
from .numerics import Numerics
from .records import dataclass
from .tensor import BFLOAT16, Array, Params, TensorType

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    P = TypeVar("P", bound=Params, default=Any)
else:  # a Query without parameters is one of any contract
    from typing import TypeVar

    P = TypeVar("P", bound=Params)

__all__ = [
    "Constants",
    "Kernel",
    "NoConstants",
    "Prepared",
    "Query",
    "Roof",
    "Run",
    "simple_kernel",
]

T = TypeVar("T")
Run = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Query(Generic[P]):
    """What is wanted of a kernel: a contract at given types, all shapes known."""

    contract: Contract[P]
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    params: P = Params()  # type: ignore[assignment]
    #: Inputs whose value is known when the kernel is prepared (weights).
    constants: frozenset[int] = frozenset()
    #: How many threads a run may use.
    threads: int = 1
    #: What may be traded for speed.
    numerics: Numerics = Numerics()

    def __str__(self) -> str:
        ins = ", ".join(map(str, self.inputs))
        return f"{self.contract.name}({ins}) -> {', '.join(map(str, self.outputs))}"


class Constants(Protocol):
    """Access to the values of a query's constant inputs, with a cache for what is packed from them."""

    def value(self, index: int) -> np.ndarray[Any, Any]:
        """The dense C-contiguous value of constant input ``index``."""
        ...

    def packed(self, index: int, layout: str, pack: Callable[[np.ndarray[Any, Any]], T]) -> T:
        """``pack(value(index))``, made once per constant and ``layout`` and shared between plans.

        ``layout`` names everything that the packed form depends on besides the value.
        """
        ...


class NoConstants:
    """Constants for a query that has none."""

    def value(self, index: int) -> np.ndarray[Any, Any]:
        raise KeyError(index)

    def packed(self, index: int, layout: str, pack: Callable[[np.ndarray[Any, Any]], T]) -> T:
        raise KeyError(index)


class Prepared(Protocol):
    """A kernel made ready for one query. Safe to bind several times; bound runs may run at the same time."""

    @property
    def workspace_bytes(self) -> int:
        """Scratch memory that a run needs; given to ``bind`` as a 64-byte aligned uint8 array."""
        ...

    @property
    def absorbed(self) -> frozenset[int]:
        """Constant inputs that were packed: ``bind`` gets None instead of them, their raw value may be dropped."""
        ...

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        """Fixes the addresses and checks them; returns what runs the kernel."""
        ...


def _supports_all(query: Query) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Kernel(Generic[P]):
    """One implementation of one contract, as a record that can say no, with the reason."""

    contract: Contract[P]
    backend: str
    #: Spells identity, e.g. 'f32_conv2d_igemm'; unique inside the backend.
    name: str
    prepare: Callable[[Query[P], Constants], Prepared] | None = None
    #: For dynamic contracts: (inputs, params) -> output arrays.
    evaluate: Callable[[Sequence[Array], P], tuple[Array, ...]] | None = None
    #: None if the kernel can serve the query, else why not.
    supports: Callable[[Query[P]], str | None] = _supports_all
    #: Inside one backend the legal kernel with the highest rank is taken.
    rank: int = 0
    #: The rank where it depends on the layer; never on the batch or the threads, for the bits of a result must not.
    rank_of: Callable[[Query[P]], int] | None = None
    #: Outputs may be views whose last axis is dense and whose other axes have one common pitch (a concat slice).
    strided_outputs: bool = False
    #: The same for inputs.
    strided_inputs: bool = False
    #: Error bound where it is wider than the contract's; the contract states it.
    tolerance: Tolerance | None = None
    #: The precision in which it multiplies float32, if sessions choose among several; None: it serves every precision.
    precision: str | None = None
    #: Of a lower precision, but its operands are nearly exact: it is judged against products of what it is given, by its own tolerance.
    near_exact: bool = False
    #: A NaN, an infinity or a value near overflow in an input may reach outputs nearby that do not depend on it.
    spreads: bool = False
    #: Takes or gives tensors that are bfloat16 in memory, as far as ``supports`` agrees.
    bfloat16: bool = False
    #: Runs the chain of elementwise ops that its parameters may name (``finish``).
    finishes: bool = False

    def __post_init__(self) -> None:
        if (self.prepare is None) == (self.evaluate is None):
            raise TypeError(f"kernel {self}: give exactly one of prepare and evaluate")
        if (self.evaluate is not None) != self.contract.dynamic:
            raise TypeError(f"kernel {self}: a dynamic contract needs evaluate, any other prepare")

    def refusal(self, query: Query[P]) -> str | None:
        """Why the kernel may not serve a query: it does not support it, or the session multiplies in another precision."""
        if self.precision not in (None, query.numerics.multiplies):
            return f"multiplies in {self.precision}, the session in {query.numerics.multiplies}"
        if not self.bfloat16 and any(t.dtype == BFLOAT16 for t in (*query.inputs, *query.outputs)):
            return "takes no bfloat16 in memory"
        finish: str = getattr(query.params, "finish", "")
        if finish and not self.finishes:
            return "runs no chain of elementwise ops on its result"
        return self.supports(query)

    def rank_for(self, query: Query[P]) -> int:
        """The rank for a query's layer."""
        return self.rank if self.rank_of is None else self.rank_of(query)

    def __str__(self) -> str:
        return f"{self.backend}.{self.name}"


@dataclass(frozen=True, slots=True)
class Roof:
    """What a device can do at most, measured: the two lines of a roofline."""

    #: float32 operations per second; a multiply-add is two.
    flops: float
    #: Bytes per second, read from memory.
    bytes: float
    #: How it was measured.
    source: str

    def seconds(self, flops: float, moved: float, itemsize: int = 4) -> float:
        """The least time for ``flops`` operations on numbers of ``itemsize`` bytes and ``moved`` bytes of memory traffic."""
        return max(flops * itemsize / 4 / self.flops, moved / self.bytes)


@dataclass(frozen=True, slots=True)
class _SimplePrepared:
    function: Callable[[Sequence[Array], Sequence[Array], Any], None]
    params: Params
    workspace_bytes: int = 0
    absorbed: frozenset[int] = field(default_factory=frozenset)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        function, params, ins, outs = self.function, self.params, tuple(inputs), tuple(outputs)
        return lambda: function(ins, outs, params)


def simple_kernel(
    contract: Contract[Any],
    backend: str,
    function: Callable[[Sequence[Array], Sequence[Array], Any], None],
    *,
    name: str | None = None,
    supports: Callable[[Query], str | None] = _supports_all,
    rank: int = 0,
    strided: bool = False,
) -> Kernel:
    """A kernel without packing or workspace: ``function(inputs, outputs, params)`` writes into the outputs.

    ``strided``: the function takes inputs and outputs of any strides.
    """
    return Kernel(
        contract,
        backend,
        name or contract.name,
        supports=supports,
        rank=rank,
        prepare=lambda query, constants: _SimplePrepared(function, query.params),
        strided_outputs=strided,
        strided_inputs=strided,
    )
