"""What the kernel records of this folder share: prepared kernels that need no packing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace

import numpy as np

from ..kernel import Constants, Kernel, Prepared, Query, Run
from ..records import dataclass
from ..tensor import Array, DType

__all__ = ["FLOAT32", "FLOATS", "Bound", "dtypes", "unless_empty"]

FLOAT32 = (np.dtype(np.float32),)
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

Binder = Callable[[Sequence[Array], Sequence[Array], Array | None], Run]


def dtypes(names: Iterable[str]) -> tuple[DType, ...]:
    """Element types from their names in the extension modules."""
    return tuple(map(np.dtype, names))


@dataclass(frozen=True, slots=True)
class Bound:
    """A prepared kernel that consists of its ``bind``."""

    binder: Binder
    workspace_bytes: int = 0
    absorbed: frozenset[int] = field(default_factory=frozenset)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return self.binder(inputs, outputs, workspace)


def unless_empty(kernel: Kernel) -> Kernel:
    """The kernel, except that outputs without elements take no preparation, memory or run.

    The other sizes of an empty tensor cost nothing and may be of any magnitude: no loop may run over them.
    """
    prepare = kernel.prepare
    if prepare is None:
        return kernel

    def prepare_work(query: Query, constants: Constants) -> Prepared:
        return prepare(query, constants) if any(t.size for t in query.outputs) else Bound(_bind_nothing)

    return replace(kernel, prepare=prepare_work)


def _bind_nothing(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
    return lambda: None
