"""Which steps read a tensor, and whether they can read a slice of a larger buffer."""

from __future__ import annotations

from collections import Counter

from ...kernels.contracts.concat import CONCAT
from ...kernels.contracts.elementwise import BINARY
from ..ir import Port
from .lowering import Step

__all__ = ["Readers", "needs_dense"]

#: Contracts whose kernels take a pitch for all inputs, if they do for one.
_EVERY_INPUT = frozenset([CONCAT, *BINARY])


class Readers:
    """How many steps read a port, and how many of them cannot read a slice of a larger buffer."""

    def __init__(self) -> None:
        self.count: Counter[Port] = Counter()
        self.dense: Counter[Port] = Counter()

    def add(self, step: Step) -> None:
        """All that a step reads. Of most contracts only input 0 may have a pitch: filters, say, are dense."""
        every = step.query is not None and step.query.contract in _EVERY_INPUT
        for index, (port, _) in enumerate(step.inputs):
            self.count[port] += 1
            self.dense[port] += needs_dense(step) or (index > 0 and not every)


def needs_dense(step: Step) -> bool:
    return step.kernel is None or not step.kernel.strided_inputs
