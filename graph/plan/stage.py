"""A compiled stage, and the contexts in which it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from ...kernels.devices import Device, may_give_back
from ...kernels.errors import KigraphError
from ...kernels.records import dataclass
from ..errors import located, unexpected
from ..ir import Port
from ..packed.store import ConstantStore
from .context import Context, Timed
from .lowering import Lowering, Step
from .memory import Layout
from .partition import Part

__all__ = ["DynamicStage", "Stage"]

Value = np.ndarray[Any, Any]

#: Contexts that a stage keeps for later runs; more exist only while more threads run at once.
_KEEP = 4
#: Bytes of the largest context that is kept of a stage whose sizes may never come again (those of one photograph).
_KEEP_BYTES = 1 << 21


@dataclass(slots=True, eq=False, weakref_slot=True)
class Stage:
    """One part of a plan for given input types: chosen kernels and a memory layout. Runs from several threads."""

    part: Part
    lowering: Lowering
    layout: Layout
    store: ConstantStore
    fed: tuple[tuple[Port, Device], ...]
    #: Inputs that the steps read where they are; a context serves only the arrays that it is bound to.
    bound: frozenset[Port] = frozenset()
    #: Outputs that may be lent instead of copied.
    lent: frozenset[Port] = frozenset()
    #: Contexts that are kept for later runs.
    keeps: int = _KEEP
    _idle: list[Context] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        may_give_back(self)

    def give_back(self) -> None:
        """Drops the contexts that no run uses."""
        with self._lock:
            self._idle.clear()

    @property
    def arena_bytes(self) -> int:
        """Memory for activations of one run, over all devices."""
        return sum(self.layout.arenas.values())

    @property
    def _kept_bytes(self) -> int:
        """Memory that a context holds between runs, at most."""
        return self.arena_bytes + 2 * sum(storage.nbytes for storage in self.layout.direct.values())

    def run(
        self,
        inputs: Mapping[Port, Value],
        profile: list[Timed] | None = None,
        loans: list[Callable[[], None]] | None = None,
    ) -> dict[Port, Value]:
        """The part's outputs as fresh host arrays.

        loans: gets a function that is to be called when the outputs in ``lent``, which are not copied then, are no longer needed.
        """
        ports = self.part
        values = [inputs[port] for port in ports.inputs]
        return dict(zip(ports.outputs, self.call(values, profile, loans), strict=True))

    def call(
        self,
        values: Sequence[Value],
        profile: list[Timed] | None = None,
        loans: list[Callable[[], None]] | None = None,
    ) -> list[Value]:
        """As ``run``, with the values of inputs and outputs in the order of the part."""
        try:
            context: Context | None = self._idle.pop()
        except IndexError:  # asking before would need the lock, 0.1 us
            context = None
        if context is None or (self.bound and not context.fits(values)):
            context = Context(self, values)
        results = context.run(values, profile, loans is not None)
        if loans is None:
            self._keep(context)
        else:
            loans.append(lambda: self._keep(context))
        return results

    def _keep(self, context: Context) -> None:
        """Keeps a context for the next run."""
        with self._lock:
            if len(self._idle) < self.keeps and (self.part.static or self._kept_bytes <= _KEEP_BYTES):
                self._idle.append(context)


@dataclass(slots=True)
class DynamicStage:
    """One op whose output shapes are known only after it ran; it allocates its own outputs."""

    part: Part
    evaluate: Callable[[Sequence[Value]], tuple[Value, ...]]
    step: Step
    ports: tuple[Port, ...]
    literals: Mapping[Port, Value]

    def run(
        self,
        inputs: Mapping[Port, Value],
        profile: list[Timed] | None = None,
        loans: list[Callable[[], None]] | None = None,
    ) -> dict[Port, Value]:
        (node,) = self.part.nodes
        start = time.perf_counter()
        arrays = [self.literals[p] if p in self.literals else inputs[p] for p in self.ports]
        try:
            outputs = self.evaluate(arrays)
        except KigraphError as error:
            raise located(error, node.op, node.name) from error.__cause__
        except Exception as error:
            raise unexpected(error, node.op, node.name, f"failed in kernel {self.step.kernel}") from error
        if profile is not None:
            profile.append(Timed(self.step, start, time.perf_counter() - start))
        return dict(zip(node.ports, outputs, strict=False))
